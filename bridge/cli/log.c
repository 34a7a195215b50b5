/* SPDX-License-Identifier: MIT */
/* `aqueduct log`: the delivery log. The newest attempts are asked of the running daemon, or read from their topic when none
 * runs; all of them (--json), and those that come (--follow), are read from the topic in either case. */
#include <stdlib.h>
#include "bridge/cli/commands.h"
#include "bridge/cli/usage.h"
#include "bridge/config/config.h"
#include "bridge/delivery/attempts_filter.h"
#include "bridge/delivery/backwards.h"
#include "bridge/event/trail.h"
#include "bridge/lib/interrupt.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/progress.h"
#include "bridge/lib/query.h"

enum {
    LOG_LIMIT = 50, /* lines, unless asked for otherwise */
    LOG_CELL = 40,  /* characters of a cell, but for the last of a line */
    LOG_CELL_BYTES = 512,
    LOG_LOOK_MS = 500, /* between looks of --follow */
    LOG_PAGE = 1000,
    LOG_URL = 1 << 20,
    LOG_COLUMNS = 10,
};

struct log_flags {
    struct str sink, endpoint, event, since;
    int64_t limit; /* 0: not given */
    bool failures, json, follow;
};

static const struct flag log_flags[] = {
    FLAG(struct log_flags, sink, .name = "--sink", .value = "NAME", .group = "filter", .doc = "attempts of this sink"),
    FLAG(struct log_flags, endpoint, .name = "--endpoint", .value = "NAME",
         .doc = "attempts at this endpoint of a sink"),
    FLAG(struct log_flags, event, .name = "--event", .value = "ID",
         .doc = "attempts to deliver the event of this whole id"),
    FLAG(struct log_flags, since, .name = "--since", .value = "TIME",
         .doc = "since: 2026-11-20T10:00:00Z, or a time ago: 90s 30m 2h 1d"),
    FLAG(struct log_flags, failures, .name = "--failures", .doc = "only those that failed"),
    FLAG(struct log_flags, limit, .name = "--limit", .value = "N", .min = 1, .max = 1000000, .group = "",
         .doc = "the newest N (50 unless --json)"),
    FLAG(struct log_flags, json, .name = "--json", .doc = "one JSON object per line"),
    FLAG(struct log_flags, follow, .name = "--follow", .letter = "-f", .doc = "go on with what comes"),
    { 0 },
};

static const char log_notes[] =
    "Each sink says which attempts are logged: attempts: failures (the default), sample, all or none. They are kept for\n"
    "three days as events on the topic <prefix>attempts, which sinks can read as well. The running daemon is asked for the\n"
    "newest; without one, with --follow, and for all of them (--json without --limit) the topic itself is read.\n\n"
    "Examples:\n"
    "  aqueduct log --failures --since 1h          what failed in the last hour\n"
    "  aqueduct log --event 5f1c6c1e-0f4b-4d0a-9c1d-2b7f3e8a6a11   one event's attempts, at every sink\n"
    "  aqueduct log --sink crm -f                  the attempts of one sink as they come\n"
    "  aqueduct log --json | jq -r .reason         for programs\n";

struct log_call {
    const struct log_flags *flags;
    const struct command_call *call;
    int64_t since_ms;
    const char *topic;
    bool directly; /* no daemon is asked */
    int64_t *ends; /* of --follow: where it goes on, in each partition */
    size_t end_count;
    int widths[LOG_COLUMNS];
    bool headed;
    bool named; /* an attempt of the sink and endpoint that were asked for is in the log */
};

/* ---- a line ---- */

static const char *const log_heads[LOG_COLUMNS] = { "TIME",    "SINK",   "TYPE", "EVENT", "TRY",
                                                    "VERDICT", "STATUS", "MS",   "NEXT",  "REASON" };

static void log_number(char out[LOG_CELL_BYTES], const json_t *value)
{
    if (json_is_integer(value))
        snprintf(out, LOG_CELL_BYTES, "%lld", (long long)json_integer_value(value));
    else
        snprintf(out, LOG_CELL_BYTES, "-");
}

