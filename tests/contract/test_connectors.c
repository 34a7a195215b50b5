/* SPDX-License-Identifier: MIT */
/* What every connector must obey (bridge/connector.h), for all that are registered: a new one is tested by being in
 * the table. */
#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/command.h"
#include "bridge/config/config.h"
#include "connectors/connectors.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "tests/support/connector.h"
#include "tests/support/event.h"
#include "tests/support/folder.h"
#include "tests/support/test.h"

/* For each type: the least options that work, and options that the rows allow but with which open() must say no, so that
 * what it took until then is seen to be given back. %s: a folder of the test's own. */
static const struct sample {
    const char *type, *good, *bad;
} source_samples
    [] = { { "sqlite", "path: %s/app.db\ncapture: [{name: t, table: t, kind: append, types: {insert: t.added}}]\n",
             "path: %s/app.db\n" },
           { "http",
             "listen: unix:%s/http\npaths: [{path: /in, verify: {scheme: bearer, secrets: [a-token-of-some-length-0123]}}]\n",
             "listen: unix:%s/no/folder\npaths: [{path: /in, verify: {scheme: bearer, secrets: [a-token-of-some-length-0123]}}]\n" },
           { 0 } },
    sink_samples[] = { { "webhook", "url: http://127.0.0.1:9/%s\nunsigned: true\n",
                         "url: ftp://127.0.0.1/%s\nunsigned: true\n" },
                       { "websocket", "listen: unix:%s/ws\n", "listen: unix:%s/no/folder\n" },
                       { "dead_letter", "path: %s/dead.db\n", "path: %s/no/folder.db\n" },
                       { 0 } };

static char folder[FOLDER_BYTES];

static const struct sample *sample_of(const struct sample *samples, const char *type)
{
    const char *name = samples == source_samples ? "source_samples" : "sink_samples";
    for (; samples->type; samples++)
        if (!strcmp(samples->type, type) && samples->good && samples->bad)
            return samples;
    fail_msg(
        "the connector %s has no whole row in %s of tests/contract/test_connectors.c; add\n"
        "    { \"%s\", good, bad },\n"
        "good: the least options with which it opens, as YAML; bad: options that its table allows and with which open() "
        "says no, such as\n    a path in a folder that is not there: \"path: %%s/no/folder\\n\" (%%s: a folder of the "
        "test's own)",
        type, name, type);
    return NULL;
}

/* ---- tables ---- */

static size_t size_of(const struct option *o)
{
    switch (o->type) {
    case OPT_BOOL: return sizeof(bool);
    case OPT_INT: return sizeof(int64_t);
    case OPT_REAL: return sizeof(double);
    case OPT_STR: return sizeof(char *);
    case OPT_SECRET: return sizeof(struct secret);
    case OPT_ENUM: return sizeof(int);
    case OPT_DURATION: return sizeof(struct duration);
    case OPT_BYTES: return sizeof(struct bytes);
    case OPT_STRINGS: return sizeof(struct strings);
    case OPT_MOMENT: return sizeof(struct moment);
    case OPT_SECRETS: return sizeof(struct secrets);
    case OPT_DURATIONS: return sizeof(struct durations);
    case OPT_MAP: return sizeof(struct map);
    case OPT_FILTER: return sizeof(struct filter *);
    case OPT_PRESET: return sizeof(struct preset);
    case OPT_TREE: return sizeof(struct tree);
    case OPT_DEFAULTS: return sizeof(struct defaults);
    case OPT_LIST: return sizeof(struct list);
    case OPT_GROUP: return 1;
    }
    return 0;
}

static void check_row(const char *type, const struct option *rows, const struct option *o, size_t base, size_t size)
{
    if (!o->doc || strlen(o->doc) < 10 || !strchr(".)", o->doc[strlen(o->doc) - 1]))
        fail_msg("%s: %s needs a doc that is a sentence", type, o->key);
    for (const char *c = o->key; *c; c++)
        if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '_')
            fail_msg("%s: %s is not written like the other keys", type, o->key);
    for (const struct option *other = rows; other != o; other++)
        if (!strcmp(other->key, o->key))
            fail_msg("%s: %s stands there twice", type, o->key);
    if (o->required && o->fallback)
        fail_msg("%s: %s is required and has a default", type, o->key);
    if (o->max && o->max < o->min)
        fail_msg("%s: %s has an empty range", type, o->key);
    if (o->offset < base || o->offset + size_of(o) > size)
        fail_msg("%s: %s lies outside of its struct", type, o->key);
    if (o->type != OPT_SECRETS
        && (o->type == OPT_LIST || o->type == OPT_GROUP || o->type == OPT_PRESET) != (o->of != NULL))
        fail_msg("%s: %s has rows of its own without being a list, group or preset, or the other way round", type,
                 o->key);
    if (o->type != OPT_TREE && (o->type == OPT_ENUM) != (o->values != NULL))
        fail_msg("%s: %s has values without being an enum, or the other way round", type, o->key);
}

