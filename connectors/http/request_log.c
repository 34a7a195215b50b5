/* SPDX-License-Identifier: MIT */
/* Events that tell of requests: made, queued, handed out, counted. */
#include "connectors/http/request_log.h"
#include <stdio.h>
#include "bridge/auth/secret.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/http/called.h"
#include "connectors/http/excerpt.h"

METRIC_COUNTER(aqueduct_http_logged_total, "Requests told of by an event (request_log).", "source");
METRIC_COUNTER(aqueduct_http_log_left_out_total,
               "Requests not told of by an event: over the rate, no place in the queue (busy), or not stored.",
               "source", "reason");

enum {
    LOG_ON_THEIR_WAY = 64,
    LOG_VALUE_BYTES = 1024, /* of a header */
    LOG_KEY_BYTES = 128,
    LOG_TARGET_BYTES = 256,
    LOG_DATA_BYTES = 256 * 1024,
    LOG_BODY_MOST = 16 * 1024,
};
#define LOG_TAG    (UINT64_C(1) << 63)
#define LOG_ABSENT UINT16_MAX

const struct option_value request_log_requests[] = {
    { REQUESTS_ALL, "all" },
    { REQUESTS_REFUSED, "refused" },
    { REQUESTS_NONE, "none" },
    { 0 },
};

const struct option request_log_rows[] = {
    OPTION(struct request_log_options, requests, .fallback = "none", .values = request_log_requests,
           .doc = "Which requests become an event " REQUEST_LOG_TYPE
                  ": all, refused or none. A route takes it to a topic."),
    OPTION(struct request_log_options, rate, .fallback = "50", .min = 1, .max = 100000,
           .doc = "Most such events in a second; what is beyond is counted, and the next event says how many were left "
                  "out (left_out)."),
    OPTION(struct request_log_options, headers, .max = 32,
           .doc = "Headers whose values are told, such as User-Agent; none that holds a secret."),
    OPTION(struct request_log_options, body, .max = LOG_BODY_MOST,
           .doc = "How much is told of the beginning of a body that is JSON or a form, with *** for the values of "
                  "members named like a secret. 0: nothing."),
    OPTION(struct request_log_options, mask, .max = 256, .doc = "More members of bodies whose values become ***."),
    { 0 },
};

static bool request_log_is_secret(struct str header)
{
    static const char *const secret[] = { "authorization", "proxy-authorization", "cookie", "set-cookie" };
    for (size_t i = 0; i < sizeof secret / sizeof *secret; i++)
        if (str_eq_nocase(header, str_of(secret[i])))
            return true;
    struct str end = STR("signature");
    for (size_t i = 0; i + end.n <= header.n; i++)
        if (str_starts_nocase(str_from(header, i), end))
            return true;
    return secret_is_name(header);
}

bool request_log_refuse(const char *header, struct err *e)
{
    return err_set(e, "request_log.headers: %.100s holds a secret, which no event may tell", header);
}

bool request_log_check(const struct request_log_options *o, struct err *e)
{
    for (size_t i = 0; i < o->headers.count; i++)
        if (request_log_is_secret(str_of(o->headers.at[i])))
            return request_log_refuse(o->headers.at[i], e);
    return true;
}

void request_log_open(struct request_log *l, const struct request_log_options *o, const char *source_id,
                      atomic_int_least64_t *full_us)
{
    *l = (struct request_log){ .o = o, .source_id = source_id, .full_us = full_us };
    l->size = (struct bucket_size){ (double)o->rate, (double)o->rate };
    l->source = l->scope = buf_new(EVENT_ATTRIBUTE_BYTES);
    buf_printf(&l->source, "/http/%s", source_id);
    buf_printf(&l->scope, "%s?log", source_id); /* no scope of a sender: nobody can repeat it */
    l->data = buf_new(LOG_DATA_BYTES);
    l->kept = buf_new(LOG_DATA_BYTES);
    l->logged = metric_get(&aqueduct_http_logged_total, LABELS(source_id));
    l->over_rate = metric_get(&aqueduct_http_log_left_out_total, LABELS(source_id, "rate"));
    l->over_queue = metric_get(&aqueduct_http_log_left_out_total, LABELS(source_id, "busy"));
    l->not_stored = metric_get(&aqueduct_http_log_left_out_total, LABELS(source_id, "not_stored"));
}

