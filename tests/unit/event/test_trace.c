/* SPDX-License-Identifier: MIT */
/* Trace Context after the W3C's own conformance suite (w3c/trace-context, test/test.py, STRICT_LEVEL 2). */
#include <stdio.h>
#include "bridge/event/trace.h"
#include "tests/support/test.h"

#define ID     "12345678901234567890123456789012"
#define PARENT "1234567890123456"
#define GOOD   "00-" ID "-" PARENT "-01"

static struct trace trace;

/* Reads one traceparent and up to four tracestate headers. */
static void read_trace(const char *parent, const char *const *states)
{
    struct header headers[8];
    size_t n = 0;
    headers[n++] = (struct header){ STR("TraceParent"), str_of(parent) };
    for (; states && *states; states++)
        headers[n++] = (struct header){ STR("TRACESTATE"), str_of(*states) };
    trace_read(&trace, headers, n);
}

static void state_is(const char *const *states, const char *expected)
{
    read_trace(GOOD, states);
    assert_true(str_eq(trace.parent, STR(GOOD))); /* whatever the state is */
    if (!str_eq(trace.state, str_of(expected)) || !trace.state.at != !expected)
        fail_msg("%s: \"%.*s\"", states[0], STR_ARG(trace.state));
}

#define STATES(...) ((const char *const[]){ __VA_ARGS__, NULL })

TEST(valid_parents)
{
    static const char *const cases[][2] = {
        { GOOD, GOOD },
        { " \t" GOOD " \t", GOOD },
        { "00-" ID "-" PARENT "-00", "00-" ID "-" PARENT "-00" },
        { "00-" ID "-" PARENT "-03", "00-" ID "-" PARENT "-03" },
        { "00-" ID "-" PARENT "-ff", "00-" ID "-" PARENT "-03" },
        { "00-" ID "-" PARENT "-08", "00-" ID "-" PARENT "-00" },
        { "cc-" ID "-" PARENT "-01", GOOD },
        { "01-" ID "-" PARENT "-01-", GOOD },
        { "cc-" ID "-" PARENT "-01-what-the-future-will-be-like", GOOD },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        read_trace(cases[i][0], STATES("a=1"));
        if (!str_eq(trace.parent, str_of(cases[i][1])))
            fail_msg("%s: %.*s", cases[i][0], STR_ARG(trace.parent));
        assert_true(str_eq(trace.state, STR("a=1")));
    }
}

TEST(invalid_parents_drop_the_trace)
{
    static const char *const cases[] = {
        "",
        "-------------------------------------------------------",
        GOOD ".",
        GOOD "-what-the-future-will-be-like",
        "cc-" ID "-" PARENT "-01.what-the-future-will-be-like",
        "ff-" ID "-" PARENT "-01",
        ".0-" ID "-" PARENT "-01",
        "0.-" ID "-" PARENT "-01",
        "CC-" ID "-" PARENT "-01",
        "000-" ID "-" PARENT "-01",
        "0000-" ID "-" PARENT "-01",
        "0-" ID "-" PARENT "-01",
        "00-00000000000000000000000000000000-" PARENT "-01",
        "00-.2345678901234567890123456789012-" PARENT "-01",
        "00-1234567890123456789012345678901.-" PARENT "-01",
        "00-1234567890123456789012345678901A-" PARENT "-01",
        "00-" ID "3-" PARENT "-01",
        "00-1234567890123456789012345678901-" PARENT "-01",
        "00-" ID "-0000000000000000-01",
        "00-" ID "-.234567890123456-01",
        "00-" ID "-123456789012345.-01",
        "00-" ID "-" PARENT "7-01",
        "00-" ID "-123456789012345-01",
        "00-" ID "-" PARENT "-.0",
        "00-" ID "-" PARENT "-0.",
        "00-" ID "-" PARENT "-001",
        "00-" ID "-" PARENT "-1",
        "00-" ID "-" PARENT "-0A",
        "00_" ID "-" PARENT "-01",
        "00-" ID "_" PARENT "-01",
        "00-" ID "-" PARENT "_01",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        read_trace(cases[i], STATES("a=1"));
        if (trace.parent.at)
            fail_msg("%s", cases[i]);
        assert_null(trace.state.at);
    }
}

TEST(one_parent_only)
{
    const struct header twice[] = { { STR("traceparent"), STR(GOOD) }, { STR("traceparent"), STR(GOOD) } };
    trace_read(&trace, twice, 2);
    assert_null(trace.parent.at);
    const struct header alone[] = { { STR("tracestate"), STR("a=1") } };
    trace_read(&trace, alone, 1);
    assert_null(trace.state.at);
    const struct header others[] = { { STR("trace-parent"), STR(GOOD) }, { STR("trace.state"), STR("a=1") } };
    trace_read(&trace, others, 2);
    assert_null(trace.parent.at);
    trace_read(&trace, NULL, 0);
    assert_null(trace.parent.at);
}