static void check_rows(const char *type, const struct option *rows, size_t base, size_t size, int depth)
{
    assert_true(depth < 8);
    if (!rows)
        fail_msg("%s has no table of options", type);
    for (const struct option *o = rows; o->key; o++) {
        check_row(type, rows, o, base, size);
        if (o->type == OPT_SECRETS && o->of)
            check_rows(type, o->of, 0, sizeof(struct secret), depth + 1);
        if (o->type == OPT_LIST || o->type == OPT_PRESET)
            check_rows(type, o->of, 0, o->of_size, depth + 1);
        else if (o->type == OPT_GROUP)
            check_rows(type, o->of, 0, size - o->offset, depth + 1);
    }
}

/* All defaults together, by a table in which nothing is required. */
static void check_defaults(const char *type, const struct option *rows, size_t size)
{
    struct option free_rows[64] = { { 0 } };
    size_t n = 0;
    for (; rows[n].key && n < 63; n++) {
        free_rows[n] = rows[n];
        free_rows[n].required = false;
    }
    assert_null(rows[n].key);
    void *obj = mem_alloc(size);
    struct problems p = { 0 };
    if (!options_read(type, STR("{}"), free_rows, obj, &p)) {
        problems_print(&p, stderr);
        fail_msg("%s: its defaults do not pass its own rules", type);
    }
    problems_free(&p);
    free(obj);
}

static void check_name(const char *type, const char *doc)
{
    assert_non_null(type);
    for (const char *c = type; *c; c++)
        assert_true(islower((unsigned char)*c) || *c == '_');
    assert_true(doc && isupper((unsigned char)doc[0]) && doc[strlen(doc) - 1] == '.');
}

static void check_endpoints(const struct sink_ops *o)
{
    const struct endpoint_ops *ep = o->endpoints;
    assert_false(o->broadcast || o->dead_letters);
    assert_true(ep->size >= sizeof(struct endpoint) && ep->open && ep->close);
    check_rows(o->type, ep->options, sizeof(struct endpoint), ep->size, 0);
    check_defaults(o->type, ep->options, ep->size);
    for (const struct option *r = ep->options; r->key; r++) {
        if (r->required && !r->own)
            fail_msg("%s: %s is required, so it is each endpoint's own", o->type, r->key);
        if ((r->type == OPT_SECRET || r->type == OPT_SECRETS || r->type == OPT_MAP) && !r->own)
            fail_msg("%s: %s may be secret, so no other endpoint may have it", o->type, r->key);
        for (const struct option *core = sink_options; core->key; core++)
            assert_string_not_equal(r->key, core->key);
        for (const struct option *core = endpoint_options; core->key; core++)
            assert_string_not_equal(r->key, core->key);
        for (const struct option *own = o->options; own->key; own++)
            assert_string_not_equal(r->key, own->key);
    }
}

/* The source of a sink has no options: those of the sink say all. */
static void check_inward(const struct sink_ops *o)
{
    const struct source_ops *in = o->inward;
    assert_true(o->brings && in->options && !in->options->key && !in->check && !in->restore);
    check_name(in->type, in->doc);
    assert_true(in->size >= sizeof(struct source) && in->open && in->read && in->settle && in->close && !in->ordered);
}

TEST(tables_are_well_formed)
{
    for (size_t i = 0; connectors.sources[i]; i++) {
        const struct source_ops *o = connectors.sources[i];
        check_name(o->type, o->doc);
        assert_true(o->size >= sizeof(struct source));
        assert_true(o->open && o->read && o->settle && o->close);
        check_rows(o->type, o->options, sizeof(struct source), o->size, 0);
        check_defaults(o->type, o->options, o->size);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(o->type, connectors.sources[k]->type);
    }
    for (size_t i = 0; connectors.sinks[i]; i++) {
        const struct sink_ops *o = connectors.sinks[i];
        check_name(o->type, o->doc);
        assert_true(o->size >= sizeof(struct sink));
        assert_true(o->open && o->send && o->work && o->close);
        assert_false(o->broadcast && o->dead_letters);
        check_rows(o->type, o->options, sizeof(struct sink), o->size, 0);
        check_defaults(o->type, o->options, o->size);
        if (o->endpoints)
            check_endpoints(o);
        if (o->inward)
            check_inward(o);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(o->type, connectors.sinks[k]->type);
    }
}

