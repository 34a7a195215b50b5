/* SPDX-License-Identifier: MIT */
/* The dead-letter sink: what is filed, what takes the place of what, what goes, which files are refused. */
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/lib/mailbox.h"
#include "connectors/dead_letter/letters.h"
#include "tests/support/dead.h"
#include "tests/support/metric.h"

static const struct selection everything = { .dead = true, .redriven = true, .discarded = true };

static struct letter load_only(void)
{
    struct err e;
    struct letters *st = letters_open(dead_path, false, &e);
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
    struct sink *s = dead_opened("");
    dead_file(s, "{\"n\":1}", PAIRS(EVENT("e-1", "chat.created"), DIED("crm"), ORIGIN("42"), "x-own", "kept"));
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
    assert_int_equal(l.state, LETTER_DEAD);
    assert_true(str_eq(l.record.key, STR("the key")));
    assert_true(str_eq(l.record.value, STR("{\"n\":1}")));
    assert_int_equal(l.record.timestamp_ms, 1700000000123);
    assert_int_equal(l.record.header_count, 5 + 7 + 4 + 1);
    assert_true(str_eq(record_header(&l.record, "x-own"), STR("kept")));
    letter_free(&l);
}

static int64_t count_letters(void)
{
    struct err e;
    struct letters *st = letters_open(dead_path, false, &e);
    assert_non_null(st);
    int64_t n = letters_matches(st, &everything, &e);
    letters_close(st);
    return n;
}

TEST(a_repeat_takes_the_place)
{
    struct sink *s = dead_opened("");
    dead_file(s, "old", PAIRS(EVENT("e-1", "t"), DIED("crm"), TRAIL_FROM, "me", ORIGIN("42")));
    dead_file(s, "new", PAIRS(EVENT("e-1", "t"), DIED("crm"), TRAIL_FROM, "me", ORIGIN("42")));
    struct letter l = load_only();
    assert_true(str_eq(l.record.value, STR("new")));
    letter_free(&l);
    dead_file(s, "other sink", PAIRS(EVENT("e-1", "t"), DIED("erp"), TRAIL_FROM, "me", ORIGIN("42")));
    assert_int_equal(count_letters(), 2);
    sink_end(s);
}

/* Whoever chooses the id of another's event does not hide its letter; nor does a topic that was made anew. */
TEST(no_letter_hides_another)
{
    struct sink *s = dead_opened("");
    for (int i = 0; i < 2; i++) { /* each twice, as after a crash */
        dead_file(s, "a", PAIRS(EVENT("e-1", "t"), DIED("crm"), TRAIL_FROM, "me", ORIGIN("42")));
        dead_file(s, "b", PAIRS(EVENT("e-1", "t"), DIED("crm"), TRAIL_FROM, "you", ORIGIN("43")));
        dead_file(s, "c", PAIRS(EVENT("e-1", "u"), DIED("crm"), TRAIL_FROM, "me", ORIGIN("44")));
        dead_file(s, "d", PAIRS(EVENT("e-1", "t"), DIED("crm"), TRAIL_FROM, "you", ORIGIN("42")));
        dead_file(s, "e", PAIRS(EVENT("e-1", "u"), DIED("crm"), TRAIL_FROM, "me", ORIGIN("42")));
        dead_file(s, "f", PAIRS(EVENT("e-1", "t"), TRAIL_SOURCE, "hooks", TRAIL_CLASS, "unrouted"));
        dead_file(s, "g", PAIRS(EVENT("e-1", "u"), TRAIL_SOURCE, "hooks", TRAIL_CLASS, "unrouted"));
    }
    assert_int_equal(count_letters(), 7);
    sink_end(s);
}

/* Makes the letter one of the version before, which knew an event by its source and id alone: a hash of both. */
static void write_as_before(void)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(dead_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "UPDATE letters SET state = 'redriven', redrives = 2,"
                                  " identity = '349b18d3-a02a-53ce-abc0-9c3b9c1d5133'",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
}

