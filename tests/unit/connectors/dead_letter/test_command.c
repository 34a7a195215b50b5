/* SPDX-License-Identifier: MIT */
/* `aqueduct dead`: what is listed, what is shown, what is given again. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <jansson.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/cli/flags.h"
#include "bridge/delivery/place.h"
#include "connectors/dead_letter/print.h"
#include "tests/support/dead.h"
#include "tests/support/stderr.h"

extern const struct command dead_command;

static struct published {
    char topic[64], key[32], value[64], headers[1024];
    bool no_value;
    int64_t timestamp_ms;
} published[1024];
static size_t published_count, publish_limit;
static size_t publications, interrupt_after; /* calls; ctrl-C comes in that one, 0: in none */
static const char *refuse_key;               /* records of this key are not published */
static int64_t publication_ms;               /* what each takes, with a fake clock */

static void keep_record(const struct record *r)
{
    struct published *p = &published[published_count++];
    *p = (struct published){ .no_value = !r->value.at, .timestamp_ms = r->timestamp_ms };
    snprintf(p->topic, sizeof p->topic, "%.*s", STR_ARG(r->topic));
    snprintf(p->key, sizeof p->key, "%.*s", STR_ARG(r->key));
    snprintf(p->value, sizeof p->value, "%.*s", STR_ARG(r->value));
    size_t n = 0;
    for (size_t i = 0; i < r->header_count && n < sizeof p->headers; i++)
        n += (size_t)snprintf(p->headers + n, sizeof p->headers - n, "%.*s=%.*s;", STR_ARG(r->headers[i].name),
                              STR_ARG(r->headers[i].value));
}

/* Stores all of them or none. */
static enum outcome keep_publication(const struct command_call *call, const struct record *records, size_t count,
                                     struct err *e)
{
    (void)call;
    publications++;
    if (publication_ms)
        clock_fake_advance(publication_ms);
    for (size_t i = 0; i < count; i++)
        if (refuse_key && str_eq(records[i].key, str_of(refuse_key))) {
            err_set(e, "too large for the broker");
            return OUTCOME_INVALID;
        }
    if (published_count + count > publish_limit) {
        err_set(e, "the broker is away");
        return OUTCOME_UNAVAILABLE;
    }
    for (size_t i = 0; i < count; i++)
        keep_record(&records[i]);
    if (interrupt_after && publications == interrupt_after)
        raise(SIGINT);
    return OUTCOME_STORED;
}

static const struct sink_ops other_type;
static char *endpoints[2], *formerly[] = { "customers" };
static size_t endpoint_count;

static int dead_call(int argc, char **argv)
{
    struct sink *s = dead_sink(""), crm = { .id = "crm", .ops = &other_type },
                erp = { .id = "erp", .ops = &other_type };
    struct err e;
    struct command_names names[3] = { [1] = { .endpoints = { endpoints, endpoint_count },
                                              .formerly = { formerly, 1 } } };
    struct command_call call = { .words = argv,
                                 .flags = calloc(1, dead_command.size),
                                 .sinks = (struct sink *const[]){ s, &crm, &erp },
                                 .names = names,
                                 .sink_count = 3,
                                 .sources = (const char *const[]){ "hooks", "inbox", NULL },
                                 .publish = keep_publication,
                                 .place = place_named,
                                 .prefix = "aqueduct." };
    int words = flags_parse(&(struct flag_target){ dead_command.flags, call.flags }, 1, false, argc, argv, &e);
    call.word_count = words < 0 ? 0 : (size_t)words;
    int code = words < 0 || call.word_count > dead_command.max_words ? COMMAND_USAGE : dead_command.run(&call);
    free(call.flags);
    free(s);
    return code;
}

static char output[1 << 20];

/* Runs the command; its standard output is in `output` afterwards. */
static int dead(const char *const *words)
{
    int argc = 0;
    char *argv[16] = { 0 }, *owned[16];
    for (; words[argc]; argc++)
        argv[argc] = owned[argc] = str_dup(str_of(words[argc]));
    char file[160];
    snprintf(file, sizeof file, "%s/out", dead_folder);
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    assert_non_null(freopen(file, "w+", stdout));
    int code = dead_call(argc, argv);
    fflush(stdout);
    rewind(stdout);
    size_t n = fread(output, 1, sizeof output - 1, stdout);
    output[n] = '\0';
    dup2(saved, STDOUT_FILENO);
    close(saved);
    clearerr(stdout);
    for (int i = 0; i < argc; i++)
        free(owned[i]);
    return code;
}

#define DEAD(...) dead((const char *const[]){ __VA_ARGS__, NULL })

static void file_three(void)
{
    struct sink *s = dead_opened("");
    dead_file(s, "{\"n\": 1.10, \"a\":[{},[],\"x\\\"{\"]}",
              PAIRS(EVENT("e-1", "chat.created"), DIED("crm"), ORIGIN("1"), "x-own", "kept"));
    dead_file(s, "\xff\xfe",
              PAIRS(TRAIL_SINK, "erp", TRAIL_CLASS, "poison", TRAIL_REASON, "no \x1b[31mevent", TRAIL_LAST,
                    "2026-11-20T11:00:00Z", ORIGIN("2")));
    dead_file(s, "z",
              PAIRS(EVENT("e-3", "user.created"), TRAIL_SOURCE, "hooks", TRAIL_CLASS, "unrouted", TRAIL_LAST,
                    "2026-11-20T12:00:00Z"));
    sink_end(s);
    published_count = 0;
    publish_limit = 16;
}

