/* SPDX-License-Identifier: MIT */
/* A request becomes a listener in the cohort of its subscription, and a listener goes. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "connectors/websocket/access.h"
#include "connectors/websocket/private.h"

enum {
    RETRY_LEAST_MS = 3000,
    RETRY_MOST_MS = 8000, /* when an event stream comes back, so that not all do at once */
    STREAM_HEADERS = 4 + ACCESS_CORS,
    RESUME_TEXT = 64,
    KNOCK_BURST = 1000,
    NAMELESS_PER_ADDRESS = 16,
    NAMELESS_SHARE = 4, /* of all listeners */
};

/* Who comes in, and what he may. */
struct entry {
    struct str key; /* whose token it is; absent: nobody's in particular */
    struct rights rights;
    bool nameless; /* it has shown nothing yet, and may do so in its first message */
};

static bool accept_talks(const struct http_request *r);

/* May it show later what it must? */
static bool accept_may_be_nameless(struct websocket_sink *s, const struct http_request *r, enum refusal no)
{
    bool few = peers_nameless(s->sum->peers, r->network) < NAMELESS_PER_ADDRESS || str_eq(r->network, STR("unix"));
    return no == REFUSAL_MISSING && str_eq(r->path, str_of(s->path)) && accept_talks(r) && few
           && atomic_load(&s->sum->nameless) < s->server_options.max_connections / NAMELESS_SHARE + 1;
}

/* Does the client show what it must? Else it is answered; the reason is in log and metric alone. */
static bool accept_is_verified(struct websocket_sink *s, const struct http_request *r, struct entry *out)
{
    struct err e;
    struct verified is = { .no = REFUSAL_NONE };
    if (s->verifier)
        is = access_check(s->verifier, r, s->token_cookie, s->token_in_query);
    out->key = is.key;
    out->nameless = is.no && accept_may_be_nameless(s, r, is.no);
    if (out->nameless)
        return true;
    if (!is.no && rights_take(&out->rights, out->key, &s->claims, s->verifier, &e))
        return true;
    if (!is.no) {
        refuse_request(s, r, 403, e.text);
        return false;
    }
    int status = is.no == REFUSAL_AWAITED ? 503 : 401;
    refuse_unverified(s, r->peer, &is, status);
    refuse_answer(s, r, status,
                  status == 503     ? "the keys that requests are verified with are not there yet"
                  : s->tokens.count ? "a valid token is needed"
                                    : "the request could not be verified");
    return false;
}

/* So many at once, and then so many a second, of one address. */
static bool accept_may_knock(struct websocket_sink *s, const struct http_request *r)
{
    int64_t burst = s->max_listeners_per_ip > KNOCK_BURST ? s->max_listeners_per_ip : KNOCK_BURST;
    const struct bucket_size size = { (double)s->handshake_rate, (double)burst };
    int64_t now = clock_mono_us();
    if (str_eq(r->network, STR("unix")))
        return true;
    struct peer *p = peers_hold(s->sum->peers, PEER_ADDRESS, r->network);
    bool may = peer_take(p, PEER_CONNECTS, &size, now) == 0;
    peer_release(p, now);
    return may;
}

/* Before a browser sends a script's request to another site, it asks whether it may, without a token. */
static void accept_preflight(struct websocket_sink *s, const struct http_request *r)
{
    struct header headers[ACCESS_CORS + 3];
    size_t n = access_cors(http_header(r, "Origin", NULL), s->token_cookie, headers);
    headers[n++] = (struct header){ STR("Access-Control-Allow-Methods"), STR("GET, HEAD, POST, PUT, DELETE") };
    headers[n++] = (struct header){ STR("Access-Control-Allow-Headers"),
                                    STR("Authorization, Content-Type, Last-Event-ID") };
    headers[n++] = (struct header){ STR("Access-Control-Max-Age"), STR("600") };
    http_server_reply(s->server, r->id, 204, headers, n, STR(""));
}

static bool accept_is_post(const struct websocket_sink *s, const struct http_request *r)
{
    return s->publisher.inward && str_eq(r->method, STR("POST"));
}

