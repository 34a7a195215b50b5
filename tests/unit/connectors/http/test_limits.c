/* SPDX-License-Identifier: MIT */
/* What may come how fast, by address, path and key; and what of a body is shown to people. */
#include "connectors/http/limits.h"
#include <stdio.h>
#include "bridge/lib/clock.h"
#include "connectors/http/excerpt.h"
#include "tests/support/metric.h"
#include "tests/support/test.h"

static struct limits *limits;

static void begin(const struct limits_options *o, const struct limits_path_options *path)
{
    const struct limits_path_options nothing = { .per_path = { 0 } };
    clock_fake(1000, 1700000000000);
    limits = limits_new(o, "hooks");
    limits_add_path(limits, path ? path : &nothing, "/in");
    limits_add_path(limits, &nothing, "/other");
}

static int end(void **state)
{
    (void)state;
    limits_free(limits);
    limits = NULL;
    clock_real();
    return 0;
}

static int64_t limited(const char *path, const char *limit)
{
    return metric_value(metric_named("aqueduct_http_limited_total", LABELS("hooks", path, limit)));
}

/* Until it may come again, in ms; 0: it may. */
static int64_t arrive(int path, const char *address, enum limited what)
{
    struct limited_by by = limits_arrive(limits, path, str_of(address));
    assert_true(by.what == LIMITED_NOT || by.what == what);
    assert_true((by.what == LIMITED_NOT) == (by.wait_us == 0));
    return (by.wait_us + 999) / 1000;
}

static enum limited verified(int path, const char *address, const char *key, size_t bytes)
{
    return limits_verified(limits, path, str_of(address), str_of(key), bytes).what;
}

/* ---- buckets ---- */

TEST(a_bucket_gives_its_burst_and_then_its_rate)
{
    const struct bucket_size size = { .rate = 4, .burst = 3 };
    int64_t full = 0, now = 5000000;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bucket_wait(full, &size, 1, now), 0);
        full = bucket_take(full, &size, 1, now);
    }
    assert_int_equal(bucket_wait(full, &size, 1, now), 250000);
    assert_int_equal(bucket_wait(full, &size, 1, now + 249999), 1);
    assert_int_equal(bucket_wait(full, &size, 1, now + 250000), 0);
    assert_int_equal(bucket_wait(full, &size, 2, now + 250000), 250000);
    full = bucket_take(full, &size, 1, now + 250000);
    assert_int_equal(full, now + 1000000); /* when it is full again, however it was used */
    assert_int_equal(bucket_wait(full, &size, 3, now + 1000000), 0);
    full = bucket_take(full, &size, 11, now + 1000000); /* more than there is: a debt of eight */
    assert_int_equal(bucket_wait(full, &size, 0, now + 1000000), 2000000);
    assert_int_equal(bucket_wait(full, &size, 1, now + 1000000), 2250000);
    assert_int_equal(bucket_wait(full, &size, 11, now + 1000000), 2750000); /* as soon as it is full */
    const struct bucket_size none = { 0 };
    assert_int_equal(bucket_take(7, &none, 1e9, now), 7);
    assert_int_equal(bucket_wait(now + 1, &none, 1e9, now), 0);
    const struct bucket_size slow = { .rate = 1e-9, .burst = 1 };
    full = bucket_take(bucket_take(0, &slow, 1, now), &slow, 1e9, now); /* bounded */
    assert_in_range(full - now, 1, INT64_C(366) * 86400 * 1000000);
}

/* ---- addresses ---- */

