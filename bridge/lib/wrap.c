/* SPDX-License-Identifier: MIT */
/* Breaks text into lines. */
#include "bridge/lib/wrap.h"
#include <string.h>
#include <stdbool.h>
#include <sys/ioctl.h>

enum { WRAP_COLUMNS = 100, WRAP_LEAST = 40 /* a narrower terminal breaks the lines itself */ };

static size_t wrap_columns(FILE *out)
{
    struct winsize size;
    bool known = ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col >= WRAP_LEAST;
    return known && size.ws_col < WRAP_COLUMNS ? size.ws_col : WRAP_COLUMNS;
}

void wrap_print(const char *text, int indent, FILE *out)
{
    size_t columns = wrap_columns(out), most = columns - (size_t)indent;
    do {
        size_t n = strcspn(text, " "), next;
        while (text[n] && (next = n + 1 + strcspn(text + n + 1, " ")) <= most)
            n = next;
        fprintf(out, "%*s%.*s\n", indent, "", (int)n, text);
        text += n + (text[n] == ' ');
    } while (*text);
}