TEST(list_says_each_in_one_line)
{
    file_three();
    assert_int_equal(DEAD("list"), 0);
    char *first = strchr(output, '\n') + 1, *second = strchr(first, '\n') + 1, *third = strchr(second, '\n') + 1;
    assert_memory_equal(first, "2026-11-20 12:00:00 <hooks", 26); /* newest first */
    assert_memory_equal(second, "2026-11-20 11:00:00 erp ", 24);
    assert_non_null(strstr(third, "2026-11-20 10:00:05 crm "));
    assert_non_null(strstr(third, "refused         6 503 chat.created"));
    assert_non_null(strstr(third, " e-1\n"));
    assert_non_null(strstr(second, "(no event)                 ai.chats/3@2\n"));
    for (char *line = output, *end; (end = strchr(line, '\n')); line = end + 1)
        assert_true(end - line <= 120);
}

TEST(list_filters)
{
    file_three();
    static const struct {
        const char *flag, *value;
        size_t lines;
    } cases[] = {
        { "--sink", "crm", 1 },
        { "--sink", "hooks", 1 },
        { "--sink", "inbox", 0 },
        { "--class", "poison", 1 },
        { "--type", "chat.", 1 },
        { "--type", "user.created", 1 },
        { "--type", "hat", 0 },
        { "--id", "e-3", 1 },
        { "--id", "ai.chats/3@2", 1 }, /* as the list has it of what is no event */
        { "--id", "ai.chats/3@1", 0 },
        { "--since", "2026-11-20T10:30:00Z", 2 },
        { "--since", "2999-01-01T00:00:00Z", 0 },
        { "--until", "2026-11-20T11:00:00Z", 1 },
        { "--until", "2999-01-01T00:00:00Z", 3 },
        { "--source", "/", 2 },
        { "--source", "/t", 0 },
        { "--state", "discarded", 0 },
        { "--limit", "2", 2 },
        { "--state", "redriven", 0 },
        { "--state", "all", 3 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(DEAD("list", "--json", cases[i].flag, cases[i].value), 0);
        size_t lines = 0;
        for (char *c = output; *c; c++)
            lines += *c == '\n';
        assert_int_equal(lines, cases[i].lines);
    }
    assert_int_equal(DEAD("list", "--limit=1"), 0);
    assert_non_null(strstr(output, "... and 2 older ones"));
}

TEST(what_no_letter_can_have_is_wrong)
{
    file_three();
    assert_int_equal(DEAD("list", "--sink", "crn"), COMMAND_USAGE);
    assert_int_equal(DEAD("redrive", "--sink", "nosuch"), COMMAND_USAGE);
    assert_int_equal(DEAD("show", "--sink", "nosuch"), COMMAND_USAGE);
    assert_int_equal(DEAD("list", "--class", "bogus"), COMMAND_USAGE);
    assert_int_equal(DEAD("list", "--endpoint", "nosuch"), COMMAND_USAGE);
    assert_int_equal(DEAD("list", "--sink", "crm", "--endpoint", "nosuch"), COMMAND_USAGE);
    assert_int_equal(DEAD("redrive", "--endpoint", "nosuch"), COMMAND_USAGE);
    endpoints[0] = "b";
    endpoint_count = 1;
    assert_int_equal(DEAD("list", "--endpoint", "b"), 0); /* configured: it has no letters yet */
    assert_int_equal(DEAD("list", "--sink", "customers", "--endpoint", "b"), 0);
    assert_int_equal(DEAD("list", "--sink", "erp", "--endpoint", "b"), COMMAND_USAGE); /* another sink's */
    endpoint_count = 0;
    assert_int_equal(published_count, 0);
}

TEST(json_lines_are_json)
{
    file_three();
    assert_int_equal(DEAD("list", "--json"), 0);
    char *line = strtok_r(output, "\n", &(char *){ NULL });
    json_t *j = json_loads(line, 0, NULL);
    assert_non_null(j);
    assert_true(json_is_null(json_object_get(j, "sink")));
    assert_string_equal(json_string_value(json_object_get(j, "from")), "hooks");
    assert_true(json_is_null(json_object_get(j, "origin")));
    json_decref(j);
    assert_int_equal(DEAD("list", "--json", "--id", "e-1"), 0);
    j = json_loads(output, 0, NULL);
    assert_non_null(j);
    const char *sink, *id, *last, *topic;
    int status, offset, attempts;
    assert_int_equal(json_unpack(j, "{s:s, s:s, s:s, s:i, s:i, s:{s:s, s:i}}", "sink", &sink, "id", &id, "last", &last,
                                 "status", &status, "attempts", &attempts, "origin", "topic", &topic, "offset",
                                 &offset),
                     0);
    assert_string_equal(sink, "crm");
    assert_string_equal(id, "e-1");
    assert_string_equal(last, LAST);
    assert_int_equal(status, 503);
    assert_int_equal(attempts, 6);
    assert_string_equal(topic, "ai.chats");
    assert_int_equal(offset, 1);
    json_decref(j);
}

TEST(show_prints_everything_harmlessly)
{
    file_three();
    assert_int_equal(DEAD("show", "e-1"), 0);
    assert_non_null(strstr(output, "reason     503 Service Unavailable\n"));
    assert_non_null(strstr(output, "origin     ai.chats/3@1\n"));
    assert_non_null(strstr(output, "  x-own: kept\n"));
    assert_null(strstr(output, "aqueduct-"));
    assert_non_null(
        strstr(output, "  {\n    \"n\": 1.10,\n    \"a\": [\n      {},\n      [],\n      \"x\\\"{\"\n    ]\n  }\n"));
    assert_int_equal(DEAD("show", "--sink", "erp"), 0);
    assert_non_null(strstr(output, "no ?[31mevent"));
    assert_non_null(strstr(output, "2 bytes that are no text"));
    assert_int_equal(DEAD("show", "--sink", "erp", "--raw"), 0);
    assert_string_equal(output, "\xff\xfe");
    assert_int_equal(DEAD("show", "nobody"), 1);
}

TEST(long_data_is_cut)
{
    struct sink *s = dead_opened("");
    static char data[9000];
    memset(data, 'x', sizeof data - 1);
    dead_file(s, data, PAIRS(EVENT("e-1", "t"), DIED("crm"), ORIGIN("1")));
    sink_end(s);
    assert_int_equal(DEAD("show", "e-1"), 0);
    assert_true(strlen(output) < 6000);
    assert_non_null(strstr(output, "8999 bytes in all"));
}

TEST(redrive_publishes_the_record_and_then_the_note)
{
    file_three();
    assert_int_equal(DEAD("redrive", "--sink", "crm"), 0);
    assert_int_equal(published_count, 2);
    const struct published *p = published;
    assert_string_equal(p[0].topic, "aqueduct.redrive.crm");
    assert_string_equal(p[0].key, "the key");
    assert_string_equal(p[0].value, "{\"n\": 1.10, \"a\":[{},[],\"x\\\"{\"]}");
    assert_int_equal(p[0].timestamp_ms, 1700000000123);
    assert_string_equal(
        p[0].headers,
        "ce_specversion=1.0;ce_id=e-1;ce_source=/s;ce_type=chat.created;content-type=application/json;"
        "aqueduct-topic=ai.chats;aqueduct-partition=3;aqueduct-offset=1;aqueduct-timestamp=1700000000123;x-own=kept;");
    assert_string_equal(p[1].topic, "aqueduct.dead-letter");
    assert_true(p[1].no_value);
    assert_non_null(strstr(p[1].headers, "aqueduct-sink=crm;aqueduct-state=redriven;aqueduct-last=" LAST ";"));
    assert_non_null(strstr(p[1].headers, "ce_id=e-1;"));
    assert_string_equal(output, "redriven  crm chat.created e-1\nredriven 1, refused 0, of 1\n");
}

TEST(redrive_goes_to_the_endpoint)
{
    struct sink *s = dead_opened("");
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), DIED("crm"), TRAIL_ENDPOINT, "a", ORIGIN("1")));
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), DIED("crm"), TRAIL_ENDPOINT, "b", ORIGIN("1")));
    sink_end(s);
    published_count = 0;
    endpoints[0] = "b";
    endpoint_count = 1;
    assert_int_equal(DEAD("list"), 0);
    assert_non_null(strstr(output, " crm/a "));
    assert_int_equal(DEAD("list", "--json", "--endpoint", "b"), 0);
    assert_non_null(strstr(output, "\"sink\":\"crm\",\"endpoint\":\"b\","));
    assert_null(strchr(strchr(output, '\n') + 1, '\n'));
    assert_int_equal(DEAD("redrive", "--endpoint", "b"), 0);
    assert_int_equal(published_count, 2);
    assert_string_equal(published[0].topic, "aqueduct.redrive.crm");
    assert_non_null(strstr(published[0].headers, "aqueduct-endpoint=b;"));
    assert_non_null(strstr(published[1].headers, "aqueduct-sink=crm;aqueduct-endpoint=b;aqueduct-state=redriven;"));
    assert_string_equal(output, "redriven  crm/b t e-1\nredriven 1, refused 0, of 1\n");
    assert_int_equal(DEAD("redrive", "--all"), 1);
    assert_int_equal(published_count, 2);
    assert_non_null(strstr(output,
                           "refused   crm/a t e-1: the sink crm has no endpoint a in this configuration, or none "
                           "that a running daemon tells of; put it back"));
    assert_int_equal(DEAD("list", "--endpoint", "a"), 0); /* still to be listed */
    assert_non_null(strstr(output, " crm/a "));
    endpoint_count = 0;
    assert_int_equal(DEAD("redrive", "--endpoint", "a"), 1); /* nor is the sink itself a place for it */
    assert_int_equal(published_count, 2);
    endpoints[1] = "a";
    endpoint_count = 2;
    assert_int_equal(DEAD("redrive", "--endpoint", "a"), 0);
    endpoint_count = 0;
    assert_int_equal(published_count, 4);
    assert_non_null(strstr(published[2].headers, "aqueduct-endpoint=a;"));
}

