/* SPDX-License-Identifier: MIT */
/* The sink `websocket`: every listener sees the events of its topics live, as WebSocket messages or server-sent events.
 *
 *   send(): JSON once per event, a frame once per format, appended once per cohort that wants it
 *   work(): each cohort with news is flushed, one write per listener: at once after silence, every few ms under load
 *
 * What was sent while nobody listened is not kept, and a listener that is a whole buffer behind is closed. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/connector.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/net/ws.h"
#include "connectors/websocket/access.h"
#include "connectors/websocket/cohort.h"

enum {
    TICK_US = 2000,           /* under load, listeners are served this often */
    HEARTBEAT_MS = 20 * 1000, /* a comment for quiet event streams, so that proxies keep them */
    RETRY_LEAST_MS = 3000,
    RETRY_MOST_MS = 8000, /* when an event stream comes back, so that not all do at once */
    DRAIN_STEP_MS = 50,
};

struct websocket_sink {
    struct sink base;
    struct http_server_options server_options;
    char *path;
    struct secrets tokens;
    bool open, token_in_query;
    struct strings origins;
    int64_t max_listeners_per_ip, max_subscriptions;
    struct bytes buffer, max_buffered;
    /* from here on: not options */
    struct http_server *server;
    struct cohort *cohorts;
    size_t cohort_count;
    size_t held; /* bytes in the cohorts' rings */
    struct peers peers;
    struct buf frame, block; /* of the event at hand, for WebSocket and for event streams */
    int64_t flushed_us, heartbeat_ms;
    struct tally tally;
    struct log_limit log_limit;
    int64_t listeners[2]; /* WebSocket, event streams */
    struct metric *connected[2], *events, *bytes, *too_long, *gone, *slow, *drained;
    bool draining;
    bool by_browser_alone; /* no tokens: only a browser's rules keep others' sites from a local address */
};

static const struct option websocket_options[] = {
    HTTP_ROW_LISTEN(struct websocket_sink, "8081"),
    HTTP_ROWS_TLS(struct websocket_sink, "wss and https"),
    OPTION(struct websocket_sink, path, .fallback = "/",
           .doc = "Path for WebSocket and, with Accept: text/event-stream, server-sent events."),
    OPTION(struct websocket_sink, tokens,
           .doc = "Bearer tokens of listeners; none: everybody may listen, which needs a local address or open."),
    OPTION(struct websocket_sink, open, .fallback = "false",
           .doc = "Really let everybody listen on an address that others can reach."),
    OPTION(struct websocket_sink, token_in_query, .fallback = "false",
           .doc = "Also take the token from the URL (?token=), where others may log it."),
    OPTION(
        struct websocket_sink, origins,
        .doc =
            "Sites whose scripts may connect (https://app.example.com, or *); the listener's own host always may. Without tokens or open, a TCP listener is also reached only by an address, localhost or these sites' host names."),
    HTTP_ROW_AS(struct websocket_sink, "max_listeners", max_connections, HTTP_DEFAULT_TEXT(max_connections)),
    OPTION(struct websocket_sink, max_listeners_per_ip, .fallback = "1000", .min = 1, .max = 1000000,
           .doc = "Most listeners of one address; beyond: 429."),
    OPTION(
        struct websocket_sink, max_subscriptions, .fallback = "256", .min = 1, .max = 100000,
        .doc =
            "Most different subscriptions (topics, filter, format) at a time; beyond: 503. Each may hold `buffer` bytes, all together `max_buffered`."),
    OPTION(struct websocket_sink, buffer, .fallback = "4MiB", .min = 4096, .max = 1 << 30,
           .doc = "How far a listener may lag behind before it is closed as too slow; also the longest event."),
    OPTION(
        struct websocket_sink, max_buffered, .fallback = "32MiB", .min = 4096, .max = (int64_t)1 << 40,
        .doc =
            "Most bytes kept for lagging listeners of all subscriptions together; beyond, the laggards of the fullest subscription are closed as too slow."),
    HTTP_ROW_OF(struct websocket_sink, "max_message", max_message, .fallback = "4KiB", .min = 125, .max = 1 << 20,
                .doc = "Longest message of a listener; messages are ignored."),
    HTTP_ROW_OF(struct websocket_sink, "ping", ping, .fallback = "30s", .max = 86400000,
                .doc = "A WebSocket listener is pinged after this much silence; 0: never."),
    HTTP_ROW_OF(struct websocket_sink, "idle", stream_idle, .fallback = "30m", .max = 86400000,
                .doc = "A WebSocket listener that is silent for this long, pongs included, is closed; 0: never."),
    HTTP_ROW_AS(struct websocket_sink, "max_head", max_head, "16KiB"),
    HTTP_ROW(struct websocket_sink, head_timeout),
    { 0 },
};

