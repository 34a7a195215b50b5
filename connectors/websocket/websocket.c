/* SPDX-License-Identifier: MIT */
/* The sink `websocket`: every listener sees the events of its topics, live or from a position in the log on, as WebSocket
 * messages or server-sent events.
 *
 *   send(): JSON once per event, a frame once per format, appended once per cohort that wants it
 *   work(): each cohort with news is flushed, one write per listener, when it is time (pace.h); who is behind is fed from
 *           the log */
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/net/listen.h"
#include "connectors/websocket/private.h"
#include "connectors/websocket/told.h"

METRIC_GAUGE(aqueduct_listeners, "Connected listeners.", "sink", "kind");
METRIC_COUNTER(aqueduct_listeners_closed_total, "Listeners that ended, by reason.", "sink", "reason");
METRIC_COUNTER(aqueduct_listener_events_total, "Events handed to listeners, once per listener.", "sink");
METRIC_COUNTER(aqueduct_listener_bytes_total, "Bytes of events handed to listeners.", "sink");
METRIC_COUNTER(aqueduct_listener_events_too_long_total, "Events longer than the buffer, which no listener got.",
               "sink");

METRIC_HISTOGRAM(aqueduct_listener_seconds,
                 "From storing an event to writing it to live listeners, the oldest of each write.", "sink");
METRIC_GAUGE(aqueduct_listeners_catching_up, "Subscriptions of listeners that are fed from the log.", "sink");
METRIC_GAUGE(aqueduct_replay_bytes, "Memory held for listeners that are fed from the log.", "sink");
METRIC_COUNTER(
    aqueduct_listener_resumes_total,
    "Listeners that came, by what became of their position: exact, gap, reset, new; and skipped, by slow ones.", "sink",
    "verdict");
METRIC_COUNTER(aqueduct_listener_records_lost_total,
               "Records that were gone from the log when a listener came back for them.", "sink");

enum {
    SSE_LONGEST_WAIT_MS = 5000, /* with event streams, so that heartbeats are in time */
    DRAIN_STEP_MS = 50,
    SWEEP_MS = 1000,
    HELD_BYTES = 32 << 20, /* of incomplete requests */
};

