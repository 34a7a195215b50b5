/* SPDX-License-Identifier: MIT */
/* Any bytes as the file of the SQLite source: it is read to its end or refused with a text, in bounded steps.
 *
 * Input: the database file; its tables are those of the corpus (items, turns, threads; see capture below). */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "bridge/config/private.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/sqlite.h"

enum { READS = 20000, ROOM = 256, FOLLOWING = 3 };

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
                              "   delete: thread.deleted}}\n";

static struct sqlite_source filled;
static char folder[2][64] = { "/dev/shm/aqueduct-fuzz-XXXXXX", "/tmp/aqueduct-fuzz-XXXXXX" }, path[80];
static int wake, which;

static void fill_options(void)
{
    static struct arena tree, values;
    static char yaml[sizeof capture + sizeof path];
    struct problems problems = { 0 };
    struct fill f = { &values, &problems };
    snprintf(yaml, sizeof yaml, capture, path);
    struct node *n = tree_load(&tree, "fuzz", str_of(yaml), &problems);
    fill_mapping(&f, n, &(struct fill_target){ sqlite_source.options, &filled }, 1, NULL, NULL);
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

static void write_file(const uint8_t *data, size_t size)
{
    remove_file();
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0);
}

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
    write_file(data, size);
    struct sqlite_source s = filled;
    CHECK(sqlite_source.open(&s.base, &e));
    read_all(&s.base);
    sqlite_source.close(&s.base);
    return 0;
}
