/* SPDX-License-Identifier: MIT */
/* One event, or a batch of them (parcel.h), as an HTTP request: body, headers, signature.
 *
 * request_build runs once per attempt, because the timestamp, and with it the signature, is the attempt's. Buffers
 * are kept from request to request; the body points into them or, in binary mode, at the event's own data. */
#pragma once
#include <curl/curl.h>
#include "bridge/connector.h"
#include "connectors/webhook/shape.h"
#include "connectors/webhook/signer.h"

enum { REQUEST_ID = 128 }; /* longest event id that is taken over as webhook-id */

/* What all requests of a sink have in common. */
struct request_template {
    const struct signer *signer;
    struct shape *shape;
    const char *origin;  /* WebHook-Request-Origin; NULL: none */
    char *authorization; /* a header line; NULL: none */
    char *url;           /* of the receiver, before the shape's path and query */
};

struct request {
    struct buf json, text; /* the body, if it is made for it; the header lines, each ended by NUL */
    struct buf url;        /* of its own, ended by NUL; empty: the receiver's */
    struct str body;
    char id[REQUEST_ID + 1];  /* what expressions know as webhook.id */
    struct curl_slist *lines; /* for CURLOPT_HTTPHEADER: an array whose elements point at each other */
    size_t line_count, line_cap;
};

/* False with *e when the event cannot be sent in this way, ever. */
bool request_build(struct request *r, const struct request_template *t, const struct message *m, int64_t wall_ms,
                   struct err *e);
/* The question for a receiver's consent to our events (consent.h); most: in a second, 0: as many as it takes. */
void request_ask(struct request *r, const char *origin, double most);
/* The event as one of several in a JSON array; false with *e when it cannot be that, ever, and something may have been
 * appended. Not with BODY_BINARY. */
bool request_add_element(struct buf *out, const struct request_template *t, const struct message *m, struct err *e);
/* A request for several events; path, query and headers have no expressions. `body` is borrowed. */
bool request_build_batch(struct request *r, const struct request_template *t, const struct message *first,
                         struct str id, struct str body, int64_t wall_ms, struct err *e);
/* Gives back the memory of an unusually large request. */
void request_trim(struct request *r);
void request_free(struct request *r);

/* The webhook-id of an event: if its record has a scope (TRAIL_FROM: strangers chose the id), a UUID of scope, source and
 * id, so that none of them can use up the id of another's event; otherwise its own id when that is long enough to be
 * unique on its own and safe to sign, or else a UUID of source and id (ids such as "17" are unique only within their
 * source). The same for all attempts. */
struct str request_id(const struct message *m, char out[REQUEST_ID + 1]);
