/* SPDX-License-Identifier: MIT */
/* For `aqueduct doctor`: the database as it is just now, and what a look at it costs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "bridge/lib/intact.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/review.h"

enum {
    PROBE_TEXT = 512,
    PROBE_SLOW_MS = 500,   /* for one look by all rules */
    PROBE_WAL = 256 << 20, /* bytes that no checkpoint got through */
};

struct sqlite_probe {
    finding_fn *each;
    void *ctx;
    size_t missing; /* rules that do not fit */
};

static void probe_count(void *ctx, const char *place, const char *why)
{
    struct sqlite_probe *p = ctx;
    (void)place, (void)why; /* the check says it */
    p->missing++;
}

static void probe_ignore(void *ctx, const char *rule, bool newest, const struct event *ev)
{
    (void)ctx, (void)rule, (void)newest, (void)ev;
}

static int64_t probe_size(const char *path, const char *suffix)
{
    struct stat st;
    char *name = beside_path(path, suffix);
    int64_t size = stat(name, &st) == 0 ? st.st_size : -1;
    free(name);
    return size;
}

/* The rules prepared, and their newest rows read, as `aqueduct check --database` does. */
static void probe_look(const struct sqlite_source *s, struct sqlite_probe *p)
{
    char how[PROBE_TEXT];
    int64_t before = clock_mono_us();
    s->base.ops->trial(&s->base, &(struct trial){ .path = s->path,
                                                  .wrong = probe_count,
                                                  .doubtful = probe_count,
                                                  .faults = p,
                                                  .sample = probe_ignore });
    int64_t ms = (clock_mono_us() - before) / 1000;
    snprintf(how, sizeof how, "all rules prepared, and their newest rows read, in %" PRId64 " ms", ms);
    p->each(p->ctx, ms > PROBE_SLOW_MS ? FINDING_SLOW : FINDING_OK, "look", how,
            ms > PROBE_SLOW_MS
                ? "see what aqueduct check says of indexes and large diffs; a longer `poll` looks less often"
                : NULL);
}

/* Its pages, for half of the time: the rules are looked at as well. */
static void probe_pages(const struct sqlite_source *copy, struct duration limit, const struct sqlite_probe *p)
{
    struct err why;
    char how[PROBE_TEXT + sizeof why.text];
    int64_t before = clock_mono_ms();
    enum intact found = intact_look(copy->db, (struct duration){ limit.ms / 2 }, &why);
    if (found == INTACT_DAMAGED)
        snprintf(how, sizeof how, "%s is damaged (SQLite: %s)", copy->path, why.text);
    else
        snprintf(how, sizeof how, "%s, %" PRId64 " ms", intact_says(found), clock_mono_ms() - before);
    p->each(p->ctx, found == INTACT_DAMAGED ? FINDING_BROKEN : FINDING_OK, "pages", how,
            found == INTACT_DAMAGED ? "check it with the application, or restore a backup" : NULL);
}

void probe_source(const struct source *base, struct duration limit, finding_fn *each, void *ctx)
{
    const struct sqlite_source *s = (const struct sqlite_source *)base;
    struct sqlite_probe p = { .each = each, .ctx = ctx };
    struct sqlite_source *copy = mem_alloc(sizeof *copy);
    struct err e = { "" };
    bool refused;
    char how[PROBE_TEXT];
    *copy = (struct sqlite_source){ .base = { .ops = base->ops, .id = base->id }, .path = s->path };
    int64_t wal = probe_size(s->path, "-wal"), before = clock_mono_us();
    enum db state = review_open(copy, &refused, &e);
    int64_t ms = (clock_mono_us() - before) / 1000;
    if (state == DB_BUSY) {
        each(ctx, FINDING_SLOW, "database", "its application holds a lock just now", "again, when it is at rest");
    } else if (state == DB_GONE) {
        each(ctx, FINDING_BROKEN, "database", e.text,
             "run as the user of the application, and name the database file in `path`");
    } else {
        bool wide = wal > PROBE_WAL;
        snprintf(how, sizeof how, "%" PRId64 " KiB, %s mode, %" PRId64 " KiB of -wal, opened in %" PRId64 " ms",
                 probe_size(s->path, "") / 1024, wal >= 0 ? "WAL" : "rollback", wal > 0 ? wal / 1024 : 0, ms);
        each(ctx, wide ? FINDING_RISKY : FINDING_OK, "database", how,
             wide ? "some reader of it stays in a transaction, so that the -wal grows: which one?" : NULL);
        probe_pages(copy, limit, &p);
        probe_look(s, &p);
        database_close(copy);
    }
    free(copy);
}
