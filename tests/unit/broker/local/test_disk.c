/* SPDX-License-Identifier: MIT */
/* The embedded broker in trouble: no room, a failing disk, kill -9 at any moment, what a killed process leaves. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "bridge/lib/mem.h"
#include "tests/support/local.h"

/* ---- no room ---- */

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static bool wait_ready(void)
{
    struct err why;
    for (int i = 0; i < 3000; i++) {
        if (broker_ready(local_broker, &why))
            return true;
        sleep_ms(10);
    }
    return false;
}

/* Publishes numbers until one is refused; how many were stored. */
static int fill(const char *topic, int from, char *why)
{
    char value[8192];
    for (int i = from;; i++) {
        memset(value, '.', sizeof value);
        memcpy(value, &i, sizeof i);
        if (!local_put(topic, 0, (struct str){ value, sizeof value }, why))
            return i;
        assert_true(i < 100000);
    }
}

/* Everything from 0 to count - 1 is there, once, and nothing else. */
static void expect_filled(const char *topic, int count)
{
    struct consumer *c = local_reader("check", topic);
    struct record *out[64];
    struct err e;
    int next = 0;
    for (int n; (n = consumer_poll(c, out, 64, &e)) != 0;) {
        assert_true(n > 0);
        for (int i = 0; i < n; i++) {
            int number;
            memcpy(&number, out[i]->value.at, sizeof number);
            assert_int_equal(number, next++);
            record_free(out[i]);
        }
    }
    assert_int_equal(next, count);
    consumer_close(c);
}

TEST(the_largest_size_refuses_and_recovers)
{
    char why[WHY_BYTES];
    struct err e = { "" };
    local_config.max_size.n = 2 << 20;
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    local_topic("other", 1, (struct duration){ 1 }, UNBOUNDED); /* its room comes back */
    broker_retain(local_broker);
    int other = fill("other", 0, why);
    assert_true(other > 50);
    assert_non_null(strstr(why, "no room"));
    assert_false(broker_ready(local_broker, &e));
    assert_non_null(strstr(e.text, "aqueduct.db"));
    assert_false(broker_failed(local_broker));
    assert_true(wait_ready());
    int count = fill("t", 0, why);
    assert_true(count > 50);
    assert_false(broker_failed(local_broker));
    local_close();
    assert_in_range(local_size("aqueduct.db"), 1 << 20, 2 << 20);
    local_config.max_size.n = 0;
    local_open();
    expect_filled("t", count);
}

/* The room ends between two starts: the first thing that is stored is a topic. */
TEST(a_topic_that_has_no_room_says_what_is_full)
{
    char why[WHY_BYTES];
    struct err e = { "" };
    struct topic_config wide = { .name = "wide", .partitions = 64 };
    local_config.max_size.n = 2 << 20;
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    fill("t", 0, why);
    local_close();
    local_open();
    assert_false(broker_topic(local_broker, &wide, &e));
    assert_non_null(strstr(e.text, "topics.wide: no room to create a topic: database or disk is full"));
    assert_non_null(strstr(e.text, " of 2097152 bytes (broker.max_size)"));
    assert_false(broker_failed(local_broker));
    local_close();
    local_open();
    for (int i = 0; broker_ready(local_broker, NULL); i++) {
        char name[24];
        snprintf(name, sizeof name, "unsaid-%d", i);
        local_put(name, 0, STR("x"), why);
    }
    assert_non_null(strstr(why, "database or disk is full"));
    local_close();
    local_config.max_size.n = 4 << 20;
    local_open();
    local_topic("wide", 64, FOREVER, UNBOUNDED);
}

/* The size that a file of this process may have: writing beyond it fails as on a full disk (EFBIG). */
static void limit_files(rlim_t size)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int unlimited(void **state)
{
    limit_files(RLIM_INFINITY);
    return local_tear_down(state);
}

