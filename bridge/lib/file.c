/* SPDX-License-Identifier: MIT */
/* Reads a file piece by piece, so that one without a size (a pipe, /proc) can be read too; owners and modes of files. */
#include "bridge/lib/file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "bridge/lib/log.h"

enum { FILE_PIECE = 16384 };

bool file_read_fd(int fd, size_t most, struct buf *out)
{
    for (size_t left = most + 1; left > 0;) {
        size_t piece = left < FILE_PIECE ? left : FILE_PIECE;
        char *room = buf_room(out, piece);
        if (!room)
            break;
        ssize_t n = read(fd, room, piece);
        if (n == 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            out->n += (size_t)n;
            left -= (size_t)n;
        }
    }
    errno = EFBIG;
    return false;
}

bool file_read(const char *path, size_t most, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool good = file_read_fd(fd, most, out);
    int why = errno;
    close(fd);
    errno = why;
    return good;
}

/* ---- files of our own ---- */

bool file_is_owner_trusted(uid_t owner)
{
    return geteuid() == 0 || owner == geteuid() || owner == 0;
}

enum { FILE_PROC = 32 };

static void file_proc_path(int fd, char out[FILE_PROC])
{
    snprintf(out, FILE_PROC, "/proc/self/fd/%d", fd);
}

/* Takes the rights of all users away; `fd` may be one of O_PATH. */
static void file_restrict(int fd, const char *path, mode_t mode)
{
    char name[FILE_PROC];
    file_proc_path(fd, name);
    if ((mode & S_IRWXO) == 0 || fchmod(fd, 0600) == 0 || (errno == EBADF && chmod(name, 0600) == 0))
        return;
    LOG(WARN, "other users of this machine have rights to a file, and they cannot be taken away", LOG_C("file", path),
        LOG_C("why", strerror(errno)));
}

/* Is what was opened fit to be ours? Makes it ours alone. */
static bool file_own(int fd, const char *path, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_set(e, "%s: %s", path, strerror(errno));
    if (S_ISLNK(st.st_mode))
        return err_set(e, "%s: is a link; name the file itself", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, "%s: is not a regular file", path);
    if (!file_is_owner_trusted(st.st_uid))
        return err_set(e, "%s: belongs to another user (uid %u): chown it to the user that runs aqueduct", path,
                       (unsigned)st.st_uid);
    file_restrict(fd, path, st.st_mode);
    return true;
}

static bool file_cannot_open(const char *path, struct err *e)
{
    if (errno == ELOOP)
        return err_set(e, "%s: is a link; name the file itself", path);
    return err_set(e, "%s: cannot be opened: %s; its folder must exist and be writable", path, strerror(errno));
}

bool file_take_over(const char *path, struct err *e)
{
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || file_cannot_open(path, e);
    bool ok = file_own(fd, path, e);
    close(fd);
    return ok;
}

/* Makes it; -1 with EEXIST when it is there. The mode is set again because the umask may have taken some of it. */
static int file_make(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && fchmod(fd, 0600) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

bool file_make_own(const char *path, struct err *e)
{
    int fd = file_make(path);
    if (fd < 0)
        return errno == EEXIST ? file_take_over(path, e) : file_cannot_open(path, e);
    close(fd);
    return true;
}

int file_open_own(const char *path, struct err *e)
{
    int fd = file_make(path);
    if (fd >= 0)
        return fd;
    if (errno == EEXIST)
        fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        file_cannot_open(path, e);
    else if (!file_own(fd, path, e)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* ---- files with secrets ---- */

bool file_is_secret_mount(const char *path)
{
    static const char *const folders[] = { "/run/secrets/", "/run/credentials/", "/var/run/secrets/" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (str_starts(str_of(path), str_of(folders[i])))
            return true;
    return false;
}

/* Did a runtime mount it for this container or service alone? */
static bool file_is_mounted_secret(int fd)
{
    char name[FILE_PROC], real[PATH_MAX];
    struct statfs fs;
    file_proc_path(fd, name);
    if (realpath(name, real) && file_is_secret_mount(real))
        return true;
    return fstatfs(fd, &fs) == 0 && (fs.f_flags & ST_RDONLY) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

bool file_check_secret(int fd, const char *path, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_set(e, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IROTH | S_IWOTH)) == 0)
        return true;
    if ((st.st_mode & S_IWOTH) == 0 && file_is_mounted_secret(fd))
        return true;
    return err_set(e, "all users of this machine can %s %s (mode %04o): chmod o-rwx %s",
                   st.st_mode & S_IROTH ? "read" : "write", path, (unsigned)st.st_mode & 07777, path);
}

const char *file_kind(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return "unknown";
    switch (st.st_mode & S_IFMT) {
    case S_IFREG: return "a regular file";
    case S_IFIFO: return "a pipe";
    case S_IFDIR: return "a folder";
    case S_IFCHR:
    case S_IFBLK: return "a device";
    case S_IFSOCK: return "a socket";
    default: return "of another kind";
    }
}

bool file_check_regular_at(const char *path, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return true;
    const char *kind = file_kind(fd);
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    close(fd);
    return regular || err_set(e, "%s is no regular file but %s", path, kind);
}

bool file_check_secret_at(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return true;
    bool ok = file_check_secret(fd, path, e);
    close(fd);
    return ok;
}

/* ---- whole files ---- */

bool file_put(const char *path, struct str text, unsigned mode, bool replace, struct err *e)
{
    return file_put_for(NULL, path, text, mode, replace, e);
}

bool file_put_for(const struct stat *like, const char *path, struct str text, unsigned mode, bool replace,
                  struct err *e)
{
    char *temporary = str_join(path, ".XXXXXX", "");
    int fd = !replace && access(path, F_OK) == 0 ? (errno = EEXIST, -1) : mkostemp(temporary, O_CLOEXEC);
    bool made = fd >= 0, ok = made;
    for (size_t at = 0; ok && at < text.n;) {
        ssize_t n = write(fd, text.at + at, text.n - at);
        ok = n > 0 || (n < 0 && errno == EINTR);
        at += n > 0 ? (size_t)n : 0;
    }
    ok = ok && (!like || fchown(fd, like->st_uid, like->st_gid) == 0) && fchmod(fd, mode) == 0 && fsync(fd) == 0
         && (replace ? rename(temporary, path) == 0 : link(temporary, path) == 0);
    int why = errno;
    if (made) {
        close(fd);
        if (!ok || !replace)
            unlink(temporary);
    }
    free(temporary);
    errno = why;
    return ok || err_set(e, "%s: %s", path, why == EEXIST ? "is there already" : strerror(why));
}
