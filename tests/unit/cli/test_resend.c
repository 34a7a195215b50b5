/* SPDX-License-Identifier: MIT */
/* `aqueduct resend` on a local log: where it looks, what it says meanwhile, and what it hands to the broker. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/cli/commands.h"
#include "bridge/cli/flags.h"
#include "bridge/config/config.h"
#include "bridge/event/trail.h"
#include "tests/support/local.h"
#include "tests/support/outcomes.h"
#include "tests/support/stderr.h"

enum { EVENTS = 600, ROW_MS = 10 };

static char published[2][160]; /* topic, value or "-", state */
static size_t published_count;

static enum outcome keep(const struct command_call *call, const struct record *records, size_t count, struct err *e)
{
    (void)call;
    (void)e;
    for (published_count = 0; published_count < count; published_count++) {
        const struct record *r = &records[published_count];
        struct str value = r->value.at ? r->value : STR("-");
        snprintf(published[published_count], sizeof published[0], "%.*s %.*s %.*s", STR_ARG(r->topic), STR_ARG(value),
                 STR_ARG(record_header(r, TRAIL_STATE)));
    }
    return OUTCOME_STORED;
}

static bool everybody(const struct command_call *call, struct str text, struct command_place *out, struct err *e)
{
    (void)call;
    (void)text;
    (void)e;
    *out = (struct command_place){ .sink = "crm" };
    return true;
}

/* Runs the command; what it said on stderr. */
static const char *resend(int code, const char *topic)
{
    struct topic_config topics[] = { { .name = (char[]){ "ai.events" } }, { .name = (char[]){ "aq.dead-letter" } } };
    struct config config = { .broker = local_config, .topics = { topics, 2 } };
    config.broker.prefix = (char[]){ "aq." };
    char id[] = "e-7", to[] = "--to", crm[] = "crm", at[] = "--topic", *words[5] = { id, to, crm, at };
    words[4] = str_dup(str_of(topic));
    struct err e;
    struct command_call call = { .words = words,
                                 .word_count = 1,
                                 .flags = calloc(1, command_resend.size),
                                 .config = &config,
                                 .publish = keep,
                                 .place = everybody,
                                 .prefix = "aq." };
    assert_int_equal(flags_parse(&(struct flag_target){ command_resend.flags, call.flags }, 1, false, *topic ? 5 : 3,
                                 words, &e),
                     1);
    stderr_catch();
    int done = command_resend.run(&call);
    const char *said = stderr_caught();
    free(call.flags);
    free(words[4]);
    assert_int_equal(done, code);
    return said;
}

static void put_events(void)
{
    static char ids[EVENTS][16];
    static struct header headers[EVENTS][4];
    static struct record records[EVENTS];
    for (int i = 0; i < EVENTS; i++) {
        snprintf(ids[i], sizeof ids[i], "e-%d", i);
        headers[i][0] = (struct header){ STR("ce_specversion"), STR("1.0") };
        headers[i][1] = (struct header){ STR("ce_id"), str_of(ids[i]) };
        headers[i][2] = (struct header){ STR("ce_source"), STR("/s") };
        headers[i][3] = (struct header){ STR("ce_type"), STR("t.happened") };
        records[i] = (struct record){
            .topic = STR("ai.events"), .value = str_of(ids[i]), .headers = headers[i], .header_count = 4
        };
    }
    local_open();
    local_topic("ai.events", 1, FOREVER, UNBOUNDED);
    assert_true(
        outcomes_publish(local_broker, (struct publication){ .records = records, .record_count = EVENTS }, NULL));
    local_close();
}

TEST(a_misspelt_topic_is_named_as_it_is_meant)
{
    put_events();
    assert_string_equal(resend(COMMAND_FAILED, "ai.event"),
                        "aqueduct resend: there is no topic ai.event yet (did you mean ai.events?)\n");
    assert_string_equal(resend(COMMAND_FAILED, "orders"), "aqueduct resend: there is no topic orders yet\n");
    assert_string_equal(resend(COMMAND_FAILED, "aq.dead-leter"),
                        "aqueduct resend: topic aq.dead-leter: is the bridge's own\n");
}

static int pass_time(unsigned what, void *ctx, void *stmt, void *none)
{
    (void)what;
    (void)ctx;
    (void)stmt;
    (void)none;
    clock_fake_advance(ROW_MS);
    return 0;
}

static int trace_rows(sqlite3 *db, char **why, const struct sqlite3_api_routines *api)
{
    (void)why;
    (void)api;
    return sqlite3_trace_v2(db, SQLITE_TRACE_ROW, pass_time, NULL);
}

TEST(a_long_search_says_how_far_it_is)
{
    put_events();
    clock_fake(1000000, 1795000000000);
    sqlite3_auto_extension((void (*)(void))trace_rows);
    const char *said = resend(COMMAND_DONE, "");
    sqlite3_reset_auto_extension();
    assert_string_equal(said, "ai.events: 256 records read\nai.events: 512 records read\n");
    assert_int_equal(published_count, 2);
    assert_string_equal(published[0], "aq.redrive.crm e-7 resent");
    assert_string_equal(published[1], "aq.dead-letter - resent");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOCAL_TEST(a_misspelt_topic_is_named_as_it_is_meant),
        LOCAL_TEST(a_long_search_says_how_far_it_is),
    };
    return cmocka_run_group_tests_name("resend", tests, NULL, NULL);
}
