/* SPDX-License-Identifier: MIT */
/* Assertions that cmocka lacks. */
#include "tests/support/test.h"
#include <string.h>

void assert_says(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}