/* ---- listeners come ---- */

static void refuse(struct websocket_sink *s, const struct http_request *r, int status, const char *detail)
{
    struct buf body = buf_new(4096);
    buf_printf(&body, "{\"title\":\"%s\",\"status\":%d,\"detail\":", http_status_text(status), status);
    jscan_add_string(&body, str_of(detail));
    buf_add_char(&body, '}');
    struct header headers[2] = { { STR("Content-Type"), STR("application/problem+json") } };
    size_t n = 1;
    if (status == 401)
        headers[n++] = (struct header){ STR("WWW-Authenticate"), STR("Bearer") };
    if (status == 405)
        headers[n++] = (struct header){ STR("Allow"), STR("GET") };
    if (status == 426)
        headers[n++] = (struct header){ STR("Upgrade"), STR("websocket") };
    if (status == 429 || status == 503)
        headers[n++] = (struct header){ STR("Retry-After"), STR("10") };
    int64_t left_out;
    bool say = log_limit_pass(&s->log_limit, &left_out);
    if (left_out)
        LOG(INFO, "more listeners refused", LOG_C("sink", s->base.id), LOG_INT("lines_left_out", left_out));
    if (say)
        LOG(INFO, "listener refused", LOG_C("sink", s->base.id), LOG_STR("peer", r->peer), LOG_INT("status", status),
            LOG_C("why", detail));
    http_server_reply(s->server, r->id, status, headers, n, buf_str(&body));
    buf_free(&body);
}

static bool header_has(const struct http_request *r, const char *name, struct str word)
{
    struct str rest = http_header(r, name, NULL), one;
    while (str_cut(&rest, ',', &one)) {
        struct str bare;
        str_cut(&one, ';', &bare);
        if (str_eq_nocase(str_trim(bare), word))
            return true;
    }
    return false;
}

static bool may_listen(struct websocket_sink *s, const struct http_request *r)
{
    if (!str_eq(r->path, str_of(s->path)))
        refuse(s, r, 404, "there is nothing at this path");
    else if (!str_eq(r->method, STR("GET")))
        refuse(s, r, 405, "listeners come by GET");
    else if (s->tokens.count && !access_token_ok(r, &s->tokens, s->token_in_query))
        refuse(s, r, 401, "a valid token is needed");
    else if (s->by_browser_alone && !access_host_ok(r, &s->origins))
        refuse(
            s, r, 403,
            "this name is none of the listener's; connect by its address or localhost, or see options origins, tokens and open");
    else if (!access_origin_ok(r, &s->origins))
        refuse(s, r, 403, "scripts of this origin may not listen; see option origins");
    else if (s->draining)
        refuse(s, r, 503, "shutting down; come back later");
    else
        return true;
    return false;
}

static struct cohort *cohort_of(struct websocket_sink *s, struct subscription *wanted, struct err *e)
{
    for (struct cohort *c = s->cohorts; c; c = c->next)
        if (strcmp(c->subscription.key, wanted->key) == 0)
            return c;
    if (s->cohort_count >= (size_t)s->max_subscriptions) {
        err_set(e, "too many different subscriptions; see option max_subscriptions");
        return NULL;
    }
    struct cohort *c = cohort_new(wanted, (size_t)s->buffer.n, &s->held, &s->tally, e);
    if (!c)
        return NULL;
    c->next = s->cohorts;
    s->cohorts = c;
    s->cohort_count++;
    return c;
}

static struct http_stream *take_websocket(struct websocket_sink *s, const struct http_request *r, struct listener *l)
{
    struct str protocol = STR("aqueduct.v1+json");
    return http_server_upgrade(s->server, r, header_has(r, "Sec-WebSocket-Protocol", protocol) ? protocol : STR_ABSENT,
                               l);
}

static struct http_stream *take_event_stream(struct websocket_sink *s, const struct http_request *r, struct listener *l)
{
    struct header headers[6] = {
        { STR("Content-Type"), STR("text/event-stream") },
        { STR("Cache-Control"), STR("no-store") },
        { STR("X-Accel-Buffering"), STR("no") },
    };
    size_t n = 3;
    struct str origin = http_header(r, "Origin", NULL);
    if (origin.n) { /* it was checked */
        headers[n++] = (struct header){ STR("Access-Control-Allow-Origin"), origin };
        headers[n++] = (struct header){ STR("Vary"), STR("Origin") };
    }
    struct http_stream *st = http_server_stream(s->server, r, 200, headers, n, l);
    if (!st)
        return NULL;
    uint32_t random;
    crypto_random(&random, sizeof random);
    char retry[32];
    int length = snprintf(retry, sizeof retry, "retry: %u\n\n",
                          RETRY_LEAST_MS + random % (RETRY_MOST_MS - RETRY_LEAST_MS));
    if (http_stream_write(st, retry, (size_t)length, true) != length)
        http_stream_close(st, 1011, "the first bytes did not go out");
    return st;
}