TEST(redrive_knows_its_sinks)
{
    struct sink *s = dead_opened("");
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), DIED("gone"), ORIGIN("1")));
    dead_file(s, "x", PAIRS(EVENT("e-2", "t"), DIED("customers"), ORIGIN("2")));
    sink_end(s);
    published_count = 0;
    publish_limit = 16;
    assert_int_equal(DEAD("redrive", "--all"), 1);
    assert_non_null(strstr(output, "refused   gone t e-1: there is no sink gone in this configuration; put it back"));
    assert_non_null(strstr(output, "redriven  customers t e-2\n"));
    assert_int_equal(published_count, 2);
    assert_string_equal(published[0].topic, "aqueduct.redrive.customers");
    assert_int_equal(DEAD("list", "--sink", "gone"), 0);
    assert_non_null(strstr(output, " e-1\n"));
}

/* A foreign record of many headers comes last; it is shown as what it is, and those before it are as well. */
TEST(any_number_of_headers)
{
    enum { MANY = 700 };
    static struct header headers[MANY];
    static char names[MANY][16];
    file_three();
    struct sink *s = dead_opened("");
    struct dead_record f;
    dead_record(&f, "foreign", PAIRS(DIED("crm"), ORIGIN("77")));
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "x-%zu", i);
        headers[i] = (struct header){ str_of(names[i]), i % 3 ? STR("v") : STR_ABSENT };
    }
    memcpy(headers, f.headers, f.record.header_count * sizeof *headers);
    f.record.headers = headers;
    f.record.header_count = MANY;
    dead_file_all(s, &f, 1);
    sink_end(s);
    assert_int_equal(DEAD("list"), 0);
    assert_non_null(strstr(output, "ai.chats/3@77"));
    assert_non_null(strstr(output, "e-1"));
    assert_int_equal(DEAD("show", "--sink", "crm"), 0);
    assert_non_null(strstr(output, "x-699: "));
    assert_non_null(strstr(output, "chat.created"));
    assert_int_equal(DEAD("redrive", "--sink", "crm"), 0);
    assert_non_null(strstr(output, "redriven 2, refused 0, of 2"));
    assert_int_equal(published_count, 4);
}