TEST(a_full_disk_refuses_and_recovers)
{
    char why[WHY_BYTES];
    signal(SIGXFSZ, SIG_IGN);
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    limit_files(1 << 20);
    int count = fill("t", 0, why);
    assert_true(count > 20);
    assert_non_null(strstr(why, "no room"));
    assert_false(broker_ready(local_broker, NULL));
    assert_false(broker_failed(local_broker));
    assert_false(local_put("t", 0, STR("x"), why));
    limit_files(RLIM_INFINITY);
    assert_true(wait_ready());
    int32_t n = count++;
    assert_true(local_put("t", 0, (struct str){ (char *)&n, sizeof n }, why));
    expect_filled("t", count);
    local_close();
    local_open();
    expect_filled("t", count);
}

/* ---- a failing or slow disk: a VFS between SQLite and the system's ---- */

struct shim_file {
    sqlite3_file base;
    sqlite3_file *real;
};

static sqlite3_vfs shim;
static sqlite3_io_methods shim_methods;
static atomic_int sync_mode; /* 0 as it is, 1 fail, 2 wait until it is no longer 2 */
static atomic_int fail_in;   /* the so-manieth write, sync or truncation from now fails; 0: none */

static bool fails(void)
{
    return fail_in > 0 && atomic_fetch_sub(&fail_in, 1) == 1;
}

static int shim_sync(sqlite3_file *f, int flags)
{
    if (fails())
        return SQLITE_IOERR_FSYNC;
    while (sync_mode == 2)
        sleep_ms(1);
    return sync_mode == 1 ? SQLITE_IOERR_FSYNC
                          : ((struct shim_file *)f)->real->pMethods->xSync(((struct shim_file *)f)->real, flags);
}

#define REAL(f) (((struct shim_file *)(f))->real)
static int shim_close(sqlite3_file *f)
{
    return REAL(f)->pMethods->xClose(REAL(f));
}
static int shim_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return REAL(f)->pMethods->xRead(REAL(f), p, n, at);
}
static int shim_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    return fails() ? SQLITE_IOERR_WRITE : REAL(f)->pMethods->xWrite(REAL(f), p, n, at);
}
static int shim_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    return fails() ? SQLITE_IOERR_TRUNCATE : REAL(f)->pMethods->xTruncate(REAL(f), n);
}
static int shim_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return REAL(f)->pMethods->xFileSize(REAL(f), n);
}
static int shim_lock(sqlite3_file *f, int l)
{
    return REAL(f)->pMethods->xLock(REAL(f), l);
}
static int shim_unlock(sqlite3_file *f, int l)
{
    return REAL(f)->pMethods->xUnlock(REAL(f), l);
}
static int shim_check(sqlite3_file *f, int *out)
{
    return REAL(f)->pMethods->xCheckReservedLock(REAL(f), out);
}
static int shim_control(sqlite3_file *f, int op, void *p)
{
    return REAL(f)->pMethods->xFileControl(REAL(f), op, p);
}
static int shim_sector(sqlite3_file *f)
{
    return REAL(f)->pMethods->xSectorSize(REAL(f));
}
static int shim_traits(sqlite3_file *f)
{
    return REAL(f)->pMethods->xDeviceCharacteristics(REAL(f));
}
static int shim_map(sqlite3_file *f, int a, int b, int c, void volatile **p)
{
    return REAL(f)->pMethods->xShmMap(REAL(f), a, b, c, p);
}
static int shim_shm_lock(sqlite3_file *f, int a, int b, int c)
{
    return REAL(f)->pMethods->xShmLock(REAL(f), a, b, c);
}
static void shim_barrier(sqlite3_file *f)
{
    REAL(f)->pMethods->xShmBarrier(REAL(f));
}
static int shim_unmap(sqlite3_file *f, int d)
{
    return REAL(f)->pMethods->xShmUnmap(REAL(f), d);
}

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    sqlite3_vfs *real = vfs->pAppData;
    struct shim_file *s = (struct shim_file *)f;
    s->real = (sqlite3_file *)(s + 1);
    int rc = real->xOpen(real, name, s->real, flags, out);
    f->pMethods = rc == SQLITE_OK ? &shim_methods : NULL;
    return rc;
}

