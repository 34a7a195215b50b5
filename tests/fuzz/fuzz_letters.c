/* SPDX-License-Identifier: MIT */
/* Records of the dead-letter topic: lines "name: value", an empty line, a line that is the key (or nothing: none), the
 * value. Each is filed as the sink does it, loaded as it was, and shown without control characters and as valid JSON. */
#include <stdlib.h>
#include <unistd.h>
#include "bridge/event/trail.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/dead_letter/dead_letter.h"
#include "connectors/dead_letter/print.h"

enum { HEADERS = 64, KEPT = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct sink_ops dead_letter_sink;
static const struct strings no_topics;
static struct dead_letter sink;

static char folder[2][64] = { "/dev/shm/aqueduct-fuzz-XXXXXX", "/tmp/aqueduct-fuzz-XXXXXX" }, path[80];
static int which;

static void clean_up(void)
{
    dead_letter_sink.close(&sink.base);
    unlink(path);
    rmdir(folder[which]);
}

/* The sink with a file of its own, in memory where there is such a folder. */
static void set_up(void)
{
    struct err e = { "" };
    log_setup(LOG_ERROR, LOG_LOGFMT);
    which = mkdtemp(folder[0]) ? 0 : 1;
    CHECK(which == 0 || mkdtemp(folder[1]));
    snprintf(path, sizeof path, "%s/letters", folder[which]);
    sink = (struct dead_letter){ .base = { .ops = &dead_letter_sink, .id = "fuzz", .topics = &no_topics },
                                 .path = path,
                                 .keep = KEPT };
    if (!dead_letter_sink.open(&sink.base, &e))
        fprintf(stderr, "%s\n", e.text);
    CHECK(!e.text[0]);
    atexit(clean_up);
}

static void read_record(struct str in, struct record *r, struct header headers[HEADERS])
{
    struct str line, name;
    *r = (struct record){ .topic = STR("aqueduct.dead-letter"), .offset = 5, .timestamp_ms = 1, .headers = headers };
    while (str_cut(&in, '\n', &line) && line.n && r->header_count < HEADERS) {
        str_cut(&line, ':', &name);
        headers[r->header_count++] = (struct header){ name, line };
    }
    if (str_cut(&in, '\n', &line) && line.n)
        r->key = line;
    r->value = in;
}

/* Files it; true: as a letter, false: as news that one was redriven. */
static bool file(const struct record *r)
{
    struct result out = { 0 };
    const struct event *ev = event_from_record(r, NULL);
    dead_letter_sink.send(&sink.base, &(struct message){ .event = ev, .record = r, .attempt = 1, .tag = 1 });
    CHECK(dead_letter_sink.work(&sink.base, -1, (struct duration){ 0 }, &out, 1) == 1);
    if (out.verdict != VERDICT_DELIVERED)
        fprintf(stderr, "%s\n", out.why);
    CHECK(out.verdict == VERDICT_DELIVERED);
    event_unref(ev);
    return !str_eq(record_header(r, TRAIL_STATE), STR("redriven"));
}

static void check_same(const struct letter *l, const struct record *r)
{
    CHECK(str_eq(l->record.key, r->key) && !l->record.key.at == !r->key.at);
    CHECK(str_eq(l->record.value, r->value) && !l->record.value.at == !r->value.at);
    CHECK(l->record.header_count == r->header_count && l->record.timestamp_ms == r->timestamp_ms);
    for (size_t i = 0; i < r->header_count; i++)
        CHECK(str_eq(l->record.headers[i].name, r->headers[i].name)
              && str_eq(l->record.headers[i].value, r->headers[i].value));
}

typedef void print_fn(const struct letter *l, FILE *out);

/* What it prints is text of harmless lines. */
static struct buf printed(print_fn *print, const struct letter *l)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    CHECK(out);
    print(l, out);
    CHECK(fclose(out) == 0);
    struct buf b = buf_new(64 << 20);
    buf_add(&b, text, n);
    free(text);
    CHECK(n && b.at[n - 1] == '\n' && str_is_utf8(buf_str(&b)));
    for (struct str rest = buf_str(&b); rest.n; rest = str_from(rest, str_utf8_length(rest)))
        CHECK(rest.at[0] == '\n' || str_is_shown((struct str){ rest.at, str_utf8_length(rest) }));
    return b;
}

static void print_row(const struct letter *l, FILE *out)
{
    print_table_row(&(struct print_table){ .with_state = true }, l, out);
}

static void print_cut_letter(const struct letter *l, FILE *out)
{
    print_letter(l, 100, out);
}

static void print_whole_letter(const struct letter *l, FILE *out)
{
    print_letter(l, 0, out);
}

static void check_printed(const struct letter *l)
{
    print_fn *const prints[] = { print_json, print_row, print_cut_letter, print_whole_letter };
    for (size_t i = 0; i < sizeof prints / sizeof *prints; i++) {
        struct jscan_value json;
        struct buf text = printed(prints[i], l);
        if (i < 2) /* one line */
            CHECK(memchr(text.at, '\n', text.n) == text.at + text.n - 1);
        if (i == 0)
            CHECK(jscan_check(buf_str(&text), &json, NULL) && json.type == JSCAN_OBJECT);
        buf_free(&text);
    }
}

/* The newest letter, which is this record. */
static void check_newest(const struct record *r)
{
    static const struct selection any = { .dead = true, .redriven = true, .discarded = true };
    struct letter l;
    int64_t seq;
    struct err e = { "" };
    CHECK(letters_select(sink.letters, &any, true, 0, &seq, 1, &e) == 1);
    CHECK(letters_load(sink.letters, seq, &l, &e) && !l.cut);
    check_same(&l, r);
    check_printed(&l);
    letter_free(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct header headers[HEADERS];
    struct record r;
    if (!sink.letters)
        set_up();
    read_record((struct str){ (const char *)data, size }, &r, headers);
    if (!file(&r))
        return 0;
    int64_t count = letters_count(sink.letters);
    CHECK(count >= 1 && count <= KEPT);
    check_newest(&r);
    CHECK(file(&r) && letters_count(sink.letters) == count); /* a repeat takes its place */
    check_newest(&r);
    return 0;
}