/* A letter that the broker does not take is named, and the others go on. */
TEST(one_that_cannot_be_redriven_stops_no_other)
{
    file_three();
    refuse_key = "the key";
    struct sink *s = dead_opened("");
    struct dead_record f;
    dead_record(&f, "{}", PAIRS(EVENT("e-9", "t"), DIED("crm"), ORIGIN("78")));
    f.record.key = STR("another");
    dead_file_all(s, &f, 1);
    sink_end(s);
    assert_int_equal(DEAD("redrive", "--sink", "crm"), 1);
    refuse_key = NULL;
    assert_non_null(strstr(output, "refused   crm chat.created e-1: too large for the broker"));
    assert_non_null(strstr(output, "redriven  crm t e-9"));
    assert_non_null(strstr(output, "redriven 1, refused 1, of 2"));
}

TEST(redrive_is_careful)
{
    file_three();
    assert_int_equal(DEAD("redrive"), 2); /* all of them must be said */
    assert_int_equal(DEAD("redrive", "--dry-run", "--sink", "crm"), 0);
    assert_non_null(strstr(output, "would     crm chat.created e-1\n"));
    assert_int_equal(DEAD("redrive", "--id", "e-3"), 1); /* of a source */
    assert_non_null(strstr(output, "refused   hooks user.created e-3: never reached a sink"));
    assert_int_equal(DEAD("redrive", "nobody"), 1);
    assert_int_equal(published_count, 0);
    publish_limit = 1;
    assert_int_equal(DEAD("redrive", "--sink", "crm"), 1); /* the note cannot be stored */
    assert_non_null(strstr(output, "redriven 0, refused 0, of 1"));
}

TEST(what_was_redriven_needs_again)
{
    file_three();
    struct sink *s = dead_opened("");
    dead_file(s, NULL,
              PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_STATE, "redriven", TRAIL_LAST, LAST, ORIGIN("1")));
    sink_end(s);
    assert_int_equal(DEAD("redrive", "e-1"), 1);
    assert_int_equal(DEAD("redrive", "e-1", "--state", "all"), 1);
    assert_non_null(strstr(output, "was redriven before"));
    assert_int_equal(published_count, 0);
    assert_int_equal(DEAD("redrive", "e-1", "--again"), 0);
    assert_int_equal(published_count, 2);
    assert_int_equal(DEAD("list", "--state", "redriven"), 0);
    assert_non_null(strstr(output, "redriven  chat.created"));
}

static void file_the_note(void)
{
    struct sink *s = dead_opened("");
    dead_file(s, NULL,
              PAIRS(EVENT("e-1", "chat.created"), TRAIL_SINK, "crm", TRAIL_STATE, "redriven", TRAIL_LAST, LAST,
                    ORIGIN("1")));
    sink_end(s);
}

