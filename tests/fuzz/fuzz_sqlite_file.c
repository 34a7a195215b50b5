/* SPDX-License-Identifier: MIT */
/* Any bytes as the file of the SQLite source, and as the -wal and -journal beside it: it is read to its end or refused
 * with a text, in bounded steps.
 *
 * Input: the database file; its tables are those of the corpus (items, turns, threads; see capture below). Then, if its
 * last 12 bytes are the lengths of both (little-endian) and "+wj\n", the -wal and the -journal; "+wm\n": the -wal's salts
 * and checksums are made right, as SQLite passes over a frame that has others. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "bridge/config/private.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/sqlite.h"

enum { READS = 20000, ROOM = 256, FOLLOWING = 3, TRAILER = 12, WAL_HEADER = 32, WAL_FRAME = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct source_ops sqlite_source;

static const char capture[] = "start: snapshot\n"
                              "path: %s\n"
                              "capture:\n"
                              "- {name: items, kind: append, table: items, types: {insert: item.created},\n"
                              "   columns: {data: json, flag: bool, at: time}, time: at, mask: [password]}\n"
                              "- {name: turns, kind: open_row, table: turns, done: answer IS NOT NULL,\n"
                              "   types: {done: turn.done, aborted: turn.aborted}, abort_after: 1h}\n"
                              "- {name: threads, kind: diff, table: threads, key: slug, watch: [title, state],\n"
                              "   keep: [title], types: {insert: thread.created, update: thread.changed,\n"
                              "   delete: thread.deleted}}\n"
                              "- {name: recent, kind: updated, table: items, cursor: at, watch: [data],\n"
                              "   types: {insert: item.made, update: item.changed}}\n"
                              "- {name: flags, kind: diff, table: items, watch: [flag],\n"
                              "   types: {insert: flag.set, update: flag.changed, delete: flag.gone}}\n";

static struct sqlite_source filled;
static char folder[2][64] = { "/dev/shm/aqueduct-fuzz-XXXXXX", "/tmp/aqueduct-fuzz-XXXXXX" }, path[80];
static int wake, which;

static void fill_options(void)
{
    static struct arena tree, values;
    static char yaml[sizeof capture + sizeof path];
    struct problems problems = { 0 };
    struct fill f = { .arena = &values, .out = &problems };
    snprintf(yaml, sizeof yaml, capture, path);
    struct node *n = tree_load(&tree, "fuzz", str_of(yaml), &problems);
    fill_mapping(&f, n, &(struct fill_target){ sqlite_source.options, &filled, NULL }, 1, NULL, NULL);
    if (problems.count)
        fprintf(stderr, "%s\n", problems.at[0].text);
    CHECK(problems.count == 0);
}

static void remove_file(void)
{
    static const char *const endings[] = { "-wal", "-shm", "-journal", "" };
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char name[sizeof path + 16];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
}

static void clean_up(void)
{
    remove_file();
    rmdir(folder[which]);
}

/* A folder of our own, in memory where there is such a thing, and the options as the configuration fills them. */
static void set_up(void)
{
    struct err e = { "" };
    log_setup(LOG_ERROR, LOG_LOGFMT);
    which = mkdtemp(folder[0]) ? 0 : 1;
    CHECK(which == 0 || mkdtemp(folder[1]));
    snprintf(path, sizeof path, "%s/app.db", folder[which]);
    fill_options();
    filled.base.ops = &sqlite_source;
    filled.base.id = "fuzz";
    if (!sqlite_source.check(&filled.base, &e))
        fprintf(stderr, "%s\n", e.text);
    CHECK(!e.text[0]);
    wake = eventfd(1, EFD_CLOEXEC); /* the source never waits */
    CHECK(wake >= 0);
    atexit(clean_up);
}

static void write_file(const char *ending, const uint8_t *data, size_t size)
{
    char name[sizeof path + 16];
    snprintf(name, sizeof name, "%s%s", path, ending);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0);
}

