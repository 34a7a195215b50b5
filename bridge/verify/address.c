/* SPDX-License-Identifier: MIT */
/* The scheme `address`: whoever sends from one of these networks may. It says where from, not who. */
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/net/networks.h"
#include "bridge/verify/options.h"
#include "bridge/verify/scheme.h"

static bool address_open(struct verifier *v, const struct verify_options *o, struct err *e)
{
    struct networks *allow = v->own = mem_alloc(sizeof *allow);
    return networks_open(allow, &o->allow, e) || err_prefix(e, "%s.allow", v->place);
}

static void address_close(struct verifier *v)
{
    if (v->own)
        networks_close(v->own);
    free(v->own);
}

static enum refusal address_check(struct verifier *v, const struct http_request *r)
{
    return networks_have_peer(v->own, r->peer) ? REFUSAL_NONE : REFUSAL_ADDRESS;
}

const struct scheme scheme_address = {
    .covers = COVER_REQUEST,
    .asks = ASKS_WHERE,
    .by_head = true,
    .takes_allow = true,
    .open = address_open,
    .close = address_close,
    .check = address_check,
};