/* No daemon files the news between the calls. */
TEST(a_second_redrive_sends_nothing_again)
{
    file_three();
    assert_int_equal(DEAD("redrive", "--sink", "crm"), 0);
    assert_int_equal(published_count, 2);
    assert_int_equal(DEAD("redrive", "--sink", "crm"), 1);
    assert_string_equal(output, "skipped   crm chat.created e-1: was redriven before (--again)\n");
    assert_int_equal(published_count, 2);
    assert_int_equal(DEAD("list", "--sink", "crm"), 0);
    assert_string_equal(output, "");
    assert_int_equal(DEAD("redrive", "--all"), 1); /* the one of the source is refused */
    assert_non_null(strstr(output, "skipped   crm chat.created e-1: was redriven before (--again)\n"));
    assert_non_null(strstr(output, "redriven 1, refused 1, of 2\n"));
    assert_int_equal(published_count, 4);
}

TEST(every_redrive_is_counted_once)
{
    file_three();
    assert_int_equal(DEAD("redrive", "e-1"), 0);
    file_the_note(); /* the daemon comes later */
    assert_int_equal(DEAD("show", "e-1"), 0);
    assert_non_null(strstr(output, "state      redriven (redriven once)\n"));
    assert_int_equal(DEAD("redrive", "e-1", "--again"), 0);
    file_the_note();
    assert_int_equal(DEAD("show", "e-1"), 0);
    assert_non_null(strstr(output, "state      redriven (redriven 2 times)\n"));
}

/* What failed again is another letter, and dead. */
TEST(dead_again_is_redriven_again)
{
    file_three();
    assert_int_equal(DEAD("redrive", "e-1"), 0);
    struct sink *s = dead_opened("");
    dead_file(s, "{}", PAIRS(EVENT("e-1", "chat.created"), DIED("crm"), ORIGIN("1")));
    sink_end(s);
    assert_int_equal(DEAD("redrive", "e-1"), 0);
    assert_int_equal(published_count, 4);
}

/* Files so many letters of the sink crm, e-0 and on. */
static void file_many(size_t count)
{
    struct err e;
    struct letters *st = letters_open(dead_path, true, &e);
    assert_non_null(st);
    assert_true(letters_begin(st, &e));
    for (size_t i = 0; i < count; i++) {
        char id[24];
        snprintf(id, sizeof id, "e-%zu", i);
        const struct letter l = { .owner = STR("crm"),
                                  .id = str_of(id),
                                  .source = STR("/s"),
                                  .type = STR("t"),
                                  .last_ms = 1795000000000,
                                  .class = STR("refused"),
                                  .topic = STR("ai.chats"),
                                  .offset = (int64_t)i,
                                  .record = { .value = STR("{}") } };
        assert_true(letters_file(st, &l, &e));
    }
    assert_true(letters_commit(st, &e));
    letters_close(st);
    published_count = publications = 0;
    publish_limit = 1024;
}

static size_t count_of(const char *state)
{
    char *line = output;
    size_t lines = 0;
    assert_int_equal(DEAD("list", "--json", "--state", state), 0);
    while ((line = strchr(line, '\n')))
        lines++, line++;
    return lines;
}

/* Does that process wait for the claim? */
static bool waits_for_the_claim(pid_t one)
{
    char line[256], waiter[64], wanted[64];
    bool found = false;
    FILE *locks = fopen("/proc/locks", "r");
    assert_non_null(locks);
    snprintf(wanted, sizeof wanted, "%d", (int)one);
    while (fgets(line, sizeof line, locks)) /* 1: -> FLOCK  ADVISORY  WRITE 4711 00:2f:1234 0 EOF */
        found = found
                || (sscanf(line, "%*d: -> FLOCK ADVISORY WRITE %63s", waiter) == 1 && strcmp(waiter, wanted) == 0);
    fclose(locks);
    return found;
}

TEST(two_redrives_at_the_same_time_send_nothing_twice)
{
    struct err e;
    struct letter letters[3];
    int status = 0;
    file_many(3);
    struct letters *st = letters_open(dead_path, false, &e);
    letters_claim(st);
    fflush(stdout);
    pid_t other = fork();
    if (other == 0)
        _exit(DEAD("redrive", "--sink", "crm") == 1 && strstr(output, "redriven 0, refused 3, of 3\n") ? 7 : 8);
    while (!waits_for_the_claim(other) && waitpid(other, &status, WNOHANG) == 0)
        usleep(1000);
    assert_int_equal(status, 0); /* it has not gone on */
    for (int64_t i = 0; i < 3; i++)
        assert_true(letters_load(st, i + 1, &letters[i], &e));
    assert_true(letters_mark(st, letters, 3, LETTER_REDRIVEN, &e));
    letters_unclaim(st);
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(WEXITSTATUS(status), 7);
    for (size_t i = 0; i < 3; i++)
        letter_free(&letters[i]);
    letters_close(st);
}

