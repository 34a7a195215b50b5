/* SPDX-License-Identifier: MIT */
/* What a broadcast sink remembers by name: positions that it keeps for its clients, in the broker's state.
 *
 * Any daemon of the same broker and the same sink finds them, also after a restart. On Kafka nothing tells one daemon what
 * another one stores: it looks again when somebody recalls what it has not looked at for BOOKMARKS_FRESH_MS, and of two
 * that remember the same name within that time the later one counts. On the local broker there is one daemon.
 *
 * All of it belongs to the sink's thread, from its first work() or send() on. Nothing here waits: "not yet" means that
 * wake_fd turns readable when it is worth asking again. Nothing is to be ended at close(). */
#pragma once
#include "bridge/lib/err.h"
#include "bridge/lib/str.h"

enum {
    BOOKMARKS_MOST = 10000,     /* names of one sink */
    BOOKMARKS_BYTES = 16 << 20, /* of all of them */
    BOOKMARK_NAME_MAX = 128,
    BOOKMARK_BYTES = 4096, /* of a value */
    BOOKMARKS_FRESH_MS = 10000,
    BOOKMARKS_SECRET = 32,
};

/* Where they are in the state: the scope of a sink, behind which its id follows; the key of the secret (name keys: "n" and the
 * name). */
#define BOOKMARKS_SCOPE      "sinks/"
#define BOOKMARKS_SECRET_KEY "secret"

enum bookmark_outcome {
    BOOKMARK_STORED = 1, /* no zero on purpose: durable */
    BOOKMARK_CHANGED,    /* it is not what `before` says: recall it */
    BOOKMARK_REFUSED,    /* there is no room for it */
    BOOKMARK_FAILED,     /* the broker could not store it now; it may be stored all the same */
};

struct bookmark_done {
    uint64_t tag;
    enum bookmark_outcome outcome;
    char why[WHY_BYTES]; /* for a person; "" when it is stored */
};

struct bookmarks {
    const struct bookmarks_ops *ops;
};

struct bookmarks_ops {
    /* Stores the value (absent: forgets the name) if the name has `before` now (absent: if there is none); copies all. Its
     * outcome comes with the tag through done(). The name: 1 to BOOKMARK_NAME_MAX bytes, any. */
    void (*remember)(struct bookmarks *, struct str name, struct str before, struct str value, uint64_t tag);
    size_t (*done)(struct bookmarks *, struct bookmark_done *out, size_t room); /* what has its outcome by now */
    /* Its value, absent when there is none; borrowed until the next call of any of these. False: not yet. */
    bool (*recall)(struct bookmarks *, struct str name, struct str *out);
    /* Each name with its value, sorted. False: not yet. */
    bool (*each)(struct bookmarks *, void (*one)(void *ctx, struct str name, struct str value), void *ctx);
    /* Bytes that only the daemons of this sink and this broker know, made once. False: not yet; where it was just made and other
     * daemons may have made one at the same moment, not for a second, after which all of them have the same. */
    bool (*secret)(struct bookmarks *, unsigned char out[BOOKMARKS_SECRET]);
};
