/* SPDX-License-Identifier: MIT */
/* Is a request that somebody received signed by one of these secrets; and if not, which part of it differs from what was
 * signed? For a person who looks for the reason (`aqueduct verify`, a line in the log): it tries what usually goes wrong, one
 * thing at a time, and takes no care that nobody learns from how long it takes. Any thread. */
#pragma once
#include "bridge/auth/signature.h"
#include "bridge/lib/header.h"

enum { RECEIVED_HEADERS = 200 };

struct received { /* borrowed from the text that it was read from */
    struct header headers[RECEIVED_HEADERS];
    size_t header_count;
    struct str body;
};

/* Lines "name: value", perhaps below a request line, and, behind an empty line, the body. False with *e. */
bool received_read(struct received *r, struct str text, struct err *e);

/* No zero on purpose. */
enum differs {
    DIFFERS_NOTHING = 1, /* it is good */
    DIFFERS_ID,          /* is missing, or there more than once */
    DIFFERS_TIMESTAMP,   /* is missing, no number, too old, in the future */
    DIFFERS_SIGNATURE,   /* is missing, or none of this kind */
    DIFFERS_ENCODING,    /* the signature is right, but written in another way */
    DIFFERS_BODY,        /* was changed on the way */
    DIFFERS_URL,         /* it is signed over another address */
    DIFFERS_SCHEME,      /* other parts are signed than this scheme signs */
    DIFFERS_KEY,         /* the secret is read in another way, is another one, or has ended */
    DIFFERS_COUNT,
};
const char *differs_name(enum differs part); /* "timestamp" */

struct diagnosis {
    enum differs part;
    struct err why; /* for a person */
};

struct diagnose {
    enum signature scheme;
    const char *header; /* with the signature; NULL: the scheme's own */
    const struct secret *secrets;
    size_t count;
    int64_t now_s, tolerance_s;
    const struct signature_style *style; /* NULL: the scheme's row */
    struct str url;                      /* as the sender sees it, with its query; absent: unknown */
    bool quick;                          /* leaves away what costs most, such as JSON written anew */
};
/* False with *e: a secret is none. */
bool diagnose(const struct diagnose *d, const struct received *r, struct diagnosis *out, struct err *e);