TEST(letters_are_redriven_in_batches)
{
    file_many(300);
    assert_int_equal(DEAD("redrive", "--sink", "crm"), 0);
    assert_int_equal(published_count, 600);
    assert_int_equal(publications, 4); /* two batches, each of events and of news */
    assert_string_equal(published[255].topic, "aqueduct.redrive.crm");
    assert_string_equal(published[256].topic, "aqueduct.dead-letter");
    assert_non_null(strstr(output, "redriven 300, refused 0, of 300\n"));
    assert_int_equal(count_of("redriven"), 300);
}

TEST(a_limit_takes_the_oldest)
{
    file_many(3);
    assert_int_equal(DEAD("redrive", "--sink", "crm", "--limit", "2"), 0);
    assert_string_equal(output, "redriven  crm t e-0\nredriven  crm t e-1\nredriven 2, refused 0, of 2\n");
    assert_int_equal(published_count, 4);
    assert_int_equal(count_of("dead"), 1);
}

/* Ctrl-C ends it behind what is under way; the same command goes on with the rest. */
TEST(an_interrupted_redrive_goes_on)
{
    file_many(300);
    interrupt_after = 1;
    assert_int_equal(DEAD("redrive", "--sink", "crm", "--json"), 1);
    interrupt_after = 0;
    assert_non_null(strstr(output, "{\"result\":\"total\",\"redriven\":256,\"refused\":0,\"skipped\":0,\"of\":300,"
                                   "\"dry_run\":false,\"interrupted\":true}\n"));
    assert_int_equal(published_count, 512);
    assert_int_equal(count_of("dead"), 44);
    assert_int_equal(DEAD("redrive", "--sink", "crm"), 0);
    assert_non_null(strstr(output, "redriven 44, refused 0, of 44\n"));
    assert_int_equal(published_count, 600);
}

static int letters_looked_at;

/* Ctrl-C with the third letter that is read. */
static int interrupt_third(unsigned what, void *ctx, void *stmt, void *none)
{
    (void)what;
    (void)ctx;
    (void)none;
    const char *sql = sqlite3_sql(stmt);
    if (sql && strstr(sql, "value") && ++letters_looked_at == 3)
        raise(SIGINT);
    return 0;
}

static int trace_rows(sqlite3 *db, char **why, const struct sqlite3_api_routines *api)
{
    (void)why;
    (void)api;
    return sqlite3_trace_v2(db, SQLITE_TRACE_ROW, interrupt_third, NULL);
}

TEST(an_interrupted_dry_run_ends_at_once)
{
    file_many(300);
    letters_looked_at = 0;
    sqlite3_auto_extension((void (*)(void))trace_rows);
    int code = DEAD("redrive", "--sink", "crm", "--dry-run", "--json");
    sqlite3_reset_auto_extension();
    assert_int_equal(code, 1);
    assert_non_null(strstr(output, "{\"result\":\"total\",\"redriven\":1,\"refused\":0,\"skipped\":0,\"of\":300,"
                                   "\"dry_run\":true,\"interrupted\":true}\n"));
}

/* Every two seconds, whose output goes to a file. */
TEST(a_long_redrive_says_how_far_it_is)
{
    file_many(400);
    clock_fake(1000000, clock_wall_ms());
    publication_ms = 1500;
    stderr_catch();
    int code = DEAD("redrive", "--sink", "crm");
    const char *said = stderr_caught();
    publication_ms = 0;
    clock_real();
    assert_int_equal(code, 0);
    assert_string_equal(said, "256 of 400\n400 of 400\n");
}

TEST(a_rate_makes_small_batches)
{
    file_many(3);
    assert_int_equal(DEAD("redrive", "--sink", "crm", "--rate", "400"), 0);
    assert_int_equal(publications, 2);
    file_many(3);
    int64_t began = clock_mono_ms();
    assert_int_equal(DEAD("redrive", "--sink", "crm", "--rate", "7", "--again"), 0);
    assert_int_equal(publications, 6);
    assert_true(clock_mono_ms() - began >= 2 * 1000 / 7); /* the third was not to come before */
}

TEST(a_letter_goes_to_another_place)
{
    file_three();
    assert_int_equal(DEAD("redrive", "--sink", "crm", "--to", "erp"), 0);
    assert_int_equal(published_count, 3);
    assert_string_equal(published[0].topic, "aqueduct.redrive.erp");
    assert_null(strstr(published[0].headers, TRAIL_ENDPOINT));
    assert_non_null(strstr(published[1].headers,
                           "aqueduct-sink=crm;aqueduct-state=redriven;aqueduct-to=erp;aqueduct-last=" LAST ";"));
    assert_non_null(strstr(published[2].headers, "aqueduct-sink=erp;aqueduct-state=resent;aqueduct-last="));
    assert_string_equal(published[2].topic, "aqueduct.dead-letter");
    assert_string_equal(output, "redriven  crm chat.created e-1 to erp\nredriven 1, refused 0, of 1\n");
    endpoints[0] = "b";
    endpoint_count = 1;
    assert_int_equal(DEAD("redrive", "--sink", "erp", "--to", "crm/b"), 0);
    assert_string_equal(published[3].topic, "aqueduct.redrive.crm");
    assert_non_null(strstr(published[3].headers, "aqueduct-endpoint=b;"));
    stderr_catch();
    assert_int_equal(DEAD("redrive", "--all", "--to", "crm"), COMMAND_USAGE);
    assert_int_equal(DEAD("redrive", "--all", "--to", "crm/c"), COMMAND_USAGE);
    assert_int_equal(DEAD("redrive", "--all", "--to", "nosuch"), COMMAND_USAGE);
    assert_int_equal(DEAD("redrive", "--all", "--to", "failed"), COMMAND_USAGE);
    endpoint_count = 0;
    const char *said = stderr_caught();
    assert_non_null(strstr(said, "--to crm: say which of the sink's endpoints; there is crm/b\n"));
    assert_non_null(strstr(said, "--to crm/c: the sink has no such endpoint; there is crm/b\n"));
    assert_non_null(strstr(said, "--to nosuch: there is no such sink; there is crm/b, erp\n"));
    assert_non_null(strstr(said, "--to failed: that sink takes no single events; there is crm/b, erp\n"));
    assert_int_equal(published_count, 6);
}