/* False: the request is answered. */
static bool accept_may_enter(struct websocket_sink *s, const struct http_request *r, struct entry *out)
{
    bool pulls = pull_is_path(s, r->path);
    if (!accept_may_knock(s, r))
        refuse_request(s, r, 429, "too many requests of this address; see option handshake_rate");
    else if (!str_eq(r->path, str_of(s->path)) && !pulls)
        refuse_request(s, r, 404, "there is nothing at this path");
    else if (str_eq(r->method, STR("OPTIONS")) && access_origin_ok(r, &s->origins))
        accept_preflight(s, r);
    else if (!str_eq(r->method, STR("GET")) && !str_eq(r->method, STR("HEAD")) && !pulls && !accept_is_post(s, r))
        refuse_request(s, r, 405,
                       s->publisher.inward ? "listeners come by GET, events by POST" : "listeners come by GET");
    else if (!accept_is_verified(s, r, out))
        return false;
    else if (s->by_browser_alone && !access_host_ok(r, &s->origins))
        refuse_request(
            s, r, 403,
            "this name is none of the listener's; connect by its address or localhost, or see options origins, verify and open");
    else if (!access_origin_ok(r, &s->origins))
        refuse_request(s, r, 403, "scripts of this origin may not listen; see option origins");
    else if (s->draining)
        refuse_request(s, r, 503, "shutting down; come back later");
    else
        return true;
    return false;
}

/* The first that the client offers of those that say what it gets. */
static struct str accept_subprotocol(const struct http_request *r)
{
    static const char *const known[] = { "cloudevents.json", "aqueduct.v1+json", "aqueduct.v1+cbor" };
    struct str rest = http_header(r, "Sec-WebSocket-Protocol", NULL), one;
    while (str_cut(&rest, ',', &one))
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (str_eq(str_trim(one), str_of(known[i])))
                return str_of(known[i]);
    return STR_ABSENT;
}

static bool accept_talks(const struct http_request *r)
{
    return str_eq(r->method, STR("GET")) && access_header_has(r, "Upgrade", STR("websocket"))
           && !access_header_has(r, "Accept", STR("text/event-stream"))
           && str_starts(accept_subprotocol(r), STR("aqueduct.v1+"));
}

/* Whether its frames are deflated, and how. */
static enum ws_window accept_deflate(const struct websocket_sink *s, const struct http_request *r)
{
    return s->deflate ? http_request_deflate(r) : WS_WINDOW_NONE;
}

/* What an event stream begins with; `resume` (may be empty) is what became of the position. Returns how many. */
static size_t accept_stream_headers(const struct websocket_sink *s, const struct http_request *r, struct str resume,
                                    struct header headers[STREAM_HEADERS])
{
    size_t n = 0;
    headers[n++] = (struct header){ STR("Content-Type"), STR("text/event-stream") };
    headers[n++] = (struct header){ STR("Cache-Control"), STR("no-store") };
    headers[n++] = (struct header){ STR("X-Accel-Buffering"), STR("no") };
    if (resume.n)
        headers[n++] = (struct header){ STR("Aqueduct-Resume"), resume };
    return n + access_cors(http_header(r, "Origin", NULL), s->token_cookie, headers + n);
}

/* One that comes in. */
struct arrival {
    const struct http_request *r;
    struct entry in;
    struct subscription subscription; /* zeroed once a cohort has it */
    bool talks;                       /* it speaks aqueduct.v1, and subscribes later */
    struct wish wish;
    enum grant grant;
    struct granted granted;
};

/* The time after which the client shall come back when the stream breaks, and the position that it begins at. */
static void accept_begin_stream(struct websocket_sink *s, const struct arrival *a, const struct cohort *c,
                                struct buf *out)
{
    uint32_t random;
    struct position position = { 0 };
    struct buf cursor = buf_new(CURSOR_TEXT_MAX);
    crypto_random(&random, sizeof random);
    buf_printf(out, "retry: %u\n", RETRY_LEAST_MS + random % (RETRY_MOST_MS - RETRY_LEAST_MS));
    const struct spot *at = a->grant == GRANT_YES ? a->granted.spot : NULL;
    if (at && s->places.settled
        && position_add(&position, &s->places, &c->subscription, at->next, at->count, 0, &cursor))
        buf_printf(out, "id: %.*s\n", STR_ARG(buf_str(&cursor)));
    buf_add_char(out, '\n');
    position_close(&position);
    buf_free(&cursor);
}

/* What the listener gets before any event. */
static void accept_tell(struct websocket_sink *s, const struct arrival *a, const struct cohort *c, struct buf *out)
{
    if (c->subscription.sse)
        accept_begin_stream(s, a, c, out);
    if (a->grant == GRANT_YES && a->wish.start.from != CURSOR_LATEST)
        told_add(out, &c->subscription,
                 &(struct told){ .resume = a->granted.resume, .places = &s->places, .lost = a->granted.lost });
}

/* Begins an event stream. */
static struct http_stream *accept_take_events(struct websocket_sink *s, const struct arrival *a, struct listener *l)
{
    struct header headers[STREAM_HEADERS];
    char text[RESUME_TEXT] = "";
    if (a->grant == GRANT_YES && a->granted.lost_total)
        snprintf(text, sizeof text, "%s; lost=%lld", resume_text(a->granted.resume), (long long)a->granted.lost_total);
    else if (a->grant == GRANT_YES && s->places.log)
        snprintf(text, sizeof text, "%s", resume_text(a->granted.resume));
    return http_server_stream(s->server, a->r, 200, headers, accept_stream_headers(s, a->r, str_of(text), headers), l);
}