TEST(letters_of_the_version_before_are_taken_over)
{
    struct sink *s = dead_opened("");
    dead_file(s, "old", PAIRS(EVENT("e-1", "t"), DIED("crm"), TRAIL_FROM, "me", ORIGIN("42")));
    sink_end(s);
    write_as_before();
    s = dead_opened("");
    dead_file(s, "again", PAIRS(EVENT("e-1", "t"), DIED("crm"), TRAIL_FROM, "me", ORIGIN("42")));
    struct letter l = load_only();
    assert_true(str_eq(l.record.value, STR("again")));
    assert_int_equal(l.state, LETTER_DEAD);
    assert_int_equal(l.redrives, 2);
    letter_free(&l);
    write_as_before();
    dead_file(s, "another's", PAIRS(EVENT("e-1", "t"), DIED("crm"), TRAIL_FROM, "you", ORIGIN("43")));
    assert_int_equal(count_letters(), 2);
    sink_end(s);
}

/* Earlier versions told the endpoint that is gone in the reason alone. */
TEST(an_orphan_of_the_version_before_has_its_endpoint)
{
    struct sink *s = dead_opened("");
    dead_file(s, "x",
              PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_CLASS, "orphaned", TRAIL_REASON,
                    "the sink has no endpoint x any more", TRAIL_LAST, LAST, ORIGIN("42")));
    sink_end(s);
    struct letter l = load_only();
    assert_true(str_eq(l.endpoint, STR("x")));
    letter_free(&l);
    struct err e;
    struct letters *st = letters_open(dead_path, false, &e);
    struct selection of_x = { .endpoint = STR("x"), .dead = true };
    assert_int_equal(letters_matches(st, &of_x, &e), 1);
    letters_close(st);
}

/* Two endpoints of one sink give up the same event at the same moment; one is redriven. */
TEST(endpoints_have_letters_of_their_own)
{
    struct sink *s = dead_opened("");
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), DIED("partners"), TRAIL_ENDPOINT, "a", ORIGIN("42")));
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), DIED("partners"), TRAIL_ENDPOINT, "b", ORIGIN("42")));
    dead_file(s, "x", PAIRS(DIED("partners"), TRAIL_ENDPOINT, "a", ORIGIN("43"))); /* no event */
    dead_file(s, "x", PAIRS(DIED("partners"), TRAIL_ENDPOINT, "b", ORIGIN("43")));
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), DIED("partners"), ORIGIN("42"))); /* of a time without endpoints */
    dead_file(s, NULL,
              PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "partners", TRAIL_ENDPOINT, "b", TRAIL_STATE, "redriven", TRAIL_LAST,
                    LAST, ORIGIN("42")));
    sink_end(s);
    const struct {
        struct selection what;
        int64_t letters;
    } cases[] = {
        { { .owner = STR("partners"), .dead = true, .redriven = true }, 5 },
        { { .owner = STR("partners"), .endpoint = STR("a"), .dead = true }, 2 },
        { { .endpoint = STR("b"), .dead = true }, 1 },
        { { .endpoint = STR("b"), .redriven = true }, 1 },
        { { .redriven = true }, 1 },
    };
    struct err e;
    struct letters *st = letters_open(dead_path, false, &e);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(letters_matches(st, &cases[i].what, &e), cases[i].letters);
    int64_t seq;
    struct letter l;
    assert_int_equal(letters_select(st, &cases[3].what, false, 0, &seq, 1, &e), 1);
    assert_true(letters_load(st, seq, &l, &e));
    assert_true(str_eq(l.endpoint, STR("b")));
    letter_free(&l);
    letters_close(st);
}

TEST(a_last_attempt_of_any_time_is_listed)
{
    struct sink *s = dead_opened("");
    dead_file(s, "", PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_LAST, "1154-11-20T10:00:05Z"));
    sink_end(s);
    struct letter l = load_only();
    assert_true(l.last_ms < 0 && str_eq(l.id, STR("e-1")));
    letter_free(&l);
}

