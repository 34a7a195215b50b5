/* SPDX-License-Identifier: MIT */
/* Asks the daemon about dead letters, or looks for itself. */
#include "connectors/dead_letter/filing.h"
#include <stdlib.h>
#include "bridge/event/trail.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/interrupt.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/query.h"

enum {
    FILING_URL = 1 << 20,
    FILING_WAIT_MS = 300000, /* for a page that is redriven while the broker is slow */
};

/* What the daemon says. False: there is none to ask, from now on. */
static bool filing_ask(struct filing *f, struct command_question *q, json_t **answer, struct err *e)
{
    *answer = NULL;
    if (f->directly || !f->call->ask)
        return false;
    enum command_asked asked = f->call->ask(f->call, q, e);
    if (asked == ASKED_DONE)
        *answer = q->answer;
    else
        json_decref(q->answer);
    f->directly = asked == ASKED_NOBODY;
    return !f->directly;
}

static void filing_add_query(struct buf *url, const json_t *which)
{
    const char *name;
    const json_t *value;
    json_object_foreach((json_t *)(uintptr_t)which, name, value)
    {
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        query_add(url, name,
                  json_is_string(value) ? (struct str){ json_string_value(value), json_string_length(value) }
                                        : str_of(number));
    }
}

json_t *filing_list(struct filing *f, const json_t *which, struct err *e)
{
    struct buf url = buf_new(FILING_URL);
    json_t *page;
    buf_add_c(&url, "/api/v1/dead-letters");
    query_add(&url, "from", str_of(f->sink->id));
    filing_add_query(&url, which);
    if (!filing_ask(f, &(struct command_question){ .method = "GET", .path = buf_c(&url) }, &page, e))
        page = f->sink->ops->filed->list(f->sink, which, e);
    buf_free(&url);
    return page;
}

/* Takes the data out of what the API said. */
static bool filing_take_data(const json_t *letter, struct buf *data, struct err *e)
{
    const json_t *text = json_object_get(letter, "data"), *base64 = json_object_get(letter, "data_base64");
    if (text)
        buf_add(data, json_string_value(text), json_string_length(text));
    else if (base64 && !base64_decode(data, str_of(json_string_value(base64))))
        return err_set(e, "the daemon's answer is not whole");
    return !data->failed || err_set(e, "the data is too large to be shown");
}

json_t *filing_show(struct filing *f, const char *number, struct buf *data, struct err *e)
{
    struct buf url = buf_new(FILING_URL);
    struct command_question q = { .method = "GET" };
    json_t *letter;
    buf_printf(&url, "/api/v1/dead-letters/%s", number);
    query_add(&url, "from", str_of(f->sink->id));
    query_add(&url, "whole", STR("true"));
    q.path = buf_c(&url);
    if (!filing_ask(f, &q, &letter, e)) {
        letter = f->sink->ops->filed->show(f->sink, number, data, e);
    } else if (letter && !filing_take_data(letter, data, e)) {
        json_decref(letter);
        letter = NULL;
    } else if (!letter && q.status == 404)
        e->text[0] = '\0';
    buf_free(&url);
    return letter;
}

static bool filing_goes_on(void *ctx, int64_t done, int64_t of)
{
    (void)ctx, (void)done, (void)of;
    return !interrupt_asked();
}

json_t *filing_end(struct filing *f, const json_t *which, bool discard, struct err *e)
{
    json_t *body = json_copy((json_t *)(uintptr_t)which), *result;
    struct command_question q = { .method = "POST",
                                  .path = discard ? "/api/v1/dead-letters/discard" : "/api/v1/dead-letters/redrive",
                                  .body = body,
                                  .wait_ms = FILING_WAIT_MS };
    json_object_set_new(body, "from", json_string(f->sink->id));
    if (!filing_ask(f, &q, &result, e)) {
        struct filed_work w = { .what = which, .discard = discard, .call = f->call, .goes_on = filing_goes_on };
        bool told = f->sink->ops->filed->end(f->sink, &w, e);
        if (!told)
            json_decref(w.result);
        result = told ? w.result : NULL;
    }
    json_decref(body);
    return result;
}

bool filing_has(struct filing *f, struct str sink, struct str endpoint)
{
    struct err e;
    json_t *which = json_pack("{s:s,s:i}", "state", "all", "limit", 1);
    if (sink.at)
        json_object_set_new(which, "sink", json_of_text(sink));
    if (endpoint.at)
        json_object_set_new(which, "endpoint", json_of_text(endpoint));
    json_t *page = filing_list(f, which, &e);
    bool has = !page || json_integer_value(json_object_get(page, "matched"));
    json_decref(page);
    json_decref(which);
    return has;
}

/* ---- letters ---- */

static struct str filing_text(const json_t *of, const char *name)
{
    const json_t *text = json_object_get(of, name);
    return json_is_string(text) ? (struct str){ json_string_value(text), json_string_length(text) } : STR_ABSENT;
}

static int64_t filing_number(const json_t *of, const char *name)
{
    return json_integer_value(json_object_get(of, name));
}

static int64_t filing_moment(const json_t *of, const char *name)
{
    int64_t ms = 0;
    return clock_parse(str_of(json_text(of, name)), &ms) ? ms : 0;
}

static enum letter_state filing_state(const json_t *of)
{
    for (enum letter_state s = LETTER_DEAD; s < LETTER_DISCARDED; s++)
        if (strcmp(json_text(of, "state"), letter_state(s)) == 0)
            return s;
    return LETTER_DISCARDED;
}

/* The host, which stands beside them, and the sender's. */
static void filing_read_headers(struct filing_letter *l, const json_t *json)
{
    const json_t *list = json_object_get(json, "headers"), *one;
    struct str host = filing_text(json, "host");
    size_t n = 0, i;
    l->headers = mem_alloc((json_array_size(list) + 1) * sizeof *l->headers);
    if (host.at)
        l->headers[n++] = (struct header){ STR(TRAIL_HOST), host };
    json_array_foreach(list, i, one)
    {
        l->headers[n++] = (struct header){ filing_text(one, "name"), filing_text(one, "value") };
    }
    l->letter.record.headers = l->headers;
    l->letter.record.header_count = n;
}

void filing_read(struct filing_letter *l, const json_t *json)
{
    const json_t *origin = json_object_get(json, "origin");
    struct str from = filing_text(json, "from");
    *l = (struct filing_letter){ .letter = { .of_source = from.at != NULL,
                                             .owner = from.at ? from : filing_text(json, "sink"),
                                             .endpoint = filing_text(json, "endpoint"),
                                             .id = filing_text(json, "id"),
                                             .source = filing_text(json, "source"),
                                             .type = filing_text(json, "type"),
                                             .time = filing_text(json, "time"),
                                             .first_ms = filing_moment(json, "first"),
                                             .last_ms = filing_moment(json, "last"),
                                             .attempts = filing_number(json, "attempts"),
                                             .status = filing_number(json, "status"),
                                             .class = filing_text(json, "class"),
                                             .reason = filing_text(json, "reason"),
                                             .topic = filing_text(origin, "topic"),
                                             .partition = filing_number(origin, "partition"),
                                             .offset = filing_number(origin, "offset"),
                                             .state = filing_state(json),
                                             .redrives = filing_number(json, "redrives") } };
    l->letter.record.key = filing_text(json, "key");
    l->letter.record.value = (struct str){ "", (size_t)filing_number(json, "size") };
    filing_read_headers(l, json);
}

void filing_free(struct filing_letter *l)
{
    free(l->headers);
}
