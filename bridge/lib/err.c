/* SPDX-License-Identifier: MIT */
/* Formats the reason of a failure. */
#include "bridge/lib/err.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool err_set(struct err *e, const char *fmt, ...)
{
    if (!e)
        return false;
    va_list args;
    va_start(args, fmt);
    char text[sizeof e->text]; /* apart, because an argument may be e->text itself */
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    memcpy(e->text, text, sizeof text);
    return false;
}

bool err_prefix(struct err *e, const char *fmt, ...)
{
    if (!e)
        return false;
    struct err old = *e;
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, args);
    va_end(args);
    size_t n = strlen(e->text);
    snprintf(e->text + n, sizeof e->text - n, ": %s", old.text);
    return false;
}

void why_copy(char out[WHY_BYTES], const char *text)
{
    size_t n = text ? strnlen(text, WHY_BYTES - 1) : 0;
    if (n > 0)
        memcpy(out, text, n);
    out[n] = '\0';
}
