/* SPDX-License-Identifier: MIT */
/* Wrong usage, one line on stderr, exit code 2; failure, the same with exit code 1. */
#include "bridge/cli/usage.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { USAGE_NAMES = 512, USAGE_NAMES_MOST = 12 };

int usage_wrong(const struct command *command, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    str_make_shown(text);
    fprintf(stderr, "aqueduct: %s; see aqueduct %s%s\n", text, command ? "help " : "--help",
            command ? command->name : "");
    return COMMAND_USAGE;
}

int usage_unknown(const char *what, const char *word, const char *const *names)
{
    const char *near = str_nearest(str_of(word), names);
    if (near)
        return usage_wrong(NULL, "%s \"%s\" (did you mean %s?)", what, word, near);
    char all[USAGE_NAMES] = "";
    size_t n = 0;
    for (; names[n] && n < USAGE_NAMES_MOST; n++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", n ? ", " : " (there is ", names[n]);
    if (n == 0 || names[n])
        return usage_wrong(NULL, "%s \"%s\"", what, word);
    return usage_wrong(NULL, "%s \"%s\"%s)", what, word, all);
}

int usage_verb(const struct command *command, const char *word)
{
    const char *near = str_nearest(str_of(word), command->verbs);
    if (near)
        return usage_wrong(command, "unknown word \"%s\" (did you mean %s?)", word, near);
    return usage_wrong(command, "unknown word \"%s\"", word);
}

int usage_failed(const char *command, const struct err *e)
{
    char text[sizeof e->text];
    snprintf(text, sizeof text, "%s", e->text);
    str_make_shown(text);
    fprintf(stderr, "aqueduct %s: %s\n", command, text);
    return COMMAND_FAILED;
}