TEST(what_is_no_event_is_filed_by_its_place)
{
    struct sink *s = dead_opened("");
    struct dead_record f[3];
    dead_record(&f[0], "\xff\x00poison", PAIRS(DIED("crm"), ORIGIN("1")));
    dead_record(&f[1], NULL, PAIRS(DIED("crm"), ORIGIN("2")));
    dead_record(&f[2], "stray", PAIRS("a", "b")); /* not even a trail */
    for (int i = 0; i < 3; i++)
        assert_null(f[i].event);
    dead_file_all(s, f, 3);
    dead_file_all(s, f, 3);
    struct err e;
    struct letters *st = letters_open(dead_path, false, &e);
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
    struct sink *s = dead_opened("");
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), DIED("crm"), ORIGIN("42")));
    /* notes about another sink, place or attempt change nothing */
    dead_file(s, NULL,
              PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "erp", TRAIL_STATE, "redriven", TRAIL_LAST, LAST, ORIGIN("42")));
    dead_file(s, NULL,
              PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_STATE, "redriven", TRAIL_LAST, LAST, ORIGIN("43")));
    dead_file(s, NULL,
              PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_STATE, "redriven", TRAIL_LAST,
                    "2026-11-20T10:00:05.499Z", ORIGIN("42")));
    struct letter l = load_only();
    assert_int_equal(l.state, LETTER_DEAD);
    letter_free(&l);
    const char *const *note = PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_STATE, "redriven", TRAIL_LAST, LAST,
                                    ORIGIN("42"));
    dead_file(s, NULL, note);
    dead_file(s, NULL, note); /* told twice, counted once */
    l = load_only();
    assert_int_equal(l.state, LETTER_REDRIVEN);
    assert_int_equal(l.redrives, 1);
    assert_true(str_eq(l.record.value, STR("x")));
    letter_free(&l);
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_LAST, "2026-11-20T11:00:00Z", ORIGIN("42")));
    dead_file(s, NULL, note); /* the old note comes again: it is about an earlier attempt */
    l = load_only();
    assert_int_equal(l.state, LETTER_DEAD);
    assert_int_equal(l.redrives, 1);
    letter_free(&l);
    sink_end(s);
}

static int64_t gauge(const char *name)
{
    return metric_value(metric_named(name, LABELS("failed")));
}

/* As `aqueduct dead discard` says it; the letter's name is what the file says. */
static void file_the_discard(struct sink *s, const struct letter *l, const char *owner_header, const char *owner,
                             const char *last)
{
    char name[160];
    snprintf(name, sizeof name, "%.*s", STR_ARG(l->identity));
    dead_file(s, NULL,
              PAIRS(EVENT("e-1", "t"), owner_header, owner, TRAIL_STATE, "discarded", TRAIL_LETTER, name, TRAIL_LAST,
                    last));
}

TEST(a_discard_is_noted_and_a_later_failure_is_dead_again)
{
    struct sink *s = dead_opened("");
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), DIED("crm"), ORIGIN("42")));
    struct letter l = load_only();
    file_the_discard(s, &l, TRAIL_SINK, "erp", LAST); /* of another */
    file_the_discard(s, &l, TRAIL_SINK, "crm", "2026-11-20T10:00:05.499Z");
    letter_free(&l);
    l = load_only();
    assert_int_equal(l.state, LETTER_DEAD);
    assert_int_equal(gauge("aqueduct_dead_letters_discarded"), 0);
    file_the_discard(s, &l, TRAIL_SINK, "crm", LAST);
    assert_int_equal(gauge("aqueduct_dead_letters_discarded"), 1);
    assert_int_equal(gauge("aqueduct_dead_letters"), 1); /* it is not gone */
    letter_free(&l);
    l = load_only();
    assert_int_equal(l.state, LETTER_DISCARDED);
    assert_int_equal(l.redrives, 0);
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_LAST, "2026-11-20T11:00:00Z", ORIGIN("42")));
    file_the_discard(s, &l, TRAIL_SINK, "crm", LAST); /* comes again, about an earlier attempt */
    letter_free(&l);
    l = load_only();
    assert_int_equal(l.state, LETTER_DEAD);
    assert_int_equal(gauge("aqueduct_dead_letters_discarded"), 0);
    letter_free(&l);
    sink_end(s);
}

