/* SPDX-License-Identifier: MIT */
/* The dead-letter sink and `aqueduct dead`: what is filed, what is shown, what is given again. */
#include <stdio.h>
#include <stdlib.h>
#include <jansson.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/cli/flags.h"
#include "bridge/lib/mailbox.h"
#include "bridge/event/trail.h"
#include "connectors/dead_letter/print.h"
#include "tests/support/connector.h"
#include "tests/support/folder.h"
#include "tests/support/test.h"

extern const struct sink_ops dead_letter_sink;
extern const struct command dead_command;

static char folder[FOLDER_BYTES], path[128];

static struct sink *make(const char *more)
{
    char yaml[512];
    snprintf(yaml, sizeof yaml, "path: %s\n%s", path, more);
    return sink_filled(&dead_letter_sink, "failed", yaml);
}

static struct sink *open_sink(const char *more)
{
    struct sink *s = make(more);
    sink_start(s);
    return s;
}

/* A record as it stands in the dead-letter topic. Pairs of headers end with NULL. */
struct fixture {
    struct header headers[24];
    struct record record;
    const struct event *event;
};

static void fixture(struct fixture *f, const char *value, const char *const *pairs)
{
    *f = (struct fixture){ .record = { .topic = STR("aqueduct.dead-letter"),
                                       .offset = 5,
                                       .timestamp_ms = 1700000000123,
                                       .key = STR("the key"),
                                       .value = str_of(value),
                                       .headers = f->headers } };
    for (; *pairs; pairs += 2)
        f->headers[f->record.header_count++] = (struct header){ str_of(pairs[0]), str_of(pairs[1]) };
    f->event = event_from_record(&f->record, NULL);
}

#define EVENT(id, type)                                                                                                \
    "ce_specversion", "1.0", "ce_id", id, "ce_source", "/s", "ce_type", type, "content-type", "application/json"
#define ORIGIN(offset)                                                                                                 \
    TRAIL_TOPIC, "ai.chats", TRAIL_PARTITION, "3", TRAIL_OFFSET, offset, TRAIL_TIMESTAMP, "1700000000123"
#define LAST "2026-11-20T10:00:05.500Z"
#define DIED(sink)                                                                                                     \
    TRAIL_SINK, sink, TRAIL_ATTEMPTS, "6", TRAIL_FIRST, "2026-11-20T10:00:00.000Z", TRAIL_LAST, LAST, TRAIL_STATUS,    \
        "503", TRAIL_CLASS, "refused", TRAIL_REASON, "503 Service Unavailable"
#define PAIRS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void file_all(struct sink *s, struct fixture *f, size_t n)
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

static void file_one(struct sink *s, const char *value, const char *const *pairs)
{
    struct fixture f;
    fixture(&f, value, pairs);
    file_all(s, &f, 1);
}

/* ---- the sink ---- */

static const struct selection everything = { .dead = true, .redriven = true };

static struct letter load_only(void)
{
    struct err e;
    struct letters *st = letters_open(path, false, &e);
    if (!st)
        fail_msg("%s", e.text);
    int64_t seqs[4];
    assert_int_equal(letters_select(st, &everything, false, 0, seqs, 4, &e), 1);
    struct letter l;
    assert_true(letters_load(st, seqs[0], &l, &e));
    letters_close(st);
    return l;
}

TEST(a_letter_is_filed_whole)
{
    struct sink *s = open_sink("");
    file_one(s, "{\"n\":1}", PAIRS(EVENT("e-1", "chat.created"), DIED("crm"), ORIGIN("42"), "x-own", "kept"));
    sink_end(s);
    struct letter l = load_only();
    assert_false(l.of_source);
    assert_true(str_eq(l.owner, STR("crm")));
    assert_true(str_eq(l.id, STR("e-1")));
    assert_true(str_eq(l.source, STR("/s")));
    assert_true(str_eq(l.type, STR("chat.created")));
    assert_null(l.time.at);
    assert_int_equal(l.attempts, 6);
    assert_int_equal(l.status, 503);
    assert_int_equal(l.last_ms - l.first_ms, 5500);
    assert_true(str_eq(l.class, STR("refused")));
    assert_true(str_eq(l.reason, STR("503 Service Unavailable")));
    assert_true(str_eq(l.topic, STR("ai.chats")));
    assert_int_equal(l.partition, 3);
    assert_int_equal(l.offset, 42);
    assert_false(l.redriven);
    assert_true(str_eq(l.record.key, STR("the key")));
    assert_true(str_eq(l.record.value, STR("{\"n\":1}")));
    assert_int_equal(l.record.timestamp_ms, 1700000000123);
    assert_int_equal(l.record.header_count, 5 + 7 + 4 + 1);
    assert_true(str_eq(record_header(&l.record, "x-own"), STR("kept")));
    letter_free(&l);
}