static const struct option websocket_options[] = {
    HTTP_ROW_LISTEN(struct websocket_sink, "8081"),
    HTTP_ROWS_TLS(struct websocket_sink, "wss and https"),
    HTTP_ROWS_PROXIES(struct websocket_sink),
    OPTION(struct websocket_sink, path, .fallback = "/",
           .doc = "Path for WebSocket and, with Accept: text/event-stream, server-sent events."),
    OPTION(
        struct websocket_sink, tokens, .of = named_secret_rows,
        .doc =
            "Bearer tokens of listeners, of at least 16 characters; without these and `verify` everybody may listen, which needs a local address or open."),
    { .key = "verify",
      .type = OPT_GROUP,
      .offset = offsetof(struct websocket_sink, verify_options),
      .of = verify_head_rows,
      .doc = "Who may listen, by other schemes than tokens, or by several of them." },
    OPTION(struct websocket_sink, open, .fallback = "false",
           .doc = "Really let everybody listen on an address that others can reach."),
    OPTION(struct websocket_sink, page, .fallback = "false",
           .doc =
               "Show a page with the live events to browsers that open the path; whoever sees it still needs a token."),
    OPTION(struct websocket_sink, token_in_query, .fallback = "false",
           .doc = "Also take the token from the URL (?token=), where others may log it."),
    OPTION(
        struct websocket_sink, token_cookie,
        .doc =
            "Also take the token from the cookie of this name; scripts of the listener's own host and of `origins` alone may then connect."),
    OPTION_GROUP(struct websocket_sink, claims, claims_rows,
                 .doc = "Which claims of JSON Web Tokens limit what their listeners see and publish."),
    OPTION(struct websocket_sink, audit, .fallback = "false",
           .doc = "Log each listener that comes, subscribes, is refused or goes, however many there are."),
    OPTION(
        struct websocket_sink, origins,
        .doc =
            "Sites whose scripts may connect (https://app.example.com, or *); the listener's own host always may. Where nobody shows who it is and open is not set, a TCP listener is also reached only by an address, localhost or these sites' host names."),
    HTTP_ROW_AS(struct websocket_sink, "max_listeners", max_connections, HTTP_DEFAULT_TEXT(max_connections)),
    OPTION(struct websocket_sink, max_listeners_per_ip, .fallback = "1000", .min = 1, .max = 1000000,
           .doc = "Most listeners of one address (IPv6: one /64); beyond: 429. Unix sockets have no such limit."),
    OPTION(
        struct websocket_sink, handshake_rate, .fallback = "200", .max = 1000000,
        .doc =
            "Most requests a second of one address (IPv6: one /64), once it has had 1000, or max_listeners_per_ip, of them at once; beyond: 429. 0: no limit. Unix sockets have none."),
    OPTION(
        struct websocket_sink, max_subscriptions, .fallback = "1000", .min = 1, .max = 100000,
        .doc =
            "Most different subscriptions (topics, filter, format) at a time; beyond: 503. Each may hold `buffer` bytes, all together `max_buffered`."),
    OPTION(
        struct websocket_sink, max_subscriptions_per_ip, .fallback = "256", .max = 100000,
        .doc =
            "Most of these that one address (IPv6: one /64) was the first to ask for; beyond: 429. 0: no limit. Unix sockets have no such limit."),
    OPTION(struct websocket_sink, max_subscriptions_per_user, .fallback = "0", .max = 100000,
           .doc = "The same of one user (whose token it is; who share a token are one). 0: no limit."),
    OPTION(struct websocket_sink, max_listeners_per_user, .fallback = "0", .max = 1000000,
           .doc = "Most listeners of one user; beyond: 429. 0: no limit."),
    OPTION(struct websocket_sink, max_subscriptions_per_listener, .fallback = "64", .min = 1, .max = 10000,
           .doc = "Most subscriptions of one connection, with the subprotocol aqueduct.v1+json."),
    OPTION(struct websocket_sink, buffer, .fallback = "4MiB", .min = 4096, .max = 1 << 30,
           .doc = "How far a listener may lag behind before it is fed from the log instead; also the longest event."),
    OPTION(
        struct websocket_sink, max_buffered, .fallback = "32MiB", .min = 4096, .max = (int64_t)1 << 40,
        .doc =
            "Most bytes kept for lagging listeners of all subscriptions together; beyond, the laggards of the fullest subscription are fed from the log instead."),
    OPTION(struct websocket_sink, replay_bytes, .fallback = "64MiB", .min = 1 << 17, .max = (int64_t)1 << 40,
           .doc = "Most bytes kept for listeners that are fed from the log, all together; beyond, they wait."),
    OPTION(struct websocket_sink, max_catching_up, .fallback = "20000", .min = 1, .max = 10000000,
           .doc = "Most listeners that are fed from the log at a time; beyond: 503, or closed as too slow."),
    OPTION(struct websocket_sink, stall, .fallback = "30s", .max = 86400000,
           .doc = "A listener that takes nothing of what waits for it for this long is closed; 0: never."),
    { .key = "publish",
      .type = OPT_GROUP,
      .offset = offsetof(struct websocket_sink, publisher.o),
      .of = publish_rows,
      .doc = "What listeners may publish: by WebSocket, or by POST to `path`." },
    HTTP_ROW_OF(struct websocket_sink, "max_message", max_message, .fallback = "64KiB", .min = 125, .max = 1 << 20,
                .doc = "Longest message of a listener, and so longest event that it publishes."),
    OPTION(
        struct websocket_sink, deflate, .fallback = "true",
        .doc =
            "Deflate events for WebSocket listeners that offer it (permessage-deflate, as browsers do), once for all of them; fewer bytes for some CPU."),
    HTTP_ROW_OF(struct websocket_sink, "ping", ping, .fallback = "30s", .max = 86400000,
                .doc = "A WebSocket listener is pinged after this much silence; 0: never."),
    HTTP_ROW_OF(struct websocket_sink, "idle", stream_idle, .fallback = "30m", .max = 86400000,
                .doc = "A WebSocket listener that is silent for this long, pongs included, is closed; 0: never."),
    HTTP_ROW_AS(struct websocket_sink, "max_head", max_head, "16KiB"),
    HTTP_ROW(struct websocket_sink, head_timeout),
    { 0 },
};

/* ---- events go out ---- */

/* An event on its way to the cohorts that want it. */
struct offer {
    struct websocket_sink *s;
    const struct message *m;
    uint32_t place;
    bool built, too_long;
};

