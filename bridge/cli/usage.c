/* SPDX-License-Identifier: MIT */
/* Wrong usage: one line on stderr, exit code 2. */
#include "bridge/cli/usage.h"
#include <stdarg.h>
#include <stdio.h>

int usage_wrong(const struct command *command, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("aqueduct: ", stderr);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "; see aqueduct %s%s\n", command ? "help " : "--help", command ? command->name : "");
    return COMMAND_USAGE;
}

int usage_unknown(const char *what, const char *word, const char *const *names)
{
    const char *near = str_nearest(str_of(word), names);
    if (near)
        return usage_wrong(NULL, "%s \"%s\" (did you mean %s?)", what, word, near);
    return usage_wrong(NULL, "%s \"%s\"", what, word);
}