void request_log_close(struct request_log *l)
{
    if (l->o)
        request_log_stop(l);
    buf_free(&l->source);
    buf_free(&l->scope);
    buf_free(&l->data);
    buf_free(&l->kept);
}

bool request_log_wants(const struct request_log *l, int status)
{
    switch (l->o->requests) {
    case REQUESTS_ALL: return true;
    case REQUESTS_REFUSED: return status == 0 || status >= 400;
    case REQUESTS_NONE: break;
    }
    return false;
}

/* ---- what is kept of a request: for each header its length and value, then the media type likewise, then the body ---- */

static void request_log_keep_value(struct buf *out, struct str value)
{
    uint16_t n = !value.at ? LOG_ABSENT : value.n < LOG_VALUE_BYTES ? (uint16_t)value.n : LOG_VALUE_BYTES;
    buf_add(out, &n, sizeof n);
    if (value.at)
        buf_add(out, value.at, n);
}

static struct str request_log_kept_value(struct str *kept)
{
    uint16_t n;
    memcpy(&n, kept->at, sizeof n);
    *kept = str_from(*kept, sizeof n);
    if (n == LOG_ABSENT)
        return STR_ABSENT;
    struct str value = { kept->at, n };
    *kept = str_from(*kept, n);
    return value;
}

struct request_kept *request_log_keep(struct request_log *l, const struct http_request *r, const char *verification,
                                      struct str key)
{
    const struct request_log_options *o = l->o;
    size_t most = r->body.n < (size_t)o->body.n ? r->body.n : (size_t)o->body.n;
    struct buf *b = &l->kept;
    buf_reset(b);
    if (key.at)
        buf_add(b, key.at, key.n < LOG_KEY_BYTES ? key.n : LOG_KEY_BYTES);
    size_t key_n = b->n;
    for (size_t i = 0; i < o->headers.count; i++)
        request_log_keep_value(b, http_header(r, o->headers.at[i], NULL));
    request_log_keep_value(b, http_header(r, "content-type", NULL));
    if (most)
        buf_add(b, r->body.at, most);
    struct request_kept *kept = mem_alloc(sizeof *kept + b->n);
    *kept = (struct request_kept){ verification, r->body.n, key_n, b->n };
    memcpy(kept->bytes, b->at, b->n);
    return kept;
}

/* ---- the event ---- */

static void request_log_member(struct buf *out, const char *name, struct str value)
{
    if (!value.at)
        return;
    buf_printf(out, ",\"%s\":", name);
    jscan_add_string(out, value);
}

static void request_log_kept(struct request_log *l, struct str kept)
{
    struct buf *out = &l->data;
    const char *between = "";
    if (l->o->headers.count)
        buf_add_c(out, ",\"headers\":{");
    for (size_t i = 0; i < l->o->headers.count; i++) {
        struct str value = request_log_kept_value(&kept);
        if (!value.at)
            continue;
        buf_add_c(out, between);
        between = ",";
        jscan_add_string(out, str_of(l->o->headers.at[i]));
        buf_add_char(out, ':');
        jscan_add_string(out, value);
    }
    if (l->o->headers.count)
        buf_add_char(out, '}');
    struct str type = request_log_kept_value(&kept);
    buf_reset(&l->kept);
    excerpt_add(kept, type, &l->o->mask, &l->kept);
    if (l->kept.n)
        request_log_member(out, "body", buf_str(&l->kept));
}

static void request_log_where(struct request_log *l, const struct request_told *t)
{
    struct buf *out = &l->data;
    buf_add_c(out, "{\"method\":");
    jscan_add_string(out, t->method);
    if (t->path) {
        request_log_member(out, "path", str_of(t->path));
        return;
    }
    struct str target = { t->target.at, t->target.n < LOG_TARGET_BYTES ? t->target.n : LOG_TARGET_BYTES };
    buf_reset(&l->kept);
    called_add_text(target, &l->kept);
    request_log_member(out, "path", buf_str(&l->kept));
}

