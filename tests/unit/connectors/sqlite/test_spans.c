/* SPDX-License-Identifier: MIT */
/* A diff whose key is the rowid reads only what looks different, and misses nothing: whatever an application does to the
 * file, at whatever moment of a pass, the events add up to the table.
 *
 * AQUEDUCT_TEST_TIMES=20: so many times as long, with another seed each time; AQUEDUCT_TEST_SEED: with this one. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "connectors/sqlite/wait.h"
#include "tests/support/sqlite_rig.h"

enum { IDS = 4000, EDGE = 400, STEPS = 120, OPS_AT_ONCE = 12 };

static struct rig rig;
static uint64_t seed;

static uint32_t any(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

/* ---- reads only what changed ---- */

#define USERS                                                                                                          \
    "CREATE TABLE users(id INTEGER PRIMARY KEY, role TEXT, note TEXT); CREATE TABLE other(id INTEGER PRIMARY KEY, x);"
#define FILL                                                                                                           \
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"                                   \
    " INSERT INTO users SELECT i, 'role ' || i, 'a note of some length' FROM n;"
#define RULE  "capture:\n- {name: users, kind: diff, table: users, watch: [role], "
#define TYPES "types: {insert: u.made, update: u.changed, delete: u.gone}}\nhold: 1s\n"

static int64_t rows_read(const char *sql, const char *types)
{
    int64_t before = metric_value(rig_inside(&rig)->rows_read);
    app_exec(&rig, sql);
    assert_captured(&rig, types);
    return metric_value(rig_inside(&rig)->rows_read) - before;
}

static void read_only_what_changed(const char *journal)
{
    rig_begin(&rig, journal, USERS FILL, RULE TYPES);
    rows_read("UPDATE users SET note = 'x' WHERE id = 1", ""); /* leaves that were cut by a slice are known now */
    assert_int_equal(rows_read("INSERT INTO other(x) VALUES (1)", ""), 0);
    assert_in_range(rows_read("UPDATE users SET role = 'boss' WHERE id = 777", "u.changed"), 1, 300);
    assert_in_range(rows_read("DELETE FROM users WHERE id = 1234", "u.gone"), 0, 300);
    assert_in_range(rows_read("INSERT INTO users VALUES (5000, 'new', '')", "u.made"), 1, 300);
    assert_int_equal(rows_read("INSERT INTO other(x) VALUES (2)", ""), 0);
    app_exec(&rig, "PRAGMA wal_checkpoint(TRUNCATE)"); /* from here on another WAL */
    assert_int_equal(rows_read("INSERT INTO other(x) VALUES (3)", ""), 0);
    assert_in_range(rows_read("UPDATE users SET role = 'staff' WHERE id IN (5, 777)", "u.changed u.changed"), 2, 600);
    rig_end(&rig);
}

TEST(read_only_what_changed_with_a_rollback_journal)
{
    read_only_what_changed("DELETE");
}
TEST(read_only_what_changed_with_a_wal)
{
    read_only_what_changed("WAL");
}

/* ---- journals ---- */

static uint32_t overlooked; /* one journal in so many; 0: none */

/* The source's thread takes notices while a transaction is at work, as a commit takes its time. */
static int take_notices(void *ctx)
{
    (void)ctx;
    if (!overlooked || any(overlooked))
        wait_note(rig_inside(&rig));
    return 0;
}

static void watch_commits(void)
{
    sqlite3_commit_hook(rig.app, take_notices, NULL);
    app_exec(&rig, "PRAGMA secure_delete = OFF"); /* as SQLite is, but for some packages; else free pages are written */
}

/* Do the journals alone tell what this changed? */
static bool told_by_journals(const char *sql, const char *types)
{
    uint32_t generation = rig_inside(&rig)->pages.generation;
    app_exec(&rig, sql);
    assert_captured(&rig, types);
    return rig_inside(&rig)->pages.generation == generation;
}