static void listen_in(struct websocket_sink *s, const struct http_request *r, struct subscription *wanted)
{
    struct err e;
    bool sse = wanted->sse;
    struct peer *peer = peers_enter(&s->peers, r->peer, s->max_listeners_per_ip);
    if (!peer) {
        refuse(s, r, 429, "too many listeners of this address; see option max_listeners_per_ip");
        return;
    }
    struct cohort *c = cohort_of(s, wanted, &e);
    if (!c) {
        peers_leave(&s->peers, peer);
        refuse(s, r, 503, e.text);
        return;
    }
    struct listener *l = mem_alloc(sizeof *l);
    l->peer = peer;
    cohort_join(c, l);
    metric_set(s->connected[sse], ++s->listeners[sse]);
    l->stream = sse ? take_event_stream(s, r, l) : take_websocket(s, r, l);
    if (l->stream)
        return;
    metric_set(s->connected[sse], --s->listeners[sse]);
    cohort_leave(l);
    peers_leave(&s->peers, peer);
    free(l);
}

static void on_request(void *ctx, const struct http_request *r)
{
    struct websocket_sink *s = ctx;
    struct subscription wanted;
    struct err e;
    if (!may_listen(s, r))
        return;
    bool sse = header_has(r, "Accept", STR("text/event-stream"));
    if (!sse && !header_has(r, "Upgrade", STR("websocket")))
        refuse(s, r, 426, "connect by WebSocket, or ask for server-sent events with Accept: text/event-stream");
    else if (!subscription_parse(&wanted, r->query, sse, s->base.topics, s->token_in_query, &e))
        refuse(s, r, 400, e.text);
    else {
        listen_in(s, r, &wanted);
        subscription_free(&wanted);
    }
}

/* ---- and go ---- */

static void on_closed(void *ctx, struct http_stream *st)
{
    struct websocket_sink *s = ctx;
    struct listener *l = http_stream_user(st);
    bool sse = !http_stream_is_websocket(st);
    metric_set(s->connected[sse], --s->listeners[sse]);
    if (!l->sent_away)
        metric_add(s->gone, 1);
    cohort_leave(l);
    peers_leave(&s->peers, l->peer);
    free(l);
}

static void on_writable(void *ctx, struct http_stream *st)
{
    (void)ctx;
    cohort_writable(http_stream_user(st));
}

/* Listeners have nothing to say yet. */
static void on_message(void *ctx, struct http_stream *st, bool text, struct str payload)
{
    (void)ctx;
    (void)st;
    (void)text;
    (void)payload;
}

static void free_empty_cohorts(struct websocket_sink *s)
{
    for (struct cohort **at = &s->cohorts; *at;) {
        struct cohort *c = *at;
        if (c->count) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        s->cohort_count--;
        cohort_free(c);
    }
}

/* ---- events go out ---- */

/* A text frame with the event's JSON; the head is written backwards from where the JSON begins. */
static struct str build_frame(struct websocket_sink *s, const struct event *ev)
{
    unsigned char head[WS_HEAD] = { 0 };
    buf_reset(&s->frame);
    buf_add(&s->frame, head, WS_HEAD);
    event_to_json(ev, &s->frame);
    if (s->frame.failed)
        return STR_ABSENT;
    size_t n = ws_head(head, WS_TEXT, s->frame.n - WS_HEAD);
    char *at = s->frame.at + WS_HEAD - n;
    memcpy(at, head, n);
    return (struct str){ at, s->frame.n - WS_HEAD + n };
}

static void add_data_lines(struct buf *out, struct str json)
{
    while (json.n) { /* JSON may contain line breaks, between its values */
        size_t n = 0;
        while (n < json.n && json.at[n] != '\n' && json.at[n] != '\r')
            n++;
        buf_add_c(out, "data: ");
        buf_add(out, json.at, n);
        buf_add_char(out, '\n');
        if (n + 1 < json.n && json.at[n] == '\r' && json.at[n + 1] == '\n')
            n++;
        n += n < json.n;
        json = (struct str){ json.at + n, json.n - n };
    }
}

