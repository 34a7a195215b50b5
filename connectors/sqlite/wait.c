/* SPDX-License-Identifier: MIT */
/* When to look at the file: notices of its folder, polling, waiting for a lock, and rests for the application. */
#include "bridge/lib/mem.h"
#include "connectors/sqlite/wait.h"
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    WAIT_SECOND_MS = 2000, /* look once more so long after letting go */
    WAIT_LOCK_MS = 32,     /* longest wait before trying a locked file again, when no commit is noticed */
    WAIT_SHARE = 20,       /* in the long run one part in so many of the time is ours */
    WAIT_BURST_US = 10000, /* held at once without a rest */
    WAIT_REST_MS = 1000,   /* longest rest */
    WAIT_STREAK = 4,       /* so many passes close behind each other: the application commits without a pause */
    WAIT_STREAK_MS = 4,    /* then a rest of so long */
    WAIT_FOLLOWED =
        1024, /* pages; a smaller database is compared sooner than its journals are followed through a rest */
    WAIT_HEARD_FACTOR = 4, /* let go, it is looked at so many times less often where notices come */
};

void wait_close(struct sqlite_source *s)
{
    if (s->wait.inotify >= 0)
        close(s->wait.inotify);
    s->wait.inotify = -1;
    free(s->wait.place);
    free(s->wait.journal);
}

/* The path may lead elsewhere now: no notices of the folder of before. */
static void wait_find(struct sqlite_source *s)
{
    char *place = beside_path(s->path, "");
    if (s->wait.place && strcmp(place, s->wait.place) == 0) {
        free(place);
        return;
    }
    wait_close(s);
    journals_lose(&s->pages.journals);
    const char *slash = strrchr(place, '/');
    s->wait.place = place;
    s->wait.name = slash ? slash + 1 : place;
    s->wait.journal = str_join(place, "-journal", "");
}

void wait_open(struct sqlite_source *s)
{
    s->wait.inotify = -1;
    wait_find(s);
}

void wait_watch(struct sqlite_source *s)
{
    wait_find(s);
    char *folder = str_dup(str_of(s->wait.place)), *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    if (s->wait.inotify < 0)
        s->wait.inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    s->pages.journals.watched = /* none (too many watches, no such folder): `poll` does it alone */
        s->wait.inotify >= 0
        && inotify_add_watch(s->wait.inotify, slash ? folder : ".",
                             IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM | IN_ATTRIB)
               >= 0;
    free(folder);
}

/* What a notice says of rollback journals. */
static void wait_tell_journals(struct sqlite_source *s, const struct inotify_event *ev)
{
    struct journals *j = &s->pages.journals;
    size_t n = strlen(s->wait.name);
    const char *ending = ev->len ? ev->name + n : "";
    bool journal = strcmp(ending, "-journal") == 0, file = ev->len && !*ending;
    if (journal && ev->mask & IN_CREATE)
        journals_made(j, s->wait.journal);
    else if (journal && ev->mask & IN_DELETE)
        journals_gone(j);
    else if (file && ev->mask & IN_MODIFY)
        journals_written(j);
    else if (file || (journal && !(ev->mask & (IN_MODIFY | IN_ATTRIB))) || ev->mask & (IN_Q_OVERFLOW | IN_IGNORED))
        journals_lose(j);
}

/* Empties the folder's notices; did any speak of our file, its -wal or its -journal? (A journal that goes away is a
 * commit.) */
static bool wait_take_notices(struct sqlite_source *s)
{
    _Alignas(struct inotify_event) char space[8192];
    ssize_t n;
    bool ours = false;
    s->wait.commit = false;
    while ((n = read(s->wait.inotify, space, sizeof space)) > 0)
        for (char *at = space; at < space + n;) {
            const struct inotify_event *ev = (const struct inotify_event *)(void *)at;
            bool mine = (ev->mask & IN_Q_OVERFLOW)
                        || (ev->len && strncmp(ev->name, s->wait.name, strlen(s->wait.name)) == 0);
            ours = ours || mine;
            if (mine || ev->mask & IN_IGNORED)
                wait_tell_journals(s, ev);
            s->wait.commit = s->wait.commit || (mine && ev->mask & (IN_DELETE | IN_Q_OVERFLOW));
            at += sizeof *ev + ev->len;
        }
    return ours;
}

