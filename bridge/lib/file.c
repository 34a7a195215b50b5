/* SPDX-License-Identifier: MIT */
/* Reads a file piece by piece, so that one without a size (a pipe, /proc) can be read too. */
#include "bridge/lib/file.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

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
