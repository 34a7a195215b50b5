/* SPDX-License-Identifier: MIT */
/* Prints dead letters. */
#include "connectors/dead_letter/print.h"

#include <inttypes.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/event/event.h"
#include "bridge/event/trail.h"

enum { LINE_BYTES = 64 << 20, OWNER_LEAST = 12, OWNER_MOST = 64 };

int print_clean(struct str text, int width, FILE *out)
{
    int n = 0;
    for (size_t i = 0; i < text.n && (width == 0 || n < width); n++) {
        size_t length = str_utf8_length(str_from(text, i));
        struct str one = { text.at + i, length ? length : 1 };
        if (str_is_shown(one))
            fwrite(one.at, 1, one.n, out);
        else
            fputc('?', out);
        i += one.n;
    }
    return n;
}

void print_origin(const struct letter *l, int width, FILE *out)
{
    print_clean(l->topic, width, out);
    fprintf(out, "/%" PRId64 "@%" PRId64, l->partition, l->offset);
}

/* ---- the table ---- */

/* A cell of a table: padded, or cut with a mark. */
static void print_cell(struct str text, int width, FILE *out)
{
    int n = print_clean(text, text.n > (size_t)width ? width - 1 : width, out);
    if (text.n > (size_t)width && n == width - 1) {
        fputc('~', out);
        n++;
    }
    fprintf(out, "%*s", width - n + 1, "");
}

static int print_owner_width(const struct print_table *t)
{
    return t->owner < OWNER_LEAST ? OWNER_LEAST : t->owner > OWNER_MOST ? OWNER_MOST : t->owner;
}

void print_nothing(const json_t *which, FILE *out)
{
    size_t n = strlen(json_text(which, "id"));
    fprintf(out, "no dead letters match%s\n", n && n < UUID_TEXT - 1 ? " (a whole id is wanted)" : "");
}

void print_table_fit(struct print_table *t, const struct letter *l)
{
    int n = (int)(l->owner.n + (l->endpoint.at ? 1 + l->endpoint.n : 0) + l->of_source);
    t->owner = n > t->owner ? n : t->owner;
}

void print_table_head(const struct print_table *t, FILE *out)
{
    fprintf(out, "%-19s %-*s %-13s %3s %3s %s%-26s %s\n", "LAST ATTEMPT (UTC)", print_owner_width(t), "SINK", "CLASS",
            "TRY", "ST.", t->with_state ? "STATE     " : "", "TYPE", "ID");
}

/* The sink or source; one of several endpoints as sink/endpoint. */
static void print_owner(const struct letter *l, int width, FILE *out)
{
    struct buf b = buf_new(LINE_BYTES);
    buf_add_str(&b, l->owner);
    if (l->endpoint.at) {
        buf_add_char(&b, '/');
        buf_add_str(&b, l->endpoint);
    }
    print_cell(buf_str(&b), width, out);
    buf_free(&b);
}

void print_table_row(const struct print_table *t, const struct letter *l, FILE *out)
{
    char last[CLOCK_TEXT];
    clock_text(l->last_ms, last);
    last[10] = ' ';
    print_cell(l->last_ms ? (struct str){ last, 19 } : STR("-"), 19, out);
    if (l->of_source)
        fputc('<', out);
    print_owner(l, print_owner_width(t) - l->of_source, out);
    print_cell(l->class, 13, out);
    fprintf(out, "%3" PRId64 " ", l->attempts);
    fprintf(out, l->status ? "%3" PRId64 " " : "  - ", l->status);
    if (t->with_state)
        print_cell(str_of(letter_state(l->state)), 9, out);
    print_cell(l->type.at ? l->type : STR("(no event)"), 26, out);
    if (l->id.at)
        print_clean(l->id, 80, out);
    else
        print_origin(l, 60, out);
    fputc('\n', out);
}

/* ---- one JSON object ---- */

static void print_json_event(struct buf *out, const struct letter *l)
{
    json_add_text(out, "sink", l->of_source ? STR_ABSENT : l->owner);
    json_add_text(out, "endpoint", l->endpoint);
    json_add_text(out, "from", l->of_source ? l->owner : STR_ABSENT);
    json_add_text(out, "id", l->id);
    json_add_text(out, "source", l->source);
    json_add_text(out, "type", l->type);
    json_add_text(out, "time", l->time);
}

