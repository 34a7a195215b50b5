/* SPDX-License-Identifier: MIT */
/* What the listener `admin.listen` answers: /metrics, /healthz, /readyz.
 *
 * /healthz says no more than that the process lives, so everybody may see it. The others want a token, if there are any;
 * else a Host that is an address or one of `hosts`, so that no browser shows them to somebody else's site. */
#pragma once
#include "bridge/auth/token.h"
#include "bridge/lib/option.h"
#include "bridge/net/http/http.h"

struct pages {
    struct http_server *server;
    bool (*ready)(void *ctx, struct err *why); /* false, with the reason, while the bridge is not ready */
    void *ctx;
    struct tokens *tokens;       /* NULL: none are needed */
    const struct strings *hosts; /* NULL: by every name, of a unix socket */
};

/* The server's `request` callback; ctx: the pages. */
void pages_answer(void *ctx, const struct http_request *r);
