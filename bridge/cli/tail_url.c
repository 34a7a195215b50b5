/* SPDX-License-Identifier: MIT */
/* Follows the event stream of a listener, and comes back with its position when it breaks. */
#include <errno.h>
#include <stdlib.h>
#include "bridge/cli/tail_private.h"
#include "bridge/cli/usage.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/file.h"
#include "bridge/lib/interrupt.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/query.h"
#include "bridge/net/event_stream.h"
#include "bridge/net/fetch.h"

enum {
    TAIL_TOKEN_BYTES = 16 * 1024,
    TAIL_REFUSED_BYTES = 16 * 1024,
    TAIL_SILENCE_MS = 90000, /* a listener writes a comment at least every half a minute */
    TAIL_RETRY_MS = 1000,    /* first wait for one that does not answer; doubles */
    TAIL_RETRY_MOST_MS = 30000,
    TAIL_SAID_LEAST_MS = 100, /* of what a server says */
    TAIL_SAID_MOST_MS = 3600000,
};

struct tail_stream {
    struct tail *tail;
    struct event_stream events;
    struct buf url, authorization;
    char *position; /* the last id; NULL: none yet */
    int64_t wait_ms;
    bool came; /* something, since it was connected */
    bool enough, too_long;
    struct err *e;
};

/* ---- what is asked for ---- */

/* ws: is what a listener's URL begins with elsewhere. */
static bool tail_url_make(struct tail_stream *s)
{
    const struct tail_flags *f = s->tail->flags;
    struct str url = f->url;
    bool ws = str_starts_nocase(url, STR("ws://")), wss = str_starts_nocase(url, STR("wss://"));
    buf_add_c(&s->url, ws ? "http" : wss ? "https" : "");
    buf_add_str(&s->url, ws ? str_from(url, 2) : wss ? str_from(url, 3) : url);
    struct buf topics = buf_new(TAIL_URL_BYTES);
    for (size_t i = 0; i < f->topics.count; i++)
        buf_printf(&topics, "%s%s", i ? "," : "", f->topics.at[i]);
    query_add(&s->url, "topics", f->topics.count ? buf_str(&topics) : STR_ABSENT);
    buf_free(&topics);
    query_add(&s->url, "type", f->type);
    query_add(&s->url, "subject", f->subject);
    query_add(&s->url, "source", f->source);
    char from[CLOCK_TEXT];
    int64_t ms;
    bool is_time = f->from.at && clock_since(f->from, &ms); /* a listener takes no time ago */
    if (is_time)
        clock_text(ms, from);
    query_add(&s->url, "from", is_time ? str_of(from) : f->from);
    char *filter = f->filter.at ? json_dumps(s->tail->conditions, JSON_COMPACT) : NULL;
    query_add(&s->url, "filter", str_of(filter));
    free(filter);
    return buf_c(&s->url) || err_set(s->e, "the URL is longer than %d bytes", TAIL_URL_BYTES);
}

/* The token, out of a file or the environment: a command line can be seen by all users of the machine. */
static bool tail_url_token(struct tail_stream *s)
{
    const struct tail_flags *f = s->tail->flags;
    struct buf *out = &s->authorization;
    buf_add_c(out, "Bearer ");
    size_t head = out->n;
    const char *value = getenv(f->token_env.at ? f->token_env.at : "AQUEDUCT_TOKEN");
    if (f->token_file.at) {
        if (!file_check_secret_at(f->token_file.at, s->e))
            return false;
        if (!file_read(f->token_file.at, TAIL_TOKEN_BYTES, out))
            return err_set(s->e, "--token-file: %s: %s", f->token_file.at,
                           errno == EFBIG ? "is too long for a token" : strerror(errno));
    } else if (value) {
        buf_add_c(out, value);
    } else if (f->token_env.at) {
        return err_set(s->e, "--token-env: the variable %.64s is not set", f->token_env.at);
    }
    while (out->n > head && strchr("\r\n \t", out->at[out->n - 1]))
        out->n--;
    if (out->n == head)
        buf_reset(out);
    for (size_t i = 0; i < out->n; i++)
        if ((unsigned char)out->at[i] < ' ')
            return err_set(s->e, "the token holds a control character");
    return true;
}

/* ---- what comes ---- */

/* What became of the position: worth a line only when something is gone. */
static void tail_url_resumed(struct str data)
{
    json_t *json = json_loadb(data.at, data.n, 0, NULL);
    const char *resume = json_is_object(json) ? json_text(json, "resume") : "";
    if (strcmp(resume, "exact") != 0 && strcmp(resume, "new") != 0)
        tail_say("what follows does not go on exactly there: %.*s", (int)(data.n < 400 ? data.n : 400), data.at);
    json_decref(json);
}

static bool tail_url_block(void *ctx, const struct event_stream_block *b)
{
    struct tail_stream *s = ctx;
    struct err why;
    s->came = true;
    if (b->id.n) {
        free(s->position);
        s->position = str_dup(b->id);
    }
    if (str_eq(b->type, STR("resume")))
        tail_url_resumed(b->data);
    if (!b->data.n || str_eq(b->type, STR("resume")))
        return true;
    const struct event *ev = event_from_json(b->data, &why);
    if (ev)
        s->enough = !tail_show(s->tail, ev, NULL, str_of(s->position));
    else if (b->type.at) /* about the stream itself */
        tail_say("%.*s: %.*s", STR_ARG(b->type), (int)(b->data.n < 200 ? b->data.n : 200), b->data.at);
    else
        tail_say("a message is no event: %s", why.text);
    event_unref(ev);
    return !s->enough;
}