static void print_json_attempts(struct buf *out, const struct letter *l)
{
    json_add_moment(out, "first", l->first_ms);
    json_add_moment(out, "last", l->last_ms);
    buf_printf(out, ",\"attempts\":%" PRId64, l->attempts);
    if (l->status)
        buf_printf(out, ",\"status\":%" PRId64, l->status);
    else
        buf_add_c(out, ",\"status\":null");
    json_add_text(out, "class", l->class);
    json_add_text(out, "reason", l->reason);
    buf_printf(out, ",\"redrives\":%" PRId64, l->redrives);
}

static void print_json_origin(struct buf *out, const struct letter *l)
{
    if (!l->topic.at) {
        buf_add_c(out, ",\"origin\":null");
        return;
    }
    buf_add_c(out, ",\"origin\":{\"topic\":");
    jscan_add_string(out, l->topic);
    buf_printf(out, ",\"partition\":%" PRId64 ",\"offset\":%" PRId64 "}", l->partition, l->offset);
}

/* Writes good JSON as a line. What no terminal should get can only stand in its strings: it is escaped. */
static void print_json_line(struct str json, FILE *out)
{
    while (json.n) {
        const unsigned char *p = (const unsigned char *)json.at;
        size_t n = str_utf8_length(json);
        struct str one = { json.at, n };
        CHECK(n > 0);
        if (str_is_shown(one))
            fwrite(one.at, 1, n, out);
        else
            fprintf(out, "\\u%04x",
                    n == 1   ? p[0]
                    : n == 2 ? (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu)
                             : (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu));
        json = str_from(json, n);
    }
    fputc('\n', out);
}

/* What stands in every object, behind what the command says. */
static void print_json_members(const struct letter *l, struct buf *out)
{
    json_add_text(out, "state", str_of(letter_state(l->state)));
    print_json_event(out, l);
    print_json_attempts(out, l);
    json_add_text(out, "host", record_header(&l->record, TRAIL_HOST));
    print_json_origin(out, l);
    json_add_text(out, "key", l->record.key);
    buf_printf(out, ",\"size\":%zu}", l->record.value.n);
}

void print_json_object(const struct letter *l, struct buf *out)
{
    buf_add_char(out, '{');
    print_json_members(l, out);
}

void print_json_result(const char *result, const char *why, const char *to, const struct letter *l, FILE *out)
{
    struct buf b = buf_new(LINE_BYTES);
    buf_add_char(&b, '{');
    if (result) {
        json_add_text(&b, "result", str_of(result));
        json_add_text(&b, "why", str_of(why));
        json_add_text(&b, "to", str_of(to));
    }
    print_json_members(l, &b);
    print_json_line(buf_str(&b), out);
    buf_free(&b);
}

void print_json(const struct letter *l, FILE *out)
{
    print_json_result(NULL, NULL, NULL, l, out);
}

/* ---- one letter, whole ---- */

/* Behind the string whose opening quote stands at i, in JSON that was checked. */
static size_t print_string_end(struct str json, size_t i)
{
    for (i++; json.at[i] != '"'; i++)
        if (json.at[i] == '\\')
            i++;
    return i + 1;
}

/* JSON that was checked, with line breaks and indentation; not a byte of its values is changed. */
static void print_indented(struct str json, struct buf *out)
{
    int depth = 0;
    for (size_t i = 0, end; i < json.n; i = end) {
        char c = json.at[i], before = out->n ? out->at[out->n - 1] : 0;
        bool opened = before == '{' || before == '[', opens = c == '{' || c == '[', closes = c == '}' || c == ']';
        end = c == '"' ? print_string_end(json, i) : i + 1;
        if (strchr(" \t\r\n", c))
            continue;
        depth -= closes;
        if (closes ? !opened : opened || before == ',')
            buf_printf(out, "\n%*s", 2 * depth, "");
        buf_add(out, json.at + i, end - i);
        if (c == ':')
            buf_add_char(out, ' ');
        depth += opens;
    }
}

static void print_lines(struct str text, FILE *out)
{
    struct str line;
    while (str_cut(&text, '\n', &line)) {
        fputs("  ", out);
        print_clean(line, 0, out);
        fputc('\n', out);
    }
}

