/* SPDX-License-Identifier: MIT */
/* Signs requests: an endpoint's keys and the style of its signatures, as the user chose them.
 *
 *   signer_load -> signer_add per attempt -> signer_free
 *
 * One thread per signer. */
#pragma once
#include "bridge/auth/described.h"
#include "bridge/auth/secret_files.h"

struct signature_options { /* `signature:` as the user wrote it */
    enum signature scheme;
    char *header;
    struct described described;
};
extern const struct option signature_rows[];

struct signer {
    const struct signature_style *style;
    struct signature_style *own; /* the same, if the user described it; ours */
    const char *header;          /* of the signature */
    struct str url;              /* set by the user of styles that sign it; absent: they have none */
    struct secrets secrets;      /* borrowed */
    struct secret_files files;   /* where they come from files: what those say by now */
    struct key **keys;           /* of the secrets, in their order; none: requests are not signed */
    size_t count;
    struct key **live; /* those of them that have not ended */
    size_t live_count;
    int64_t turn_ms; /* when that, or the warning, may change */
};

/* Checks the options but for the name of the header, and keeps what was parsed; signer_free in any case. `secrets` stay
 * borrowed. The error begins with the option's key. */
bool signer_load(struct signer *s, const struct signature_options *o, const struct secrets *secrets, bool unsigned_,
                 struct err *e);
void signer_free(struct signer *s);
/* Must requests be signed, and no key does so any more? */
static inline bool signer_has_ended(const struct signer *s)
{
    return s->count && !s->live_count;
}
/* True with *why: all keys end soon, or did. */
bool signer_warning(const struct signer *s, int64_t wall_ms, struct err *why);
bool signer_look(struct signer *s, int64_t wall_ms); /* signer_turn's work */
/* Looks which keys have ended; before each request. True when it looked and found that all of them end soon, or did:
 * signer_warning says so. */
static inline bool signer_turn(struct signer *s, int64_t wall_ms)
{
    return wall_ms >= s->turn_ms && signer_look(s, wall_ms);
}

/* Takes over the keys that files say by now; before each request. `of`: whose they are, for the log. */
void signer_refresh(struct signer *s, const char *of);

/* Is this one of the headers that it adds? */
bool signer_has_header(const struct signer *s, const char *name);
/* Appends header lines, each ended by NUL, and returns how many: webhook-id and webhook-timestamp in any case, what the
 * style has besides, and the signature. Not when the keys have ended. */
size_t signer_add(const struct signer *s, struct str id, int64_t wall_ms, struct str body, struct buf *text);