/* Gives the seat its place: in the ring, behind, or in doubt. */
static void accept_seat(struct websocket_sink *s, struct arrival *a, struct cohort *c, struct listener *l)
{
    struct buf told = buf_new(TOLD_BYTES + CURSOR_TEXT_MAX);
    accept_tell(s, a, c, &told);
    l->first.slow = (unsigned)a->wish.slow & SEAT_SLOW;
    bool live = a->grant == GRANT_YES && a->wish.start.from == CURSOR_LATEST;
    if (a->grant != GRANT_YES)
        replay_ask(&s->replay, c, &l->first, &a->wish, buf_str(&told));
    else if (!live)
        replay_begin(&s->replay, c, &l->first, spot_ref(a->granted.spot), buf_str(&told));
    else
        cohort_join(c, &l->first);
    /* The stream has no position yet: it gets one as soon as it is known. */
    if (live && c->subscription.sse && !(s->places.key && position_ready(&c->position, &s->places, &c->subscription)))
        c->unplaced += s->places.log != NULL;
    if (a->grant == GRANT_YES && s->places.log)
        replay_note(&s->replay, &a->granted);
    if (live && told.n && http_stream_write(l->stream, told.at, told.n, true) != (long)told.n)
        listener_close(l, 1011, "the first bytes did not go out");
    buf_free(&told);
}

static void accept_leave(struct websocket_sink *s, struct listener *l)
{
    int64_t now = clock_mono_us();
    ticket_drop(&s->tickets, l);
    if (l->user != l->peer)
        peer_leave(l->user, now);
    peer_leave(l->peer, now);
    free(l);
}

/* Its address and user count it; NULL: it is answered. */
static struct listener *accept_enter(struct websocket_sink *s, const struct http_request *r, struct entry *in)
{
    struct peer *peer = peers_enter(s->sum->peers, PEER_ADDRESS, r->network, s->max_listeners_per_ip);
    if (!peer) {
        refuse_request(s, r, 429, "too many listeners of this address; see option max_listeners_per_ip");
        return NULL;
    }
    int64_t most = s->max_listeners_per_user ? s->max_listeners_per_user : INT64_MAX;
    struct peer *user = in->key.at ? peers_enter(s->sum->peers, PEER_USER, in->key, most) : peer;
    if (!user) {
        peer_leave(peer, clock_mono_us());
        refuse_request(s, r, 429, "too many listeners of this user; see option max_listeners_per_user");
        return NULL;
    }
    struct listener *l = mem_alloc(sizeof *l);
    l->peer = peer;
    l->user = user;
    ticket_give(&s->tickets, l, &in->rights);
    return l;
}

/* Takes the connection over. */
static bool accept_take(struct websocket_sink *s, const struct arrival *a, struct listener *l)
{
    const struct http_request *r = a->r;
    l->stream = a->subscription.sse ? accept_take_events(s, a, l)
                                    : http_server_upgrade(s->server, r, accept_subprotocol(r), accept_deflate(s, r), l);
    return l->stream;
}

static void accept_count(struct websocket_sink *s, bool sse, int64_t more)
{
    s->listeners[sse] += more;
    metric_add(s->connected[sse], more);
}

/* Makes the client a listener in the cohort of its subscription; or one that talks, in none. */
static void accept_listen(struct websocket_sink *s, struct arrival *a)
{
    struct err e;
    bool sse = a->subscription.sse;
    struct listener *l = accept_enter(s, a->r, &a->in);
    if (!l)
        return;
    struct cohort *c = a->talks ? NULL : cohorts_get(&s->cohorts, &a->subscription, l, &e);
    if (!c && !a->talks) {
        accept_leave(s, l);
        refuse_request(s, a->r, peers_wants(s->sum->peers) >= s->cohorts.most.all ? 503 : 429, e.text);
        return;
    }
    a->subscription.sse = sse; /* the cohort has the rest */
    if (!accept_take(s, a, l)) {
        accept_leave(s, l);
        return;
    }
    accept_count(s, sse, 1);
    if (c)
        seat_take(&l->first, l);
    refuse_audit(s, l, "listener came", c ? c->subscription.key : "");
    if (c)
        accept_seat(s, a, c, l);
    else
        talk_begin(s, l,
                   &(struct talk_form){ .nameless = a->in.nameless,
                                        .cbor = str_eq(accept_subprotocol(a->r), STR("aqueduct.v1+cbor")),
                                        .deflate = accept_deflate(s, a->r),
                                        .address = a->r->peer });
}