/* The cohort's position after that record, if it goes out with it. */
static struct str websocket_position(struct offer *o, struct cohort *c)
{
    struct websocket_sink *s = o->s;
    const struct record *r = o->m->record;
    buf_reset(&s->cursor);
    if (o->place == PLACE_NONE || !position_on_each(&s->places, &c->subscription))
        return STR("");
    int64_t *now = &s->places.at[o->place].now, before = *now;
    *now = r->offset + 1;
    position_add(&c->position, &s->places, &c->subscription, NULL, 0, r->stored_ms, &s->cursor);
    *now = before; /* until all cohorts have it */
    return buf_str(&s->cursor);
}

static void websocket_offer(void *ctx, struct cohort *c)
{
    struct offer *o = ctx;
    struct wire wire;
    struct str cursor = websocket_position(o, c);
    o->built = true;
    if (!frames_wire(&o->s->frames, &c->subscription, cursor, &wire)
        || !cohort_add(c, &wire, o->place, o->m->record->offset))
        o->too_long = true;
    if (!c->oldest_ms)
        c->oldest_ms = o->m->record->timestamp_ms;
    c->unplaced = cursor.n ? 0 : c->unplaced + 1;
    cohorts_relieve(&o->s->cohorts);
}

static void websocket_tell_reset(struct websocket_sink *s, struct cohort *c)
{
    struct buf out = buf_new(TOLD_BYTES);
    told_add(&out, &c->subscription, &(struct told){ .resume = RESUME_RESET, .places = &s->places });
    if (out.n && !out.failed)
        cohort_comment(c, buf_str(&out));
    buf_free(&out);
}

/* Those who hear of a topic that was made anew are told so before they hear what it has. Who is behind is told there. */
static void websocket_tell_anew(struct websocket_sink *s)
{
    struct places *p = &s->places;
    for (uint32_t i = 0; p->anew && i < p->count; i++) {
        for (struct cohort *c = p->at[i].anew ? s->cohorts.first : NULL; c; c = c->next)
            if ((c->count || c->awaited) && subscription_has_topic(&c->subscription, str_of(p->at[i].topic)))
                websocket_tell_reset(s, c);
        p->at[i].anew = false;
    }
    p->anew = false;
}

static void websocket_send(struct sink *base, const struct message *m)
{
    struct websocket_sink *s = (struct websocket_sink *)base;
    struct offer o = { .s = s, .m = m, .place = places_find(&s->places, m->record->topic, m->record->partition) };
    s->pull.sent++;
    places_sends(&s->places, o.place, m->record->offset);
    websocket_tell_anew(s);
    frames_begin(&s->frames, m->event);
    cohorts_find(&s->cohorts, m, websocket_offer, &o);
    places_sent(&s->places, o.place, m->record->offset);
    if (o.built)
        pace_add(&s->cohorts.pace, clock_mono_us(), frames_bytes(&s->frames));
    if (!o.too_long)
        return;
    metric_add(s->too_long, 1);
    LOG(WARN, "event is longer than the listeners' buffer", LOG_C("sink", base->id), LOG_STR("event", m->event->id),
        LOG_INT("bytes", m->event->data.n));
}

/* Adds what happened since the last call to the metrics. */
static void websocket_count(struct websocket_sink *s)
{
    const struct tally t = s->cohorts.tally;
    s->cohorts.tally = (struct tally){ 0 };
    metric_add(s->events, t.frames);
    metric_add(s->bytes, t.bytes);
    metric_add(s->stalled, t.stalled);
    if (t.slow == 0)
        return;
    metric_add(s->slow, t.slow);
    LOG(INFO, "listeners were too slow and are closed", LOG_C("sink", s->base.id), LOG_INT("count", t.slow));
}

/* Forgets who has left and may publish as much as anybody. */
static void websocket_sweep(struct websocket_sink *s)
{
    int64_t now = clock_mono_ms();
    if (now - s->swept_ms < SWEEP_MS)
        return;
    s->swept_ms = now;
    talk_turn(s);
    if (!s->base.first)
        peers_sweep(s->sum->peers, now * 1000);
}