/* When the next attempt comes after this one: "+30s"; or why there is none. */
static void log_next(char out[LOG_CELL_BYTES], const json_t *a)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" }, { 1000, "s" } };
    const char *end = json_text(a, "end");
    int64_t time, next;
    snprintf(out, LOG_CELL_BYTES, "%s", strcmp(end, "delivered") == 0 ? "-" : end);
    if (strcmp(end, "retry") != 0 || !clock_parse(str_of(json_text(a, "time")), &time)
        || !clock_parse(str_of(json_text(a, "next")), &next))
        return;
    int64_t wait = next > time ? next - time : 0;
    wait = wait > 1000 ? (wait + 500) / 1000 * 1000 : wait; /* the clock was read for each of the two */
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (wait >= 2 * units[i].ms || (wait >= units[i].ms && wait % units[i].ms == 0)) {
            snprintf(out, LOG_CELL_BYTES, "+%lld%s", (long long)(wait / units[i].ms), units[i].unit);
            return;
        }
    snprintf(out, LOG_CELL_BYTES, "+%lldms", (long long)wait);
}

/* Why it failed, and with how many events it went. */
static void log_reason(char out[LOG_CELL_BYTES], const json_t *a)
{
    const char *reason = json_text(a, "reason");
    json_int_t batch = json_integer_value(json_object_get(a, "batch"));
    if (batch)
        snprintf(out, LOG_CELL_BYTES, "in a batch of %lld%s%s", (long long)batch, *reason ? ": " : "", reason);
    else
        snprintf(out, LOG_CELL_BYTES, "%s", reason);
}

static void log_cells(const json_t *a, char cells[LOG_COLUMNS][LOG_CELL_BYTES])
{
    const json_t *event = json_object_get(a, "event");
    const char *endpoint = json_text(a, "endpoint");
    snprintf(cells[0], LOG_CELL_BYTES, "%s", json_text(a, "time"));
    snprintf(cells[1], LOG_CELL_BYTES, "%.200s%s%.200s", json_text(a, "sink"), *endpoint ? "/" : "", endpoint);
    snprintf(cells[2], LOG_CELL_BYTES, "%s", json_text(event, "type"));
    snprintf(cells[3], LOG_CELL_BYTES, "%s", json_text(event, "id"));
    log_number(cells[4], json_object_get(a, "attempt"));
    snprintf(cells[5], LOG_CELL_BYTES, "%s", json_text(a, "verdict"));
    log_number(cells[6], json_object_get(a, "status"));
    log_number(cells[7], json_object_get(a, "duration_ms"));
    log_next(cells[8], a);
    log_reason(cells[9], a);
    for (int i = 0; i < LOG_COLUMNS; i++)
        str_make_shown(cells[i]);
}

static void log_widen(struct log_call *c, char cells[LOG_COLUMNS][LOG_CELL_BYTES])
{
    for (int i = 0; i < LOG_COLUMNS; i++) {
        int n = (int)strnlen(cells[i], LOG_CELL);
        c->widths[i] = n > c->widths[i] ? n : c->widths[i];
    }
}

static void log_print_cells(const struct log_call *c, char cells[LOG_COLUMNS][LOG_CELL_BYTES])
{
    for (int i = 0; i < LOG_COLUMNS - 1; i++)
        printf("%-*s  ", c->widths[i], cells[i]);
    puts(cells[LOG_COLUMNS - 1]);
}