static bool tail_url_bytes(void *ctx, struct str bytes)
{
    struct tail_stream *s = ctx;
    if (event_stream_feed(&s->events, bytes, tail_url_block, s, s->e))
        return true;
    s->too_long = !s->enough;
    return false;
}

static bool tail_url_go_on(void *ctx)
{
    (void)ctx;
    return !interrupt_asked();
}

/* ---- connections ---- */

/* Can another try be of use? */
static bool tail_url_is_lasting(long status)
{
    return status >= 300 && status < 500 && status != 408 && status != 425 && status != 429;
}

/* What the server says about it, out of its problem document. */
static void tail_url_detail(const struct buf *refused, struct err *e)
{
    json_t *json = json_loadb(buf_str(refused).at, refused->n, 0, NULL);
    const char *detail = json_is_object(json) ? json_text(json, "detail") : "";
    struct err why = *e;
    if (*detail)
        err_set(e, "%.200s: %.400s", why.text, detail);
    json_decref(json);
}

/* What a server says it wants, in ms: not at once for ever, and not for days. */
static int64_t tail_url_bounded(int64_t wait, int64_t unit_ms)
{
    int64_t most = TAIL_SAID_MOST_MS / unit_ms, ms = (wait < most ? wait : most) * unit_ms;
    return ms > TAIL_SAID_LEAST_MS ? ms : TAIL_SAID_LEAST_MS;
}

/* How long until the next try: as the server said, else longer from one to the next. */
static int64_t tail_url_wait(struct tail_stream *s, int64_t retry_after_s)
{
    uint32_t random;
    int64_t most = s->wait_ms;
    if (s->came && s->events.retry_ms >= 0)
        return tail_url_bounded(s->events.retry_ms, 1);
    if (retry_after_s >= 0)
        return tail_url_bounded(retry_after_s, 1000);
    crypto_random(&random, sizeof random);
    s->wait_ms = 2 * most < TAIL_RETRY_MOST_MS ? 2 * most : TAIL_RETRY_MOST_MS;
    return most / 2 + (int64_t)(random % (uint32_t)(most / 2 + 1));
}

/* One connection, until it ends; false with *e: no other try is of use. *wait_ms: until the next one; -1: that was enough. */
static bool tail_url_once(struct tail_stream *s, struct fetch *f, bool first, int64_t *wait_ms)
{
    struct buf refused = buf_new(TAIL_REFUSED_BYTES);
    struct header headers[3] = { { STR("Accept"), STR("text/event-stream") } };
    size_t n = 1;
    if (s->authorization.n)
        headers[n++] = (struct header){ STR("Authorization"), buf_str(&s->authorization) };
    if (s->position)
        headers[n++] = (struct header){ STR("Last-Event-ID"), str_of(s->position) };
    struct fetch_stream o = { .url = s->url.at,
                              .headers = headers,
                              .header_count = n,
                              .on_bytes = tail_url_bytes,
                              .go_on = tail_url_go_on,
                              .ctx = s,
                              .silence_ms = TAIL_SILENCE_MS,
                              .refused = &refused };
    s->came = false;
    event_stream_restart(&s->events);
    bool ended = fetch_follow(f, &o, s->e);
    if (!ended)
        tail_url_detail(&refused, s->e);
    buf_free(&refused);
    *wait_ms = -1;
    if (s->too_long || (!ended && (o.status == 0 ? first : tail_url_is_lasting(o.status))))
        return false;
    if (s->enough || interrupt_asked() || o.status == 204)
        return true;
    s->wait_ms = s->came ? TAIL_RETRY_MS : s->wait_ms;
    *wait_ms = tail_url_wait(s, o.retry_after_s);
    tail_say("%s; again in %.1f s", ended ? "the stream ended" : s->e->text, (double)*wait_ms / 1000);
    return true;
}

static bool tail_url_follow(struct tail_stream *s)
{
    struct transport way = { .tls = str_starts_nocase(buf_str(&s->url), STR("https://")),
                             .ca_file = s->tail->flags->ca.at,
                             .tls_min = TLS_MIN_1_2,
                             .http = HTTP_1_1 };
    struct address_rules rules = { 0 };
    int64_t wait_ms = 0;
    if (!way.tls && !str_starts_nocase(buf_str(&s->url), STR("http://")))
        return err_set(s->e, "--url: begins with none of https://, http://, wss:// and ws://");
    if (!transport_check(&way, s->e))
        return false;
    struct fetch *f = fetch_new(&way, &rules);
    bool good = tail_url_once(s, f, true, &wait_ms);
    while (good && wait_ms >= 0 && interrupt_wait(wait_ms))
        good = tail_url_once(s, f, false, &wait_ms);
    fetch_free(f);
    return good;
}

int tail_url(struct tail *t)
{
    struct err e = { "" };
    struct tail_stream s = { .tail = t,
                             .events = event_stream_new(2 * EVENT_DATA_BYTES),
                             .url = buf_new(TAIL_URL_BYTES),
                             .authorization = buf_new(TAIL_TOKEN_BYTES + 16),
                             .wait_ms = TAIL_RETRY_MS,
                             .e = &e };
    bool good = tail_url_make(&s) && tail_url_token(&s) && tail_url_follow(&s);
    event_stream_free(&s.events);
    buf_free(&s.url);
    crypto_wipe_buf(&s.authorization);
    free(s.position);
    if (!good)
        return usage_failed("tail", &e);
    return t->failed ? COMMAND_FAILED : COMMAND_DONE;
}