/* Of text longer than `limit` so much that no character is cut; 0: no limit. */
static struct str print_cut(struct str text, size_t limit)
{
    if (!limit || text.n <= limit)
        return text;
    size_t n = limit;
    while (n && ((unsigned char)text.at[n] & 0xc0) == 0x80)
        n--;
    return (struct str){ text.at, n };
}

static void print_data(struct str data, size_t limit, FILE *out)
{
    struct jscan_value checked;
    if (!data.at) {
        fputs("  (none)\n", out);
        return;
    }
    if (!str_is_utf8(data)) {
        fprintf(out, "  (%zu bytes that are no text; --raw prints them)\n", data.n);
        return;
    }
    struct buf indented = buf_new(LINE_BYTES * 4ul);
    if (jscan_check(data, &checked, NULL))
        print_indented(data, &indented);
    struct str text = indented.n && !indented.failed ? buf_str(&indented) : data, shown = print_cut(text, limit);
    print_lines(shown, out);
    if (shown.n < text.n)
        fprintf(out, "  ... (%zu bytes in all; --raw prints them as they are)\n", data.n);
    buf_free(&indented);
}

/* One by a schema of a registry as JSON, as a structured one is. */
static void print_value(const struct record *r, size_t limit, FILE *out)
{
    const struct event *ev = NULL;
    struct buf json = buf_new(8u * EVENT_DATA_BYTES);
    if (r->value.n > SCHEMA_HEAD && r->value.at[0] == 0 && !record_header(r, EVENT_HEADER_PREFIX "specversion").at)
        ev = event_from_record(r, NULL);
    if (ev)
        event_to_json(ev, &json);
    print_data(ev && !json.failed ? buf_str(&json) : r->value, limit, out);
    event_unref(ev);
    buf_free(&json);
}

static void print_field(const char *name, struct str text, FILE *out)
{
    if (!text.at)
        return;
    fprintf(out, "%-10s ", name);
    print_clean(text, 0, out);
    fputc('\n', out);
}

static void print_moment(const char *name, int64_t ms, FILE *out)
{
    char text[CLOCK_TEXT];
    clock_text(ms, text);
    if (ms)
        print_field(name, str_of(text), out);
}

static void print_number(const char *name, int64_t n, FILE *out)
{
    fprintf(out, "%-10s %" PRId64 "\n", name, n);
}

static void print_state(const struct letter *l, FILE *out)
{
    fprintf(out, "%-10s %s", "state", letter_state(l->state));
    if (l->redrives == 1)
        fputs(" (redriven once)", out);
    else if (l->redrives)
        fprintf(out, " (redriven %" PRId64 " times)", l->redrives);
    fputc('\n', out);
}

/* The sender's headers; what the letter says of them already is left out. */
static void print_headers(const struct record *r, FILE *out)
{
    fputs("headers\n", out);
    for (size_t i = 0; i < r->header_count; i++) {
        if (str_starts(r->headers[i].name, STR(TRAIL_PREFIX)))
            continue;
        fputs("  ", out);
        print_clean(r->headers[i].name, 0, out);
        fputs(": ", out);
        print_clean(r->headers[i].value, 0, out);
        fputc('\n', out);
    }
}

void print_letter(const struct letter *l, size_t limit, FILE *out)
{
    print_field("id", l->id, out);
    print_field("source", l->source, out);
    print_field("type", l->type, out);
    print_field("time", l->time, out);
    print_field(l->of_source ? "from" : "sink", l->owner, out);
    print_field("endpoint", l->endpoint, out);
    print_field("host", record_header(&l->record, TRAIL_HOST), out);
    print_field("class", l->class, out);
    print_field("reason", l->reason, out);
    if (l->status)
        print_number("status", l->status, out);
    print_number("attempts", l->attempts, out);
    print_moment("first", l->first_ms, out);
    print_moment("last", l->last_ms, out);
    print_state(l, out);
    if (l->topic.at) {
        fprintf(out, "%-10s ", "origin");
        print_origin(l, 0, out);
        fputc('\n', out);
    }
    print_field("key", l->record.key, out);
    print_headers(&l->record, out);
    fputs("data\n", out);
    if (l->cut)
        fputs("  (too large to be read here)\n", out);
    else
        print_value(&l->record, limit, out);
}