/* Closes listeners that take nothing of what waits for them, and gives memory back. */
static void websocket_every_second(struct websocket_sink *s)
{
    int64_t now = clock_mono_ms();
    if (now - s->second_ms < 1000)
        return;
    s->second_ms = now;
    uint32_t now_s = (uint32_t)(now / 1000), stall_s = (uint32_t)((s->stall.ms + 999) / 1000);
    for (struct cohort *c = s->cohorts.first; c && stall_s; c = c->next)
        cohort_close_stalled(c, now_s, stall_s);
    replay_every_second(&s->replay, now_s, stall_s);
}

static size_t websocket_work(struct sink *base, int wake_fd, struct duration wait, struct result *out, size_t room)
{
    struct websocket_sink *s = (struct websocket_sink *)base;
    (void)out;
    (void)room;
    if (!s->places.settled)
        places_look(&s->places);
    bool more = replay_turn(&s->replay);
    websocket_tell_anew(s);
    int64_t ms = cohorts_flush(&s->cohorts, false);
    if (ms < 0 || ms > wait.ms)
        ms = wait.ms;
    if (more)
        ms = 0;
    if (s->listeners[true] && ms > SSE_LONGEST_WAIT_MS)
        ms = SSE_LONGEST_WAIT_MS;
    if (s->verifier)
        verifier_refresh(s->verifier, s->base.id);
    int64_t pull_ms = pull_turn(s);
    talk_names(s);
    if (pull_ms >= 0 && pull_ms < ms)
        ms = pull_ms;
    http_server_run(s->server, wake_fd, (int)ms);
    talk_answers(s);
    talk_names(s);
    websocket_sweep(s);
    cohorts_heartbeat(&s->cohorts, &s->places);
    cohorts_relieve(&s->cohorts); /* others may need what these hold */
    cohorts_flush(&s->cohorts, false);
    websocket_every_second(s);
    websocket_count(s);
    return 0;
}

/* ---- start and end ---- */

static void websocket_drain(struct sink *base, struct duration limit)
{
    struct websocket_sink *s = (struct websocket_sink *)base;
    int64_t end = clock_mono_ms() + limit.ms;
    s->draining = true;
    http_server_stop_accepting(s->server);
    talk_answers(s); /* the source has ended: these are the last */
    cohorts_flush(&s->cohorts, true);
    pull_drain(s);
    talk_drain(s);
    farewell_all(s);
    while (http_server_connections(s->server) && clock_mono_ms() < end)
        http_server_run(s->server, -1, DRAIN_STEP_MS);
    websocket_count(s);
}

static void websocket_leave_sum(struct websocket_sink *s)
{
    if (!s->base.first) {
        peers_free(s->sum->peers);
        free(s->sum);
    }
    s->sum = NULL;
}

static void websocket_close(struct sink *base)
{
    struct websocket_sink *s = (struct websocket_sink *)base;
    http_server_free(s->server); /* closed() takes every listener out of its cohort */
    s->server = NULL;
    pull_close(s);
    cohorts_close(&s->cohorts);
    replay_close(&s->replay);
    places_close(&s->places);
    publish_close(&s->publisher);
    frames_close(&s->frames);
    buf_free(&s->cursor);
    verifier_free(s->verifier);
    s->verifier = NULL;
    websocket_leave_sum(s);
}

static void websocket_open_metrics(struct websocket_sink *s)
{
    const char *id = s->base.id;
    static const char *const kinds[] = { "websocket", "sse" };
    for (int i = 0; i < 2; i++)
        s->connected[i] = metric_get(&aqueduct_listeners, LABELS(id, kinds[i]));
    s->events = metric_get(&aqueduct_listener_events_total, LABELS(id));
    s->bytes = metric_get(&aqueduct_listener_bytes_total, LABELS(id));
    s->too_long = metric_get(&aqueduct_listener_events_too_long_total, LABELS(id));
    s->gone = metric_get(&aqueduct_listeners_closed_total, LABELS(id, "gone"));
    s->stalled = metric_get(&aqueduct_listeners_closed_total, LABELS(id, "stalled"));
    s->slow = metric_get(&aqueduct_listeners_closed_total, LABELS(id, "slow"));
    pull_open(s);
    s->drained = metric_get(&aqueduct_listeners_closed_total, LABELS(id, "drain"));
}

/* What a listener must show. */
static enum asks websocket_asks(const struct websocket_sink *s)
{
    struct verify_options o = listener_verify(&s->tokens, &s->verify_options);
    return verify_is_set(&o) ? verify_asks(&o) : ASKS_NOTHING;
}