TEST(a_letter_of_a_source_can_be_discarded)
{
    struct sink *s = dead_opened("");
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), TRAIL_SOURCE, "hooks", TRAIL_CLASS, "unrouted", TRAIL_LAST, LAST));
    struct letter l = load_only();
    file_the_discard(s, &l, TRAIL_SOURCE, "hooks", LAST);
    letter_free(&l);
    l = load_only();
    assert_int_equal(l.state, LETTER_DISCARDED);
    letter_free(&l);
    sink_end(s);
}

/* That an event was resent is about no letter. */
TEST(what_was_resent_is_no_letter)
{
    struct sink *s = dead_opened("");
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), DIED("crm"), ORIGIN("42")));
    dead_file(s, NULL,
              PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_STATE, "resent", TRAIL_LAST, LAST, ORIGIN("42")));
    struct letter l = load_only();
    assert_int_equal(l.state, LETTER_DEAD);
    letter_free(&l);
    sink_end(s);
}

/* The file of the version before has no index of what was discarded, and goes on in either. */
TEST(a_file_of_the_version_before_learns_to_discard)
{
    struct sink *s = dead_opened("");
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), DIED("crm"), ORIGIN("42")));
    sink_end(s);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(dead_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DROP INDEX letters_discarded", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    struct letter l = load_only();
    s = dead_opened("");
    file_the_discard(s, &l, TRAIL_SINK, "crm", LAST);
    letter_free(&l);
    assert_int_equal(gauge("aqueduct_dead_letters_discarded"), 1);
    sink_end(s);
}

TEST(the_oldest_go_first)
{
    struct sink *s = dead_opened("keep: 3\n");
    for (int i = 0; i < 8; i++) {
        char id[16], offset[16];
        snprintf(id, sizeof id, "e-%d", i);
        snprintf(offset, sizeof offset, "%d", i);
        dead_file(s, "x", PAIRS(EVENT(id, "t"), DIED("crm"), ORIGIN(offset)));
    }
    assert_int_equal(count_letters(), 3);
    sink_end(s);
    s = dead_opened("keep: 2\n");
    dead_file(s, "x", PAIRS(EVENT("e-7", "t"), DIED("crm"), ORIGIN("7")));
    assert_int_equal(count_letters(), 2);
    struct err e;
    struct letters *st = letters_open(dead_path, false, &e);
    struct selection sel = everything;
    sel.id = STR("e-6");
    assert_int_equal(letters_matches(st, &sel, &e), 1);
    letters_close(st);
    sink_end(s);
}

TEST(the_aged_go)
{
    clock_fake(0, 1795000000000); /* 2026-11-18 */
    struct sink *s = dead_opened("max_age: 1h\n");
    dead_file(s, "x", PAIRS(EVENT("e-0", "t"), TRAIL_SINK, "crm", TRAIL_LAST, "2026-11-18T10:00:00Z", ORIGIN("1")));
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), TRAIL_SINK, "crm", TRAIL_LAST, "2026-11-18T12:00:00Z", ORIGIN("2")));
    clock_real();
    struct letter l = load_only();
    assert_true(str_eq(l.id, STR("e-1")));
    letter_free(&l);
    sink_end(s);
}

