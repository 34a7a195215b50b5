/* SPDX-License-Identifier: MIT */
/* The one parser of flags. */
#include "bridge/cli/flags.h"
#include <inttypes.h>
#include <stdlib.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/wrap.h"

enum { FLAG_NAMES = 64, FLAG_COLUMN = 26 };

const struct flag flags_of_all[] = {
    FLAG(struct flags_all, files, .name = "--config", .letter = "-c", .value = "FILE",
         .doc = "the configuration; several files merge"),
    FLAG(struct flags_all, help, .name = "--help", .letter = "-h", .doc = "say what it does and takes"),
    { 0 },
};

static bool flags_is_name(const struct flag *row, struct str name)
{
    return str_eq(name, str_of(row->name)) || (row->letter && str_eq(name, str_of(row->letter)));
}

/* The row of that name and the struct that it fills; NULL: there is none. */
static const struct flag *flags_find(const struct flag_target *targets, size_t count, struct str name, void **into)
{
    for (size_t i = 0; i < count; i++)
        for (const struct flag *row = targets[i].rows; row && row->name; row++)
            if (flags_is_name(row, name)) {
                *into = targets[i].into;
                return row;
            }
    return NULL;
}

static bool flags_unknown(const struct flag_target *targets, size_t count, struct str name, struct err *e)
{
    const char *names[FLAG_NAMES + 2] = { 0 };
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        for (const struct flag *row = targets[i].rows; row && row->name && n < FLAG_NAMES; row++) {
            names[n++] = row->name;
            if (row->letter)
                names[n++] = row->letter;
        }
    const char *near = str_nearest(name, names);
    return err_set(e, "unknown flag \"%.*s\"%s%s%s", STR_ARG(name), near ? " (did you mean " : "", near ? near : "",
                   near ? "?)" : "");
}

static bool flags_is_choice(const char *choices, struct str value)
{
    struct str rest = str_of(choices), choice;
    while (str_cut(&rest, '|', &choice))
        if (str_eq(choice, value))
            return true;
    return false;
}

static bool flags_number(const struct flag *row, struct str value, int64_t *out, struct err *e)
{
    if (str_to_i64(value, out) && *out >= row->min && *out <= row->max)
        return true;
    return err_set(e, "%s: \"%.*s\" is not a whole number from %" PRId64 " to %" PRId64, row->name, STR_ARG(value),
                   row->min, row->max);
}

/* The choice that the value was perhaps meant to be, or NULL; it lies in `names`. */
static const char *flags_near(const struct flag *row, struct str value, struct buf *names)
{
    const char *list[FLAG_NAMES + 1] = { 0 };
    struct str rest = str_of(row->choices), choice;
    size_t n = 0;
    buf_add_c(names, row->choices);
    const char *text = buf_c(names);
    for (char *one = names->at; text && one && n < FLAG_NAMES && str_cut(&rest, '|', &choice); n++) {
        list[n] = one;
        one[choice.n] = '\0';
        one += choice.n + 1;
    }
    return str_nearest(value, list);
}

static bool flags_no_choice(const struct flag *row, struct str value, struct err *e)
{
    struct buf list = buf_new(sizeof e->text), names = buf_new(sizeof e->text);
    struct str rest = str_of(row->choices), choice;
    while (str_cut(&rest, '|', &choice))
        buf_printf(&list, "%s%.*s", list.n ? ", " : "", STR_ARG(choice));
    const char *near = flags_near(row, value, &names);
    err_set(e, "%s: \"%.*s\" is not one of %.*s%s%s%s", row->name, STR_ARG(value), STR_ARG(buf_str(&list)),
            near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    buf_free(&names);
    buf_free(&list);
    return false;
}

/* Stores a value in the row's field. */
static bool flags_store(const struct flag *row, struct str value, void *into, struct err *e)
{
    void *field = (char *)into + row->offset;
    if (row->choices && !flags_is_choice(row->choices, value))
        return flags_no_choice(row, value, e);
    switch (row->type) {
    case FLAG_SWITCH: *(bool *)field = true; break;
    case FLAG_NUMBER: return flags_number(row, value, field, e);
    case FLAG_TEXT: *(struct str *)field = value; break;
    case FLAG_TEXTS: {
        struct strings *list = field;
        list->at = mem_grow(list->at, list->count + 1, sizeof *list->at);
        list->at[list->count++] = (char *)(uintptr_t)value.at; /* it ends where its word ends */
        break;
    }
    }
    return true;
}

/* Takes the flag at argv[0]; returns how many words it took; 0 with *e. */
static int flags_take(const struct flag_target *targets, size_t count, int argc, char **argv, struct err *e)
{
    struct str value = str_of(argv[0]), name;
    void *into;
    int took = 1;
    str_cut(&value, '=', &name);
    const struct flag *row = flags_find(targets, count, name, &into);
    if (!row)
        return flags_unknown(targets, count, name, e);
    bool has_value = row->type != FLAG_SWITCH;
    if (has_value && !value.at && argc > 1)
        value = str_of(argv[took++]);
    if (has_value && value.n == 0)
        return err_set(e, "%s must follow \"%s\"", row->value, argv[0]);
    if (!has_value && value.at)
        return err_set(e, "\"%s\" takes no value", row->name);
    return flags_store(row, value, into, e) ? took : 0;
}

int flags_parse(const struct flag_target *targets, size_t count, bool front, int argc, char **argv, struct err *e)
{
    int words = 0;
    bool end = false;
    for (int i = 0; i < argc;) {
        bool flag = !end && argv[i][0] == '-' && argv[i][1];
        if (!flag || (front && words)) {
            argv[words++] = argv[i++];
        } else if (strcmp(argv[i], "--") == 0) {
            end = true;
            i++;
        } else {
            int took = flags_take(targets, count, argc - i, argv + i, e);
            if (took == 0)
                return -1;
            i += took;
        }
    }
    return words;
}

void flags_free(const struct flag *rows, void *from)
{
    for (const struct flag *row = rows; row && row->name; row++)
        if (row->type == FLAG_TEXTS)
            free(((struct strings *)(void *)((char *)from + row->offset))->at);
}

/* How wide the column of names is: that of the longest, where that leaves room for texts. */
static int flags_column(const struct flag *rows, int width)
{
    for (const struct flag *row = rows; row && row->name; row++) {
        int n = (int)((row->letter ? strlen(row->letter) + 2 : 0) + strlen(row->name)
                      + (row->value ? strlen(row->value) + 1 : 0));
        width = n + 3 > width && n + 3 <= FLAG_COLUMN ? n + 3 : width;
    }
    return width;
}

void flags_print(const struct flag *rows, int width, FILE *out)
{
    width = flags_column(rows, width);
    for (const struct flag *row = rows; row && row->name; row++) {
        if (row->group)
            fprintf(out, "%s\n", row->group);
        int n = fprintf(out, "  %s%s%s%s%s", row->letter ? row->letter : "", row->letter ? ", " : "", row->name,
                        row->value ? " " : "", row->value ? row->value : "");
        n += fprintf(out, "%*s ", n < width ? width - n : 0, "");
        wrap_print_behind(row->doc, n, n, out);
    }
}
