/* SPDX-License-Identifier: MIT */
/* The dead-letter sink under test. */
#include "tests/support/dead.h"
#include <stdio.h>
#include <unistd.h>

char dead_folder[FOLDER_BYTES], dead_path[128];

struct sink *dead_sink(const char *more)
{
    char yaml[512];
    snprintf(yaml, sizeof yaml, "path: %s\n%s", dead_path, more);
    return sink_filled(&dead_letter_sink, "failed", yaml);
}

struct sink *dead_opened(const char *more)
{
    struct sink *s = dead_sink(more);
    sink_start(s);
    return s;
}

void dead_record(struct dead_record *f, const char *value, const char *const *pairs)
{
    *f = (struct dead_record){ .record = { .topic = STR("aqueduct.dead-letter"),
                                           .offset = 5,
                                           .timestamp_ms = 1700000000123,
                                           .key = STR("the key"),
                                           .value = str_of(value),
                                           .headers = f->headers } };
    for (; *pairs; pairs += 2)
        f->headers[f->record.header_count++] = (struct header){ str_of(pairs[0]), str_of(pairs[1]) };
    f->event = event_from_record(&f->record, NULL);
}

void dead_file_all(struct sink *s, struct dead_record *f, size_t n)
{
    struct result out[8];
    for (size_t i = 0; i < n; i++)
        s->ops->send(s, &(struct message){ .event = f[i].event, .record = &f[i].record, .attempt = 1, .tag = 100 + i });
    assert_int_equal(s->ops->work(s, -1, (struct duration){ 0 }, out, 8), n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(out[i].tag, 100 + i);
        assert_int_equal(out[i].verdict, VERDICT_DELIVERED);
        event_unref(f[i].event);
    }
}

void dead_file(struct sink *s, const char *value, const char *const *pairs)
{
    struct dead_record f;
    dead_record(&f, value, pairs);
    dead_file_all(s, &f, 1);
}

int dead_begin(void **state)
{
    (void)state;
    folder_make(dead_folder);
    snprintf(dead_path, sizeof dead_path, "%s/dead.db", dead_folder);
    return 0;
}

int dead_end(void **state)
{
    (void)state;
    char file[160];
    static const char *const names[] = { "dead.db", "dead.db-journal", "out" };
    for (size_t i = 0; i < 3; i++) {
        snprintf(file, sizeof file, "%s/%s", dead_folder, names[i]);
        unlink(file);
    }
    return rmdir(dead_folder);
}
