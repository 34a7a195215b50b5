/* SPDX-License-Identifier: MIT */
/* Any bytes as the file of dead letters: the command lists and shows what is in it or says why not, without a byte that a
 * terminal should not get, and marks a letter; the sink files a letter in it or says why not.
 *
 * Input: the file. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/event/trail.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/log.h"
#include "connectors/dead_letter/dead_letter.h"
#include "connectors/dead_letter/print.h"

enum { LETTERS = 64, TEXT = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct sink_ops dead_letter_sink;
static const struct selection any = { .dead = true, .redriven = true, .discarded = true };
static char folder[2][64] = { "/dev/shm/aqueduct-fuzz-XXXXXX", "/tmp/aqueduct-fuzz-XXXXXX" }, path[80], journal[96];
static int which = -1;

static void clean_up(void)
{
    unlink(path);
    unlink(journal);
    rmdir(folder[which]);
}

static void set_up(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    which = mkdtemp(folder[0]) ? 0 : 1;
    CHECK(which == 0 || mkdtemp(folder[1]));
    snprintf(path, sizeof path, "%s/letters", folder[which]);
    snprintf(journal, sizeof journal, "%s-journal", path);
    atexit(clean_up);
}

static void put_file(const uint8_t *data, size_t size)
{
    unlink(journal);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0);
}

static void print_row(const struct letter *l, FILE *out)
{
    print_table_row(&(struct print_table){ .with_state = true }, l, out);
}

static void print_whole(const struct letter *l, FILE *out)
{
    print_letter(l, 1000, out);
}

static void check_printed(void (*print)(const struct letter *l, FILE *out), const struct letter *l)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    CHECK(out);
    print(l, out);
    CHECK(fclose(out) == 0);
    struct str all = { text, n };
    CHECK(n && text[n - 1] == '\n' && str_is_utf8(all));
    for (struct str rest = all; rest.n; rest = str_from(rest, str_utf8_length(rest)))
        CHECK(rest.at[0] == '\n' || str_is_shown((struct str){ rest.at, str_utf8_length(rest) }));
    struct jscan_value json;
    CHECK(print != print_json || jscan_check(all, &json, NULL));
    free(text);
}

static bool check_letter(void *ctx, struct letter *l, struct err *e)
{
    (void)ctx, (void)e;
    check_printed(print_json, l);
    check_printed(print_row, l);
    check_printed(print_whole, l);
    return true;
}

static bool mark_letter(void *ctx, struct letter *l, struct err *e)
{
    return letters_mark(ctx, l, 1, LETTER_REDRIVEN, e);
}

/* As `aqueduct dead` does. */
static void read_file(void)
{
    struct err e = { "" };
    struct letters *st = letters_open(path, false, &e);
    if (!st) {
        CHECK(e.text[0]);
        return;
    }
    int64_t matches = letters_matches(st, &any, &e);
    CHECK(matches >= 0 || e.text[0]);
    int64_t shown = letters_each(st, &any, true, LETTERS, check_letter, NULL, &e);
    CHECK(shown >= 0 || e.text[0]);
    e.text[0] = '\0';
    CHECK(letters_each(st, &any, false, 1, mark_letter, st, &e) >= 0 || e.text[0]);
    letters_close(st);
}

/* As the daemon does. */
static void write_file(void)
{
    static const struct strings no_topics;
    struct err e = { "" };
    struct dead_letter sink = { .base = { .ops = &dead_letter_sink, .id = "fuzz", .topics = &no_topics },
                                .path = path,
                                .keep = 2 };
    struct header headers[] = { { STR(TRAIL_SINK), STR("crm") }, { STR(TRAIL_LAST), STR("2026-11-20T10:00:00Z") } };
    struct record r = {
        .topic = STR("aqueduct.dead-letter"), .value = STR("x"), .headers = headers, .header_count = 2
    };
    struct result result = { 0 };
    if (!dead_letter_sink.open(&sink.base, &e)) {
        CHECK(e.text[0]);
        return;
    }
    dead_letter_sink.send(&sink.base, &(struct message){ .record = &r, .attempt = 1, .tag = 1 });
    CHECK(dead_letter_sink.work(&sink.base, -1, (struct duration){ 0 }, &result, 1) == 1);
    CHECK(result.verdict == VERDICT_DELIVERED || (result.verdict == VERDICT_RETRY && result.why[0]));
    dead_letter_sink.close(&sink.base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (which < 0)
        set_up();
    put_file(data, size);
    read_file();
    put_file(data, size);
    write_file();
    read_file();
    return 0;
}
