/* SPDX-License-Identifier: MIT */
/* One datagram a message. */
#include "bridge/lib/notify.h"
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"

static struct {
    struct sockaddr_un to;
    socklen_t size;               /* of `to`; 0: nobody is told */
    int64_t watch_ms, watched_ms; /* WATCHDOG=1 is due so long after the last one; 0: never */
    bool failed;                  /* and it was logged */
} notify;

static int64_t notify_watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (!usec || (pid && strtoll(pid, NULL, 10) != getpid()))
        return 0;
    return strtoll(usec, NULL, 10) / 2000;
}

void notify_open(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t n = path ? strlen(path) : 0;
    notify.size = 0;
    notify.watch_ms = 0;
    if (n > 1 && (*path == '/' || *path == '@') && n < sizeof notify.to.sun_path) {
        notify.to = (struct sockaddr_un){ .sun_family = AF_UNIX };
        memcpy(notify.to.sun_path, path, n);
        if (*path == '@')
            notify.to.sun_path[0] = '\0'; /* an abstract one */
        notify.size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
        notify.watch_ms = notify_watchdog_ms();
    } else if (n)
        LOG(WARN, "the service manager is not told: NOTIFY_SOCKET is no socket that this program can reach",
            LOG_C("socket", path));
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_say(const char *lines)
{
    if (!notify.size)
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ssize_t sent = sendto(fd, lines, strlen(lines), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&notify.to,
                          notify.size);
    if (sent < 0 && !notify.failed) {
        notify.failed = true;
        LOG(WARN, "the service manager cannot be told", LOG_C("reason", strerror(errno)));
    }
    if (fd >= 0)
        close(fd);
}

void notify_reloading(void)
{
    char lines[64];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(lines, sizeof lines, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
             (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    notify_say(lines);
}

void notify_turn(void)
{
    if (!notify.watch_ms || clock_mono_ms() - notify.watched_ms < notify.watch_ms)
        return;
    notify.watched_ms = clock_mono_ms();
    notify_say("WATCHDOG=1");
}