static void log_print(struct log_call *c, const json_t *a)
{
    char cells[LOG_COLUMNS][LOG_CELL_BYTES];
    if (c->flags->json) {
        json_dumpf(a, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        putchar('\n');
        return;
    }
    if (!c->headed) {
        for (int i = 0; i < LOG_COLUMNS; i++)
            snprintf(cells[i], LOG_CELL_BYTES, "%s", log_heads[i]);
        log_widen(c, cells);
        log_print_cells(c, cells);
        c->headed = true;
    }
    log_cells(a, cells);
    log_print_cells(c, cells);
}

/* ---- which ---- */

static bool log_matches(struct log_call *c, const json_t *a)
{
    const struct log_flags *f = c->flags;
    const struct attempts_filter filter = {
        .sink = f->sink, .endpoint = f->endpoint, .event = f->event, .failures = f->failures, .since_ms = c->since_ms
    };
    c->named = c->named || attempts_are_of(&filter, a);
    return attempts_match(&filter, a);
}

static bool log_record(void *ctx, const struct record *r)
{
    struct log_call *c = ctx;
    json_t *a = r->value.at ? json_loadb(r->value.at, r->value.n, JSON_ALLOW_NUL, NULL) : NULL;
    progress_count(c->topic, "records read");
    if (log_matches(c, a))
        log_print(c, a);
    json_decref(a);
    return true;
}

/* ---- the command ---- */

struct log_row {
    json_t *attempt;
    size_t number; /* the newest is 0 */
};

static int log_by_time(const void *a, const void *b)
{
    const struct log_row *x = a, *y = b;
    int order = strcmp(json_text(x->attempt, "time"), json_text(y->attempt, "time"));
    return order ? order : (x->number < y->number) - (x->number > y->number);
}

/* Prints the newest, which came first, last. */
static void log_print_page(struct log_call *c, const json_t *items)
{
    char cells[LOG_COLUMNS][LOG_CELL_BYTES];
    size_t count = json_array_size(items);
    struct log_row *rows = mem_alloc((count + 1) * sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        rows[i] = (struct log_row){ json_array_get(items, i), i };
        log_cells(rows[i].attempt, cells);
        log_widen(c, cells);
    }
    if (count)
        qsort(rows, count, sizeof *rows, log_by_time);
    for (size_t i = 0; i < count; i++)
        log_print(c, rows[i].attempt);
    free(rows);
}

/* ---- pages, the newest first ---- */

static json_t *log_take(void *ctx, const struct record *r)
{
    struct log_call *c = ctx;
    json_t *a = r->value.at ? json_loadb(r->value.at, r->value.n, JSON_ALLOW_NUL, NULL) : NULL;
    progress_count(c->topic, "records read");
    bool later = (size_t)r->partition < c->end_count && r->offset >= c->ends[r->partition];
    if (!later && log_matches(c, a))
        return a;
    json_decref(a);
    return NULL;
}

static bool log_goes_on(void *ctx)
{
    (void)ctx;
    return !interrupt_asked();
}

static char *log_url(const struct log_call *c, const char *after, size_t limit)
{
    const struct log_flags *f = c->flags;
    struct buf url = buf_new(LOG_URL);
    char since[CLOCK_TEXT];
    buf_printf(&url, "/api/v1/attempts?limit=%zu", limit);
    query_add(&url, "after", str_of(after));
    query_add(&url, "sink", f->sink);
    query_add(&url, "endpoint", f->endpoint);
    query_add(&url, "event", f->event);
    query_add(&url, "outcome", f->failures ? STR("failed") : STR_ABSENT);
    clock_text(c->since_ms, since);
    query_add(&url, "since", c->since_ms ? str_of(since) : STR_ABSENT);
    char *text = str_dup(buf_str(&url));
    buf_free(&url);
    return text;
}

/* What the daemon says, or, without one, the log itself; NULL with *e. */
static json_t *log_page(struct log_call *c, const char *after, size_t limit, struct err *e)
{
    char *url = log_url(c, after, limit);
    struct command_question q = { .method = "GET", .path = url };
    bool asks = !c->directly && c->call->ask;
    enum command_asked asked = asks ? c->call->ask(c->call, &q, e) : ASKED_NOBODY;
    free(url);
    if (asked == ASKED_DONE)
        return q.answer;
    if (asks)
        json_decref(q.answer);
    c->directly = asked == ASKED_NOBODY;
    const struct backwards page = { .broker = &c->call->config->broker,
                                    .topic = c->topic,
                                    .after = after,
                                    .since_ms = c->since_ms,
                                    .limit = limit,
                                    .take = log_take,
                                    .go_on = log_goes_on,
                                    .ctx = c };
    return c->directly ? backwards_page(&page, e) : NULL;
}

/* The newest `most` that match; NULL with *e. */
static json_t *log_newest(struct log_call *c, size_t most, struct err *e)
{
    json_t *items = json_array();
    char *after = NULL;
    do {
        size_t room = most - json_array_size(items);
        json_t *page = log_page(c, after, room < LOG_PAGE ? room : LOG_PAGE, e);
        free(after);
        after = *json_text(page, "next") ? str_dup(str_of(json_text(page, "next"))) : NULL;
        json_array_extend(items, json_object_get(page, "items"));
        if (!page) {
            json_decref(items);
            items = NULL;
        }
        json_decref(page);
    } while (items && after && json_array_size(items) < most && !interrupt_asked());
    free(after);
    return items;
}

/* Has the log an attempt of the sink and endpoint that were asked for? */
static bool log_names(struct log_call *c)
{
    const struct log_flags all = { .sink = c->flags->sink, .endpoint = c->flags->endpoint };
    struct log_call any = { .flags = &all, .call = c->call, .topic = c->topic, .directly = c->directly };
    struct err e;
    json_t *items = log_newest(&any, 1, &e);
    bool named = json_array_size(items);
    json_decref(items);
    return named;
}

/* ---- names ---- */

/* Does the i-th sink have the name that was asked for, now or earlier? */
static bool log_is_sink(const struct command_call *call, size_t i, struct str want)
{
    const struct strings *formerly = &call->names[i].formerly;
    bool is = !want.at || str_eq(want, str_of(call->sinks[i]->id));
    for (size_t j = 0; !is && j < formerly->count; j++)
        is = str_eq(want, str_of(formerly->at[j]));
    return is;
}

/* Neither the configuration nor the log, as far as it can be read, has the sink or endpoint that was asked for? Then says
 * so: COMMAND_USAGE. */
static int log_check_names(struct log_call *c, bool is_read)
{
    const struct command_call *call = c->call;
    const struct log_flags *f = c->flags;
    size_t sinks = 0, endpoints = 0, all = 0;
    bool has_sink = false, has_endpoint = false;
    for (size_t i = 0; i < call->sink_count; i++)
        all += call->names[i].endpoints.count;
    const char **sink_names = mem_alloc((call->sink_count + 1) * sizeof *sink_names),
               **endpoint_names = mem_alloc((all + 1) * sizeof *endpoint_names);
    for (size_t i = 0; i < call->sink_count; i++) {
        bool is = log_is_sink(call, i, f->sink);
        has_sink = has_sink || is;
        sink_names[sinks++] = call->sinks[i]->id;
        for (size_t j = 0; is && j < call->names[i].endpoints.count; j++) {
            endpoint_names[endpoints++] = call->names[i].endpoints.at[j];
            has_endpoint = has_endpoint || str_eq(f->endpoint, str_of(call->names[i].endpoints.at[j]));
        }
    }
    char *sink = str_dup(f->sink), *endpoint = str_dup(f->endpoint);
    int code = COMMAND_DONE;
    bool known = (!f->sink.at || has_sink) && (!f->endpoint.at || has_endpoint);
    if (known || c->named || (is_read && log_names(c)))
        code = COMMAND_DONE;
    else if (f->sink.at && !has_sink)
        code = usage_unknown("--sink: there is no sink", sink, sink_names);
    else
        code = usage_unknown("--endpoint: there is no endpoint", endpoint, endpoint_names);
    free(sink);
    free(endpoint);
    free(sink_names);
    free(endpoint_names);
    return code;
}

/* Does a sink that was asked for log its failures alone? */
static bool log_is_of_failures(const struct log_flags *f, const struct config *config)
{
    bool is = false;
    for (size_t i = 0; i < config->sink_count; i++)
        is = is
             || ((!f->sink.at || str_eq(f->sink, str_of(config->sinks[i].sink->id)))
                 && sink_logs_attempts(&config->sinks[i]) && config->sinks[i].attempts == ATTEMPTS_FAILURES);
    return is && !f->failures;
}

/* Does a sink log any attempts? */
static bool log_is_kept(const struct config *config)
{
    bool kept = false;
    for (size_t i = 0; i < config->sink_count; i++)
        kept = kept || sink_logs_attempts(&config->sinks[i]);
    return kept;
}

static void log_say_none(const struct log_flags *f, const struct config *config)
{
    if (!log_is_kept(config)) {
        fputs("no attempts: no sink logs them (attempts: failures, sample or all)\n", stderr);
        return;
    }
    bool all = !f->sink.at && !f->endpoint.at && !f->event.at && !f->since.at, failures = log_is_of_failures(f, config);
    fprintf(stderr, "no %sattempts%s%s\n", all && failures ? "failed " : "", all && failures ? "" : " match",
            failures ? " (deliveries are logged with attempts: all)" : "");
}

/* The newest; false with *e. */
static bool log_show_newest(struct log_call *c, size_t most, int *code, struct err *e)
{
    json_t *items = log_newest(c, most, e);
    if (!items) {
        *code = log_check_names(c, false);
        return *code != COMMAND_DONE;
    }
    c->named = json_array_size(items);
    *code = log_check_names(c, true);
    if (*code == COMMAND_DONE)
        log_print_page(c, items);
    if (*code == COMMAND_DONE && !c->named && !c->flags->json && !c->flags->follow)
        log_say_none(c->flags, c->call->config);
    json_decref(items);
    return true;
}

/* Where --follow goes on behind the newest: at the end as it is now. */
static int64_t log_begin(void *ctx, const struct topic_partition *p, int64_t start, int64_t end)
{
    struct log_call *c = ctx;
    size_t partition = (size_t)p->partition;
    (void)start;
    if (partition >= c->end_count)
        c->ends = mem_grow(c->ends, partition + 1, sizeof *c->ends);
    while (c->end_count <= partition)
        c->ends[c->end_count++] = INT64_MAX;
    return c->ends[partition] = end;
}

/* What came while it began belongs to the newest. */
static bool log_move_end(void *ctx, const struct record *r)
{
    struct log_call *c = ctx;
    if ((size_t)r->partition < c->end_count)
        c->ends[r->partition] = r->offset + 1;
    return true;
}

/* All of them as they are read (`most` 0), or the newest; then with --follow what comes. False with *e. */
static bool log_read(struct log_call *c, size_t most, int *code, struct err *e)
{
    const struct look_options o = { .topic = c->topic, .may_lack = true, .begin = most ? log_begin : NULL, .ctx = c };
    struct look *look = look_open(&c->call->config->broker, &o, e);
    c->directly = true;
    bool good = look
                && (most ? look_on(look, log_move_end, c, e) && log_show_newest(c, most, code, e)
                         : look_on(look, log_record, c, e));
    if (good && !most)
        *code = log_check_names(c, true);
    while (good && *code == COMMAND_DONE && c->flags->follow && fflush(stdout) == 0 && interrupt_wait(LOG_LOOK_MS))
        good = look_on(look, log_record, c, e);
    look_close(look);
    free(c->ends);
    return good;
}

static int log_run(struct command_call *call)
{
    const struct log_flags *flags = call->flags;
    struct log_call c = { .flags = flags, .call = call };
    struct err e = { "" };
    if (flags->since.at && !clock_since(flags->since, &c.since_ms)) {
        fprintf(stderr, "aqueduct log: --since: \"%.*s\" is neither a moment nor a time ago; see aqueduct help log\n",
                STR_ARG(flags->since));
        return COMMAND_USAGE;
    }
    if (call->config->broker_missing) {
        fprintf(stderr, "aqueduct log: the broker's configuration is not whole: %s\n", call->config->broker_missing);
        return COMMAND_FAILED;
    }
    char *topic = topic_name(call->prefix, TOPIC_ATTEMPTS, NULL);
    int code = COMMAND_DONE;
    c.topic = topic;
    interrupt_watch();
    size_t most = flags->limit ? (size_t)flags->limit : flags->json ? 0 : LOG_LIMIT;
    bool good = flags->follow || !most ? log_read(&c, most, &code, &e) : log_show_newest(&c, most, &code, &e);
    free(topic);
    if (!good)
        fprintf(stderr, "aqueduct log: %s\n", e.text);
    return good ? code : COMMAND_FAILED;
}

const struct command command_log = {
    .name = "log",
    .synopsis = "[-c FILE]... [filter] [-f]",
    .doc = "Show the delivery log: the attempts of all sinks, with what the receivers answered.",
    .notes = log_notes,
    .flags = log_flags,
    .size = sizeof(struct log_flags),
    .config = true,
    .sinks = "",
    .run = log_run,
};