TEST(journals_tell_what_changed)
{
    overlooked = 0;
    rig_begin(&rig, "DELETE", USERS FILL, RULE TYPES);
    watch_commits();
    rows_read("UPDATE users SET note = 'x' WHERE id = 1", "");
    assert_true(told_by_journals("INSERT INTO other(x) VALUES (1)", ""));
    assert_true(rig_inside(&rig)->rules[0]->by_range.leaves.clean);
    assert_true(told_by_journals("UPDATE users SET role = 'boss' WHERE id = 777", "u.changed"));
    assert_true(told_by_journals("UPDATE users SET role = 'clerk' WHERE id = 5; DELETE FROM users WHERE id = 2000;"
                                 "INSERT INTO other(x) VALUES (2)",
                                 "u.changed u.gone"));
    app_exec(&rig, "BEGIN; INSERT INTO users VALUES (9000, 'new', '')");
    take_notices(NULL);
    assert_true(told_by_journals("ROLLBACK; UPDATE users SET role = 'guest' WHERE id = 777", "u.changed"));
    assert_true(told_by_journals("CREATE TABLE more(x); INSERT INTO more VALUES (zeroblob(9000))", ""));
    while (!rig_inside(&rig)->idle.let_go) { /* notices are taken all the same */
        struct err e = { 0 };
        assert_true(rig_read(&rig, &e) >= 0);
    }
    assert_true(told_by_journals("UPDATE users SET role = 'host' WHERE id = 777", "u.changed"));
    rig_end(&rig);
}

/* A page that left the tree and came back, in two transactions, stands in no journal: its row is read all the same. Each row
 * has a page of its own. */
TEST(journals_do_not_tell_of_free_pages)
{
    overlooked = 0;
    rig_begin(&rig, "DELETE",
              USERS FILL "DELETE FROM users WHERE id > 300; UPDATE users SET note = zeroblob(3000);"
                         "INSERT INTO other(x) VALUES (zeroblob(90000)); DELETE FROM other;", /* there are free pages */
              RULE TYPES);
    watch_commits();
    rows_read("UPDATE users SET note = zeroblob(3001) WHERE id = 1", "");
    assert_true(told_by_journals("DELETE FROM users WHERE id = 100; BEGIN;"
                                 "INSERT INTO users VALUES (100, 'role 100', zeroblob(3000));"
                                 "UPDATE users SET role = 'boss' WHERE id BETWEEN 98 AND 102; COMMIT",
                                 "u.changed u.changed u.changed u.changed u.changed"));
    rig_end(&rig);
}

/* What no journal tells, or one that is not removed, is found as well. */
TEST(journals_that_do_not_tell)
{
    static const char *const ways[] = {
        "PRAGMA journal_mode = MEMORY; UPDATE users SET role = role || 'x' WHERE id = 777",
        ("BEGIN; UPDATE users SET role = 'y' WHERE id = 778; ROLLBACK; PRAGMA journal_mode = MEMORY;"
         "UPDATE users SET role = role || 'x' WHERE id = 777"),
        "PRAGMA journal_mode = TRUNCATE; UPDATE users SET role = role || 'x' WHERE id = 777",
        "PRAGMA journal_mode = PERSIST; UPDATE users SET role = role || 'x' WHERE id = 777",
        "PRAGMA journal_mode = WAL; UPDATE users SET role = role || 'x' WHERE id = 777; PRAGMA journal_mode = DELETE",
        "PRAGMA journal_mode = DELETE; VACUUM; UPDATE users SET role = role || 'x' WHERE id = 777",
    };
    overlooked = 0;
    rig_begin(&rig, "DELETE", USERS FILL, RULE TYPES);
    watch_commits();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        rows_read("UPDATE users SET note = 'x' WHERE id = 1", "");
        assert_false(told_by_journals(ways[i], "u.changed"));
        app_exec(&rig, "PRAGMA journal_mode = DELETE");
    }
    rig_end(&rig);
}

/* A commit of which nothing is noticed (by another name of the file, by another machine) is found, although the transaction
 * before it, which was rolled back, would have led to the counter that it has. */
TEST(journals_of_what_was_rolled_back)
{
    char other[160], name[192];
    sqlite3 *db;
    overlooked = 0;
    rig_begin(&rig, "DELETE", USERS FILL, RULE TYPES);
    watch_commits();
    snprintf(other, sizeof other, "%s/elsewhere", rig.folder);
    snprintf(name, sizeof name, "%s/same.db", other);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_int_equal(link(rig.path, name), 0);
    assert_int_equal(sqlite3_open(name, &db), SQLITE_OK);
    rows_read("UPDATE users SET note = 'x' WHERE id = 1", "");
    app_exec(&rig, "PRAGMA synchronous = OFF; BEGIN; INSERT INTO other(x) VALUES (zeroblob(9000))");
    take_notices(NULL);
    app_exec(&rig, "ROLLBACK");
    assert_int_equal(sqlite3_exec(db, "UPDATE users SET role = 'boss' WHERE id = 777", NULL, NULL, NULL), SQLITE_OK);
    assert_captured(&rig, "u.changed");
    sqlite3_close(db);
    unlink(name);
    rmdir(other);
    rig_end(&rig);
}

