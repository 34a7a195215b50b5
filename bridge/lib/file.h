/* SPDX-License-Identifier: MIT */
/* Files: reads whole ones of bounded size, makes those that are ours alone, and looks who else can read a secret.
 *
 * Ours alone means mode 0600, whatever the umask: logs and dead letters hold what users said. Any thread. */
#pragma once
#include <sys/types.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"

/* Both append to `out`, which must have room for one byte more than `most`. On false errno says why, EFBIG when the file
 * is longer, and `out` holds what came before the failure. They wait as long as the file makes them wait. */
bool file_read(const char *path, size_t most, struct buf *out);
bool file_read_fd(int fd, size_t most, struct buf *out); /* from where it stands to its end */

/* Makes the file, empty and ours alone, or takes over the one that is there: a regular file, reached by no link, of this
 * user or root; rights that all users of the machine have are taken away (earlier versions left them). A file that is
 * there is not opened, since closing it would drop SQLite's locks. False with *e, which names the file. */
bool file_make_own(const char *path, struct err *e);
bool file_take_over(const char *path, struct err *e); /* the same; true also when there is none */
/* The same as a descriptor for reading and writing; -1 with *e. Not for SQLite's files. */
int file_open_own(const char *path, struct err *e);
/* May a file or folder of that owner be used as ours? Of this user and root, yes; and root may use everybody's. */
bool file_is_owner_trusted(uid_t owner);

/* Can all users of this machine read or write this file, which holds a secret? Then false with *e, which names the file
 * and the fix. A group's rights are the administrator's decision (0640 is usual for services). Read permission for all
 * does not count where runtimes mount secrets for one container or service, readable by whichever user runs there, and
 * no other user of the machine gets (file_is_secret_mount); nor for what is no regular file. */
bool file_check_secret(int fd, const char *path, struct err *e);
bool file_check_secret_at(const char *path, struct err *e); /* true also when there is none: opening it says so */
const char *file_kind(int fd);                              /* "a pipe", "a folder" */
/* Would a library that opens it by name wait for ever, since it is no regular file? Then false with *e, which names the
 * file. True also when there is none. */
bool file_check_regular_at(const char *path, struct err *e);
/* Below /run/secrets (Docker, Podman, Compose), /run/credentials (systemd) or /var/run/secrets (Kubernetes), by its
 * name without links. (Elsewhere, what lies on a read-only memory file system is a secret volume of Kubernetes or a
 * Docker secret with a target of its own: file_check_secret knows that, too.) */
bool file_is_secret_mount(const char *path);
/* Writes the text to a file of that mode, as a whole or not at all, and durably. With `replace` a file that is there gives
 * way; else errno is EEXIST. False with *e, which names the file; what failed leaves nothing. file_put_for gives it away,
 * to the owner and group of `like` (NULL: it stays this process's). */
struct stat;
bool file_put(const char *path, struct str text, unsigned mode, bool replace, struct err *e);
bool file_put_for(const struct stat *like, const char *path, struct str text, unsigned mode, bool replace,
                  struct err *e);