static struct str build_block(struct websocket_sink *s, const struct message *m, struct str json)
{
    struct buf *b = &s->block;
    buf_reset(b);
    buf_add_c(b, "id: ");
    buf_add_str(b, m->record->topic);
    buf_printf(b, "/%d@%lld\nevent: ", m->record->partition, (long long)m->record->offset);
    buf_add_str(b, m->event->type);
    buf_add_char(b, '\n');
    add_data_lines(b, json);
    buf_add_char(b, '\n');
    return b->failed ? STR_ABSENT : buf_str(b);
}

/* Keeps all rings together within their bound: first everybody gets what can be sent and memory that nobody waits
 * for goes back; if that is not enough, those who lag behind in the subscription that lags most have to go. */
static void relieve(struct websocket_sink *s)
{
    while (s->held > (size_t)s->max_buffered.n) {
        struct cohort *last = s->cohorts;
        size_t most = 0;
        for (struct cohort *c = s->cohorts; c; c = c->next) {
            size_t lag = cohort_trim(c);
            last = lag > most ? c : last;
            most = lag > most ? lag : most;
        }
        if (s->held > (size_t)s->max_buffered.n)
            cohort_relieve(last);
    }
}

static void websocket_send(struct sink *base, const struct message *m)
{
    struct websocket_sink *s = (struct websocket_sink *)base;
    struct str wire[2] = { STR_ABSENT, STR_ABSENT }; /* frame, block */
    bool built = false, too_long = false;
    for (struct cohort *c = s->cohorts; c; c = c->next) {
        bool sse = c->subscription.sse;
        if (!subscription_match(&c->subscription, m->record->topic, m->event))
            continue;
        if (!built)
            wire[0] = build_frame(s, m->event);
        built = true;
        if (sse && !wire[1].at && wire[0].at)
            wire[1] = build_block(s, m, (struct str){ s->frame.at + WS_HEAD, s->frame.n - WS_HEAD });
        too_long |= !wire[sse].at || !cohort_add(c, wire[sse]);
        relieve(s);
    }
    if (!too_long)
        return;
    metric_add(s->too_long, 1);
    LOG(WARN, "event is longer than the listeners' buffer", LOG_C("sink", base->id), LOG_STR("event", m->event->id),
        LOG_INT("bytes", m->event->data.n));
}

/* Serves everybody when it is time; returns how many ms until it will be, -1: nothing waits. */
static int64_t flush(struct websocket_sink *s, bool now)
{
    bool dirty = false;
    for (struct cohort *c = s->cohorts; c && !dirty; c = c->next)
        dirty = c->dirty;
    if (!dirty)
        return -1;
    int64_t us = clock_mono_us(), left = s->flushed_us + TICK_US - us;
    if (left > 0 && !now)
        return (left + 999) / 1000;
    s->flushed_us = us;
    for (struct cohort *c = s->cohorts; c; c = c->next)
        if (c->dirty)
            cohort_flush(c);
    return -1;
}

/* Quiet event streams get a comment, like an event through the ring, so it never falls into the middle of one. */
static void heartbeat(struct websocket_sink *s)
{
    int64_t now = clock_mono_ms();
    if (now - s->heartbeat_ms < 1000)
        return;
    s->heartbeat_ms = now;
    for (struct cohort *c = s->cohorts; c; c = c->next)
        if (c->subscription.sse && now - c->added_ms >= HEARTBEAT_MS)
            cohort_comment(c, STR(":\n\n"));
}

static void count(struct websocket_sink *s)
{
    const struct tally t = s->tally;
    s->tally = (struct tally){ 0 };
    metric_add(s->events, t.frames);
    metric_add(s->bytes, t.bytes);
    if (t.slow == 0)
        return;
    metric_add(s->slow, t.slow);
    LOG(INFO, "listeners were too slow and are closed", LOG_C("sink", s->base.id), LOG_INT("count", t.slow));
}

static size_t websocket_work(struct sink *base, int wake_fd, struct duration wait, struct result *out, size_t room)
{
    struct websocket_sink *s = (struct websocket_sink *)base;
    (void)out;
    (void)room;
    int64_t ms = flush(s, false);
    if (ms < 0 || ms > wait.ms)
        ms = wait.ms;
    if (s->listeners[true] && ms > HEARTBEAT_MS / 4)
        ms = HEARTBEAT_MS / 4;
    http_server_run(s->server, wake_fd, (int)ms);
    heartbeat(s);
    flush(s, false);
    free_empty_cohorts(s);
    count(s);
    return 0;
}

