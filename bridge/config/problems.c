/* SPDX-License-Identifier: MIT */
/* Problems of the configuration: collected, put in the order of the files, printed for people and for programs. */
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include "bridge/config/private.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

enum { PROBLEM_TEXT = 600, WHERE_TEXT = 300 };

size_t shown_length(struct str s)
{
    if (s.n <= SHOWN_BYTES)
        return s.n;
    size_t n = SHOWN_BYTES;
    while (n > 0 && ((unsigned char)s.at[n] & 0xC0) == 0x80) /* not in the middle of a character */
        n--;
    return n;
}

static void problems_write_where(struct buf *out, const struct where *at)
{
    if (at->up)
        problems_write_where(out, at->up);
    if (!at->key.at) {
        buf_printf(out, "[%zu]", at->index);
        return;
    }
    if (out->n)
        buf_add_char(out, '.');
    buf_add(out, at->key.at, shown_length(at->key));
}

/* Adds a problem; of more than CONFIG_PROBLEMS only that there are more. */
static void problems_keep(struct problems *out, bool warning, const char *file, int line, int column, struct str text)
{
    if (out->count > CONFIG_PROBLEMS)
        return;
    if (out->count == CONFIG_PROBLEMS) {
        file = NULL;
        line = column = 0;
        text = STR("there are more problems than these");
    }
    out->at = mem_grow(out->at, out->count + 1, sizeof *out->at);
    struct problem *p = &out->at[out->count++];
    *p = (struct problem){
        .file = file ? str_dup(str_of(file)) : NULL,
        .line = line,
        .column = column,
        .text = str_dup(text),
        .warning = warning,
    };
    str_make_shown(p->text); /* a value with a line break must not look like another problem */
}

void problem_add(struct problems *out, const char *file, int line, int column, const char *fmt, ...)
{
    char text[PROBLEM_TEXT];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    problems_keep(out, false, file, line, column, str_of(text));
}

static void problems_keep_at(struct problems *out, bool warning, const struct node *n, const struct where *at,
                             const char *fmt, va_list args)
{
    char text[PROBLEM_TEXT], placed[PROBLEM_TEXT + WHERE_TEXT + 2];
    vsnprintf(text, sizeof text, fmt, args);
    struct buf b = buf_new(WHERE_TEXT);
    if (at)
        problems_write_where(&b, at);
    snprintf(placed, sizeof placed, "%.*s%s%s", STR_ARG(buf_str(&b)), b.n ? ": " : "", text);
    problems_keep(out, warning, n->file, n->line, n->column, str_of(placed));
    buf_free(&b);
}

void problem_at(struct problems *out, const struct node *n, const struct where *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    problems_keep_at(out, false, n, at, fmt, args);
    va_end(args);
}

void problem_warn(struct problems *out, const struct node *n, const struct where *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    problems_keep_at(out, true, n, at, fmt, args);
    va_end(args);
}

size_t problems_errors(const struct problems *p)
{
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++)
        count += !p->at[i].warning;
    return count;
}

const char *problem_hint(struct str word, const char *const *names, char out[HINT_TEXT])
{
    const char *near = str_nearest(word, names);
    out[0] = '\0';
    if (near)
        snprintf(out, HINT_TEXT, " (did you mean %s?)", near);
    return out;
}

static size_t problems_file_order(const char *file, const char *const *files, size_t count)
{
    for (size_t i = 0; file && i < count; i++)
        if (strcmp(file, files[i]) == 0)
            return i;
    return count;
}

static int problems_compare(const struct problem *a, const struct problem *b, const char *const *files, size_t count)
{
    size_t fa = problems_file_order(a->file, files, count), fb = problems_file_order(b->file, files, count);
    if (fa != fb)
        return fa < fb ? -1 : 1;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return (a->column > b->column) - (a->column < b->column);
}

static bool problems_same(const struct problem *a, const struct problem *b)
{
    return (a->file && b->file ? strcmp(a->file, b->file) == 0 : a->file == b->file) && a->line == b->line
           && a->column == b->column && strcmp(a->text, b->text) == 0;
}

void problems_sort(struct problems *p, const char *const *files, size_t count)
{
    for (size_t i = 1; i < p->count; i++) { /* insertion: few, and stable */
        struct problem moved = p->at[i];
        size_t k = i;
        for (; k > 0 && problems_compare(&moved, &p->at[k - 1], files, count) < 0; k--)
            p->at[k] = p->at[k - 1];
        p->at[k] = moved;
    }
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (kept && problems_same(&p->at[i], &p->at[kept - 1])) {
            free(p->at[i].file);
            free(p->at[i].text);
        } else {
            p->at[kept++] = p->at[i];
        }
    }
    p->count = kept;
}

void problems_free(struct problems *p)
{
    for (size_t i = 0; i < p->count; i++) {
        free(p->at[i].file);
        free(p->at[i].text);
    }
    free(p->at);
    *p = (struct problems){ 0 };
}

void problems_print(const struct problems *p, FILE *out)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct problem *one = &p->at[i];
        if (one->file)
            fprintf(out, "%s:", one->file);
        if (one->line)
            fprintf(out, "%d:%d:", one->line, one->column);
        fprintf(out, "%s%s%s\n", one->file || one->line ? " " : "", one->warning ? "warning: " : "", one->text);
    }
}

json_t *problems_json(const struct problems *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->count; i++) {
        const struct problem *one = &p->at[i];
        json_array_append_new(list,
                              json_pack("{s:o, s:i, s:i, s:s, s:o}", "file", json_of_text(str_of(one->file)), "line",
                                        one->line, "column", one->column, "severity",
                                        one->warning ? "warning" : "error", "text", json_of_text(str_of(one->text))));
    }
    return list;
}

void problems_print_json(const struct problems *p, json_t *more, FILE *out)
{
    json_t *all = json_pack("{s:b, s:o}", "ok", problems_errors(p) == 0, "problems", problems_json(p));
    if (more)
        json_object_update(all, more);
    json_dumpf(all, out, JSON_COMPACT);
    fputc('\n', out);
    json_decref(all);
}
