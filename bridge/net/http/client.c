/* SPDX-License-Identifier: MIT */
/* Who the client is where proxies stand between: those of trusted_proxies say so, of a connection by the PROXY protocol, of
 * a request in a header. Nobody else is believed. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include "bridge/lib/mem.h"
#include "bridge/net/forwarded.h"
#include "bridge/net/http/private.h"
#include "bridge/net/proxy_protocol.h"

METRIC_COUNTER(aqueduct_net_forwarded_garbled_total,
               "Requests for which a trusted proxy named no address in its header: they count as that proxy's.", NULL);

bool http_client_is_proxy(const struct http_server *s, const char *peer, char network[LISTEN_NETWORK])
{
    if (!networks_have_peer(&s->proxies, str_of(peer)))
        return false;
    if (peer[0] == '[')
        snprintf(network, LISTEN_NETWORK, "%.*s", (int)strcspn(peer + 1, "]"), peer + 1);
    return true;
}

/* ---- of a connection ---- */

static void client_refuse(struct http_conn *c, const char *why)
{
    int64_t left_out;
    metric_add(c->s->refused[REFUSED_PROXY], 1);
    if (log_limit_pass(&c->s->log_limit, &left_out))
        LOG(INFO, "no PROXY header", LOG_C("listen", c->s->o.listen), LOG_C("peer", c->peer), LOG_C("why", why),
            LOG_INT("lines_left_out", left_out));
    http_wire_kill(c);
}

/* From now on the connection is this client's, and among its others. 0, or 429: it has too many. */
static int client_become(struct http_conn *c, const struct proxy_header *h)
{
    struct http_server *s = c->s;
    char network[LISTEN_NETWORK];
    listen_name(&h->client, h->port, c->peer, network);
    c->from_proxy = http_client_is_proxy(s, c->peer, network);
    http_holders_leave(c);
    http_twins_enter(s, str_of(network), c->from_proxy);
    bool room = c->from_proxy || http_room_of_address(s, str_of(network), true);
    http_holders_enter(c, str_of(network));
    if (!room)
        metric_add(s->refused[REFUSED_ADDRESS], 1);
    return room ? 0 : 429;
}

bool http_client_take(struct http_conn *c, int *status)
{
    char bytes[PROXY_PROTOCOL_MOST];
    struct proxy_header h;
    ssize_t n = recv(c->io.fd, bytes, sizeof bytes, MSG_PEEK);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        http_wire_kill(c);
        return false;
    }
    enum proxy_protocol what = n < 0 ? PROXY_MORE : proxy_protocol_read((struct str){ bytes, (size_t)n }, &h);
    if (what == PROXY_MORE && !c->ended) {
        c->readable = false;
        return false;
    }
    if (what == PROXY_MORE || what == PROXY_BAD) {
        client_refuse(c, what == PROXY_BAD ? "it begins with something else" : "the connection ended in it");
        return false;
    }
    CHECK(recv(c->io.fd, bytes, h.n, 0) == (ssize_t)h.n); /* they were there */
    c->proxying = false;
    if (!c->io.ssl)
        http_schedule_due(c, DUE_IDLE);
    *status = what == PROXY_OWN ? 0 : client_become(c, &h);
    return true;
}

/* ---- of a request ---- */

void http_client_fill(const struct http_conn *c, struct http_request *r)
{
    struct http_server *s = c->s;
    struct address client;
    int port;
    bool garbled = false;
    r->peer = str_of(c->peer);
    r->network = str_of(c->holder->network);
    r->certificate = conn_certificate(&c->io);
    if (!c->from_proxy)
        return;
    size_t hops = forwarded_read(r->headers, r->header_count, s->o.proxy_header, &s->proxies, &client, &port, &garbled);
    if (garbled)
        metric_add(s->garbled, 1);
    if (hops == 0)
        return;
    listen_name(&client, port, s->client_peer, s->client_network);
    r->peer = str_of(s->client_peer);
    r->network = str_of(s->client_network);
}

void http_client_open(struct http_server *s)
{
    s->garbled = metric_get(&aqueduct_net_forwarded_garbled_total, NULL);
}
