/* SPDX-License-Identifier: MIT */
/* Events in Avro: byte for byte what the format says, and back; what is broken, or larger than it says, is none. */
#include "bridge/event/avro.h"
#include "tests/support/event.h"
#include "tests/support/test.h"

static void assert_refused(struct str value, const char *said)
{
    struct err e = { "" };
    assert_null(event_from_avro(value, &e));
    assert_non_null(strstr(e.text, said));
}

static const struct event *small_event(void)
{
    const struct header x[] = { { STR("flag"), STR("true") }, { STR("n"), STR("-65") }, { STR("t"), STR("7") } };
    struct event f = { .id = STR("1"), .source = STR("/s"), .type = STR("t.u"), .data = STR("hi") };
    f.datacontenttype = STR("text/plain");
    f.extensions = x;
    f.extension_count = 3;
    f.booleans = 1 << 0;
    f.integers = 1 << 1;
    return event_born(&f);
}

TEST(bytes_of_the_format)
{
    static const char want[] = "\0\0\0\0\0" /* the head, whose id the broker fills in */
                               "\x10"       /* 8 attributes */
                               "\x16specversion\x06\x06"
                               "1.0"
                               "\x04id\x06\x02"
                               "1"
                               "\x0csource\x06\x04/s"
                               "\x08type\x06\x06t.u"
                               "\x1e"
                               "datacontenttype\x06\x14text/plain"
                               "\x08"
                               "flag\x02\x01"
                               "\x02n\x04\x81\x01"
                               "\x02t\x06\x02"
                               "7"
                               "\0"
                               "\0\x04hi";
    struct buf out = buf_new(1024);
    const struct event *ev = small_event(), *back;
    event_to_avro(ev, &out);
    assert_int_equal(out.n, sizeof want - 1);
    assert_memory_equal(out.at, want, out.n);
    for (int head = 0; head < 2; head++) {
        struct err e = { "" };
        back = event_from_avro(head ? buf_str(&out) : record_without_schema(buf_str(&out)), &e);
        assert_events_equal(back, ev);
        event_unref(back);
    }
    event_unref(ev);
    buf_free(&out);
}

TEST(no_data_and_empty_data)
{
    for (int empty = 0; empty < 2; empty++) {
        struct event f = {
            .id = STR("1"), .source = STR("/s"), .type = STR("t"), .data = empty ? STR("") : STR_ABSENT
        };
        f.datacontenttype = STR("application/json");
        const struct event *ev = event_born(&f), *back;
        struct buf out = buf_new(1024);
        event_to_avro(ev, &out);
        back = event_from_avro(buf_str(&out), NULL);
        assert_events_equal(back, ev);
        event_unref(back);
        event_unref(ev);
        buf_free(&out);
    }
}

TEST(every_cut_is_refused)
{
    struct buf out = buf_new(1024);
    const struct event *ev = small_event();
    event_to_avro(ev, &out);
    for (size_t n = 0; n < out.n; n++)
        assert_null(event_from_avro((struct str){ out.at, n }, NULL));
    buf_add_char(&out, 'x');
    assert_refused(buf_str(&out), "not an event in Avro");
    event_unref(ev);
    buf_free(&out);
}

TEST(what_lies_about_its_size)
{
    assert_refused(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "not an event");     /* so many attributes */
    assert_refused(STR("\x02\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "not an event"); /* a name so long */
    assert_refused(STR("\x02\x01"), "not an event");                                     /* a length below 0 */
    assert_refused(STR("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), "not an event");
    assert_refused(STR("\0\x02"), "specversion is missing");
    assert_refused(STR("\x02\x16specversion\x06\x06"
                       "1.0\0\x02"),
                   "event attribute");
    assert_refused(STR("\x02\x16specversion\x06\x06"
                       "2.0\0\x02"),
                   "specversion is not 1.0");
    assert_refused(STR("\x02\x16specversion\x06\x06"
                       "1.0\0\x04\x01"),
                   "its data is not bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_the_format),
        cmocka_unit_test(no_data_and_empty_data),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(what_lies_about_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