TEST(a_batch_is_filed_as_a_whole_or_asked_for_again)
{
    struct sink *s = dead_opened("");
    sqlite3 *other;
    assert_int_equal(sqlite3_open(dead_path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    struct dead_record f[2];
    dead_record(&f[0], "x", PAIRS(EVENT("e-1", "t"), DIED("crm"), ORIGIN("1")));
    dead_record(&f[1], "x", PAIRS(EVENT("e-2", "t"), DIED("crm"), ORIGIN("2")));
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
    dead_file_all(s, f, 2);
    assert_int_equal(count_letters(), 2);
    sink_end(s);
}

TEST(less_room_than_letters)
{
    struct sink *s = dead_opened("");
    struct dead_record f[3];
    struct result out[2];
    for (int i = 0; i < 3; i++) {
        dead_record(&f[i], "x", PAIRS("a", "b"));
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

/* The file of another user is there: that it would be made is no help. */
TEST(who_may_not_read_the_file_is_told_whose_it_is)
{
    struct err e;
    bool root = geteuid() == 0;
    close(open(dead_path, O_CREAT | O_WRONLY, 0));
    assert_int_equal(root ? seteuid(65534) : 0, 0);
    struct letters *st = letters_open(dead_path, false, &e);
    assert_int_equal(root ? seteuid(0) : 0, 0);
    assert_null(st);
    assert_non_null(strstr(e.text, ": Permission denied; run this as the user that runs aqueduct"));
    unlink(dead_path);
}

TEST(foreign_and_damaged_files_are_refused)
{
    struct err e;
    sqlite3 *db;
    assert_null(letters_open("/nowhere/at/all.db", true, &e));
    assert_string_equal(
        e.text,
        "/nowhere/at/all.db: cannot be opened: No such file or directory; its folder must exist and be writable");
    assert_null(letters_open(dead_path, false, &e));
    assert_non_null(strstr(e.text, "No such file or directory; the daemon creates it when it starts"));
    assert_int_equal(sqlite3_open(dead_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE users (name)", NULL, NULL, NULL), SQLITE_OK);
    assert_null(letters_open(dead_path, true, &e));
    assert_non_null(strstr(e.text, "not a file of dead letters"));
    assert_int_equal(sqlite3_exec(db, "DROP TABLE users; PRAGMA application_id = 1095846980; PRAGMA user_version = 9",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_null(letters_open(dead_path, true, &e));
    assert_non_null(strstr(e.text, "another version"));
    sqlite3_close(db);
    FILE *f = fopen(dead_path, "w");
    fputs("this is a letter to a friend, and long enough to be no header", f);
    fclose(f);
    assert_null(letters_open(dead_path, true, &e));
    assert_non_null(strstr(e.text, dead_path));
    unlink(dead_path);
    char here[512], expected[600];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(expected, sizeof expected, "%s/not-here.db: cannot be opened: ", here);
    assert_null(
        letters_open("./not-here.db", false, &e)); /* the folder is named: it is not that of the configuration */
    assert_memory_equal(e.text, expected, strlen(expected));
    assert_null(letters_open(dead_path, false, &e)); /* nothing there: a reader does not create it */
    assert_int_equal(access(dead_path, F_OK), -1);
    assert_null(letters_open("/nonexistent/folder/x.db", true, &e));
    assert_non_null(strstr(e.text, "/nonexistent/folder/x.db"));
}

TEST(a_killed_writers_journal_does_not_stop_a_reader)
{
    struct sink *s = dead_opened("");
    dead_file(s, "x", PAIRS(EVENT("e-1", "t"), DIED("crm"), ORIGIN("1")));
    sink_end(s);
    pid_t child = fork();
    if (child == 0) { /* dies inside a transaction whose pages have reached the file */
        struct err e;
        struct letters *st = letters_open(dead_path, true, &e);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        DEAD_TEST(a_letter_is_filed_whole),
        DEAD_TEST(a_repeat_takes_the_place),
        DEAD_TEST(no_letter_hides_another),
        DEAD_TEST(letters_of_the_version_before_are_taken_over),
        DEAD_TEST(an_orphan_of_the_version_before_has_its_endpoint),
        DEAD_TEST(endpoints_have_letters_of_their_own),
        DEAD_TEST(a_last_attempt_of_any_time_is_listed),
        DEAD_TEST(what_is_no_event_is_filed_by_its_place),
        DEAD_TEST(a_redrive_is_noted_and_a_later_failure_is_dead_again),
        DEAD_TEST(a_discard_is_noted_and_a_later_failure_is_dead_again),
        DEAD_TEST(a_letter_of_a_source_can_be_discarded),
        DEAD_TEST(what_was_resent_is_no_letter),
        DEAD_TEST(a_file_of_the_version_before_learns_to_discard),
        DEAD_TEST(the_oldest_go_first),
        DEAD_TEST(the_aged_go),
        DEAD_TEST(a_batch_is_filed_as_a_whole_or_asked_for_again),
        DEAD_TEST(less_room_than_letters),
        DEAD_TEST(foreign_and_damaged_files_are_refused),
        DEAD_TEST(who_may_not_read_the_file_is_told_whose_it_is),
        DEAD_TEST(a_killed_writers_journal_does_not_stop_a_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
