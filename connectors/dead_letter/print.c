/* SPDX-License-Identifier: MIT */
/* Prints dead letters. */
#include "connectors/dead_letter/print.h"

#include <inttypes.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/jscan.h"
#include "bridge/event/trail.h"

enum { LINE_BYTES = 64 << 20 };

int print_clean(struct str text, int width, FILE *out)
{
    int n = 0;
    for (size_t i = 0; i < text.n && (width == 0 || n < width); n++) {
        unsigned char c = (unsigned char)text.at[i];
        size_t length = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
        struct str one = { text.at + i, length <= text.n - i ? length : text.n - i };
        bool c1 = c == 0xc2 && one.n == 2 && (unsigned char)one.at[1] < 0xa0; /* control characters above ASCII */
        if (c < ' ' || c == 0x7f || c1 || !str_is_utf8(one)) {
            fputc('?', out);
            i += c1 ? 2 : 1;
            continue;
        }
        fwrite(one.at, 1, one.n, out);
        i += one.n;
    }
    return n;
}

/* A cell of a table: padded, or cut with a mark. */
static void cell(struct str text, int width, FILE *out)
{
    int n = print_clean(text, text.n > (size_t)width ? width - 1 : width, out);
    if (text.n > (size_t)width && n == width - 1) {
        fputc('~', out);
        n++;
    }
    fprintf(out, "%*s", width - n + 1, "");
}

static void add_moment(struct buf *out, int64_t ms)
{
    char text[CLOCK_TEXT];
    clock_text(ms, text);
    if (ms)
        buf_printf(out, "\"%s\"", text);
    else
        buf_add_c(out, "null");
}

void print_table_head(FILE *out, bool with_state)
{
    fprintf(out, "%-19s %-12s %-13s %3s %3s %s%-26s %s\n", "LAST ATTEMPT (UTC)", "SINK", "CLASS", "TRY", "ST.",
            with_state ? "STATE    " : "", "TYPE", "ID");
}

void print_table_row(const struct letter *l, bool with_state, FILE *out)
{
    char last[CLOCK_TEXT];
    clock_text(l->last_ms, last);
    last[10] = ' ';
    cell(l->last_ms ? (struct str){ last, 19 } : STR("-"), 19, out);
    if (l->of_source)
        fputc('<', out);
    cell(l->owner, l->of_source ? 11 : 12, out);
    cell(l->class, 13, out);
    fprintf(out, "%3" PRId64 " ", l->attempts);
    fprintf(out, l->status ? "%3" PRId64 " " : "  - ", l->status);
    if (with_state)
        cell(l->redriven ? STR("redriven") : STR("dead"), 8, out);
    cell(l->type.at ? l->type : STR("(no event)"), 26, out);
    if (l->id.at)
        print_clean(l->id, 80, out);
    else
        print_clean(l->topic, 60, out), fprintf(out, "/%" PRId64 "/%" PRId64, l->partition, l->offset);
    fputc('\n', out);
}

static void add_member(struct buf *out, const char *name, struct str text)
{
    buf_printf(out, ",\"%s\":", name);
    if (text.at)
        jscan_add_string(out, text);
    else
        buf_add_c(out, "null");
}

void print_json(const struct letter *l, FILE *out)
{
    struct buf b = buf_new(LINE_BYTES);
    buf_add_c(&b, "{\"state\":");
    buf_add_c(&b, l->redriven ? "\"redriven\"" : "\"dead\"");
    add_member(&b, "sink", l->of_source ? STR_ABSENT : l->owner);
    add_member(&b, "from", l->of_source ? l->owner : STR_ABSENT);
    add_member(&b, "id", l->id);
    add_member(&b, "source", l->source);
    add_member(&b, "type", l->type);
    add_member(&b, "time", l->time);
    buf_add_c(&b, ",\"first\":");
    add_moment(&b, l->first_ms);
    buf_add_c(&b, ",\"last\":");
    add_moment(&b, l->last_ms);
    buf_printf(&b, ",\"attempts\":%" PRId64, l->attempts);
    if (l->status)
        buf_printf(&b, ",\"status\":%" PRId64, l->status);
    else
        buf_add_c(&b, ",\"status\":null");
    add_member(&b, "class", l->class);
    add_member(&b, "reason", l->reason);
    buf_printf(&b, ",\"redrives\":%" PRId64, l->redrives);
    if (l->topic.at) {
        buf_add_c(&b, ",\"origin\":{\"topic\":");
        jscan_add_string(&b, l->topic);
        buf_printf(&b, ",\"partition\":%" PRId64 ",\"offset\":%" PRId64 "}", l->partition, l->offset);
    } else {
        buf_add_c(&b, ",\"origin\":null");
    }
    add_member(&b, "key", l->record.key);
    buf_printf(&b, ",\"size\":%zu}\n", l->record.value.n);
    fwrite(b.at, 1, b.n, out);
    buf_free(&b);
}

