/* SPDX-License-Identifier: MIT */
/* Where SQLite has the files of a database that may be named by a symbolic link. */
#include <stdlib.h>
#include "connectors/sqlite/sqlite.h"

char *beside_path(const char *path, const char *ending)
{
    char *real = realpath(path, NULL), *name = str_join(real ? real : path, ending, "");
    free(real);
    return name;
}