TEST(a_repeat_takes_the_place)
{
    struct sink *s = open_sink("");
    file_one(s, "old", PAIRS(EVENT("e-1", "t"), DIED("crm"), ORIGIN("42")));
    file_one(s, "new", PAIRS(EVENT("e-1", "t"), DIED("crm"), ORIGIN("77")));
    struct letter l = load_only();
    assert_true(str_eq(l.record.value, STR("new")));
    assert_int_equal(l.offset, 77);
    letter_free(&l);
    file_one(s, "other sink", PAIRS(EVENT("e-1", "t"), DIED("erp"), ORIGIN("42")));
    struct err e;
    struct letters *st = letters_open(path, false, &e);
    assert_int_equal(letters_matches(st, &everything, &e), 2);
    letters_close(st);
    sink_end(s);
}

TEST(what_is_no_event_is_filed_by_its_place)
{
    struct sink *s = open_sink("");
    struct fixture f[3];
    fixture(&f[0], "\xff\x00poison", PAIRS(DIED("crm"), ORIGIN("1")));
    fixture(&f[1], NULL, PAIRS(DIED("crm"), ORIGIN("2")));
    fixture(&f[2], "stray", PAIRS("a", "b")); /* not even a trail */
    for (int i = 0; i < 3; i++)
        assert_null(f[i].event);
    file_all(s, f, 3);
    file_all(s, f, 3);
    struct err e;
    struct letters *st = letters_open(path, false, &e);
    int64_t seqs[8];
    assert_int_equal(letters_select(st, &everything, false, 0, seqs, 8, &e), 3);
    struct letter l;
    assert_true(letters_load(st, seqs[1], &l, &e));
    assert_null(l.id.at);
    assert_null(l.record.value.at);
    assert_int_equal(l.offset, 2);
    letter_free(&l);
    assert_true(letters_load(st, seqs[2], &l, &e));
    assert_int_equal(l.owner.n, 0);
    letter_free(&l);
    assert_false(letters_load(st, 12345, &l, &e));
    assert_int_equal(l.seq, 0); /* gone, which a walk through the file passes over */
    letters_close(st);
    sink_end(s);
}

TEST(a_redrive_is_noted_and_a_later_failure_is_dead_again)
{
    struct sink *s = open_sink("");
    file_one(s, "x", PAIRS(EVENT("e-1", "t"), DIED("crm"), ORIGIN("42")));
    /* notes about another sink, place or attempt change nothing */
    file_one(s, NULL,
             PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "erp", TRAIL_STATE, "redriven", TRAIL_LAST, LAST, ORIGIN("42")));
    file_one(s, NULL,
             PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_STATE, "redriven", TRAIL_LAST, LAST, ORIGIN("43")));
    file_one(s, NULL,
             PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_STATE, "redriven", TRAIL_LAST,
                   "2026-11-20T10:00:05.499Z", ORIGIN("42")));
    struct letter l = load_only();
    assert_false(l.redriven);
    letter_free(&l);
    const char *const *note = PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_STATE, "redriven", TRAIL_LAST, LAST,
                                    ORIGIN("42"));
    file_one(s, NULL, note);
    file_one(s, NULL, note); /* told twice, counted once */
    l = load_only();
    assert_true(l.redriven);
    assert_int_equal(l.redrives, 1);
    assert_true(str_eq(l.record.value, STR("x")));
    letter_free(&l);
    file_one(s, "x", PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_LAST, "2026-11-20T11:00:00Z", ORIGIN("42")));
    file_one(s, NULL, note); /* the old note comes again: it is about an earlier attempt */
    l = load_only();
    assert_false(l.redriven);
    assert_int_equal(l.redrives, 1);
    letter_free(&l);
    sink_end(s);
}

static int64_t count_letters(void)
{
    struct err e;
    struct letters *st = letters_open(path, false, &e);
    assert_non_null(st);
    int64_t n = letters_matches(st, &everything, &e);
    letters_close(st);
    return n;
}

