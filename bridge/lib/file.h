/* SPDX-License-Identifier: MIT */
/* Reads whole files of bounded size.
 *
 * Both append to `out`, which must have room for one byte more than `most`. On false errno says why, EFBIG when the file
 * is longer, and `out` holds what came before the failure. Any thread; they wait as long as the file makes them wait. */
#pragma once
#include "bridge/lib/buf.h"

bool file_read(const char *path, size_t most, struct buf *out);
bool file_read_fd(int fd, size_t most, struct buf *out); /* from where it stands to its end */