/* The core's own rows stand in the same YAML section as the connector's. */
TEST(no_option_hides_one_of_the_core)
{
    for (size_t i = 0; connectors.sinks[i]; i++)
        for (const struct option *o = connectors.sinks[i]->options; o->key; o++)
            for (const struct option *core = sink_options; core->key; core++)
                assert_string_not_equal(o->key, core->key);
    for (size_t i = 0; connectors.sources[i]; i++)
        for (const struct option *o = connectors.sources[i]->options; o->key; o++)
            for (const struct option *core = source_options; core->key; core++)
                assert_string_not_equal(o->key, core->key);
}

TEST(commands_are_complete)
{
    for (size_t i = 0; connectors.commands[i]; i++) {
        const struct command *c = connectors.commands[i];
        check_name(c->name, c->doc);
        assert_true((c->usage || c->synopsis) && c->run);
        assert_true(!c->usage || c->usage[strlen(c->usage) - 1] == '\n');
        for (const struct flag *f = c->flags; f && f->name; f++) {
            assert_true(!strncmp(f->name, "--", 2) && f->doc && f->offset < c->size);
            assert_true(f->type == FLAG_SWITCH || f->value);
            assert_true(f->type != FLAG_NUMBER || f->min < f->max);
        }
        char word[] = "no-such-verb", *words[] = { word, NULL };
        struct command_call call = { .words = words, .word_count = 1, .flags = calloc(1, c->size + 1) };
        assert_int_equal(c->run(&call), 2);
        free(call.flags);
    }
}

/* ---- life ---- */

static size_t open_files(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* A sample with the test's folder in it; overwritten by the next call. */
static const char *sample_text(const char *yaml)
{
    static char text[1024];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof text, yaml, folder);
#pragma GCC diagnostic pop
    return text;
}

static struct source *source_good(const struct source_ops *o)
{
    return source_filled(o, o->type, sample_text(sample_of(source_samples, o->type)->good));
}

static struct sink *sink_good(const struct sink_ops *o)
{
    return sink_filled(o, o->type, sample_text(sample_of(sink_samples, o->type)->good));
}

TEST(what_cannot_work_is_refused_and_released)
{
    for (size_t i = 0; connectors.sources[i]; i++) {
        size_t before = open_files();
        const char *bad = sample_of(source_samples, connectors.sources[i]->type)->bad;
        assert_true(source_refused(connectors.sources[i], sample_text(bad)).text[0]);
        assert_int_equal(open_files(), before);
    }
    for (size_t i = 0; connectors.sinks[i]; i++) {
        size_t before = open_files();
        const char *bad = sample_of(sink_samples, connectors.sinks[i]->type)->bad;
        assert_true(sink_refused(connectors.sinks[i], sample_text(bad)).text[0]);
        assert_int_equal(open_files(), before);
    }
}

TEST(check_agrees_and_keeps_nothing)
{
    for (size_t i = 0; connectors.sources[i]; i++) {
        struct err e = { "" };
        struct source *s = source_good(connectors.sources[i]);
        size_t before = open_files();
        if (s->ops->check && !s->ops->check(s, &e))
            fail_msg("%s: %s", s->ops->type, e.text);
        assert_int_equal(open_files(), before);
        free(s);
    }
    for (size_t i = 0; connectors.sinks[i]; i++) {
        struct err e = { "" };
        struct sink *s = sink_good(connectors.sinks[i]);
        size_t before = open_files();
        if (s->ops->check && !s->ops->check(s, &e))
            fail_msg("%s: %s", s->ops->type, e.text);
        if (s->endpoint && s->ops->endpoints->check && !s->ops->endpoints->check(s, s->endpoint, &e))
            fail_msg("%s: %s", s->ops->type, e.text);
        assert_int_equal(open_files(), before);
        sink_free(s);
    }
}

static void count_fault(void *ctx, const char *place, const char *why)
{
    size_t *count = ctx;
    assert_true(*why && place[0] != '.');
    (*count)++;
}