TEST(the_oldest_go_first)
{
    struct sink *s = open_sink("keep: 3\n");
    for (int i = 0; i < 8; i++) {
        char id[16], offset[16];
        snprintf(id, sizeof id, "e-%d", i);
        snprintf(offset, sizeof offset, "%d", i);
        file_one(s, "x", PAIRS(EVENT(id, "t"), DIED("crm"), ORIGIN(offset)));
    }
    assert_int_equal(count_letters(), 3);
    sink_end(s);
    s = open_sink("keep: 2\n");
    file_one(s, "x", PAIRS(EVENT("e-7", "t"), DIED("crm"), ORIGIN("7")));
    assert_int_equal(count_letters(), 2);
    struct err e;
    struct letters *st = letters_open(path, false, &e);
    struct selection sel = everything;
    sel.id = STR("e-6");
    assert_int_equal(letters_matches(st, &sel, &e), 1);
    letters_close(st);
    sink_end(s);
}

TEST(the_aged_go)
{
    clock_fake(0, 1795000000000); /* 2026-11-18 */
    struct sink *s = open_sink("max_age: 1h\n");
    file_one(s, "x", PAIRS(EVENT("e-0", "t"), TRAIL_SINK, "crm", TRAIL_LAST, "2026-11-18T10:00:00Z", ORIGIN("1")));
    file_one(s, "x", PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_LAST, "2026-11-18T12:00:00Z", ORIGIN("2")));
    clock_real();
    struct letter l = load_only();
    assert_true(str_eq(l.id, STR("e-1")));
    letter_free(&l);
    sink_end(s);
}

TEST(a_batch_is_filed_as_a_whole_or_asked_for_again)
{
    struct sink *s = open_sink("");
    sqlite3 *other;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    struct fixture f[2];
    fixture(&f[0], "x", PAIRS(EVENT("e-1", "t"), DIED("crm"), ORIGIN("1")));
    fixture(&f[1], "x", PAIRS(EVENT("e-2", "t"), DIED("crm"), ORIGIN("2")));
    struct result out[2];
    for (int i = 0; i < 2; i++)
        s->ops->send(s, &(struct message){
                            .event = f[i].event, .record = &f[i].record, .attempt = 1, .tag = (uint64_t)i });
    assert_int_equal(s->ops->work(s, -1, (struct duration){ 0 }, out, 2), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(out[i].verdict, VERDICT_RETRY);
        assert_int_equal(out[i].reason, REASON_UNAVAILABLE);
        assert_non_null(strstr(out[i].why, "locked"));
    }
    sqlite3_close(other);
    file_all(s, f, 2);
    assert_int_equal(count_letters(), 2);
    sink_end(s);
}

TEST(less_room_than_letters)
{
    struct sink *s = open_sink("");
    struct fixture f[3];
    struct result out[2];
    for (int i = 0; i < 3; i++) {
        fixture(&f[i], "x", PAIRS("a", "b"));
        f[i].record.offset = i;
        s->ops->send(s, &(struct message){ .record = &f[i].record, .attempt = 1, .tag = (uint64_t)i });
    }
    assert_int_equal(s->ops->work(s, -1, (struct duration){ 0 }, out, 2), 2);
    assert_int_equal(out[1].tag, 1);
    assert_int_equal(s->ops->work(s, -1, (struct duration){ 0 }, out, 2), 1);
    assert_int_equal(out[0].tag, 2);
    int wake = wake_new();
    wake_up(wake);
    assert_int_equal(s->ops->work(s, wake, (struct duration){ 3600 * 1000 }, out, 2), 0);
    close(wake);
    sink_end(s);
}

