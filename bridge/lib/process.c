/* SPDX-License-Identifier: MIT */
/* Closes the process to other users of the machine. */
#include "bridge/lib/process.h"
#include <sys/prctl.h>
#include <sys/stat.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PROCESS_SANITIZED 1 /* LeakSanitizer attaches to its own process like a debugger */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define PROCESS_SANITIZED 1
#endif
#endif

void process_protect(void)
{
    umask(0077);
#ifndef PROCESS_SANITIZED
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}