static void shim_in(void)
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    shim = *real;
    shim.zName = "shim";
    shim.pNext = NULL;
    shim.pAppData = real;
    shim.szOsFile = (int)sizeof(struct shim_file) + real->szOsFile;
    shim.xOpen = shim_open;
    shim_methods = (sqlite3_io_methods){
        2,           shim_close, shim_read,    shim_write,  shim_truncate, shim_sync, shim_size,     shim_lock,
        shim_unlock, shim_check, shim_control, shim_sector, shim_traits,   shim_map,  shim_shm_lock, shim_barrier,
        shim_unmap,  NULL,       NULL
    };
    sync_mode = 0;
    assert_int_equal(sqlite3_vfs_register(&shim, 1), SQLITE_OK);
}

static int shim_out(void **state)
{
    sync_mode = 0;
    int rc = local_tear_down(state);
    sqlite3_vfs_unregister(&shim);
    return rc;
}

TEST(after_a_failed_sync_nothing_is_taken)
{
    char why[WHY_BYTES];
    struct err e = { "" };
    shim_in();
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    local_put_numbers("t", 0, 0, 10);
    sync_mode = 1;
    assert_false(local_put("t", 0, STR("number-10;"), why));
    assert_true(broker_failed(local_broker));
    assert_false(broker_ready(local_broker, &e));
    assert_non_null(strstr(e.text, "cannot write"));
    sync_mode = 0; /* the disk pretends to be well again */
    assert_false(local_put("t", 0, STR("number-10;"), why));
    assert_true(broker_failed(local_broker));
    local_close();
    local_open();
    struct consumer *c = local_reader("g", "t");
    struct record *out[64];
    int n = consumer_poll(c, out, 64, &e);
    assert_in_range(n, 10, 11); /* the eleventh was not acknowledged: it may be there */
    for (int i = 0; i < n; i++)
        record_free(out[i]);
    consumer_close(c);
}

/* Opens and publishes with the n-th call failing, then looks with a healthy disk. Returns how many records there are. */
static int one_io_error(int n, int have)
{
    struct err e = { "" };
    int acked = have;
    fail_in = n;
    local_broker = broker_open(&local_config, &e);
    while (local_broker && acked < have + 5 && local_put_number("t", 0, acked))
        acked++;
    local_close();
    fail_in = 0;
    local_open();
    struct consumer *c = local_reader("g", "t");
    struct record *out[64];
    int found = 0;
    for (int got; (got = consumer_poll(c, out, 64, &e)) != 0; found += got) {
        assert_true(got > 0);
        for (int i = 0; i < got; i++) {
            assert_int_equal(out[i]->offset, found + i);
            record_free(out[i]);
        }
    }
    consumer_close(c);
    local_close();
    assert_in_range(found, acked, acked + 1); /* the one that failed was not acknowledged: it may be there */
    return found;
}

TEST(no_single_io_error_loses_anything)
{
    int have = 0;
    shim_in();
    for (int n = 1; n <= 60; n++)
        have = one_io_error(n, have);
    assert_true(have > 60);
}

static void count_refused(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)tag;
    if (o == OUTCOME_UNAVAILABLE && strstr(why, "queue is full"))
        atomic_fetch_add((atomic_int *)ctx, 1);
}

TEST(the_queue_is_bounded)
{
    enum { VALUE = 64 << 10, COUNT = 1200 }; /* 75 MiB */
    atomic_int refused = 0;
    char *value = mem_alloc(VALUE);
    shim_in();
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    sync_mode = 2;
    struct record r = { .topic = STR("t"), .value = { value, VALUE } };
    for (int i = 0; i < COUNT; i++)
        broker_publish(local_broker, &(struct publication){
                                         .records = &r, .record_count = 1, .done = count_refused, .ctx = &refused });
    assert_in_range(refused, 400, 800); /* 32 MiB wait, up to 4 more are being written */
    assert_false(broker_flush(local_broker, (struct duration){ 20 }));
    sync_mode = 0;
    assert_true(broker_flush(local_broker, (struct duration){ 60000 }));
    assert_true(local_put("t", 0, STR("x"), NULL));
    free(value);
}

TEST(a_file_deleted_under_us_is_noticed)
{
    char why[WHY_BYTES], from[128];
    local_open();
    local_topic("t", 1, FOREVER, UNBOUNDED);
    assert_true(local_put_number("t", 0, 0));
    snprintf(from, sizeof from, "%s", local_path("aqueduct.db"));
    assert_int_equal(rename(from, local_path("moved")), 0);
    assert_false(local_put("t", 0, STR("x"), why));
    assert_non_null(strstr(why, "deleted or replaced"));
    assert_true(broker_failed(local_broker));
}

