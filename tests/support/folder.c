/* SPDX-License-Identifier: MIT */
/* Making and removing the tests' folders. */
#include "tests/support/folder.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include "tests/support/test.h"

void folder_make(char path[FOLDER_BYTES])
{
    snprintf(path, FOLDER_BYTES, "/tmp/aqueduct-test-XXXXXX");
    if (!mkdtemp(path))
        fail_msg("no folder %s", path);
}

static int folder_remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

void folder_remove(const char *path)
{
    if (nftw(path, folder_remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0)
        fail_msg("%s is still there", path);
}
