/* SPDX-License-Identifier: MIT */
/* Child processes of a benchmark. */
#include "child.h"
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/lib/mem.h"
#include "meter.h"

void *child_memory(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

bool child_start(struct child *shared, void (*run)(void *shared))
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run(shared);
        shared->cpu_s = meter_cpu_s(0);
        _exit(0);
    }
    shared->pid = pid;
    return pid > 0;
}

void child_stop(struct child *shared)
{
    atomic_store(&shared->stop, true);
    waitpid(shared->pid, NULL, 0);
}
