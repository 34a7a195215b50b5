/* SPDX-License-Identifier: MIT */
/* Closes the process to other users of the machine; names on the machine. */
#include "bridge/lib/process.h"
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PROCESS_SANITIZED 1 /* LeakSanitizer attaches to its own process like a debugger */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define PROCESS_SANITIZED 1
#endif
#endif

/* Of the first three what is closed would be the next file or connection that is opened, and get what is printed: it is opened so
 * that who prints is refused, and says so. */
static void process_hold_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return; /* a machine without it */
}

void process_protect(void)
{
    process_hold_standard();
    umask(0077);
#ifndef PROCESS_SANITIZED
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

int process_claim(const char *name)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX }; /* sun_path[0] is NUL: a name in no file system */
    int n = snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "%s", name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    if ((size_t)n < sizeof at.sun_path - 1 && bind(fd, (struct sockaddr *)&at, length) == 0)
        return fd;
    close(fd);
    return -1;
}

bool process_host_lasts(const char *name, bool pods)
{
    size_t n = strlen(name);
    const char *dash = strrchr(name, '-');
    if (n == 0 || strcmp(name, "localhost") == 0)
        return false;
    if (pods) /* only a StatefulSet counts its pods */
        return dash && dash[1] && strspn(dash + 1, "0123456789") == strlen(dash + 1);
    return !(n == 12 && strspn(name, "0123456789abcdef") == n); /* a container's id */
}

bool process_host(char *out, size_t room)
{
    if (gethostname(out, room) != 0)
        return false;
    out[room - 1] = '\0';
    return process_host_lasts(out, getenv("KUBERNETES_SERVICE_HOST") != NULL);
}