enum wake wait_for(struct sqlite_source *s, int wake_fd, int64_t ms, bool notices)
{
    struct pollfd fds[2] = { { .fd = wake_fd, .events = POLLIN }, { .fd = s->wait.inotify, .events = POLLIN } };
    int n = poll(fds, notices && s->wait.inotify >= 0 ? 2 : 1, ms < 0 ? 0 : ms > INT_MAX ? INT_MAX : (int)ms);
    if (n > 0 && fds[0].revents)
        return WAKE_CORE;
    return n <= 0 ? WAKE_TIME : wait_take_notices(s) ? WAKE_NOTICE : WAKE_NOTHING;
}

void wait_note(struct sqlite_source *s)
{
    if (s->pages.journals.watched && wait_take_notices(s))
        s->wait.noted = true;
}

void wait_locked(struct sqlite_source *s)
{
    s->wait.lock_ms = s->wait.lock_ms ? s->wait.lock_ms * 2 : 1;
    if (s->wait.lock_ms > WAIT_LOCK_MS)
        s->wait.lock_ms = WAIT_LOCK_MS;
}

bool wait_is_over_for_lock(const struct sqlite_source *s)
{
    return s->wait.lock_ms >= WAIT_LOCK_MS;
}

enum wake wait_for_lock(struct sqlite_source *s, int wake_fd)
{
    int64_t end = clock_mono_ms() + s->wait.lock_ms;
    for (;;) {
        enum wake wake = wait_for(s, wake_fd, end - clock_mono_ms(), true);
        if (wake == WAKE_CORE || clock_mono_ms() >= end || (wake == WAKE_NOTICE && s->wait.commit))
            return wake == WAKE_NOTHING ? WAKE_TIME : wake;
    }
}

/* The application's turn. Notices wait in the queue, where equal ones become one, and wake nobody; but what journals would
 * tell of many pages is not missed, if none was. */
static bool wait_out_rest(struct sqlite_source *s, int wake_fd)
{
    const struct journals *j = &s->pages.journals;
    for (int64_t now; (now = clock_mono_ms()) < s->wait.rest_until_ms;) {
        bool notices = j->known && !j->lost && s->pages.count > WAIT_FOLLOWED;
        enum wake wake = wait_for(s, wake_fd, s->wait.rest_until_ms - now, notices);
        if (wake == WAKE_CORE || wake == WAKE_TIME)
            return wake == WAKE_TIME;
        s->wait.noted = s->wait.noted || wake == WAKE_NOTICE;
    }
    return true;
}

enum wake wait_for_reason(struct sqlite_source *s, int wake_fd, int64_t due_ms)
{
    if (!wait_out_rest(s, wake_fd))
        return WAKE_CORE;
    if (s->wait.lock_ms)
        return wait_for_lock(s, wake_fd);
    if (s->seen_version < 0 || s->wait.noted) {
        s->wait.noted = false;
        return WAKE_NOTICE;
    }
    int64_t ms = s->wait.poll_at_ms - clock_mono_ms();
    if (due_ms != INT64_MAX && due_ms - clock_wall_ms() < ms)
        ms = due_ms - clock_wall_ms();
    enum wake wake = wait_for(s, wake_fd, ms, true);
    if (wake == WAKE_CORE || wake == WAKE_NOTICE)
        return wake;
    return clock_mono_ms() < s->wait.poll_at_ms && clock_wall_ms() < due_ms ? WAKE_NOTHING : WAKE_TIME;
}

/* In WAL mode the notice comes before the commit: the frames are written, then synced, and only then visible, which
 * happens in shared memory and tells nobody. So after a notice, and after a pass that may have swallowed one, soon,
 * then less and less often. With a rollback journal it comes behind the commit: the next look is to let go. */
