/* SPDX-License-Identifier: MIT */
/* Cursors: as text and back, and placed in a log that says what the test says. */
#include "bridge/event/cursor.h"
#include <stdio.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"
#include "tests/support/test.h"

/* ---- a log of two topics, a and b ---- */

enum { PARTS = 4 };

static struct said { /* of a topic */
    int32_t partitions;
    uint64_t identity;
    struct log_bounds bounds[PARTS];
    int64_t live[PARTS], at_time[PARTS];
    bool silent[PARTS]; /* the offset at a time is not known yet */
} said[2];
static int64_t asked_ms;

static struct said *said_of(const char *topic)
{
    return &said[topic[0] == 'b'];
}

static int32_t said_partitions(struct log *l, const char *topic)
{
    (void)l;
    return said_of(topic)->partitions;
}

static bool said_identity(struct log *l, const char *topic, uint64_t *out)
{
    (void)l;
    *out = said_of(topic)->identity;
    return *out != 0;
}

static bool said_bounds(struct log *l, struct topic_partition p, struct log_bounds *out)
{
    (void)l;
    *out = said_of(p.topic)->bounds[p.partition];
    return true;
}

static bool said_live(struct log *l, struct topic_partition p, int64_t *out)
{
    (void)l;
    *out = said_of(p.topic)->live[p.partition];
    return true;
}

/* Each answer is given once, as from a cluster that was asked. */
static bool said_offset_at(struct log *l, struct topic_partition p, int64_t ms, int64_t *out)
{
    (void)l;
    struct said *t = said_of(p.topic);
    t->silent[p.partition] = !t->silent[p.partition];
    *out = t->at_time[p.partition];
    asked_ms = ms;
    return t->silent[p.partition];
}

static bool said_time_known;
static int64_t said_time;

static bool said_time_of(struct log *l, struct topic_partition p, int64_t offset, int64_t *out)
{
    (void)l, (void)p;
    *out = said_time;
    assert_int_equal(offset, 49);
    return said_time_known;
}

static struct log_ops said_ops = { .partitions = said_partitions,
                                   .identity = said_identity,
                                   .bounds = said_bounds,
                                   .live = said_live,
                                   .offset_at = said_offset_at };
static struct log said_log = { &said_ops };
static struct hmac *key;
static const char *const both[] = { "a", "b" };

