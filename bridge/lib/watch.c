/* SPDX-License-Identifier: MIT */
/* Looks whether files have changed. */
#include "bridge/lib/watch.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/metrics.h"

METRIC_COUNTER(
    aqueduct_reloads_total,
    "Files read again, by what they hold, for whom, and whether they were taken or refused (those before stay).",
    "what", "of", "result");

static atomic_uint watch_asked;

void watch_ask(void)
{
    atomic_fetch_add(&watch_asked, 1);
}

void watch_add(struct watch *w, const char *path)
{
    if (!path || !*path)
        return;
    w->paths = mem_grow(w->paths, w->count + 1, sizeof *w->paths);
    w->paths[w->count++] = str_dup(str_of(path));
}

/* What all of them are like. */
static uint64_t watch_stamp(const struct watch *w)
{
    uint64_t stamp = 0;
    for (size_t i = 0; i < w->count; i++) {
        struct stat st = { 0 };
        int64_t facts[8] = { (int64_t)stamp, stat(w->paths[i], &st) };
        const int64_t of_file[] = { (int64_t)st.st_dev, (int64_t)st.st_ino,
                                    st.st_size,         st.st_mtim.tv_sec,
                                    st.st_mtim.tv_nsec, st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec };
        memcpy(facts + 2, of_file, sizeof of_file);
        stamp = str_hash((struct str){ (const char *)facts, sizeof facts });
    }
    return stamp;
}

void watch_begin(struct watch *w)
{
    w->asked = atomic_load(&watch_asked);
    w->look_ms = clock_mono_ms() + WATCH_LOOK_MS;
    w->taken = w->seen = watch_stamp(w);
}

bool watch_has_news(struct watch *w)
{
    if (w->count == 0)
        return false;
    bool asked = w->asked != atomic_load(&watch_asked);
    if (!asked && clock_mono_ms() < w->look_ms)
        return false;
    uint64_t before = w->seen, taken = w->taken;
    watch_begin(w);
    if (asked || (w->seen == before && w->seen != taken))
        return true;
    w->taken = taken;
    return false;
}

void watch_tell(const char *what, const char *of, const struct err *why)
{
    if (why)
        LOG(ERROR, "files that changed are not good: what was read before stays in use", LOG_C("what", what),
            LOG_C("of", of), LOG_C("reason", why->text));
    else
        LOG(INFO, "files were read again", LOG_C("what", what), LOG_C("of", of));
    metric_add(metric_get(&aqueduct_reloads_total, LABELS(what, of, why ? "refused" : "taken")), 1);
}

void watch_end(struct watch *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->paths[i]);
    free(w->paths);
    *w = (struct watch){ 0 };
}