TEST(an_address_has_a_burst_and_a_rate)
{
    int64_t before = limited("/in", "address"), nowhere = limited("", "address");
    begin(&(struct limits_options){ .per_address = { .rate = 2, .burst = 3 }, .addresses = 100 }, NULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(arrive(i % 2, "192.0.2.1", LIMITED_ADDRESS), 0); /* all paths count */
    assert_int_equal(arrive(0, "192.0.2.1", LIMITED_ADDRESS), 500);
    assert_int_equal(arrive(LIMITS_NO_PATH, "192.0.2.1", LIMITED_ADDRESS), 500); /* one that asks for no path, too */
    assert_int_equal(arrive(0, "192.0.2.2", LIMITED_ADDRESS), 0);
    assert_int_equal(arrive(0, "2001:db8::/64", LIMITED_ADDRESS), 0);
    clock_fake_advance(500);
    assert_int_equal(arrive(0, "192.0.2.1", LIMITED_ADDRESS), 0);
    assert_int_equal(arrive(0, "192.0.2.1", LIMITED_ADDRESS), 500);
    for (int i = 0; i < 100; i++)
        assert_int_equal(arrive(0, "unix", LIMITED_ADDRESS), 0); /* that is nobody's address */
    assert_int_equal(limited("/in", "address") - before, 2);
    assert_int_equal(limited("", "address") - nowhere, 1);
}

/* The default burst is two seconds' worth; an address that is limited takes nothing of a path's own bucket. */
TEST(a_path_may_be_stricter_with_an_address)
{
    begin(&(struct limits_options){ .per_address = { .rate = 5 }, .addresses = 100 },
          &(struct limits_path_options){ .per_address = { .rate = 1 } });
    for (int i = 0; i < 2; i++)
        assert_int_equal(arrive(0, "192.0.2.1", LIMITED_ADDRESS), 0);
    assert_int_equal(arrive(0, "192.0.2.1", LIMITED_ADDRESS), 1000);
    for (int i = 0; i < 7; i++)
        assert_int_equal(arrive(1, "192.0.2.1", LIMITED_ADDRESS), 0);
    assert_int_equal(arrive(1, "192.0.2.1", LIMITED_ADDRESS), 200);
}

/* However many addresses somebody has: those that are counted stay counted, and the table does not grow. */
TEST(many_addresses_drive_out_nobody)
{
    char address[32];
    begin(&(struct limits_options){ .per_address = { .rate = 0.1, .burst = 2 }, .addresses = 8 }, NULL);
    for (int i = 0; i < 2; i++)
        assert_int_equal(arrive(0, "192.0.2.1", LIMITED_ADDRESS), 0);
    assert_int_equal(arrive(0, "192.0.2.1", LIMITED_ADDRESS), 10000);
    int let = 0;
    for (int i = 0; i < 20000; i++) {
        snprintf(address, sizeof address, "10.%d.%d.1", i / 200, i % 200);
        let += arrive(0, address, LIMITED_ADDRESS) == 0;
    }
    assert_true(let <= 7 + 2 * 256); /* seven with a place, once each, and the buckets that the others share */
    assert_int_equal(arrive(0, "192.0.2.1", LIMITED_ADDRESS), 10000);
    clock_fake_advance(20000); /* all are full again, and so all places are free */
    for (int i = 0; i < 8; i++) {
        snprintf(address, sizeof address, "198.51.100.%d", i);
        for (int k = 0; k < 2; k++)
            assert_int_equal(arrive(0, address, LIMITED_ADDRESS), 0);
        assert_int_equal(arrive(0, address, LIMITED_ADDRESS), 10000);
    }
}

TEST(bytes_count_as_well)
{
    begin(&(struct limits_options){ .per_address = { .bytes = { 1000 } }, .addresses = 100 }, NULL);
    assert_int_equal(arrive(0, "192.0.2.1", LIMITED_ADDRESS), 0);
    assert_int_equal(verified(0, "192.0.2.1", NULL, 2000), LIMITED_NOT);
    assert_int_equal(arrive(0, "192.0.2.1", LIMITED_ADDRESS), 0);
    limits_spend(limits, 0, STR("192.0.2.1"), 3000); /* of one that was not verified */
    assert_int_equal(arrive(0, "192.0.2.1", LIMITED_ADDRESS), 3000);
    clock_fake_advance(3000);
    assert_int_equal(arrive(0, "192.0.2.1", LIMITED_ADDRESS), 0);
}

/* ---- failures ---- */

/* Who has a right key is served, whatever others behind his address try. */
TEST(failures_refuse_failures_alone)
{
    begin(&(struct limits_options){ .failures = { .rate = 1, .burst = 3 }, .addresses = 100 }, NULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(limits_failed(limits, 0, STR("192.0.2.1")).what, LIMITED_NOT);
    for (int i = 0; i < 100; i++) {
        struct limited_by by = limits_failed(limits, i % 2, STR("192.0.2.1"));
        assert_int_equal(by.what, LIMITED_FAILURES);
        assert_int_equal(by.wait_us, 1000000);
        assert_int_equal(arrive(0, "192.0.2.1", LIMITED_NOT), 0);
        assert_int_equal(verified(0, "192.0.2.1", "crm", 10), LIMITED_NOT);
    }
    assert_int_equal(limits_failed(limits, 0, STR("192.0.2.2")).what, LIMITED_NOT);
    clock_fake_advance(1000);
    assert_int_equal(limits_failed(limits, 0, STR("192.0.2.1")).what, LIMITED_NOT);
    assert_int_equal(limits_failed(limits, 0, STR("192.0.2.1")).what, LIMITED_FAILURES);
}

/* ---- paths and keys ---- */

TEST(what_is_not_verified_takes_nothing_of_a_path)
{
    begin(&(struct limits_options){ .per_path = { .rate = 1, .burst = 2 }, .addresses = 100 }, NULL);
    for (int i = 0; i < 50; i++)
        assert_int_equal(arrive(0, "192.0.2.66", LIMITED_PATH), 0); /* and then it fails */
    for (int i = 0; i < 2; i++)
        assert_int_equal(verified(0, "192.0.2.1", "crm", 10), LIMITED_NOT);
    assert_int_equal(arrive(0, "192.0.2.1", LIMITED_PATH), 1000); /* before its body is read */
    assert_int_equal(verified(0, "192.0.2.2", "crm", 10), LIMITED_PATH);
    assert_int_equal(verified(1, "192.0.2.1", "crm", 10), LIMITED_NOT); /* the other path has its own */
}

TEST(each_key_of_each_path_has_its_own)
{
    begin(&(struct limits_options){ .per_key = { .rate = 1, .burst = 1 }, .addresses = 1 },
          &(struct limits_path_options){ .per_key = { .rate = 1, .burst = 2, .bytes = { 100 } } });
    assert_int_equal(verified(1, "192.0.2.1", "a", 0), LIMITED_NOT);
    assert_int_equal(verified(1, "192.0.2.2", "a", 0), LIMITED_KEY);
    assert_int_equal(verified(1, "192.0.2.2", "b", 0), LIMITED_NOT);
    assert_int_equal(verified(1, "192.0.2.2", NULL, 0), LIMITED_NOT); /* nobody's in particular */
    assert_int_equal(verified(0, "192.0.2.1", "a", 0), LIMITED_NOT);
    assert_int_equal(verified(0, "192.0.2.1", "a", 300), LIMITED_NOT);
    assert_int_equal(verified(0, "192.0.2.1", "a", 0), LIMITED_KEY);
    clock_fake_advance(1000); /* a request may come again, and its bytes are paid for */
    assert_int_equal(verified(0, "192.0.2.1", "a", 300), LIMITED_NOT);
    clock_fake_advance(2999);
    assert_int_equal(verified(0, "192.0.2.1", "a", 0), LIMITED_KEY);
    clock_fake_advance(1);
    assert_int_equal(verified(0, "192.0.2.1", "a", 0), LIMITED_NOT);
}

TEST(options_that_say_nothing)
{
    struct err e;
    struct limits_options o = { .per_key = { .burst = 3 } };
    assert_false(limits_check(&o, &e));
    assert_non_null(strstr(e.text, "limits.per_key.burst"));
    o.per_key.rate = 1;
    assert_true(limits_check(&o, &e));
    assert_false(limits_check_path(&(struct limits_path_options){ .per_path = { .burst = 1 } }, &e));
}

/* ---- excerpts ---- */

TEST(excerpts)
{
    static const struct {
        const char *type, *body, *shown;
    } cases[] = {
        { "application/json", " {\"a\": [1, -2.5e3, true, null],\n \"b\": {}}",
          "{\"a\":[1,-2.5e3,true,null],\"b\":{}}" },
        { NULL, "{\"password\": \"x\", \"n\": 1}", "{\"password\":\"***\",\"n\":1}" },
        { "application/vnd.a+json", "[{\"apiKey\": {\"deep\": [\"x\", \"}\"]}, \"b\": 2}]",
          "[{\"apiKey\":\"***\",\"b\":2}]" },
        { NULL, "{\"access_token\":17,\"Account\":\"x\"}",
          "{\"access_token\":\"***\",\"Account\":\"***\"}" },             /* mask */
        { NULL, "{\"to\\u006ben\":\"x\"}", "{\"to\\u006ben\":\"***\"}" }, /* not written plainly */
        { NULL, "{\"payload\":\"{\\\"token\\\":\\\"x\\\"}\",\"b\":\" [1]\"}", "{\"payload\":\"***\",\"b\":\"***\"}" },
        { NULL, "{\"secret\":\"cut o", "{\"secret\":\"***\"" },
        { NULL, "{\"text\":\"cut o", "{\"text\":\"cut o" },
        { NULL, "{\"secret\":", "{\"secret\":\"***\"" },
        { NULL, "{\"secret\"", "{" },
        { NULL, "{\"a\":tr", "{\"a\":tr" },
        { NULL, "{\"a\":1}\n{\"token\":\"x\"}", "{\"a\":1}" }, /* as far as it is JSON */
        { NULL, "{'token':'x'}", "{" },
        { NULL, "{token: \"x\"}", "{" },
        { NULL, "{\"token\" \"x\"}", "{" },
        { NULL, "{\"a\":sk-live-17}", "{\"a\":" },
        { NULL, "[1}, {\"b\":\"x\"", "[1" },
        { "text/plain", "{\"a\":1}", "" },
        { NULL, "token: x", "" },
        { "application/x-www-form-urlencoded", "a=b+c&token=x&Account=y&d", "a=b+c&token=***&Account=***&d" },
        { "application/x-www-form-urlencoded; charset=utf-8", "payload=%7B%22token%22%3A1%7D&t%6Fken=x",
          "payload=***&t%6Fken=***" },
    };
    char *names[] = { (char[]){ "account" } };
    const struct strings mask = { names, 1 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = buf_new(1000);
        excerpt_add(str_of(cases[i].body), str_of(cases[i].type), &mask, &out);
        assert_string_equal(buf_c(&out), cases[i].shown);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_gives_its_burst_and_then_its_rate),
        cmocka_unit_test_teardown(an_address_has_a_burst_and_a_rate, end),
        cmocka_unit_test_teardown(a_path_may_be_stricter_with_an_address, end),
        cmocka_unit_test_teardown(many_addresses_drive_out_nobody, end),
        cmocka_unit_test_teardown(bytes_count_as_well, end),
        cmocka_unit_test_teardown(failures_refuse_failures_alone, end),
        cmocka_unit_test_teardown(what_is_not_verified_takes_nothing_of_a_path, end),
        cmocka_unit_test_teardown(each_key_of_each_path_has_its_own, end),
        cmocka_unit_test(options_that_say_nothing),
        cmocka_unit_test(excerpts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
