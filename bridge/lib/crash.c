/* SPDX-License-Identifier: MIT */
/* Ends the process at a named point, for the ledger test. */
#include "bridge/lib/crash.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "bridge/lib/str.h"

#ifdef AQUEDUCT_HOOKS
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct str wanted;
static atomic_uint_least64_t left;

static void crash_read_environment(void)
{
    struct str rest = str_of(getenv("AQUEDUCT_CRASH_AT"));
    uint64_t count = 1;
    str_cut(&rest, ':', &wanted);
    if (rest.at && !str_to_u64(rest, &count))
        count = 1;
    left = count;
}

void crash_point(const char *name)
{
    pthread_once(&once, crash_read_environment);
    if (!wanted.at || !str_eq(wanted, str_of(name)))
        return;
    if (atomic_fetch_sub(&left, 1) == 1)
        raise(SIGKILL);
}
#endif