/* JSON that was checked, with line breaks and indentation; not a byte of its values is changed. */
static void indent_json(struct str json, struct buf *out)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < json.n; i++) {
        char c = json.at[i];
        bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
        if (!quoted && blank)
            continue;
        char before = out->n ? out->at[out->n - 1] : 0;
        bool opened = before == '{' || before == '[', closes = c == '}' || c == ']';
        if (!quoted && closes)
            depth--;
        if (!quoted && ((opened && !closes) || before == ',' || (closes && !opened)))
            buf_printf(out, "\n%*s", 2 * depth, "");
        buf_add_char(out, c);
        if (quoted && c == '\\')
            buf_add_char(out, json.at[++i]);
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && c == ':')
            buf_add_char(out, ' ');
        else if (!quoted && (c == '{' || c == '['))
            depth++;
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

static void print_data(struct str data, size_t limit, FILE *out)
{
    struct buf pretty = buf_new(LINE_BYTES * 4ul);
    struct str shown = data;
    struct jscan_value checked;
    if (!data.at) {
        fputs("  (none)\n", out);
        return;
    }
    if (!str_is_utf8(data)) {
        fprintf(out, "  (%zu bytes that are no text; --raw prints them)\n", data.n);
        return;
    }
    if (jscan_check(data, &checked, NULL)) {
        indent_json(data, &pretty);
        shown = pretty.failed ? data : buf_str(&pretty);
    }
    size_t n = shown.n;
    if (limit && n > limit)
        for (n = limit; n && ((unsigned char)shown.at[n] & 0xc0) == 0x80;)
            n--; /* not in the middle of a character */
    print_lines((struct str){ shown.at, n }, out);
    if (n < shown.n)
        fprintf(out, "  ... (%zu bytes in all; --raw prints them as they are)\n", data.n);
    buf_free(&pretty);
}

static void field(const char *name, struct str text, FILE *out)
{
    if (!text.at)
        return;
    fprintf(out, "%-10s ", name);
    print_clean(text, 0, out);
    fputc('\n', out);
}

static void field_moment(const char *name, int64_t ms, FILE *out)
{
    char text[CLOCK_TEXT];
    clock_text(ms, text);
    if (ms)
        field(name, str_of(text), out);
}

void print_whole(const struct letter *l, size_t limit, FILE *out)
{
    field("id", l->id, out);
    field("source", l->source, out);
    field("type", l->type, out);
    field("time", l->time, out);
    field(l->of_source ? "from" : "sink", l->owner, out);
    field("class", l->class, out);
    field("reason", l->reason, out);
    if (l->status)
        fprintf(out, "%-10s %" PRId64 "\n", "status", l->status);
    fprintf(out, "%-10s %" PRId64 "\n", "attempts", l->attempts);
    field_moment("first", l->first_ms, out);
    field_moment("last", l->last_ms, out);
    fprintf(out, "%-10s %s", "state", l->redriven ? "redriven" : "dead");
    fprintf(out, l->redrives ? " (redriven %" PRId64 " times)\n" : "\n", l->redrives);
    if (l->topic.at) {
        fprintf(out, "%-10s ", "origin");
        print_clean(l->topic, 0, out);
        fprintf(out, "/%" PRId64 "/%" PRId64 "\n", l->partition, l->offset);
    }
    field("key", l->record.key, out);
    fputs("headers\n", out);
    for (size_t i = 0; i < l->record.header_count; i++) {
        if (str_starts(l->record.headers[i].name, STR(TRAIL_PREFIX)))
            continue;
        fputs("  ", out);
        print_clean(l->record.headers[i].name, 0, out);
        fputs(": ", out);
        print_clean(l->record.headers[i].value, 0, out);
        fputc('\n', out);
    }
    fputs("data\n", out);
    print_data(l->record.value, limit, out);
}
