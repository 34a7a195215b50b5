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

static void wrap_print_text(const char *text, size_t n, size_t used, int indent, FILE *out)
{
    size_t columns = wrap_columns(out);
    const char *end = text + n;
    do {
        size_t room = columns > used ? columns - used : 0, took = 0, next = 0;
        for (;; next++) {
            while (text + next < end && text[next] != ' ' && text[next] != '\n')
                next++;
            if (took > 0 && next > room)
                break;
            took = next;
            if (text + next >= end)
                break;
        }
        for (size_t i = 0; i < took; i++)
            putc(text[i] == '\n' ? ' ' : text[i], out);
        putc('\n', out);
        text += took + (text + took < end);
        used = (size_t)indent;
        if (text < end)
            fprintf(out, "%*s", indent, "");
    } while (text < end);
}

void wrap_print_behind(const char *text, int used, int indent, FILE *out)
{
    wrap_print_text(text, strlen(text), (size_t)used, indent, out);
}

void wrap_print(const char *text, int indent, FILE *out)
{
    fprintf(out, "%*s", indent, "");
    wrap_print_behind(text, indent, indent, out);
}

/* Where what is broken off a line goes on: below the second column, behind the last gap of blanks, or further in. */
static int wrap_hang(const char *line, size_t n)
{
    size_t in = strspn(line, " ");
    for (size_t i = n < WRAP_COLUMNS / 2 ? n : WRAP_COLUMNS / 2; i > in + 2; i--)
        if (line[i - 1] == ' ' && line[i - 2] == ' ' && line[i] != ' ')
            return (int)i;
    return (int)in + 2;
}

void wrap_print_page(const char *text, FILE *out)
{
    while (*text) {
        size_t longest = strcspn(text, "\n"), n = longest;
        bool prose = n > 0 && *text != ' ';
        for (size_t more; prose && text[n] && text[n + 1] && !strchr(" \n", text[n + 1]); n += 1 + more) {
            more = strcspn(text + n + 1, "\n");
            longest = more > longest ? more : longest;
        }
        if (longest <= wrap_columns(out))
            fprintf(out, "%.*s\n", (int)n, text);
        else
            wrap_print_text(text, n, 0, prose ? 0 : wrap_hang(text, n), out);
        text += n + (text[n] == '\n');
    }
}