static int set_up(void **state)
{
    (void)state;
    key = hmac_new(str_of("a secret"));
    clock_fake(1, 500000);
    said_time_known = true;
    said_ops.time_of = NULL;
    for (int t = 0; t < 2; t++) {
        said[t] = (struct said){ .partitions = 2, .identity = 0xfedcba9876543210u + (unsigned)t };
        for (int p = 0; p < PARTS; p++) {
            said[t].bounds[p] = (struct log_bounds){ 10, 100 };
            said[t].live[p] = 90;
            said[t].at_time[p] = 42;
        }
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hmac_free(key);
    return 0;
}

/* The text of a cursor of topic a that stands at those offsets and has seen a record of second 1000. */
static struct buf text_at(int64_t first, int64_t second)
{
    struct buf out = buf_new(CURSOR_TEXT_MAX);
    struct cursor *c = cursor_new(both, 1);
    assert_true(cursor_place(c, &said_log, (struct cursor_start){ CURSOR_LATEST, 0 }));
    cursor_move(c, 0, 0, first, 1000000);
    cursor_move(c, 0, 1, second, 900000);
    cursor_write(c, key, &out);
    cursor_free(c);
    return out;
}

static struct cursor *read_back(struct buf *text, const char *const *topics, size_t count)
{
    struct err e = { "" };
    struct cursor *c = cursor_new(topics, count);
    if (!cursor_read(c, key, buf_str(text), &e))
        fail_msg("%s", e.text);
    buf_free(text);
    return c;
}

static void resume(struct cursor *c)
{
    for (int i = 0; i < 8; i++)
        if (cursor_place(c, &said_log, (struct cursor_start){ CURSOR_RESUME, 0 }))
            return;
    fail_msg("it is never placed");
}

static void expect(const struct cursor *c, size_t topic, int32_t p, int64_t next, enum cursor_verdict v, int64_t lost)
{
    const struct cursor_part *part = &c->topics[topic].parts[p];
    assert_int_equal(part->next, next);
    assert_string_equal(cursor_verdict_text(part->verdict), cursor_verdict_text(v));
    assert_int_equal(part->lost, lost);
}

/* ---- verdicts ---- */

TEST(what_is_kept_goes_on_exactly)
{
    struct buf text = text_at(50, 100);
    struct cursor *c = read_back(&text, both, 1);
    resume(c);
    expect(c, 0, 0, 50, CURSOR_EXACT, 0);
    expect(c, 0, 1, 100, CURSOR_EXACT, 0);
    assert_int_equal(c->verdict, CURSOR_EXACT);
    cursor_free(c);
    text = text_at(120, 10); /* what send() has brought is there, whatever the bounds knew then */
    said[0].live[0] = 120;
    c = read_back(&text, both, 1);
    resume(c);
    expect(c, 0, 0, 120, CURSOR_EXACT, 0);
    cursor_free(c);
}

TEST(what_retention_took_is_counted)
{
    struct buf text = text_at(3, 9);
    struct cursor *c = read_back(&text, both, 1);
    resume(c);
    expect(c, 0, 0, 10, CURSOR_GAP, 7);
    expect(c, 0, 1, 10, CURSOR_GAP, 1);
    assert_int_equal(c->verdict, CURSOR_GAP);
    assert_int_equal(c->lost, 8);
    cursor_free(c);
}

TEST(a_topic_that_was_made_anew_goes_on_by_time)
{
    struct buf text = text_at(50, 60);
    said[0].identity++;
    said[0].partitions = 1;
    struct cursor *c = read_back(&text, both, 1);
    assert_false(cursor_place(c, &said_log, (struct cursor_start){ CURSOR_RESUME, 0 }) && c->verdict == CURSOR_EXACT);
    resume(c);
    expect(c, 0, 0, 42, CURSOR_RESET, 0);
    assert_int_equal(c->topics[0].count, 1);
    assert_int_equal(asked_ms, 1000000 - CURSOR_SKEW_MS);
    assert_int_equal(c->verdict, CURSOR_RESET);
    cursor_displace(c); /* it is of the new one now */
    resume(c);
    expect(c, 0, 0, 42, CURSOR_EXACT, 0);
    cursor_free(c);
}

TEST(a_partition_that_ends_before_the_position_is_reset_alone)
{
    struct buf text = text_at(101, 60);
    struct cursor *c = read_back(&text, both, 1);
    resume(c);
    expect(c, 0, 0, 42, CURSOR_RESET, 0);
    expect(c, 0, 1, 60, CURSOR_EXACT, 0);
    cursor_free(c);
}

TEST(a_topic_that_only_its_records_tell_from_another_one_is_reset)
{
    static const struct {
        int64_t ms;
        enum cursor_verdict verdict;
    } cases[] = { { 1000000, CURSOR_EXACT },
                  { -1, CURSOR_EXACT },
                  { 1000000 + CURSOR_SKEW_MS, CURSOR_EXACT },
                  { 1000001 + CURSOR_SKEW_MS, CURSOR_RESET } };
    said[0].partitions = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf text = text_at(50, 10);
        struct cursor *c = read_back(&text, both, 1);
        said_ops.time_of = said_time_of;
        said_time = cases[i].ms;
        said_time_known = false;
        said[0].bounds[1].start = 10; /* nothing is kept before the other one's position */
        assert_false(cursor_place(c, &said_log, (struct cursor_start){ CURSOR_RESUME, 0 }));
        said_time_known = true;
        resume(c);
        expect(c, 0, 0, cases[i].verdict == CURSOR_RESET ? 42 : 50, cases[i].verdict, 0);
        cursor_free(c);
        said_ops.time_of = NULL;
    }
}

TEST(an_added_partition_begins_at_its_start_and_an_added_topic_where_the_others_are)
{
    struct buf text = text_at(50, 60);
    said[0].partitions = 4;
    said[0].bounds[2].start = 0;
    struct cursor *c = read_back(&text, both, 2);
    resume(c);
    expect(c, 0, 2, 0, CURSOR_EXACT, 0);
    expect(c, 0, 3, 10, CURSOR_GAP, 10);
    expect(c, 1, 0, 42, CURSOR_NEW, 0);
    assert_int_equal(c->verdict, CURSOR_GAP);
    cursor_free(c);
}

TEST(an_added_topic_may_begin_at_its_start)
{
    struct buf text = text_at(50, 60);
    struct cursor *c = read_back(&text, both, 2);
    for (int k = 0; k < 4 && !c->verdict; k++)
        cursor_place(c, &said_log, (struct cursor_start){ CURSOR_RESUME_ALL, 0 });
    expect(c, 0, 0, 50, CURSOR_EXACT, 0);
    expect(c, 1, 0, 10, CURSOR_NEW, 0);
    expect(c, 1, 1, 10, CURSOR_NEW, 0);
    cursor_free(c);
}

