/* SPDX-License-Identifier: MIT */
/* Signs requests: an endpoint's keys and the style of its signatures, as the user chose them.
 *
 *   signer_load -> signer_add per attempt -> signer_free
 *
 * One thread per signer. */
#pragma once
#include "bridge/auth/signature.h"
#include "bridge/lib/option.h"

struct signature_options { /* `signature:` as the user wrote it */
    enum signature scheme;
    char *header;
};
extern const struct option signature_rows[];

struct signer {
    const struct signature_style *style;
    const char *header; /* of the signature */
    struct key **keys;  /* of the secrets, in their order; none: requests are not signed */
    size_t count;
};

/* Checks the options but for the name of the header, and keeps what was parsed; signer_free in any case. The error begins with the option's key. */
bool signer_load(struct signer *s, const struct signature_options *o, const struct secrets *secrets, bool unsigned_,
                 struct err *e);
void signer_free(struct signer *s);
/* Is this one of the headers that it adds? */
bool signer_has_header(const struct signer *s, const char *name);
/* Appends header lines, each ended by NUL, and returns how many: webhook-id and webhook-timestamp in any case, what the
 * style has besides, and the signature. */
size_t signer_add(const struct signer *s, struct str id, int64_t wall_ms, struct str body, struct buf *text);