TEST(foreign_and_damaged_files_are_refused)
{
    struct err e;
    sqlite3 *db;
    assert_null(letters_open("/nowhere/at/all.db", true, &e));
    assert_string_equal(
        e.text,
        "/nowhere/at/all.db: cannot be opened: No such file or directory; its folder must exist and be writable");
    assert_null(letters_open(path, false, &e));
    assert_non_null(strstr(e.text, "No such file or directory; the daemon creates it when it starts"));
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE users (name)", NULL, NULL, NULL), SQLITE_OK);
    assert_null(letters_open(path, true, &e));
    assert_non_null(strstr(e.text, "not a file of dead letters"));
    assert_int_equal(sqlite3_exec(db, "DROP TABLE users; PRAGMA application_id = 1095846980; PRAGMA user_version = 9",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_null(letters_open(path, true, &e));
    assert_non_null(strstr(e.text, "another version"));
    sqlite3_close(db);
    FILE *f = fopen(path, "w");
    fputs("this is a letter to a friend, and long enough to be no header", f);
    fclose(f);
    assert_null(letters_open(path, true, &e));
    assert_non_null(strstr(e.text, path));
    unlink(path);
    assert_null(letters_open(path, false, &e)); /* nothing there: a reader does not create it */
    assert_int_equal(access(path, F_OK), -1);
    assert_null(letters_open("/nonexistent/folder/x.db", true, &e));
    assert_non_null(strstr(e.text, "/nonexistent/folder/x.db"));
}

TEST(a_killed_writers_journal_does_not_stop_a_reader)
{
    struct sink *s = open_sink("");
    file_one(s, "x", PAIRS(EVENT("e-1", "t"), DIED("crm"), ORIGIN("1")));
    sink_end(s);
    pid_t child = fork();
    if (child == 0) { /* dies inside a transaction whose pages have reached the file */
        struct err e;
        struct letters *st = letters_open(path, true, &e);
        static char big[4 << 20];
        struct letter l = { .owner = STR("crm"),
                            .id = STR("e-2"),
                            .source = STR("/s"),
                            .type = STR("t"),
                            .class = STR("refused"),
                            .reason = STR("r"),
                            .record = { .value = { big, sizeof big } } };
        memset(big, 'x', sizeof big);
        _exit(st && letters_begin(st, &e) && letters_file(st, &l, &e) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(count_letters(), 1);
}

/* ---- the command ---- */

static struct published {
    char topic[64], key[32], value[64], headers[1024];
    bool no_value;
    int64_t timestamp_ms;
} published[16];
static size_t published_count, publish_limit;
static const char *refuse_key; /* records of this key are not published */

static bool keep_publication(const struct command_call *call, const struct record *r, struct err *e)
{
    (void)call;
    if (published_count == publish_limit)
        return err_set(e, "the broker is away");
    if (refuse_key && str_eq(r->key, str_of(refuse_key)))
        return err_set(e, "too large for the broker");
    struct published *p = &published[published_count++];
    *p = (struct published){ .no_value = !r->value.at, .timestamp_ms = r->timestamp_ms };
    snprintf(p->topic, sizeof p->topic, "%.*s", STR_ARG(r->topic));
    snprintf(p->key, sizeof p->key, "%.*s", STR_ARG(r->key));
    snprintf(p->value, sizeof p->value, "%.*s", STR_ARG(r->value));
    size_t n = 0;
    for (size_t i = 0; i < r->header_count && n < sizeof p->headers; i++)
        n += (size_t)snprintf(p->headers + n, sizeof p->headers - n, "%.*s=%.*s;", STR_ARG(r->headers[i].name),
                              STR_ARG(r->headers[i].value));
    return true;
}

static int dead_call(int argc, char **argv)
{
    struct sink *s = make("");
    struct err e;
    struct command_call call = { .words = argv,
                                 .flags = calloc(1, dead_command.size),
                                 .sinks = &s,
                                 .sink_count = 1,
                                 .publish = keep_publication,
                                 .prefix = "aqueduct." };
    int words = flags_parse(&(struct flag_target){ dead_command.flags, call.flags }, 1, false, argc, argv, &e);
    call.word_count = words < 0 ? 0 : (size_t)words;
    int code = words < 0 || call.word_count > dead_command.max_words ? COMMAND_USAGE : dead_command.run(&call);
    free(call.flags);
    free(s);
    return code;
}

static char output[65536];

/* Runs the command; its standard output is in `output` afterwards. */
static int dead(const char *const *words)
{
    int argc = 0;
    char *argv[16] = { 0 }, *owned[16];
    for (; words[argc]; argc++)
        argv[argc] = owned[argc] = str_dup(str_of(words[argc]));
    char file[160];
    snprintf(file, sizeof file, "%s/out", folder);
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
    struct sink *s = open_sink("");
    file_one(s, "{\"n\": 1.10, \"a\":[{},[],\"x\\\"{\"]}",
             PAIRS(EVENT("e-1", "chat.created"), DIED("crm"), ORIGIN("1"), "x-own", "kept"));
    file_one(s, "\xff\xfe",
             PAIRS(TRAIL_SINK, "erp", TRAIL_CLASS, "poison", TRAIL_REASON, "no \x1b[31mevent", TRAIL_LAST,
                   "2026-11-20T11:00:00Z", ORIGIN("2")));
    file_one(s, "z",
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
    assert_non_null(strstr(second, "(no event)                 ai.chats/3/2\n"));
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
        { "--sink", "nobody", 0 },
        { "--class", "poison", 1 },
        { "--type", "chat.", 1 },
        { "--type", "user.created", 1 },
        { "--type", "hat", 0 },
        { "--id", "e-3", 1 },
        { "--since", "2026-11-20T10:30:00Z", 2 },
        { "--since", "2999-01-01T00:00:00Z", 0 },
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
    assert_non_null(strstr(output, "origin     ai.chats/3/1\n"));
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
    struct sink *s = open_sink("");
    static char data[9000];
    memset(data, 'x', sizeof data - 1);
    file_one(s, data, PAIRS(EVENT("e-1", "t"), DIED("crm"), ORIGIN("1")));
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

/* A foreign record of many headers comes last; it is shown as what it is, and those before it are as well. */
TEST(any_number_of_headers)
{
    enum { MANY = 700 };
    static struct header headers[MANY];
    static char names[MANY][16];
    file_three();
    struct sink *s = open_sink("");
    struct fixture f;
    fixture(&f, "foreign", PAIRS(DIED("crm"), ORIGIN("77")));
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "x-%zu", i);
        headers[i] = (struct header){ str_of(names[i]), i % 3 ? STR("v") : STR_ABSENT };
    }
    memcpy(headers, f.headers, f.record.header_count * sizeof *headers);
    f.record.headers = headers;
    f.record.header_count = MANY;
    file_all(s, &f, 1);
    sink_end(s);
    assert_int_equal(DEAD("list"), 0);
    assert_non_null(strstr(output, "ai.chats/3/77"));
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
    struct sink *s = open_sink("");
    struct fixture f;
    fixture(&f, "{}", PAIRS(EVENT("e-9", "t"), DIED("crm"), ORIGIN("78")));
    f.record.key = STR("another");
    file_all(s, &f, 1);
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
    assert_int_equal(DEAD("redrive", "--all"), 1); /* the note cannot be stored */
    assert_non_null(strstr(output, "redriven 0, refused 0, of 3"));
}

TEST(what_was_redriven_needs_again)
{
    file_three();
    struct sink *s = open_sink("");
    file_one(s, NULL,
             PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_STATE, "redriven", TRAIL_LAST, LAST, ORIGIN("1")));
    sink_end(s);
    assert_int_equal(DEAD("redrive", "e-1"), 1);
    assert_int_equal(DEAD("redrive", "e-1", "--state", "all"), 1);
    assert_non_null(strstr(output, "was redriven before"));
    assert_int_equal(published_count, 0);
    assert_int_equal(DEAD("redrive", "e-1", "--again"), 0);
    assert_int_equal(published_count, 2);
    assert_int_equal(DEAD("list", "--state", "redriven"), 0);
    assert_non_null(strstr(output, "redriven chat.created"));
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

static int make_folder(void **state)
{
    (void)state;
    folder_make(folder);
    snprintf(path, sizeof path, "%s/dead.db", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char file[160];
    static const char *const names[] = { "dead.db", "dead.db-journal", "out" };
    for (size_t i = 0; i < 3; i++) {
        snprintf(file, sizeof file, "%s/%s", folder, names[i]);
        unlink(file);
    }
    return rmdir(folder);
}

#define CLEANED(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEANED(a_letter_is_filed_whole),
        CLEANED(a_repeat_takes_the_place),
        CLEANED(what_is_no_event_is_filed_by_its_place),
        CLEANED(a_redrive_is_noted_and_a_later_failure_is_dead_again),
        CLEANED(the_oldest_go_first),
        CLEANED(the_aged_go),
        CLEANED(a_batch_is_filed_as_a_whole_or_asked_for_again),
        CLEANED(less_room_than_letters),
        CLEANED(foreign_and_damaged_files_are_refused),
        CLEANED(a_killed_writers_journal_does_not_stop_a_reader),
        CLEANED(list_says_each_in_one_line),
        CLEANED(list_filters),
        CLEANED(json_lines_are_json),
        CLEANED(show_prints_everything_harmlessly),
        CLEANED(long_data_is_cut),
        CLEANED(redrive_publishes_the_record_and_then_the_note),
        CLEANED(any_number_of_headers),
        CLEANED(one_that_cannot_be_redriven_stops_no_other),
        CLEANED(redrive_is_careful),
        CLEANED(what_was_redriven_needs_again),
        CLEANED(wrong_usage),
        CLEANED(strange_text_is_made_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
