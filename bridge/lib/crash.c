/* SPDX-License-Identifier: MIT */
/* Ends the process at a named point, for the ledger test. */
#include "bridge/lib/crash.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#ifdef AQUEDUCT_HOOKS
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *wanted;
static size_t wanted_bytes;
static atomic_ullong left;

static void crash_read_environment(void)
{
    wanted = getenv("AQUEDUCT_CRASH_AT");
    const char *count = wanted ? strchr(wanted, ':') : NULL;
    wanted_bytes = count ? (size_t)(count - wanted) : wanted ? strlen(wanted) : 0;
    left = count ? strtoull(count + 1, NULL, 10) : 1;
}

/* It allocates nothing: allocations are such points. */
void crash_point(const char *name)
{
    pthread_once(&once, crash_read_environment);
    if (!wanted || strncmp(wanted, name, wanted_bytes) != 0 || name[wanted_bytes])
        return;
    if (atomic_fetch_sub(&left, 1) == 1)
        raise(SIGKILL);
}
#endif