/* What is known is still known after the database was let go. */
TEST(known_although_let_go)
{
    rig_begin(&rig, "WAL", USERS FILL, RULE TYPES);
    rows_read("UPDATE users SET note = 'x' WHERE id = 1", "");
    while (!rig_inside(&rig)->idle.let_go) {
        struct err e = { 0 };
        assert_true(rig_read(&rig, &e) >= 0);
    }
    assert_in_range(rows_read("UPDATE users SET role = 'boss' WHERE id = 777", "u.changed"), 1, 300);
    rig_end(&rig);
}

/* Where the key is not the rowid, all is read once any page of the table has changed, also one that holds a part of a row. */
TEST(read_when_any_page_changed)
{
    rig_begin(
        &rig, "WAL",
        "CREATE TABLE chats(id TEXT PRIMARY KEY, role TEXT, note TEXT); CREATE TABLE other(id INTEGER PRIMARY KEY, x);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
        " INSERT INTO chats SELECT 'chat-' || i, 'x', printf('%.*c', 20000, 'n') || i FROM n;",
        "capture:\n- {name: users, kind: diff, table: chats, watch: [note], columns: {role: value}, " TYPES);
    assert_null(rig_inside(&rig)->rules[0]->range);
    rows_read("UPDATE chats SET role = 'y' WHERE id = 'chat-9'", "");
    assert_int_equal(rows_read("INSERT INTO other(x) VALUES (1)", ""), 0);
    app_exec(&rig, "PRAGMA wal_checkpoint(PASSIVE)"); /* the next commit begins the WAL anew, and nothing is known */
    assert_int_equal(rows_read("INSERT INTO other(x) VALUES (2)", ""), 300);
    /* of the same length: only the last page of the row is written */
    assert_in_range(rows_read("UPDATE chats SET note = printf('%.*c', 20000, 'n') || 'X' WHERE id = 'chat-7'",
                              "u.changed"),
                    300, 303);
    assert_int_equal(rows_read("INSERT INTO other(x) VALUES (3)", ""), 0);
    assert_in_range(rows_read("DELETE FROM chats WHERE id = 'chat-8'", "u.gone"), 299, 302);
    rig_end(&rig);
}

/* What does not depend on the table's pages alone is read as a whole. */
static void read_all(const char *where)
{
    char yaml[512];
    snprintf(yaml, sizeof yaml, RULE "where: \"%s\", " TYPES, where);
    rig_begin(&rig, "WAL", USERS FILL "INSERT INTO other VALUES (5, 1), (6, 1);", yaml);
    assert_int_equal(rig_inside(&rig)->rules[0]->root, 0);
    rig_end(&rig);
}
TEST(a_condition_of_more_than_the_row)
{
    read_all("id IN (SELECT id FROM other)");
    read_all("role < date('now')");
    read_all("role <> CURRENT_TIMESTAMP");
    rig_begin(&rig, "WAL", USERS FILL, RULE "where: id % 2 = 0 AND lower(role) <> 'x', " TYPES);
    assert_non_null(rig_inside(&rig)->rules[0]->range);
    rows_read("UPDATE users SET note = 'x' WHERE id = 1", "");
    assert_in_range(rows_read("UPDATE users SET role = 'X' WHERE id = 778", "u.gone"), 0, 300);
    assert_in_range(rows_read("UPDATE users SET role = 'y' WHERE id = 778", "u.made"), 1, 300);
    rig_end(&rig);
}

/* ---- misses nothing ---- */

static const char *key;    /* what the key is declared as */
static int64_t skipped;    /* reads that left leaves out */
static int64_t followed;   /* passes for which journals told what changed */
static int64_t model[IDS]; /* by id; the value that the last event told; -1: not there */

static int64_t number_behind(struct str text, const char *prefix)
{
    char number[24];
    const char *at = memmem(text.at, text.n, prefix, strlen(prefix));
    assert_non_null(at);
    at += strlen(prefix);
    size_t n = 0;
    while (n + 1 < sizeof number && at + n < text.at + text.n && strchr("-0123456789", at[n]))
        number[n] = at[n], n++;
    number[n] = '\0';
    assert_true(n > 0);
    return strtoll(number, NULL, 10);
}

static void take_events(void)
{
    for (size_t i = 0; i < rig.seen_count; i++) {
        const struct event *ev = rig.seen[i];
        int64_t id = number_behind(ev->subject, "t/") + IDS / 2;
        assert_in_range(id, 0, IDS - 1);
        assert_true((model[id] < 0) == str_eq(ev->type, STR("t.made"))); /* made, changed, gone: in that order */
        model[id] = str_eq(ev->type, STR("t.gone")) ? -1 : number_behind(ev->data, "\"a\":");
    }
    rig_forget(&rig);
}

