/* SPDX-License-Identifier: MIT */
/* What the listener `admin.listen` answers: /metrics, /healthz, /readyz, /status.
 *
 * /healthz says no more than that the process lives, so everybody may see it. The others want to be shown who
 * it is that asks, if that is configured; else a Host that is an address or one of `hosts`, so that no browser shows them to somebody else's site. */
#pragma once
#include "bridge/admin/access.h"
#include "bridge/delivery/account.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/option.h"
#include "bridge/net/http/http.h"
#include "bridge/verify/verify.h"

struct pages {
    struct http_server *server;
    bool (*ready)(void *ctx, struct err *why); /* false, with the reason, while the bridge is not ready */
    /* Adds the account of all sinks, as JSON (delivery/account.h). */
    void (*account)(void *ctx, const struct account_question *question, struct buf *out);
    void (*gather)(void *ctx);           /* before a page of metrics: those that add up are kept as they stand */
    void *ctx;                           /* of all */
    struct verifier *verifier;           /* NULL: everybody may see them */
    const struct verify_options *verify; /* what it is of */
    bool by_tokens;                      /* it is `admin.tokens` */
    struct access *access;               /* who is let in as well: a token of the file, a session; NULL: nobody */
    const struct strings *hosts;         /* NULL: by every name, of a unix socket */
};

/* The server's `request` callback; ctx: the pages. */
void pages_answer(void *ctx, const struct http_request *r);
/* GET /readyz: answers 200 "ready", with "; but " and what ought to be mended, or 503 "not ready: " and why; the control socket has it as well. */
void pages_ready(const struct pages *p, struct http_server *server, const struct http_request *r);
/* GET /status[?events=N&id=ID]: answers with the account; the control socket has it as well. Query not decoded but for
 * %XX in the id. */
void pages_status(const struct pages *p, struct http_server *server, const struct http_request *r);