#define TEN(d)      "a" d "0=0,a" d "1=1,a" d "2=2,a" d "3=3,a" d "4=4,a" d "5=5,a" d "6=6,a" d "7=7,a" d "8=8,a" d "9=9"
#define KEY_CHARS   "abcdefghijklmnopqrstuvwxyz0123456789_-*/"
#define VALUE_CHARS " !\"#$%&'()*+-./0123456789:;<>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"

TEST(states)
{
    state_is(STATES("foo=1,bar=2"), "foo=1,bar=2");
    state_is(STATES(""), NULL);
    state_is(STATES("foo=1", ""), "foo=1");
    state_is(STATES("", "foo=1"), "foo=1");
    state_is(STATES(" , foo=1,,"), "foo=1");
    state_is(STATES("foo=1,bar=2", "rojo=1,congo=2", "baz=3"), "foo=1,bar=2,rojo=1,congo=2,baz=3");
    state_is(STATES("foo=1 \t , \t bar=2, \t baz=3"), "foo=1,bar=2,baz=3");
    state_is(STATES("foo=1\t,bar=2"), "foo=1,bar=2");
    state_is(STATES(" \tfoo=1 \t"), "foo=1");
    state_is(STATES(KEY_CHARS "=" VALUE_CHARS), KEY_CHARS "=" VALUE_CHARS);
    state_is(STATES(KEY_CHARS "@a-z0-9_-*/=" VALUE_CHARS), KEY_CHARS "@a-z0-9_-*/=" VALUE_CHARS);
    state_is(STATES("0tenant@system=x"), "0tenant@system=x");
    state_is(STATES(TEN("0"), TEN("1"), TEN("2"), "b0=1,b1=2"), TEN("0") "," TEN("1") "," TEN("2") ",b0=1,b1=2");
}

TEST(invalid_states_are_dropped)
{
    static const char *const cases[] = {
        "foo=1,foo=1", "foo=1,foo=2",    "foo =1",      "FOO=1",          "foo.bar=1", "foo@=1,bar=2", "@foo=1,bar=2",
        "foo@@bar=1",  "foo@bar@baz=1",  "foo=bar=baz", "foo=,bar=3",     "=1",        "foo",          "0foo=1",
        "foo@0bar=1",  "foo=\xc2\x85,b", "foo=a\tb",    "foo=1,bar=\x01", "foo=\xff",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        state_is(STATES(cases[i]), NULL);
    state_is(STATES("foo=1", "foo=2"), NULL);
    state_is(STATES(TEN("0"), TEN("1"), TEN("2"), "b0=1,b1=2,b2=3"), NULL);
}

/* The state "foo=1" and "<n times c><rest>". */
static void with_long(char c, int n, const char *rest, bool valid)
{
    char text[1024];
    memset(text, c, (size_t)n);
    snprintf(text + n, sizeof text - (size_t)n, "%s", rest);
    read_trace(GOOD, STATES("foo=1", text));
    assert_int_equal(trace.state.at != NULL, valid);
    assert_true(!valid || str_starts(trace.state, STR("foo=1")));
}

TEST(lengths_of_keys_and_values)
{
    with_long('z', 256, "=1", true);
    with_long('z', 257, "=1", false);
    with_long('t', 241, "@vvvvvvvvvvvvvv=1", true);
    with_long('t', 242, "@v=1", false);
    with_long('t', 1, "@vvvvvvvvvvvvvvv=1", false);
    char value[300] = "=";
    memset(value + 1, 'v', 256);
    with_long('k', 1, value, true);
    value[257] = 'v';
    value[258] = '\0';
    with_long('k', 1, value, false);
}

/* What is longer than 512 bytes loses large members first, then those at its end. */
TEST(long_states_are_cut_between_members)
{
    char large[260], many[30 * 23 + 1];
    memset(large, 'x', sizeof large);
    memcpy(large, "large=", 6);
    large[200] = '\0';
    for (int i = 0; i < 30; i++)
        snprintf(many + i * 23, 24, "%ckey%02d=0123456789abcdef", i ? ',' : ' ', i);
    read_trace(GOOD, STATES("first=1", large, many));
    assert_true(trace.state.n <= TRACE_STATE_BYTES);
    assert_true(trace.state.n > TRACE_STATE_BYTES - 24);
    assert_true(str_starts(trace.state, STR("first=1,key00=0123456789abcdef,key01=")));
    assert_true(str_ends(trace.state, STR("=0123456789abcdef")));
    read_trace(GOOD, STATES("first=1", large));
    assert_int_equal(trace.state.n, 8 + 200);
}

TEST(names)
{
    assert_true(trace_is_header(STR("Traceparent")));
    assert_true(trace_is_header(STR("tracestate")));
    assert_false(trace_is_header(STR("trace")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_parents),
        cmocka_unit_test(invalid_parents_drop_the_trace),
        cmocka_unit_test(one_parent_only),
        cmocka_unit_test(states),
        cmocka_unit_test(invalid_states_are_dropped),
        cmocka_unit_test(lengths_of_keys_and_values),
        cmocka_unit_test(long_states_are_cut_between_members),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
