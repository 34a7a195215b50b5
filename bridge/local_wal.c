/* SPDX-License-Identifier: MIT */
#include "bridge/local.h"
bool wal_check(const char *file, struct err *e)
{
    (void)file;
    (void)e;
    return true;
}
