/* SPDX-License-Identifier: MIT */
/* What the listener `admin.listen` answers: /metrics, /healthz, /readyz. */
#pragma once
#include "bridge/lib/err.h"
#include "bridge/net/http/http.h"

struct pages {
    struct http_server *server;
    bool (*ready)(void *ctx, struct err *why); /* false, with the reason, while the bridge is not ready */
    void *ctx;
};

/* The server's `request` callback; ctx: the pages. */
void pages_answer(void *ctx, const struct http_request *r);