TEST(topics_that_are_not_subscribed_are_passed_over)
{
    struct buf text = buf_new(CURSOR_TEXT_MAX);
    struct cursor *c = cursor_new(both, 2);
    assert_true(cursor_place(c, &said_log, (struct cursor_start){ CURSOR_EARLIEST, 0 }));
    cursor_move(c, 1, 1, 77, 5);
    cursor_write(c, key, &text);
    cursor_free(c);
    c = read_back(&text, both + 1, 1);
    resume(c);
    expect(c, 0, 0, 10, CURSOR_EXACT, 0);
    expect(c, 0, 1, 77, CURSOR_EXACT, 0);
    cursor_free(c);
}

TEST(it_begins_where_it_is_told_to)
{
    static const struct {
        struct cursor_start start;
        int64_t next;
    } cases[] = {
        { { CURSOR_RESUME, 0 }, 90 }, { { CURSOR_LATEST, 0 }, 90 }, { { CURSOR_EARLIEST, 0 }, 10 },
        { { CURSOR_TIME, 7 }, 42 },   { { CURSOR_LAST, 31 }, 74 },  { { CURSOR_LAST, 1000 }, 10 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cursor *c = cursor_new(both, 1);
        for (int k = 0; k < 4 && !c->verdict; k++)
            cursor_place(c, &said_log, cases[i].start);
        expect(c, 0, 0, cases[i].next, CURSOR_NEW, 0);
        expect(c, 0, 1, cases[i].next, CURSOR_NEW, 0);
        cursor_free(c);
    }
    struct cursor *c = cursor_new(both, 2);
    said[1].identity = 0;
    assert_false(cursor_place(c, &said_log, (struct cursor_start){ CURSOR_LATEST, 0 }));
    assert_int_equal(c->verdict, 0);
    cursor_free(c);
}

/* ---- the text ---- */

TEST(any_changed_letter_is_refused)
{
    struct err e = { "" };
    struct buf text = text_at(50, 60);
    struct cursor *c = cursor_new(both, 1);
    for (size_t i = 0; i < text.n; i++) {
        char was = text.at[i];
        text.at[i] = was == 'A' ? 'B' : 'A';
        assert_false(cursor_read(c, key, buf_str(&text), &e));
        text.at[i] = was;
        assert_false(cursor_read(c, key, (struct str){ text.at, i }, &e));
    }
    assert_false(c->read);
    struct hmac *other = hmac_new(str_of("another"));
    assert_false(cursor_read(c, other, buf_str(&text), &e));
    assert_non_null(strstr(e.text, "another key"));
    hmac_free(other);
    assert_false(cursor_read(c, key, str_of("ai.events/0@87"), &e));
    assert_non_null(strstr(e.text, "base64url"));
    assert_false(cursor_read(c, key, str_of("AgAAAAAAAAAAAAAA"), &e));
    assert_non_null(strstr(e.text, "version 2"));
    cursor_free(c);
    c = read_back(&text, both, 1);
    assert_int_equal(c->newest_ms, 1000000);
    cursor_free(c);
}

TEST(it_is_short)
{
    static const struct {
        int32_t partitions;
        size_t most; /* bytes before base64 */
    } cases[] = { { 12, 95 }, { 128, 900 } };
    for (size_t i = 0; i < 2; i++) {
        struct buf text = buf_new(CURSOR_TEXT_MAX);
        struct cursor *c = cursor_new(both, 1);
        said[0].partitions = 1;
        assert_true(cursor_place(c, &said_log, (struct cursor_start){ CURSOR_LATEST, 0 }));
        for (int32_t p = 0; p < cases[i].partitions; p++)
            cursor_move(c, 0, p, 20000000000 + p, 1767225600000);
        cursor_write(c, key, &text);
        assert_in_range(text.n * 3 / 4, 1, cases[i].most);
        cursor_free(c);
        buf_free(&text);
    }
}

#define CURSOR_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CURSOR_TEST(what_is_kept_goes_on_exactly),
        CURSOR_TEST(what_retention_took_is_counted),
        CURSOR_TEST(a_topic_that_was_made_anew_goes_on_by_time),
        CURSOR_TEST(a_partition_that_ends_before_the_position_is_reset_alone),
        CURSOR_TEST(a_topic_that_only_its_records_tell_from_another_one_is_reset),
        CURSOR_TEST(an_added_partition_begins_at_its_start_and_an_added_topic_where_the_others_are),
        CURSOR_TEST(an_added_topic_may_begin_at_its_start),
        CURSOR_TEST(topics_that_are_not_subscribed_are_passed_over),
        CURSOR_TEST(it_begins_where_it_is_told_to),
        CURSOR_TEST(any_changed_letter_is_refused),
        CURSOR_TEST(it_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