/* ---- the -wal, made right ---- */

static uint32_t wal_number(const uint8_t *at, bool big)
{
    return big ? (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]
               : (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

static void wal_put(uint8_t *at, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(number >> (24 - 8 * i));
}

static void wal_add(uint32_t sum[2], const uint8_t *at, size_t n, bool big)
{
    for (size_t i = 0; i + 8 <= n; i += 8) {
        sum[0] += wal_number(at + i, big) + sum[1];
        sum[1] += wal_number(at + i + 4, big) + sum[0];
    }
}

/* A header of 32 bytes, then frames: 24 bytes and a page each. */
static void wal_mend(uint8_t *wal, size_t size)
{
    uint32_t sum[2] = { 0 };
    if (size < WAL_HEADER)
        return;
    bool big = wal[3] & 1;
    size_t page = wal_number(wal + 8, true);
    wal_add(sum, wal, 24, big);
    for (size_t at = 0; at == 0 || (page && page <= size && at + WAL_FRAME + page <= size);) {
        uint8_t *to = wal + at + (at ? 16 : 24);
        if (at) {
            memcpy(wal + at + 8, wal + 16, 8);
            wal_add(sum, wal + at, 8, big);
            wal_add(sum, wal + at + WAL_FRAME, page, big);
        }
        wal_put(to, sum[0]);
        wal_put(to + 4, sum[1]);
        at += at ? WAL_FRAME + page : WAL_HEADER;
    }
}

/* The file, and what stands beside it. */
static void write_files(const uint8_t *data, size_t size)
{
    const uint8_t *end = data + size - TRAILER;
    size_t wal = 0, journal = 0;
    bool parts = size >= TRAILER && end[8] == '+' && end[9] == 'w' && (end[10] == 'j' || end[10] == 'm')
                 && end[11] == '\n';
    if (parts) {
        wal = wal_number(end, false);
        journal = wal_number(end + 4, false);
        size -= TRAILER;
        wal = wal > size ? size : wal;
        journal = journal > size - wal ? size - wal : journal;
        size -= wal + journal;
    }
    remove_file();
    write_file("", data, size);
    if (wal) {
        uint8_t *copy = mem_alloc(wal);
        memcpy(copy, data + size, wal);
        if (end[10] == 'm')
            wal_mend(copy, wal);
        write_file("-wal", copy, wal);
        free(copy);
    }
    if (journal)
        write_file("-journal", data + size + wal, journal);
}

/* ---- the source ---- */

static void take(struct source *s, const struct emission *m)
{
    for (size_t i = 0; i < m->change_count; i++)
        CHECK(m->changes[i].key.n >= 1 && m->changes[i].key.n <= 512 && m->changes[i].value.n <= 64 << 10);
    CHECK(!m->event || (m->event->id.n && m->event->type.n && str_is_utf8(m->event->data)));
    event_unref(m->event);
    sqlite_source.settle(s, m->tag, OUTCOME_STORED, "");
}

/* Reads until nothing more comes or the source fails. */
static void read_all(struct source *s)
{
    static struct emission out[ROOM];
    int reads = 0, quiet = 0;
    while (quiet < FOLLOWING) {
        struct err e = { "" };
        int n = sqlite_source.read(s, wake, out, ROOM, &e);
        CHECK(n >= 0 || e.text[0]);
        CHECK(++reads < READS);
        for (int i = 0; i < n; i++)
            take(s, &out[i]);
        quiet = n > 0 || ((struct sqlite_source *)s)->pass.running ? 0 : quiet + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = { "" };
    if (!filled.base.ops)
        set_up();
    if (size > 64 << 10)
        return 0;
    write_files(data, size);
    struct sqlite_source s = filled;
    CHECK(sqlite_source.open(&s.base, &e));
    read_all(&s.base);
    s.seen_version = -1; /* once more, by what is known of the pages now */
    read_all(&s.base);
    sqlite_source.close(&s.base);
    return 0;
}