/* ---- kill -9 ----
 * A child publishes numbers with a state change each and writes every acknowledged one to a pipe, until it is killed. */

static atomic_int child_acked;
static int child_pipe;

static void child_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)ctx, (void)why;
    uint64_t n = tag;
    if (o == OUTCOME_STORED && write(child_pipe, &n, sizeof n) != sizeof n)
        _exit(3);
    atomic_fetch_add(&child_acked, 1);
}

static int child_main(char **argv)
{
    struct err e = { "" };
    struct broker_config config = { .type = BROKER_LOCAL, .path = argv[2] };
    uint64_t from = strtoull(argv[3], NULL, 10);
    child_pipe = (int)strtol(argv[4], NULL, 10);
    struct broker *b = broker_open(&config, &e);
    if (!b) {
        fprintf(stderr, "child: %s\n", e.text);
        return 2;
    }
    char value[600] = "";
    for (uint64_t n = from;; n++) {
        while ((int)(n - from) - atomic_load(&child_acked) > 64)
            sched_yield();
        memcpy(value, &n, sizeof n);
        struct record r = { .topic = STR("t"), .value = { value, sizeof value } };
        struct change c = { STR("last"), { (char *)&n, sizeof n }, false };
        broker_publish(b, &(struct publication){ .records = &r,
                                                 .record_count = 1,
                                                 .state_of = "src",
                                                 .changes = &c,
                                                 .change_count = 1,
                                                 .done = child_done,
                                                 .tag = n });
    }
}

/* Starts the child at number `from`, kills it after about `ms` (or lets the crash point do it); returns one past the
 * last acknowledged number. */
static uint64_t run_child(uint64_t from, int64_t ms, const char *crash_at)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char number[24], fd[24];
        snprintf(number, sizeof number, "%llu", (unsigned long long)from);
        snprintf(fd, sizeof fd, "%d", fds[1]);
        close(fds[0]);
        if (crash_at)
            setenv("AQUEDUCT_CRASH_AT", crash_at, 1);
        execl("/proc/self/exe", "child", "--child", local_folder, number, fd, NULL);
        _exit(4);
    }
    close(fds[1]);
    uint64_t next = from, n;
    int64_t kill_at = INT64_MAX;
    while (read(fds[0], &n, sizeof n) == sizeof n) {
        assert_int_equal(n, next); /* acknowledged in order */
        next = n + 1;
        if (kill_at == INT64_MAX)
            kill_at = clock_mono_ms() + ms;
        if (!crash_at && clock_mono_ms() >= kill_at)
            kill(pid, SIGKILL);
    }
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    return next;
}

static bool note_number(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    (void)ahead, (void)e;
    assert_true(str_eq(key, STR("last")));
    assert_int_equal(value.n, sizeof(uint64_t));
    memcpy(ctx, value.at, sizeof(uint64_t));
    return true;
}

/* Opens the log as a restart would: all up to `acked` is there in order, without a hole; the state belongs to the
 * last record. Returns one past the last number. */
static uint64_t verify(uint64_t acked)
{
    struct err e = { "" };
    uint64_t next = 0, last = UINT64_MAX, n;
    local_open();
    struct consumer *c = local_reader("verify", "t");
    struct record *out[64];
    for (int got; (got = consumer_poll(c, out, 64, &e)) != 0;) {
        if (got < 0)
            fail_msg("%s", e.text);
        for (int i = 0; i < got; i++) {
            memcpy(&n, out[i]->value.at, sizeof n);
            assert_int_equal(n, next++);
            record_free(out[i]);
        }
    }
    consumer_close(c);
    assert_true(next >= acked);
    assert_true(broker_state(local_broker, "src", note_number, &last, &e));
    assert_int_equal(last + 1, next);
    local_close();
    return next;
}

TEST(kill_at_any_moment_loses_nothing)
{
    uint64_t next = 0;
    srandom(4711);
    for (int round = 0; round < 8; round++)
        next = verify(run_child(next, random() % 60, NULL));
    assert_true(next > 100);
}

