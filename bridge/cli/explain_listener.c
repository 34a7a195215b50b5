/* SPDX-License-Identifier: MIT */
/* Verdicts about the subscriptions of one connection.
 *
 *   {"event", "stored": "topic/partition@offset", "connection", "subscriptions": [{"sink", "sub", "got", "why"}]}
 */
#include "bridge/cli/explain_listener.h"
#include <inttypes.h>
#include <stdlib.h>
#include "bridge/admin/control_client.h"
#include "bridge/cli/status_print.h"
#include "bridge/command.h"
#include "bridge/event/filter.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/json.h"

enum { LISTENER_BYTES = 64 << 20, LISTENER_WHY = 4096 };

/* Adds why the conditions do not hold; false: they do. */
static bool explain_is_filtered(const json_t *conditions, const struct event *ev, struct buf *why)
{
    struct err e;
    struct filter *f = json_is_object(conditions) || json_is_array(conditions) ? filter_new(conditions, &e) : NULL;
    bool filtered = f && !filter_match(f, ev);
    if (filtered)
        filter_add_reason(f, ev, why);
    filter_free(f);
    return filtered;
}

static bool explain_has_topic(const json_t *topics, struct str topic)
{
    const json_t *one;
    size_t i;
    json_array_foreach(topics, i, one) if (str_eq(topic, str_of(json_string_value(one)))) return true;
    return json_is_null(topics);
}

/* Where it stands in the event's partition; -1: not known. */
static int64_t explain_next(const struct explained *x, const json_t *row)
{
    char place[512];
    snprintf(place, sizeof place, "%.*s/%" PRId32, STR_ARG(x->record->topic), x->record->partition);
    return status_print_number(json_object_get(row, "next"), place);
}

/* It passed the event: did it come? */
static bool explain_passed(const struct explained *x, const json_t *row, struct buf *why)
{
    const char *slow = json_text(row, "slow");
    int64_t since = 0;
    clock_parse(str_of(json_text(row, "since")), &since);
    if (x->record->stored_ms < since) {
        buf_add_c(why,
                  "it is behind it, and came after it was stored: it got it only if it began that far back (from)");
        return false;
    }
    if (strcmp(slow, "catchup") == 0 || strcmp(slow, "close") == 0) {
        buf_add_c(why, "it was written to the connection");
        return true;
    }
    buf_printf(why, "it was written to the connection, unless it was slow then and left it out (slow: %s)", slow);
    return true;
}

static bool explain_judge(const struct explained *x, const struct sink_config *sink, const json_t *row, struct buf *why)
{
    int64_t next = explain_next(x, row);
    if (!explain_has_topic(json_object_get(row, "topics"), x->record->topic)) {
        buf_printf(why, "it does not listen to topic %.*s, or its token does not allow it", STR_ARG(x->record->topic));
        return false;
    }
    if (!filter_match(sink->filter, x->event)) {
        buf_add_c(why, "the sink's filter: ");
        filter_add_reason(sink->filter, x->event, why);
        return false;
    }
    if (explain_is_filtered(json_object_get(row, "filter"), x->event, why))
        return false;
    if (next < 0) {
        buf_printf(why, "where it stands is not known: %s", json_text(row, "state"));
        return false;
    }
    if (next <= x->record->offset) {
        buf_printf(why, "not yet: it stands %lld records before it, and %s%s", (long long)(x->record->offset - next),
                   strcmp(json_text(row, "state"), "live") == 0 ? "is " : "", json_text(row, "state"));
        return false;
    }
    return explain_passed(x, row, why);
}

static const struct sink_config *explain_sink(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->sink_count; i++)
        if (strcmp(config->sinks[i].sink->id, name) == 0)
            return &config->sinks[i];
    return NULL;
}

/* A verdict for each subscription that the daemon told. */
static json_t *explain_rows(const struct explained *x, const json_t *account)
{
    json_t *list = json_array();
    const json_t *sink, *row;
    size_t i, k;
    json_array_foreach(json_object_get(account, "sinks"), i, sink)
    {
        const struct sink_config *s = explain_sink(x->config, json_text(sink, "sink"));
        json_array_foreach(json_object_get(sink, "listeners"), k, row)
        {
            struct buf why = buf_new(LISTENER_WHY);
            bool got = s && explain_judge(x, s, row, &why);
            if (!s)
                buf_add_c(&why, "the configuration here is not the daemon's");
            json_array_append_new(list, json_pack("{s:s,s:O,s:b,s:o}", "sink", json_text(sink, "sink"), "sub",
                                                  json_object_get(row, "sub"), "got", (int)got, "why",
                                                  json_of_text(buf_str(&why))));
            buf_free(&why);
        }
    }
    return list;
}

static json_t *explain_ask(const struct explained *x, struct err *e)
{
    struct buf text = buf_new(LISTENER_BYTES);
    char query[64];
    bool nobody = false;
    json_t *account = NULL;
    snprintf(query, sizeof query, "?listeners=1000&connection=%lld", (long long)x->connection);
    if (control_status(x->config, query, &text, &nobody, e)) {
        account = json_loadb(text.at, text.n, 0, NULL);
        if (!account)
            err_set(e, "the daemon's answer is no account");
    } else if (nobody) {
        err_set(e, "no daemon answers, and it alone knows who listens");
    }
    buf_free(&text);
    return account;
}

static int explain_print(const struct explained *x, const json_t *rows)
{
    const json_t *row;
    size_t i;
    int code = COMMAND_FAILED;
    if (json_array_size(rows) == 0)
        printf("%lld is no connection now: it has gone, or never was (aqueduct status --list listeners)\n",
               (long long)x->connection);
    json_array_foreach(rows, i, row)
    {
        char *why = status_print_text(row, "why"), *sub = status_print_text(row, "sub");
        bool got = json_is_true(json_object_get(row, "got"));
        printf("%s%s%s: %s: %s\n", json_text(row, "sink"), *sub ? "/" : "", sub, got ? "yes" : "no", why);
        code = got ? COMMAND_DONE : code;
        free(why);
        free(sub);
    }
    return code;
}

int explain_listener(const struct explained *x, bool json, struct err *e)
{
    json_t *account = explain_ask(x, e);
    if (!account)
        return COMMAND_FAILED;
    json_t *rows = explain_rows(x, account);
    int code = COMMAND_FAILED;
    if (!json) {
        code = explain_print(x, rows);
    } else {
        const json_t *row;
        size_t i;
        json_array_foreach(rows, i, row) code = json_is_true(json_object_get(row, "got")) ? COMMAND_DONE : code;
        json_t *all = json_pack("{s:o,s:o,s:I,s:O}", "event", json_of_text(x->event->id), "stored",
                                json_sprintf("%.*s/%" PRId32 "@%" PRId64, STR_ARG(x->record->topic),
                                             x->record->partition, x->record->offset),
                                "connection", (json_int_t)x->connection, "subscriptions", rows);
        json_dumpf(all, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        putchar('\n');
        json_decref(all);
    }
    json_decref(rows);
    json_decref(account);
    return code;
}