static void read_once(void)
{
    struct err e = { 0 };
    rig.room = 1 + any(40);
    uint32_t generation = rig_inside(&rig)->pages.generation, number = rig_inside(&rig)->pass.number;
    if (rig_read(&rig, &e) < 0)
        fail_msg("%s", e.text);
    const struct pages *p = &rig_inside(&rig)->pages;
    followed += p->by_journal && p->generation == generation && rig_inside(&rig)->pass.number != number;
    skipped += rig_inside(&rig)->rules[0]->by_range.leaves.skipped || rig_inside(&rig)->rules[0]->by_range.leaves.clean;
    take_events();
}

static void compare(void)
{
    int64_t real[IDS];
    sqlite3_stmt *stmt;
    while (!sqlite_is_idle(rig_inside(&rig)))
        read_once();
    for (int i = 0; i < IDS; i++)
        real[i] = -1;
    assert_int_equal(sqlite3_prepare_v2(rig.app, "SELECT id, a FROM t", -1, &stmt, NULL), SQLITE_OK);
    size_t rows = 0;
    for (; sqlite3_step(stmt) == SQLITE_ROW; rows++)
        real[sqlite3_column_int64(stmt, 0) + IDS / 2] = sqlite3_column_int64(stmt, 1);
    sqlite3_finalize(stmt);
    assert_memory_equal(real, model, sizeof real);
    assert_int_equal(rig_inside(&rig)->rules[0]->rows.count, rows);
}

/* An id, mostly near others that were chosen. */
static int id_of(void)
{
    static int near;
    if (any(8) == 0)
        near = (int)any(IDS - 2 * EDGE);
    return near + EDGE + (int)any(64) - IDS / 2;
}

static void try_sql(const char *format, ...)
{
    char sql[512];
    va_list args;
    va_start(args, format);
    assert_true(vsnprintf(sql, sizeof sql, format, args) < (int)sizeof sql);
    va_end(args);
    sqlite3_exec(rig.app, sql, NULL, NULL, NULL); /* it may be locked, or not be possible now */
}

/* The application changes rows. */
static void change(void)
{
    int id = id_of();
    uint32_t size = any(20) == 0 ? any(9000) : any(60);
    switch (any(12)) {
    case 0:
    case 1: try_sql("INSERT OR IGNORE INTO t VALUES (%d, %u, zeroblob(%u))", id, any(100), size); break;
    case 2: try_sql("INSERT OR REPLACE INTO t VALUES (%d, %u, zeroblob(%u))", id, any(100), size); break;
    case 3: try_sql("UPDATE t SET a = a + 1 WHERE id = %d", id); break;
    case 4: try_sql("UPDATE t SET a = abs(1 - a) WHERE id = %d", id); break; /* and back, perhaps */
    case 5: try_sql("UPDATE t SET a = abs(a), b = zeroblob(%u) WHERE id = %d", size, id); break;
    case 6: try_sql("DELETE FROM t WHERE id = %d", id); break;
    case 7: try_sql("DELETE FROM t WHERE id BETWEEN %d AND %d", id, id + (int)any(200)); break;
    case 8: try_sql("UPDATE OR IGNORE t SET id = %d WHERE id = %d", id_of(), id); break;
    case 9:
        try_sql("WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT OR IGNORE INTO t"
                " SELECT i, i & 7, zeroblob(i & 63) FROM n",
                id, id + (int)any(40));
        break;
    case 10: try_sql("UPDATE t SET a = abs(a + id) %% 50 WHERE id %% %u = 0", 1 + any(400)); break;
    case 11: try_sql("INSERT INTO other(x) VALUES (zeroblob(%u))", any(3000)); break;
    }
}

/* The application keeps house. */
static void keep_house(void)
{
    switch (any(12)) {
    case 0: try_sql("VACUUM"); break;
    case 1: try_sql("PRAGMA incremental_vacuum(%u)", any(20)); break;
    case 2: try_sql("PRAGMA wal_checkpoint(PASSIVE)"); break;
    case 3: try_sql("PRAGMA wal_checkpoint(RESTART)"); break;
    case 4: try_sql("PRAGMA wal_checkpoint(TRUNCATE)"); break;
    case 5: try_sql("CREATE INDEX IF NOT EXISTS i ON t(a)"); break;
    case 6: try_sql("DROP INDEX IF EXISTS i"); break;
    case 7: try_sql("DELETE FROM other WHERE id %% 3 = 0"); break;
    case 8:
        try_sql("BEGIN; CREATE TABLE u(id %s PRIMARY KEY, a, b); INSERT INTO u SELECT * FROM t; DROP TABLE t;"
                " ALTER TABLE u RENAME TO t; COMMIT",
                key);
        break;
    case 9: try_sql("CREATE TABLE IF NOT EXISTS v(x); INSERT INTO v VALUES (zeroblob(5000)); DROP TABLE v"); break;
    case 10:
        app_close(&rig);
        assert_int_equal(sqlite3_open(rig.path, &rig.app), SQLITE_OK);
        watch_commits();
        break;
    case 11:
        try_sql("PRAGMA journal_mode = %s", any(2) ? "WAL" : any(2) ? "TRUNCATE" : any(2) ? "MEMORY" : "DELETE");
        break;
    }
    while (!sqlite3_get_autocommit(rig.app))
        try_sql("ROLLBACK");
}