/* Where it came from need not be there any more. */
TEST(an_orphan_goes_to_another_place)
{
    struct sink *s = dead_opened("");
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), DIED("gone"), ORIGIN("1")));
    sink_end(s);
    published_count = 0;
    assert_int_equal(DEAD("redrive", "e-1", "--to", "erp"), 0);
    assert_string_equal(published[0].topic, "aqueduct.redrive.erp");
}

/* A letter that dies each time is not redriven for ever. */
TEST(what_dies_again_and_again_needs_again)
{
    file_three();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(DEAD("redrive", "e-1"), 0);
        struct sink *s = dead_opened("");
        dead_file(s, "{}", PAIRS(EVENT("e-1", "chat.created"), DIED("crm"), ORIGIN("1")));
        sink_end(s);
    }
    published_count = 0;
    assert_int_equal(DEAD("redrive", "e-1"), 1);
    assert_string_equal(
        output, "skipped   crm chat.created e-1: was redriven again and again, and is dead each time (--again)\n");
    assert_int_equal(published_count, 0);
    assert_int_equal(DEAD("redrive", "e-1", "--again"), 0);
    assert_int_equal(published_count, 2);
}

TEST(a_discarded_letter_stays_listed)
{
    file_three();
    assert_int_equal(DEAD("discard"), COMMAND_USAGE);
    assert_int_equal(DEAD("discard", "--all", "--to", "erp"), COMMAND_USAGE);
    assert_int_equal(DEAD("discard", "--sink", "crm", "--dry-run"), 0);
    assert_string_equal(output, "would     crm chat.created e-1\nwould discard 1, refused 0, of 1\n");
    assert_int_equal(published_count, 0);
    assert_int_equal(DEAD("discard", "--sink", "crm"), 0);
    assert_string_equal(output, "discarded crm chat.created e-1\ndiscarded 1, refused 0, of 1\n");
    assert_int_equal(published_count, 1);
    assert_string_equal(published[0].topic, "aqueduct.dead-letter");
    assert_non_null(strstr(published[0].headers, "aqueduct-sink=crm;aqueduct-state=discarded;aqueduct-letter="));
    assert_true(published[0].no_value);
    assert_int_equal(DEAD("discard", "e-3"), 0); /* of a source */
    assert_non_null(strstr(published[1].headers, "aqueduct-source=hooks;aqueduct-state=discarded;"));
    assert_int_equal(count_of("dead"), 1);
    assert_int_equal(count_of("discarded"), 2);
    assert_int_equal(count_of("all"), 3);
    assert_int_equal(DEAD("list", "--state", "discarded"), 0);
    assert_non_null(strstr(output, "discarded chat.created"));
    stderr_catch();
    assert_int_equal(DEAD("list"), 0);
    assert_non_null(strstr(stderr_caught(), "2 more that match were discarded (--state discarded)\n"));
    assert_int_equal(DEAD("show", "e-1"), 0);
    assert_non_null(strstr(output, "state      discarded\n"));
    assert_int_equal(DEAD("discard", "--sink", "crm"), 1); /* nothing is dead */
    assert_int_equal(DEAD("redrive", "--sink", "crm"), 1);
    assert_int_equal(DEAD("redrive", "--sink", "crm", "--again"), 1);
    assert_int_equal(published_count, 2);
    assert_int_equal(DEAD("redrive", "e-1", "--state", "discarded"), 0); /* it was asked for */
    assert_int_equal(published_count, 4);
    assert_int_equal(count_of("redriven"), 1);
}

TEST(results_are_json)
{
    file_three();
    assert_int_equal(DEAD("redrive", "--all", "--json", "--to", "erp"), 1);
    char *rest = output, *line;
    static const char *const results[] = { "redriven", "redriven", "refused", "total" };
    size_t found[4] = { 0 };
    while ((line = strtok_r(rest, "\n", &rest))) {
        json_t *j = json_loads(line, 0, NULL);
        assert_non_null(j);
        for (size_t i = 1; i < 4; i++)
            found[i] += strcmp(json_string_value(json_object_get(j, "result")), results[i]) == 0;
        if (strcmp(json_string_value(json_object_get(j, "result")), "refused") == 0)
            assert_string_equal(json_string_value(json_object_get(j, "why")),
                                "never reached a sink; it is of the source");
        json_decref(j);
    }
    assert_int_equal(found[1], 2);
    assert_int_equal(found[2], 1);
    assert_int_equal(found[3], 1);
}

