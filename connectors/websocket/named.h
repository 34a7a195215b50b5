/* SPDX-License-Identifier: MIT */
/* Subscriptions of aqueduct.v1 that stand durably, by a name: op sub with `name`. The names are those of
 * GET <path>events?position=, bookmarks of the sink (bridge/event/bookmarks.h).
 *
 *   [recalls: where does the name stand?] --> [places, stores: it is a new one] --> [stands] -- named_acknowledge --> stored
 *
 * What is acknowledged is stored together with what was acknowledged meanwhile, one bookmark at a time, and answered once it is
 * durable: a crash of either side costs repeats and nothing else. A name never goes back. One thread. */
#pragma once
#include "bridge/event/bookmarks.h"
#include "connectors/websocket/protocol.h"
#include "connectors/websocket/rights.h"
#include "connectors/websocket/wish.h"

/* Who uses names. With `claims` a name is of the user who made it: whoever sees less could move it past what another one has
 * not got. */
struct named_by {
    char *user;    /* NULL: of a sink without claims, all names are anybody's */
    bool sees_all; /* with them: also what was made before, and is nobody's */
};
/* Who that is (NULL: all rights); free out->user. False: the token does not say. */
bool named_by(const struct rights *r, struct named_by *out);
#define NAMED_FOREIGN "this name of a position is another user's"
#define NAMED_BY_NONE "names of positions are for tokens that say whose they are (sub)"

enum { NAMED_ACKS = 64 }; /* most of one subscription that wait for their answers */

struct names { /* of a sink */
    struct places *places;
    uint64_t *tag; /* of the latest bookmark */
    struct named *first;
};

enum named_state {
    NAMED_RECALLS = 1,
    NAMED_PLACES, /* there is none of this name: it is to begin somewhere */
    NAMED_STORES,
    NAMED_STANDS,
};

struct ack {
    struct asked asked;
    char *text;
};

struct named { /* named.c's, but for the first two */
    struct named *next;
    void *owner;
    struct named **at;
    char *name;
    struct named_by by;
    enum named_state state;
    struct cursor *cursor; /* where a new one begins */
    char *text;            /* the same, when it is known */
    int64_t give_up_ms;
    uint64_t tag; /* of the bookmark on its way; 0: none is */
    int retries;
    struct bookmark_done done; /* outcome 0: none has come */
    struct ack acks[NAMED_ACKS];
    size_t count, stored; /* `stored` of them are in that bookmark */
};

/* Takes a good name, and by->user over. */
struct named *named_new(struct names *all, struct str name, const struct named_by *by, void *owner);
void named_free(struct named *n);                                        /* accepts NULL */
bool names_outcome(struct names *all, const struct bookmark_done *done); /* false: it is nobody's */

/* Where the name stands, to be asked again while it is GRANT_NOT_YET; a new one is made to stand where the wish begins.
 * GRANT_YES: the wish resumes from there. GRANT_NO with *code and *e. */
enum grant named_place(struct named *n, struct names *all, struct wish *w, const struct subscription *s,
                       enum code *code, struct err *e);

/* The position that a client acknowledges; cursor_free() it. NULL with *e. */
struct cursor *named_cursor(const struct names *all, struct str text, struct err *e);
/* False: too many wait already. */
bool named_acknowledge(struct named *n, const struct asked *asked, struct str text);
/* Goes on with storing; told() hears of each that has its outcome, code 0: it is durable. */
void named_turn(struct named *n, struct names *all,
                void (*told)(void *ctx, const struct asked *asked, enum code code, const char *why), void *ctx);

/* ---- what is stored of a name: "<ms since 1970> <cursor>", with claims " <user>" behind it ---- */

struct named_mark {
    int64_t since_ms;
    struct str cursor, user; /* cursor absent: it is damaged; user absent: nobody's */
};
struct named_mark named_stored(struct str value);
/* May they use the name of which that is stored (absent: it is new)? */
bool named_may_use(const struct named_by *by, struct str value);
/* Ends what is to be stored in the place of `before`: whose it is. */
void named_sign(struct buf *out, const struct named_by *by, struct str before);
/* Appends what is to be stored in the place of `before` (absent: nothing is), never back from it in any partition; `back`: what the
 * text says, wherever that is. False with *e. */
struct named_change {
    const struct named_by *by;
    struct str before, text;
    bool back;
};
bool named_value(const struct strings *topics, struct hmac *key, const struct named_change *c, struct buf *out,
                 struct err *e);
bool named_is_good(struct str name); /* 1 to 64 letters, digits, points, dashes and underlines; no point first */