/* Writes the data. */
static void request_log_write(struct request_log *l, const struct request_told *t)
{
    struct buf *out = &l->data;
    buf_reset(out);
    request_log_where(l, t);
    request_log_member(out, "address", t->peer);
    request_log_member(out, "verification", str_of(t->kept->verification));
    if (t->kept->key_n)
        request_log_member(out, "key", (struct str){ t->kept->bytes, t->kept->key_n });
    buf_printf(out, ",\"status\":%d", t->status);
    request_log_member(out, "outcome", str_of(t->outcome));
    request_log_member(out, "reason", str_of(t->why));
    buf_printf(out, ",\"duration_ms\":%lld.%03d,\"bytes\":%zu", (long long)(t->us / 1000), (int)(t->us % 1000),
               t->kept->body_bytes);
    buf_printf(out, ",\"events\":%zu", t->events);
    request_log_member(out, "event", t->event);
    request_log_kept(l, (struct str){ t->kept->bytes + t->kept->key_n, t->kept->n - t->kept->key_n });
    if (l->left_out)
        buf_printf(out, ",\"left_out\":%lld", (long long)l->left_out);
    buf_add_char(out, '}');
}

static const struct event *request_log_event(const struct request_log *l, int64_t began_ms)
{
    char id[UUID_TEXT], time[CLOCK_TEXT];
    struct err e;
    uuid_random(id);
    clock_text(began_ms, time);
    return event_new(&(struct event){ .id = str_of(id),
                                      .source = buf_str(&l->source),
                                      .type = STR(REQUEST_LOG_TYPE),
                                      .time = str_of(time),
                                      .datacontenttype = STR("application/json"),
                                      .data = buf_str(&l->data) },
                     &e);
}

static void request_log_leave_out(struct request_log *l, struct metric *why)
{
    l->left_out++;
    metric_add(why, 1);
}

/* Takes one of the bucket, if there is one. */
static bool request_log_may(const struct request_log *l)
{
    int64_t now = clock_mono_us();
    int_least64_t full = atomic_load(l->full_us);
    do {
        if (bucket_wait(full, &l->size, 1, now))
            return false;
    } while (!atomic_compare_exchange_weak(l->full_us, &full, bucket_take(full, &l->size, 1, now)));
    return true;
}

void request_log_add(struct request_log *l, const struct request_told *t)
{
    if (l->queued == REQUEST_LOG_QUEUE) {
        request_log_leave_out(l, l->over_queue);
        return;
    }
    if (!request_log_may(l)) {
        request_log_leave_out(l, l->over_rate);
        return;
    }
    request_log_write(l, t);
    const struct event *ev = l->data.failed ? NULL : request_log_event(l, clock_wall_ms() - t->us / 1000);
    if (!ev) {
        request_log_leave_out(l, l->not_stored);
        return;
    }
    l->left_out = 0;
    l->queue[(l->first + l->queued++) % REQUEST_LOG_QUEUE] = ev;
}

/* ---- to the core ---- */

static size_t request_log_ready(const struct request_log *l, size_t room)
{
    size_t most = LOG_ON_THEIR_WAY - l->on_their_way;
    room /= 2; /* the rest stays for what comes meanwhile */
    most = most < room ? most : room;
    return most < l->queued ? most : l->queued;
}

bool request_log_is_ready(const struct request_log *l, size_t room)
{
    return request_log_ready(l, room) > 0;
}

size_t request_log_take(struct request_log *l, struct emission *out, size_t room)
{
    size_t n = request_log_ready(l, room);
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct emission){
            .event = l->queue[l->first], .tag = LOG_TAG, .scope = buf_str(&l->scope), .unique = true
        };
        l->first = (l->first + 1) % REQUEST_LOG_QUEUE;
    }
    l->queued -= n;
    l->on_their_way += n;
    return n;
}

bool request_log_settled(struct request_log *l, uint64_t tag, enum outcome o, const char *why)
{
    if (tag != LOG_TAG)
        return false;
    l->on_their_way--;
    if (o == OUTCOME_STORED) {
        metric_add(l->logged, 1);
        l->unstored = false;
        return true;
    }
    request_log_leave_out(l, l->not_stored);
    if (!l->unstored)
        LOG(WARN, "events that tell of requests are not stored", LOG_C("source", l->source_id),
            LOG_C("type", REQUEST_LOG_TYPE), LOG_C("why", why && *why ? why : "not now"));
    l->unstored = true;
    return true;
}

void request_log_stop(struct request_log *l)
{
    for (; l->queued; l->queued--) {
        event_unref(l->queue[l->first]);
        l->first = (l->first + 1) % REQUEST_LOG_QUEUE;
        metric_add(l->not_stored, 1);
    }
}