/* check() and faults() judge alike. */
TEST(what_check_refuses_has_faults)
{
    for (size_t i = 0; connectors.sources[i]; i++) {
        const struct source_ops *o = connectors.sources[i];
        const struct sample *sample = sample_of(source_samples, o->type);
        const char *const texts[] = { sample->good, sample->bad };
        for (size_t k = 0; o->faults && k < 2; k++) {
            struct err e = { "" };
            size_t count = 0, before = open_files();
            struct source *s = source_filled(o, o->type, sample_text(texts[k]));
            assert_non_null(o->check);
            bool good = o->check(s, &e);
            o->faults(s, count_fault, &count);
            assert_int_equal(good, count == 0);
            assert_int_equal(open_files(), before);
            free(s);
        }
    }
    for (size_t i = 0; connectors.sinks[i]; i++) {
        const struct sink_ops *o = connectors.sinks[i];
        const struct sample *sample = sample_of(sink_samples, o->type);
        const char *const texts[] = { sample->good, sample->bad };
        for (size_t k = 0; o->endpoints && o->endpoints->faults && k < 2; k++) {
            struct err e = { "" };
            size_t count = 0, before = open_files();
            struct sink *s = sink_filled(o, o->type, sample_text(texts[k]));
            bool good = o->endpoints->check(s, s->endpoint, &e);
            o->endpoints->faults(s, s->endpoint, count_fault, &count);
            assert_int_equal(good, count == 0);
            assert_int_equal(open_files(), before);
            sink_free(s);
        }
    }
}

/* review() of what is good finds nothing wrong, and leaves nothing. */
TEST(review_keeps_nothing)
{
    for (size_t i = 0; connectors.sources[i]; i++) {
        size_t wrong = 0, before = open_files();
        struct source *s = source_good(connectors.sources[i]);
        if (s->ops->review)
            s->ops->review(s, count_fault, count_fault, &wrong);
        assert_int_equal(wrong, 0);
        assert_int_equal(open_files(), before);
        free(s);
    }
    for (size_t i = 0; connectors.sinks[i]; i++) {
        size_t wrong = 0, before = open_files();
        struct sink *s = sink_good(connectors.sinks[i]);
        if (s->ops->review)
            s->ops->review(s, count_fault, count_fault, &wrong);
        assert_int_equal(wrong, 0);
        assert_int_equal(open_files(), before);
        sink_free(s);
    }
}

/* A read of a source that has nothing to tell: it may fail (there is no database) or keep state, but not hang nor
 * invent events. */
static void read_nothing(struct source *s, int wake, struct emission *out, size_t room)
{
    struct err e;
    int n = s->ops->read(s, wake, out, room, &e);
    assert_true(n <= (int)room);
    for (int i = 0; i < n; i++) {
        assert_null(out[i].event);
        assert_true(out[i].change_count > 0);
        s->ops->settle(s, out[i].tag, OUTCOME_STORED, "");
    }
}

/* Opened, woken, closed again: no work, nothing kept, no long wait. */
TEST(a_source_comes_and_goes)
{
    int wake = wake_new();
    for (size_t i = 0; connectors.sources[i]; i++)
        for (int times = 0; times < 2; times++) {
            size_t before = open_files();
            struct source *s = source_good(connectors.sources[i]);
            source_start(s);
            wake_up(wake);
            struct emission out[4];
            for (int k = 0; k < 3; k++)
                read_nothing(s, wake, out, k == 2 ? 0 : 4);
            s->draining = true;
            read_nothing(s, wake, out, 0);
            wake_clear(wake);
            source_end(s);
            assert_int_equal(open_files(), before);
        }
    close(wake);
}

TEST(a_sink_comes_and_goes)
{
    int wake = wake_new();
    for (size_t i = 0; connectors.sinks[i]; i++)
        for (int times = 0; times < 2; times++) {
            size_t before = open_files();
            struct sink *s = sink_good(connectors.sinks[i]);
            sink_start(s);
            struct result out[4];
            assert_int_equal(s->ops->work(s, wake, (struct duration){ 0 }, out, 4), 0);
            wake_up(wake);
            assert_int_equal(s->ops->work(s, wake, (struct duration){ 3600 * 1000 }, out, 4), 0);
            wake_clear(wake);
            if (s->ops->drain)
                s->ops->drain(s, (struct duration){ 10 });
            sink_end(s);
            assert_int_equal(open_files(), before);
        }
    close(wake);
}