struct doubt {
    fault_fn *doubtful;
    void *ctx;
};

static void websocket_doubt(void *ctx, const char *text)
{
    const struct doubt *d = ctx;
    d->doubtful(d->ctx, "", text);
}

static bool websocket_check(const struct sink *base, struct err *e)
{
    const struct websocket_sink *s = (const struct websocket_sink *)base;
    const struct tls_options tls = http_tls_options(&s->server_options);
    if (!http_server_check(&s->server_options, e))
        return false;
    if (!s->path || s->path[0] != '/')
        return err_set(e, "path must begin with /");
    if (!listener_check(&s->tokens, &s->verify_options, e) || !verify_fits_tls(&s->verify_options, &tls, e))
        return false;
    if (!publish_check(&s->publisher.o, e))
        return false;
    if (s->max_buffered.n < s->buffer.n)
        return err_set(
            e,
            "max_buffered is less than buffer, so that no listener could ever lag that far; raise it to at least that");
    bool asks = websocket_asks(s) != ASKS_NOTHING;
    if (!asks && !s->open && !tls_demands(&tls) && !listen_is_private(s->server_options.listen))
        return err_set(e, "listen: %.100s can be reached by others, so give tokens or verify, or say open: true",
                       s->server_options.listen);
    if (s->token_cookie && *s->token_cookie && strings_have(&s->origins, STR("*")))
        return err_set(e, "token_cookie and origins: [\"*\"] together let the scripts of any site in; name the sites");
    if (claims_are_set(&s->claims) && !asks)
        return err_set(e, "claims: nobody shows a token: say verify: {scheme: jwt, ...}");
    if (claims_are_set(&s->claims) && s->tokens.count)
        return err_set(
            e, "claims: tokens have none, so that who shows one may do nothing; say verify: {scheme: jwt, ...} alone");
    if (asks && s->open)
        return err_set(e, "open: true and %s contradict each other", s->tokens.count ? "tokens" : "verify");
    return true;
}

static void websocket_review(const struct sink *base, fault_fn *wrong, fault_fn *doubtful, void *ctx)
{
    const struct websocket_sink *s = (const struct websocket_sink *)base;
    (void)wrong;
    listener_doubts(&s->tokens, &s->verify_options, clock_wall_ms(), websocket_doubt, &(struct doubt){ doubtful, ctx });
}

static void websocket_prepare_replay(struct websocket_sink *s)
{
    const char *id = s->base.id;
    places_open(&s->places, s->base.log, s->base.bookmarks, s->base.topics);
    s->names = (struct names){ .places = &s->places, .tag = &s->pull.tag };
    s->replay = (struct replay){
        .sum = &s->sum->replay,
        .maker = { .sink = id,
                   .places = &s->places,
                   .frames = &s->frames,
                   .longest = (size_t)s->buffer.n,
                   .lost = metric_get(&aqueduct_listener_records_lost_total, LABELS(id)) },
        .most = (size_t)s->replay_bytes.n,
        .most_seats = s->max_catching_up,
        .catching_up = metric_get(&aqueduct_listeners_catching_up, LABELS(id)),
        .bytes = metric_get(&aqueduct_replay_bytes, LABELS(id)),
    };
    for (int i = RESUME_EXACT; i <= RESUME_SKIPPED; i++)
        s->replay.resumes[i] = metric_get(&aqueduct_listener_resumes_total, LABELS(id, resume_text((enum resume)i)));
    replay_open(&s->replay);
    s->cohorts.delay = metric_get(&aqueduct_listener_seconds, LABELS(id));
    s->cohorts.fallback = s->base.log ? &s->replay.fallback : NULL;
}

/* What is derived from the options. */
static void websocket_prepare(struct websocket_sink *s)
{
    frames_open(&s->frames, (size_t)s->buffer.n);
    cohorts_open(&s->cohorts,
                 &(struct cohorts_bounds){ .ring_bytes = (size_t)s->buffer.n,
                                           .most_held = (size_t)s->max_buffered.n,
                                           .threads = (size_t)s->threads,
                                           .most = { (size_t)s->max_subscriptions, s->max_subscriptions_per_ip,
                                                     s->max_subscriptions_per_user },
                                           .peers = s->sum->peers,
                                           .all_held = &s->sum->rings });
    s->cursor = buf_new(CURSOR_TEXT_MAX);
    websocket_prepare_replay(s);
    s->by_browser_alone = websocket_asks(s) != ASKS_WHO && !s->open
                          && !str_starts(str_of(s->server_options.listen), STR("unix:"));
}