/* ---- start and end ---- */

static void websocket_drain(struct sink *base, struct duration limit)
{
    struct websocket_sink *s = (struct websocket_sink *)base;
    int64_t end = clock_mono_ms() + limit.ms;
    s->draining = true;
    http_server_stop_accepting(s->server);
    flush(s, true);
    for (struct cohort *c = s->cohorts; c; c = c->next)
        while (c->count) {
            listener_close(c->listeners[c->count - 1], 1012, "restarting");
            metric_add(s->drained, 1);
        }
    while (http_server_connections(s->server) && clock_mono_ms() < end)
        http_server_run(s->server, -1, DRAIN_STEP_MS);
    count(s);
}

static void websocket_close(struct sink *base)
{
    struct websocket_sink *s = (struct websocket_sink *)base;
    http_server_free(s->server); /* closed() takes every listener out of its cohort */
    s->server = NULL;
    free_empty_cohorts(s);
    buf_free(&s->frame);
    buf_free(&s->block);
}

static void open_metrics(struct websocket_sink *s)
{
    const char *id = s->base.id;
    static const char *const kinds[] = { "websocket", "sse" };
    for (int i = 0; i < 2; i++)
        s->connected[i] = metric_gauge("aqueduct_listeners", "Connected listeners",
                                       LABELS("sink", id, "kind", kinds[i]));
    s->events = metric_counter("aqueduct_listener_events_total", "Events handed to listeners, once per listener",
                               LABELS("sink", id));
    s->bytes = metric_counter("aqueduct_listener_bytes_total", "Bytes of such events", LABELS("sink", id));
    s->too_long = metric_counter("aqueduct_listener_events_too_long_total",
                                 "Events longer than the buffer, which no listener got", LABELS("sink", id));
    const char *closed = "aqueduct_listeners_closed_total", *help = "Listeners that ended, by reason";
    s->gone = metric_counter(closed, help, LABELS("sink", id, "reason", "gone"));
    s->slow = metric_counter(closed, help, LABELS("sink", id, "reason", "slow"));
    s->drained = metric_counter(closed, help, LABELS("sink", id, "reason", "drain"));
}

static bool websocket_check(const struct sink *base, struct err *e)
{
    const struct websocket_sink *s = (const struct websocket_sink *)base;
    if (!s->path || s->path[0] != '/')
        return err_set(e, "path must begin with /");
    for (size_t i = 0; i < s->tokens.count; i++)
        if (!s->tokens.at[i].text || !*s->tokens.at[i].text)
            return err_set(e, "tokens: one is empty, it would let everybody in");
    if (s->max_buffered.n < s->buffer.n)
        return err_set(
            e,
            "max_buffered is less than buffer, so that no listener could ever lag that far; raise it to at least that");
    if (s->tokens.count == 0 && !s->open && !access_is_local(s->server_options.listen))
        return err_set(e, "listen: %.100s can be reached by others, so give tokens, or say open: true",
                       s->server_options.listen);
    if (s->tokens.count && s->open)
        return err_set(e, "open: true and tokens contradict each other");
    return true;
}

static bool websocket_open(struct sink *base, struct err *e)
{
    struct websocket_sink *s = (struct websocket_sink *)base;
    if (!websocket_check(base, e))
        return false;
    struct http_events events = {
        .request = on_request, .message = on_message, .writable = on_writable, .closed = on_closed, .ctx = s
    };
    s->server_options.body_timeout = s->server_options.idle_timeout = s->server_options.head_timeout;
    s->server = http_server_new(&s->server_options, &events, e);
    if (!s->server)
        return false;
    s->frame = buf_new((size_t)s->buffer.n + WS_HEAD);
    s->block = buf_new((size_t)s->buffer.n);
    s->by_browser_alone = s->tokens.count == 0 && !s->open
                          && !str_starts(str_of(s->server_options.listen), STR("unix:"));
    open_metrics(s);
    LOG(INFO, "listening", LOG_C("sink", base->id), LOG_C("address", s->server_options.listen),
        LOG_INT("port", http_server_port(s->server)));
    return true;
}

const struct sink_ops websocket_sink = {
    .type = "websocket",
    .doc = "Shows events live to WebSocket and server-sent-events listeners.",
    .size = sizeof(struct websocket_sink),
    .options = websocket_options,
    .broadcast = true,
    .check = websocket_check,
    .open = websocket_open,
    .send = websocket_send,
    .work = websocket_work,
    .drain = websocket_drain,
    .close = websocket_close,
};