/* May it begin where it wants to? Else it is answered. */
static bool accept_may_begin(struct websocket_sink *s, struct arrival *a)
{
    struct err e;
    bool latest = a->wish.start.from == CURSOR_LATEST;
    if (!latest || a->subscription.sse)
        places_look(&s->places);
    a->grant = wish_grant(&a->wish, &s->places, &a->subscription, &a->granted, &e);
    if (a->grant == GRANT_NO)
        refuse_request(s, a->r, 400, e.text);
    else if (!latest && !replay_has_room(&s->replay))
        refuse_request(s, a->r, 503, "too many listeners catch up with the log; see option max_catching_up");
    else
        return true;
    return false;
}

/* HEAD: what GET would begin with. */
static void accept_show_head(struct websocket_sink *s, const struct http_request *r)
{
    struct header headers[STREAM_HEADERS];
    http_server_reply(s->server, r->id, 200, headers, accept_stream_headers(s, r, STR(""), headers), STR(""));
}

static bool accept_is_secret(const void *ctx, struct str name)
{
    const struct websocket_sink *s = ctx;
    return access_is_secret(&s->verify, s->token_in_query, name);
}

/* What it asks for, within its rights; false: it is answered. */
static bool accept_subscription(struct websocket_sink *s, struct arrival *a)
{
    struct err e;
    const struct http_request *r = a->r;
    struct subscription *wanted = &a->subscription;
    bool sse = access_header_has(r, "Accept", STR("text/event-stream"));
    a->talks = accept_talks(r);
    if (rights_are_over(&a->in.rights, clock_wall_ms()))
        refuse_request(s, r, 401, "the token has expired");
    else if (!sse && !access_header_has(r, "Upgrade", STR("websocket")))
        refuse_request(s, r, 426, "connect by WebSocket, or ask for server-sent events with Accept: text/event-stream");
    else if (!subscription_parse(wanted, r->query, sse, s->base.topics, accept_is_secret, s, &e)
             || !wish_parse(&a->wish, r->query, http_header(r, "Last-Event-ID", NULL), &e))
        refuse_request(s, r, 400, e.text);
    else if (a->talks && (wanted->topics.count || wanted->filter || a->wish.start.from != CURSOR_LATEST))
        refuse_request(
            s, r, 400,
            "with aqueduct.v1 it is op sub that asks for topics and filters, not the URL, and events come live");
    else if (!a->talks && rights_narrow(&a->in.rights, wanted, s->base.topics, &e))
        refuse_request(s, r, 403, e.text);
    else
        return true;
    return false;
}

static void accept_request(struct websocket_sink *s, struct arrival *a)
{
    const struct http_request *r = a->r;
    if (page_answer(s, r) || !accept_may_enter(s, r, &a->in))
        return;
    if (pull_is_path(s, r->path))
        pull_request(s, r, &a->in.rights);
    else if (str_eq(r->method, STR("POST")))
        talk_post(s, r, a->in.key, &a->in.rights);
    else if (!accept_subscription(s, a))
        return;
    else if (a->subscription.sse && str_eq(r->method, STR("HEAD")))
        accept_show_head(s, r);
    else if (accept_may_begin(s, a)) {
        subscription_encode(&a->subscription, false, a->subscription.sse ? WS_WINDOW_NONE : accept_deflate(s, r));
        accept_listen(s, a);
    }
}

static void accept_on_request(void *ctx, const struct http_request *r)
{
    struct arrival a = { .r = r, .in = { .key = STR_ABSENT } };
    accept_request(ctx, &a);
    subscription_free(&a.subscription);
    wish_free(&a.wish);
    granted_free(&a.granted);
    rights_free(&a.in.rights);
}

/* ---- and go ---- */

static void accept_on_closed(void *ctx, struct http_stream *st)
{
    struct websocket_sink *s = ctx;
    struct listener *l = http_stream_user(st);
    bool sse = !http_stream_is_websocket(st);
    accept_count(s, sse, -1);
    if (!l->sent_away)
        metric_add(s->gone, 1);
    refuse_audit(s, l, "listener went", l->sent_away ? "sent away" : "gone");
    listener_leave(l);
    talk_end(s, l);
    publish_forget(&s->publisher, l);
    accept_leave(s, l);
}

static void accept_on_writable(void *ctx, struct http_stream *st)
{
    (void)ctx;
    talk_writable(http_stream_user(st));
}

static void accept_on_message(void *ctx, struct http_stream *st, bool text, struct str payload)
{
    talk_message(ctx, http_stream_user(st), text, payload);
}

struct http_events accept_events(struct websocket_sink *s)
{
    return (struct http_events){ .request = accept_on_request,
                                 .message = accept_on_message,
                                 .writable = accept_on_writable,
                                 .closed = accept_on_closed,
                                 .ctx = s };
}