/* The files of its options may have changed since they were checked. */
static bool websocket_open_verifier(struct websocket_sink *s, struct err *e)
{
    s->verify = listener_verify(&s->tokens, &s->verify_options);
    if (!verify_is_set(&s->verify))
        return true;
    s->verifier = verifier_new(&s->verify, e);
    if (s->verifier)
        verifier_start(s->verifier);
    return s->verifier;
}

/* What it has in common with its copies. */
static void websocket_share(struct websocket_sink *s)
{
    const struct websocket_sink *first = (const struct websocket_sink *)s->base.first;
    struct http_server_options *o = &s->server_options;
    s->threads = s->base.copies ? (int64_t)s->base.copies : 1;
    if (first) {
        s->sum = first->sum;
        o->first = first->server;
    } else {
        s->sum = mem_alloc(sizeof *s->sum);
        s->sum->peers = peers_new();
    }
    if (s->threads > 1) /* of incomplete requests each has its part, and room for one at least */
        o->max_held.n = HELD_BYTES / s->threads + o->max_message.n + o->max_head.n;
}

static bool websocket_open(struct sink *base, struct err *e)
{
    struct websocket_sink *s = (struct websocket_sink *)base;
    if (!websocket_check(base, e))
        return false;
    struct http_events events = accept_events(s);
    websocket_share(s);
    s->server_options.max_body = s->server_options.max_message;
    s->server_options.body_timeout = s->server_options.idle_timeout = s->server_options.head_timeout;
    if (websocket_open_verifier(s, e))
        s->server = http_server_new(&s->server_options, &events, e);
    if (!s->server) {
        verifier_free(s->verifier);
        s->verifier = NULL;
        websocket_leave_sum(s);
        return false;
    }
    websocket_prepare(s);
    websocket_open_metrics(s);
    publish_open(&s->publisher, base);
    http_server_watch(s->server, s->publisher.wake_fd);
    if (base->first)
        return true;
    LOG(INFO, "listening", LOG_C("sink", base->id), LOG_C("address", s->server_options.listen),
        LOG_INT("port", http_server_port(s->server)));
    return true;
}

/* Are there the keys by which listeners are let in? */
static bool websocket_ready(const struct sink *base, struct err *why)
{
    const struct websocket_sink *s = (const struct websocket_sink *)base;
    return !s->verifier || verifier_ready(s->verifier, why);
}

static bool websocket_brings(const struct sink *base)
{
    return publish_is_set(&((const struct websocket_sink *)base)->publisher.o);
}

/* A pattern "chat.*" as the types "chat.{text}". */
static void websocket_types(const struct source *base, void (*each)(void *ctx, const char *type), void *ctx)
{
    const struct strings *types = &((const struct websocket_sink *)base->sink)->publisher.o.types;
    for (size_t i = 0; i < types->count; i++) {
        struct str t = str_of(types->at[i]);
        bool prefix = str_ends(t, STR("*"));
        char *head = str_dup((struct str){ t.at, t.n - prefix });
        char *type = str_join(head, prefix ? "{text}" : "", "");
        each(ctx, type);
        free(type);
        free(head);
    }
}

static const struct option websocket_inward_options[] = { { 0 } };

static const struct source_ops websocket_inward = {
    .type = "websocket",
    .doc = "Takes the events that listeners of a sink publish.",
    .size = sizeof(struct inward),
    .options = websocket_inward_options,
    .dedupe = true,
    .types = websocket_types,
    .open = inward_open,
    .read = inward_read,
    .settle = inward_settle,
    .close = inward_close,
};

const struct sink_ops websocket_sink = {
    .type = "websocket",
    .doc = "Shows events live to WebSocket and server-sent-events listeners.",
    .size = sizeof(struct websocket_sink),
    .options = websocket_options,
    .broadcast = true,
    .copies = true,
    .inward = &websocket_inward,
    .brings = websocket_brings,
    .check = websocket_check,
    .review = websocket_review,
    .open = websocket_open,
    .ready = websocket_ready,
    .send = websocket_send,
    .work = websocket_work,
    .listeners = roll_write,
    .drain = websocket_drain,
    .close = websocket_close,
};
