/* SPDX-License-Identifier: MIT */
/* Where the servers of fuzz targets listen: at a path that nobody else knows. A port could have been given to a client of
 * another test before, or there could be none left, on a machine where such tests run at the same time. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

static char address_folder[] = "/tmp/aqueduct-fuzz-XXXXXX", address_text[64];

static inline void address_end(void)
{
    unlink(address_text + sizeof "unix:" - 1);
    rmdir(address_folder);
}

/* An address of that form, the same each time; main thread. */
static inline char *address(void)
{
    if (!address_text[0]) {
        CHECK(mkdtemp(address_folder));
        snprintf(address_text, sizeof address_text, "unix:%s/s", address_folder);
        atexit(address_end);
    }
    return address_text;
}