void wait_poll_next(struct sqlite_source *s, bool soon)
{
    int64_t first = s->idle.mark.of[MARK_WAL].ino ? 1 : WAIT_QUIET_MS, ms = soon ? first : s->wait.poll_after_ms * 2;
    s->wait.poll_after_ms = ms > 0 && ms < s->poll.ms ? ms : s->poll.ms;
    s->wait.poll_at_ms = clock_mono_ms() + s->wait.poll_after_ms;
}

static int64_t wait_ns(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void wait_mark(const struct sqlite_source *s, struct file_mark *out)
{
    static const char *const endings[MARKS] = { "", "-wal", "-journal" };
    *out = (struct file_mark){ 0 };
    for (size_t i = 0; i < MARKS; i++) {
        char *path = i ? str_join(s->wait.place, endings[i], "") : str_dup(str_of(s->path));
        struct stat st;
        if (stat(path, &st) == 0) {
            out->of[i].ino = st.st_ino;
            out->of[i].size = st.st_size;
            out->of[i].modified_ns = wait_ns(st.st_mtim);
        }
        free(path);
    }
}

bool wait_is_marked(const struct sqlite_source *s, const struct file_mark *now)
{
    return memcmp(now, &s->idle.mark, sizeof *now) == 0;
}

/* A commit to a WAL can be seen only some time after its file was last written, at worst after a sync that began before
 * letting go: so there is one more look later. */
enum wake wait_let_go(struct sqlite_source *s, int wake_fd)
{
    struct idle *idle = &s->idle;
    int64_t now = clock_mono_ms(), ms = s->poll.ms * (s->wait.heard ? WAIT_HEARD_FACTOR : 1);
    if (idle->again_ms && idle->again_ms - now < ms)
        ms = idle->again_ms - now;
    if (idle->due_ms != INT64_MAX && idle->due_ms - clock_wall_ms() < ms)
        ms = idle->due_ms - clock_wall_ms();
    enum wake wake = wait_for(s, wake_fd, ms, true);
    if (wake == WAKE_CORE)
        return WAKE_CORE;
    struct file_mark mark;
    wait_mark(s, &mark);
    metric_set(s->last_look, clock_wall_ms() / 1000);
    if (!wait_is_marked(s, &mark)) {
        idle->second = false;
        s->wait.heard = wake == WAKE_NOTICE;
        return WAKE_NOTICE;
    }
    bool again = idle->again_ms && clock_mono_ms() >= idle->again_ms;
    idle->second = idle->second || again;
    return again || clock_wall_ms() >= idle->due_ms ? WAKE_TIME : WAKE_NOTHING;
}

void wait_before_second_look(struct sqlite_source *s)
{
    bool wal = s->idle.mark.of[MARK_WAL].size > 0;
    s->idle.again_ms = wal && !s->idle.second ? clock_mono_ms() + WAIT_SECOND_MS : 0;
}

/* Of what was held, each moment that passes pays a part; there is a rest until all but a burst is paid. More than the longest
 * rest pays is not owed: a first look at a large table takes its time once. */
void wait_rest(struct sqlite_source *s, int64_t busy_us)
{
    struct wait *w = &s->wait;
    const int64_t most = WAIT_BURST_US + WAIT_REST_MS * 1000 / WAIT_SHARE;
    int64_t now = clock_mono_us(), paid = (now - w->rested_us) / WAIT_SHARE;
    bool close = now - w->rested_us < (WAIT_STREAK_MS + 1) * 1000;
    int64_t owed = (w->owed_us > paid ? w->owed_us - paid : 0) + busy_us;
    w->owed_us = owed < most ? owed : most;
    w->rested_us = now;
    w->streak = close ? w->streak + (w->streak < WAIT_STREAK) : 0;
    int64_t ms = (w->owed_us - WAIT_BURST_US) * WAIT_SHARE / 1000;
    int64_t least = w->streak == WAIT_STREAK ? WAIT_STREAK_MS : 0;
    w->rest_until_ms = now / 1000 + (ms < least ? least : ms);
}
