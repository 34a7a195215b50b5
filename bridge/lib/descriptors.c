/* SPDX-License-Identifier: MIT */
/* Counts and divides the process's file descriptors. */
#include "bridge/lib/descriptors.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/metrics.h"

METRIC_GAUGE(aqueduct_descriptors_limit, "File descriptors that this process may have open.", NULL);
METRIC_GAUGE(aqueduct_descriptors_open, "File descriptors that this process has open.", NULL);
METRIC_COUNTER(aqueduct_descriptors_out_total, "Times that no file descriptor was to be had.", NULL);

enum {
    DESCRIPTORS_BASE = 64,    /* of the reserve: files, clocks, wake-ups, libraries */
    DESCRIPTORS_WARN = 60000, /* ms between warnings */
    DESCRIPTORS_HOLD = 5000,  /* ms without an error until they count as there again */
};

static atomic_int_least64_t reserved = DESCRIPTORS_BASE, listeners;
static atomic_int_least64_t out_ms = INT64_MIN, warned_ms = INT64_MIN; /* monotonic: the last error, the last warning */
static atomic_int out_code;

void descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    rlim_t before = limit.rlim_cur, most = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
    if (limit.rlim_cur < most) {
        limit.rlim_cur = most;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            LOG(WARN, "the limit of file descriptors cannot be raised", LOG_C("why", strerror(errno)),
                LOG_INT("limit", before), LOG_INT("hard", limit.rlim_max));
    }
    metric_set(metric_get(&aqueduct_descriptors_limit, NULL), descriptors_limit());
    LOG(DEBUG, "file descriptors", LOG_INT("limit", descriptors_limit()), LOG_INT("before", before));
}

int64_t descriptors_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > DESCRIPTORS_MAX)
        return DESCRIPTORS_MAX;
    return (int64_t)limit.rlim_cur;
}

void descriptors_reserve(int64_t n)
{
    atomic_fetch_add(&reserved, n);
}

void descriptors_listen(int n)
{
    atomic_fetch_add(&listeners, n);
}

int64_t descriptors_share(void)
{
    int64_t limit = descriptors_limit(), kept = atomic_load(&reserved), among = atomic_load(&listeners);
    int64_t left = limit - kept,
            least = limit / 4; /* a reserve too large for the limit: halves would starve listeners */
    int64_t share = (left > least ? left : least) / (among > 0 ? among : 1);
    return share > 0 ? share : 1;
}

/* Of all who see it in one minute, one warns. */
static bool descriptors_may_warn(int64_t now)
{
    int_least64_t last = atomic_load(&warned_ms);
    return (last == INT64_MIN || now - last >= DESCRIPTORS_WARN)
           && atomic_compare_exchange_strong(&warned_ms, &last, now);
}

static void descriptors_say(int code, struct err *why)
{
    if (code == ENFILE)
        err_set(why, "the system is out of file descriptors: raise fs.file-max");
    else
        err_set(why,
                "out of file descriptors, all %lld are open: raise the limit (ulimit -Hn, or LimitNOFILE= of a unit)",
                (long long)descriptors_limit());
}

bool descriptors_out(int code)
{
    if (code != EMFILE && code != ENFILE)
        return false;
    int64_t now = clock_mono_ms();
    atomic_store(&out_code, code);
    atomic_store(&out_ms, now);
    metric_add(metric_get(&aqueduct_descriptors_out_total, NULL), 1);
    if (descriptors_may_warn(now)) {
        struct err why;
        descriptors_say(code, &why);
        LOG(WARN, "no file descriptor to be had", LOG_C("why", why.text), LOG_INT("limit", descriptors_limit()));
    }
    return true;
}

bool descriptors_ready(struct err *why)
{
    int probe = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    int code = probe < 0 ? errno : 0;
    if (probe >= 0)
        close(probe);
    if (descriptors_out(code)) {
        descriptors_say(code, why);
        return false;
    }
    int_least64_t last = atomic_load(&out_ms);
    if (last == INT64_MIN || clock_mono_ms() - last >= DESCRIPTORS_HOLD)
        return true;
    descriptors_say(atomic_load(&out_code), why);
    return false;
}

/* -1: nobody can say. */
static int64_t descriptors_open_now(void)
{
    DIR *all = opendir("/proc/self/fd");
    if (!all)
        return -1;
    int64_t n = -3; /* ".", ".." and the list itself */
    while (readdir(all))
        n++;
    closedir(all);
    return n;
}

void descriptors_measure(void)
{
    int64_t n = descriptors_open_now();
    metric_set(metric_get(&aqueduct_descriptors_limit, NULL), descriptors_limit());
    if (n >= 0)
        metric_set(metric_get(&aqueduct_descriptors_open, NULL), n);
}