TEST(kill_at_each_durable_step_loses_nothing)
{
#ifndef AQUEDUCT_HOOKS
    skip();
#endif
    static const char *const points[] = {
        "local-before-commit:1", "local-before-commit:20", "local-after-commit:1",
        "local-after-commit:20", "local-checkpoint:1",     "local-checkpoint:2",
    };
    uint64_t next = 0;
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++)
        next = verify(run_child(next, 0, points[i]));
    assert_true(next > 1000);
}

/* ---- the write-ahead log that a killed process leaves ---- */

enum { WAL_HEAD = 32, FRAME = 24 + 4096 };

/* Where the frames of this round end; behind them may stand some of an earlier one. */
static long long wal_end(void)
{
    unsigned char salt[8], frame[16];
    long long at = WAL_HEAD;
    int fd = open(local_path("aqueduct.db-wal"), O_RDONLY);
    if (fd < 0)
        return 0;
    assert_int_equal(pread(fd, salt, 8, 16), 8);
    while (pread(fd, frame, sizeof frame, at) == sizeof frame && memcmp(frame + 8, salt, 8) == 0)
        at += FRAME;
    close(fd);
    return at;
}

static uint64_t leave_wal(void)
{
    static const char *const files[] = { "aqueduct.db", "aqueduct.db-wal", "aqueduct.db-shm" };
    uint64_t next = 0;
    /* Too short on a busy machine: all over again. A second child would not know what the first had stored and not
     * yet told. */
    for (int64_t ms = 50; wal_end() < WAL_HEAD + 100 * FRAME; ms *= 2) {
        for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
            unlink(local_path(files[i]));
        next = run_child(0, ms, NULL);
    }
    return next;
}

TEST(a_lost_main_file_is_refused)
{
    leave_wal();
    assert_int_equal(unlink(local_path("aqueduct.db")), 0);
    assert_true(local_refused("is missing, but its write-ahead log"));
    assert_int_equal(local_size("aqueduct.db"), -1);
}

TEST(a_bad_place_in_the_write_ahead_log_is_refused)
{
    uint64_t acked = leave_wal();
    long long n = wal_end(), first = WAL_HEAD;
    long long places[] = { 3,     17,   28, first + 2, first + 9, first + 17, first + 24 + 4000, first + FRAME + 300,
                           n / 3, n / 2 };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        local_flip("aqueduct.db-wal", places[i]);
        assert_true(local_refused("is damaged"));
        local_flip("aqueduct.db-wal", places[i]);
    }
    verify(acked); /* none of the refusals changed anything */
}

TEST(a_torn_last_commit_is_no_damage)
{
    uint64_t acked = leave_wal();
    int fd = open(local_path("aqueduct.db-wal"), O_RDWR);
    char salt[8], frame[FRAME];
    assert_int_equal(pread(fd, salt, 8, 16), 8);
    memset(frame, 7, sizeof frame); /* what a power failure leaves: a frame of this round without its content */
    memcpy(frame + 8, salt, 8);
    assert_int_equal(pwrite(fd, frame, sizeof frame, wal_end()), sizeof frame);
    close(fd);
    verify(acked);
}

#define SHIM_TEST(f) cmocka_unit_test_setup_teardown(f, local_set_up, shim_out)

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "--child") == 0)
        return child_main(argv);
    const struct CMUnitTest tests[] = {
        LOCAL_TEST(the_largest_size_refuses_and_recovers),
        LOCAL_TEST(a_topic_that_has_no_room_says_what_is_full),
        cmocka_unit_test_setup_teardown(a_full_disk_refuses_and_recovers, local_set_up, unlimited),
        SHIM_TEST(after_a_failed_sync_nothing_is_taken),
        SHIM_TEST(no_single_io_error_loses_anything),
        SHIM_TEST(the_queue_is_bounded),
        LOCAL_TEST(a_file_deleted_under_us_is_noticed),
        LOCAL_TEST(kill_at_any_moment_loses_nothing),
        LOCAL_TEST(kill_at_each_durable_step_loses_nothing),
        LOCAL_TEST(a_lost_main_file_is_refused),
        LOCAL_TEST(a_bad_place_in_the_write_ahead_log_is_refused),
        LOCAL_TEST(a_torn_last_commit_is_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