/* One result for each message, whatever becomes of it, with its own tag and a verdict. */
TEST(each_message_gets_one_result)
{
    const struct event *ev = event_like((struct event){ .id = STR("contract-0001"), .data = STR("{}") });
    struct header headers[EVENT_HEADERS];
    struct record r = {
        .topic = STR("t"), .value = ev->data, .headers = headers, .header_count = event_to_headers(ev, headers)
    };
    for (size_t i = 0; connectors.sinks[i]; i++) {
        if (connectors.sinks[i]->broadcast)
            continue;
        struct sink *s = sink_good(connectors.sinks[i]);
        enum { N = 20 };
        bool seen[N] = { false };
        size_t count = 0;
        sink_start(s);
        for (uint64_t tag = 0; tag < N; tag++)
            s->ops->send(s, &(struct message){ .event = ev, .record = &r, .attempt = 1, .tag = tag });
        for (int rounds = 0; count < N && rounds < 1000; rounds++) {
            struct result out[3];
            size_t n = s->ops->work(s, -1, (struct duration){ 100 }, out, 3);
            assert_true(n <= 3);
            for (size_t k = 0; k < n; k++) {
                assert_true(out[k].tag < N && !seen[out[k].tag]);
                assert_true(out[k].verdict >= VERDICT_DELIVERED && out[k].verdict <= VERDICT_UNTRIED);
                assert_true(out[k].verdict == VERDICT_DELIVERED || (out[k].reason != REASON_NONE && out[k].why[0]));
                seen[out[k].tag] = true;
            }
            count += n;
        }
        assert_int_equal(count, N);
        sink_end(s);
    }
    event_unref(ev);
}

/* Receivers come and go one by one; what is in flight to one that goes is abandoned, the others' messages are not. */
TEST(endpoints_come_and_go)
{
    const struct event *ev = event_like((struct event){ .id = STR("contract-0001"), .data = STR("{}") });
    struct record r = { .topic = STR("t"), .value = ev->data };
    for (size_t i = 0; connectors.sinks[i]; i++) {
        const struct endpoint_ops *ops = connectors.sinks[i]->endpoints;
        if (!ops)
            continue;
        size_t before = open_files();
        struct sink *s = sink_good(connectors.sinks[i]), *other = sink_good(connectors.sinks[i]);
        struct endpoint *of[2] = { s->endpoint, other->endpoint };
        struct err e = { "" };
        s->endpoint = NULL;
        assert_true(s->ops->open(s, &e));
        for (int k = 0; k < 2; k++) {
            of[k]->name = k ? "second" : "first";
            if (!ops->open(s, of[k], &e))
                fail_msg("%s", e.text);
        }
        for (uint64_t tag = 0; tag < 200; tag++)
            s->ops->send(s, &(struct message){
                                .event = ev, .record = &r, .endpoint = of[tag % 2], .attempt = 1, .tag = tag });
        ops->close(s, of[0]);
        size_t count = 0;
        for (int rounds = 0; count < 100 && rounds < 1000; rounds++) {
            struct result out[8];
            size_t n = s->ops->work(s, -1, (struct duration){ 100 }, out, 8);
            for (size_t k = 0; k < n; k++)
                assert_int_equal(out[k].tag % 2, 1);
            count += n;
        }
        assert_int_equal(count, 100);
        ops->close(s, of[1]);
        s->ops->close(s);
        assert_int_equal(open_files(), before);
        s->endpoint = of[0];
        sink_free(s);
        sink_free(other);
    }
    event_unref(ev);
}

/* What was sent and not finished is simply abandoned. */
TEST(close_abandons_what_is_in_flight)
{
    const struct event *ev = event_like((struct event){ .id = STR("contract-0001"), .data = STR("{}") });
    struct record r = { .topic = STR("t"), .value = ev->data };
    for (size_t i = 0; connectors.sinks[i]; i++) {
        size_t before = open_files();
        struct sink *s = sink_good(connectors.sinks[i]);
        sink_start(s);
        for (uint64_t tag = 0; tag < 200; tag++)
            s->ops->send(s, &(struct message){ .event = ev, .record = &r, .attempt = 1, .tag = tag });
        sink_end(s);
        assert_int_equal(open_files(), before);
    }
    event_unref(ev);
}

static int set_up(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    folder_make(folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_well_formed),
        cmocka_unit_test(no_option_hides_one_of_the_core),
        cmocka_unit_test(commands_are_complete),
        cmocka_unit_test(what_cannot_work_is_refused_and_released),
        cmocka_unit_test(check_agrees_and_keeps_nothing),
        cmocka_unit_test(what_check_refuses_has_faults),
        cmocka_unit_test(review_keeps_nothing),
        cmocka_unit_test(a_source_comes_and_goes),
        cmocka_unit_test(a_sink_comes_and_goes),
        cmocka_unit_test(each_message_gets_one_result),
        cmocka_unit_test(close_abandons_what_is_in_flight),
        cmocka_unit_test(endpoints_come_and_go),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