/* A few changes, as one transaction or not; some are rolled back. */
static void act(void)
{
    bool together = any(2);
    if (together)
        try_sql("BEGIN IMMEDIATE");
    for (uint32_t n = 1 + any(OPS_AT_ONCE); n > 0; n--)
        change();
    if (together && any(5) == 0) {
        take_notices(NULL);
        try_sql("ROLLBACK");
    } else if (together)
        try_sql("COMMIT");
    while (!sqlite3_get_autocommit(rig.app))
        try_sql("ROLLBACK");
    if (any(4) == 0)
        keep_house();
}

static void never_miss(const char *type, const char *journal, int page_size, int vacuum, const char *rule)
{
    const char *times = getenv("AQUEDUCT_TEST_TIMES"), *chosen = getenv("AQUEDUCT_TEST_SEED");
    if (!seed)
        seed = chosen ? strtoull(chosen, NULL, 10) : times ? (uint64_t)clock_wall_ms() : 1;
    fprintf(stderr, "%s, %s, pages of %d, auto_vacuum %d, seed %llu\n", type, journal, page_size, vacuum,
            (unsigned long long)seed);
    skipped = followed = 0;
    key = type;
    for (int i = 0; i < IDS; i++)
        model[i] = -1;
    rig_new(&rig, "DELETE");
    app_do(&rig, "PRAGMA page_size = %d; PRAGMA auto_vacuum = %d; VACUUM; PRAGMA journal_mode = %s", page_size, vacuum,
           journal);
    app_do(&rig, "CREATE TABLE t(id %s PRIMARY KEY, a, b); CREATE TABLE other(id INTEGER PRIMARY KEY, x)", key);
    rig_open(&rig, rule);
    overlooked = 12;
    watch_commits();
    for (int i = 0; i < STEPS * (times ? strtoll(times, NULL, 10) : 1); i++) {
        act();
        for (uint32_t n = any(6); n > 0; n--)
            read_once();
        if (any(12) == 0)
            compare();
        if (any(60) == 0)
            rig_restart(&rig);
    }
    compare();
    assert_true(skipped > 0 || page_size > 4096); /* a few leaves may change all the time */
    assert_true(followed > 0 || strcmp(journal, "DELETE") != 0);
    rig_end(&rig);
}

#define T                                                                                                              \
    "capture:\n- {name: t, kind: diff, table: t, watch: [a], columns: {a: value}, types: {insert: t.made, update: t.changed, delete: t.gone}}\nstart: snapshot\nhold: 1ms\npoll: 10ms\n"

TEST(nothing_is_missed_with_a_rollback_journal)
{
    never_miss("INTEGER", "DELETE", 512, 0, T);
    never_miss("INTEGER", "PERSIST", 4096, 1, T "batch: 5\n");
}
TEST(nothing_is_missed_with_a_wal)
{
    never_miss("INTEGER", "WAL", 512, 0, T);
    never_miss("INTEGER", "WAL", 1024, 2, T "batch: 5\n");
    never_miss("INTEGER", "WAL", 65536, 1, T);
    never_miss("TEXT", "WAL", 1024, 1, T);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_only_what_changed_with_a_rollback_journal),
        cmocka_unit_test(read_only_what_changed_with_a_wal),
        cmocka_unit_test(journals_tell_what_changed),
        cmocka_unit_test(journals_do_not_tell_of_free_pages),
        cmocka_unit_test(journals_that_do_not_tell),
        cmocka_unit_test(journals_of_what_was_rolled_back),
        cmocka_unit_test(known_although_let_go),
        cmocka_unit_test(read_when_any_page_changed),
        cmocka_unit_test(a_condition_of_more_than_the_row),
        cmocka_unit_test(nothing_is_missed_with_a_rollback_journal),
        cmocka_unit_test(nothing_is_missed_with_a_wal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