TEST(wrong_usage)
{
    file_three();
    assert_int_equal(dead(PAIRS(NULL)), 2);
    assert_int_equal(DEAD("bury"), 2);
    assert_int_equal(DEAD("list", "--colour"), 2);
    assert_int_equal(DEAD("list", "--sink"), 2);
    assert_int_equal(DEAD("list", "--sink="), 2);
    assert_int_equal(DEAD("list", "--json=yes"), 2);
    assert_int_equal(DEAD("list", "--limit", "0"), 2);
    assert_int_equal(DEAD("list", "--limit", "many"), 2);
    assert_int_equal(DEAD("list", "--since", "yesterday"), 2);
    assert_int_equal(DEAD("list", "--until", "tomorrow"), 2);
    assert_int_equal(DEAD("redrive", "--all", "--rate", "0"), 2);
    assert_int_equal(DEAD("list", "--state", "alive"), 2);
    assert_int_equal(DEAD("show", "a", "b"), 2);
    assert_int_equal(DEAD("list", "--from", "nobody"), 1);
}

TEST(strange_text_is_made_harmless)
{
    static const struct {
        const char *text;
        const char *clean;
    } cases[] = {
        { "plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80" },
        { "\x1b]0;title\x07", "?]0;title?" },
        { "\xc2\x9b"
          "31m",
          "?31m" },
        { "a\xff\xc3", "a??" },
        { "user\xe2\x80\xaetxt.exe", "user?txt.exe" },
        { "", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64] = "";
        FILE *f = fmemopen(text, sizeof text, "w");
        print_clean(str_of(cases[i].text), 0, f);
        fclose(f);
        assert_string_equal(text, cases[i].clean);
    }
}

TEST(json_steers_no_terminal)
{
    const struct letter l = { .owner = STR("\x1b\x7f"), .id = STR("\xc2\x9b\xe2\x80\xae\xc3\xa9") };
    char text[1024] = "";
    FILE *f = fmemopen(text, sizeof text, "w");
    print_json(&l, f);
    fclose(f);
    assert_non_null(strstr(text, "\"sink\":\"\\u001b\\u007f\""));
    assert_non_null(strstr(text, "\"id\":\"\\u009b\\u202e\xc3\xa9\""));
}

TEST(the_table_has_room_for_long_names)
{
    const struct letter l = { .owner = STR("partners-of-the-shop"),
                              .endpoint = STR("billing"),
                              .class = STR("refused") };
    struct print_table t = { 0 };
    char text[1024] = "";
    FILE *f = fmemopen(text, sizeof text, "w");
    print_table_fit(&t, &l);
    print_table_head(&t, f);
    print_table_row(&t, &l, f);
    fclose(f);
    const char *class = strstr(text, "CLASS"), *line = strchr(text, '\n') + 1, *refused = strstr(line, "refused");
    assert_non_null(strstr(line, " partners-of-the-shop/billing refused "));
    assert_int_equal(class - text, refused - line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DEAD_TEST(list_says_each_in_one_line),
        DEAD_TEST(list_filters),
        DEAD_TEST(what_no_letter_can_have_is_wrong),
        DEAD_TEST(json_lines_are_json),
        DEAD_TEST(show_prints_everything_harmlessly),
        DEAD_TEST(long_data_is_cut),
        DEAD_TEST(redrive_publishes_the_record_and_then_the_note),
        DEAD_TEST(redrive_goes_to_the_endpoint),
        DEAD_TEST(redrive_knows_its_sinks),
        DEAD_TEST(any_number_of_headers),
        DEAD_TEST(one_that_cannot_be_redriven_stops_no_other),
        DEAD_TEST(redrive_is_careful),
        DEAD_TEST(what_was_redriven_needs_again),
        DEAD_TEST(a_second_redrive_sends_nothing_again),
        DEAD_TEST(every_redrive_is_counted_once),
        DEAD_TEST(dead_again_is_redriven_again),
        DEAD_TEST(two_redrives_at_the_same_time_send_nothing_twice),
        DEAD_TEST(letters_are_redriven_in_batches),
        DEAD_TEST(a_limit_takes_the_oldest),
        DEAD_TEST(an_interrupted_redrive_goes_on),
        DEAD_TEST(an_interrupted_dry_run_ends_at_once),
        DEAD_TEST(a_long_redrive_says_how_far_it_is),
        DEAD_TEST(a_rate_makes_small_batches),
        DEAD_TEST(a_letter_goes_to_another_place),
        DEAD_TEST(an_orphan_goes_to_another_place),
        DEAD_TEST(what_dies_again_and_again_needs_again),
        DEAD_TEST(a_discarded_letter_stays_listed),
        DEAD_TEST(results_are_json),
        DEAD_TEST(wrong_usage),
        DEAD_TEST(strange_text_is_made_harmless),
        DEAD_TEST(json_steers_no_terminal),
        cmocka_unit_test(the_table_has_room_for_long_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
