/* SPDX-License-Identifier: MIT */
/* The embedded log's folder: made if it is missing, and locked, so that it has one owner at a time. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/file.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

bool local_folder_sync(const char *folder, struct err *e)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (!ok)
        err_set(e, "broker.path: \"%s\" cannot be made durable: %s", folder, strerror(errno));
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool folder_sync_parent(const char *folder, struct err *e)
{
    char *parent = sqlite3_mprintf("%s/..", folder);
    CHECK(parent);
    bool ok = local_folder_sync(parent, e);
    sqlite3_free(parent);
    return ok;
}

/* Whoever owns the folder, or may write to it, can replace the log. */
static bool folder_check_owner(const char *folder, const struct stat *st, struct err *e)
{
    return file_is_owner_trusted(st->st_uid)
           || err_set(e,
                      "broker.path: \"%s\" belongs to another user (uid %u): chown it to the user that runs aqueduct",
                      folder, (unsigned)st->st_uid);
}

static void folder_warn_of_others(const char *folder, const struct stat *st)
{
    if ((st->st_mode & S_IWOTH) && !(st->st_mode & S_ISVTX))
        LOG(WARN, "all users of this machine can replace the log: chmod o-w its folder", LOG_C("folder", folder));
    else if (st->st_uid != geteuid() && st->st_uid != 0)
        LOG(WARN, "another user owns the folder of the log and can replace it", LOG_C("folder", folder),
            LOG_INT("uid", st->st_uid));
}

/* A folder that is there. */
static bool folder_check(const char *folder, struct stat *st, struct err *e)
{
    errno = 0;
    if (stat(folder, st) != 0 && errno != ENOTDIR)
        return err_set(e, "broker.path: \"%s\" cannot be used: %s", folder, strerror(errno));
    if (errno == ENOTDIR || !S_ISDIR(st->st_mode))
        return err_set(e, "broker.path: \"%s\" is not a folder", folder);
    return folder_check_owner(folder, st, e);
}

/* May this user make files in it? */
static bool folder_is_writable(const char *folder)
{
    return faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0;
}

/* Can it be made? Its name may end in slashes. */
static bool folder_check_parent(const char *folder, struct err *e)
{
    struct str name = str_of(folder);
    while (name.n > 1 && name.at[name.n - 1] == '/')
        name.n--;
    const char *slash = memrchr(name.at, '/', name.n);
    char *parent = str_dup(!slash             ? STR(".")
                           : slash == name.at ? STR("/")
                                              : (struct str){ name.at, (size_t)(slash - name.at) });
    struct stat st;
    bool ok = stat(parent, &st) == 0
                  ? folder_is_writable(parent)
                        || err_set(e, "broker.path: \"%s\" cannot be created: %s", folder, strerror(errno))
                  : err_set(e, "broker.path: \"%s\" cannot be created, the folder above it does not exist", folder);
    free(parent);
    return ok;
}

bool local_folder_check(const char *path, struct err *e)
{
    struct stat st;
    if (!path[0])
        return err_set(e, "broker.path: is empty");
    if (stat(path, &st) != 0 && errno == ENOENT)
        return folder_check_parent(path, e);
    return folder_check(path, &st, e)
           && (folder_is_writable(path)
               || err_set(e, "broker.path: \"%s\" cannot be written: %s", path, strerror(errno)));
}

static bool folder_make(const char *folder, struct err *e)
{
    struct stat st;
    if (mkdir(folder, 0700) == 0 && chmod(folder, 0700) == 0) /* again, because the umask may have taken some of it */
        return folder_sync_parent(folder, e);
    if (errno == ENOENT)
        return err_set(e, "broker.path: \"%s\" cannot be created, the folder above it does not exist", folder);
    if (errno != EEXIST)
        return err_set(e, "broker.path: \"%s\" cannot be created: %s", folder, strerror(errno));
    if (!folder_check(folder, &st, e))
        return false;
    folder_warn_of_others(folder, &st);
    return true;
}

static bool folder_in_use(const char *folder, int fd, struct err *e)
{
    char pid[24] = "";
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    pid[n > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    return err_set(e, "broker.path: \"%s\" is in use by process %s: stop it, or give this one a folder of its own",
                   folder, pid[0] ? pid : "(unknown)");
}

/* One owner at a time; the lock ends with the process, however it ends. */
static bool folder_lock(struct local *b, struct err *e)
{
    char *file = sqlite3_mprintf("%s/lock", b->folder), pid[24];
    CHECK(file);
    b->lock_fd = file_open_own(file, e);
    sqlite3_free(file);
    if (b->lock_fd < 0)
        return err_prefix(e, "broker.path");
    if (flock(b->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? folder_in_use(b->folder, b->lock_fd, e)
                                    : err_set(e, "broker.path: \"%s/lock\": %s", b->folder, strerror(errno));
    int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(b->lock_fd, 0) != 0 || pwrite(b->lock_fd, pid, (size_t)n, 0) != n)
        return err_set(e, "broker.path: \"%s/lock\" cannot be written: %s", b->folder, strerror(errno));
    return true;
}

bool local_folder_open(struct local *b, const char *path, struct err *e)
{
    size_t n = strlen(path);
    if (n == 0)
        return err_set(e, "broker.path: is empty");
    b->folder = str_dup(str_of(path));
    b->file = mem_alloc(n + sizeof "/aqueduct.db");
    snprintf(b->file, n + sizeof "/aqueduct.db", "%s/aqueduct.db", path);
    return folder_make(b->folder, e) && folder_lock(b, e);
}
