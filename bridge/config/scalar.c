/* SPDX-License-Identifier: MIT */
/* Fills one field from one scalar of the tree, by its row. */
#include <math.h>
#include <stdlib.h>
#include "bridge/config/private.h"
#include "bridge/lib/expand.h"
#include "bridge/lib/mem.h"

/* A scalar that says something, or a problem. */
bool scalar_check(struct fill *f, const struct node *n, const struct where *at)
{
    if (n->broken)
        return false;
    if (n->kind != NODE_SCALAR && !n->text.at)
        problem_at(f->out, n, at, "must be one value, not %s", node_kind_name(n));
    else if (node_is_null(n))
        problem_at(f->out, n, at, "has no value (leave the key out, or write \"\" for an empty text)");
    else
        return true;
    return false;
}

/* Texts that stand where a secret should, as a whole or (with a * behind) as its beginning, in any case. */
static const char *const scalar_placeholders[] = {
    "changeme*", "change-me*", "change_me*", "replaceme*", "replace-me*", "replace_me*", "placeholder*", "your-*",
    "your_*",    "insert-*",   "xxxxxxxx*",  "secret",     "password",    "passwort",    "token",        "default",
    "example",   "todo",       "my-secret",  "mysecret",   "my_secret",   "topsecret",   "dummy",        NULL,
};

static bool scalar_is_placeholder(struct str s)
{
    for (const char *const *one = scalar_placeholders; *one; one++) {
        struct str word = str_of(*one);
        bool open = str_ends(word, STR("*"));
        word.n -= open;
        if (open ? str_starts_nocase(s, word) : str_eq_nocase(s, word))
            return true;
    }
    return (str_starts(s, STR("<")) && str_ends(s, STR(">"))) || (str_starts(s, STR("{{")) && str_ends(s, STR("}}")));
}

/* What people write where they mean a variable or a file: nothing replaces it, so everybody knows the secret. NULL: it
 * is none of that. */
static const char *scalar_slip(struct str written)
{
    if (str_starts(written, STR("$")) && expand_is_variable((struct str){ written.at + 1, written.n - 1 }))
        return "is $ and a name, which nothing replaces: write ${NAME}";
    if (str_starts(written, STR("$(")) && str_ends(written, STR(")")))
        return "is the text $(...), which nothing replaces: write ${NAME} or ${file:/path}";
    if (str_starts(written, STR("%")) && str_ends(written, STR("%")) && written.n > 2
        && expand_is_variable((struct str){ written.at + 1, written.n - 2 }))
        return "is a name between %, which nothing replaces: write ${NAME}";
    if (str_starts(written, STR("file:")) || str_starts(written, STR("env:")))
        return "begins like a file or a variable, but nothing replaces it: write ${file:/path} or ${NAME}";
    return NULL;
}

bool scalar_check_secret(struct fill *f, const struct node *n, const struct where *at)
{
    const char *wrong = n->exposed ? n->exposed : scalar_slip(n->written);
    if (wrong)
        problem_at(f->out, n, at, "%s", wrong);
    return !wrong;
}

/* Is the number within the row's range? */
static bool scalar_in_range(struct fill *f, const struct option *row, const struct node *n, double value,
                            const struct where *at)
{
    char range[RANGE_TEXT];
    if (value >= (double)row->min && (value_open_range(row) || value <= (double)row->max))
        return true;
    problem_at(f->out, n, at, "%.*s is out of range: must be %s", SHOWN(n->written), value_range(row, range));
    return false;
}

static void scalar_bool(struct fill *f, const struct node *n, bool *field, const struct where *at)
{
    static const char *const yes[] = { "yes", "on", "y", "1", "true", NULL }, *const no[] = { "no", "off",   "n",
                                                                                              "0",  "false", NULL };
    if (str_eq(n->text, STR("true")) || str_eq(n->text, STR("false"))) {
        *field = str_eq(n->text, STR("true"));
        return;
    }
    const char *hint = "true or false";
    for (size_t i = 0; yes[i]; i++)
        if (str_eq_nocase(n->text, str_of(yes[i])))
            hint = "true";
    for (size_t i = 0; no[i]; i++)
        if (str_eq_nocase(n->text, str_of(no[i])))
            hint = "false";
    problem_at(f->out, n, at, "\"%.*s\" is not a boolean: write %s", SHOWN(n->written), hint);
}

static void scalar_int(struct fill *f, const struct option *row, const struct node *n, int64_t *field,
                       const struct where *at)
{
    int64_t value;
    if (!str_to_i64(n->text, &value))
        problem_at(f->out, n, at, "\"%.*s\" is not a whole number", SHOWN(n->written));
    else if (scalar_in_range(f, row, n, (double)value, at))
        *field = value;
}

static void scalar_real(struct fill *f, const struct option *row, const struct node *n, double *field,
                        const struct where *at)
{
    char *end;
    double value = strtod(n->text.at, &end);
    bool decimal = n->text.n && strspn(n->text.at, "+-.0123456789eE") == n->text.n; /* no hex, inf, nan or spaces */
    if (!decimal || end != n->text.at + n->text.n || !isfinite(value))
        problem_at(f->out, n, at, "\"%.*s\" is not a number", SHOWN(n->written));
    else if (scalar_in_range(f, row, n, value, at))
        *field = value;
}

static void scalar_duration(struct fill *f, const struct option *row, const struct node *n, struct duration *field,
                            const struct where *at)
{
    int64_t ms;
    if (!value_duration(n->text, &ms))
        problem_at(f->out, n, at, "\"%.*s\" is not a duration (examples: 250ms 30s 5m 2h 7d)", SHOWN(n->written));
    else if (scalar_in_range(f, row, n, (double)ms, at))
        field->ms = ms;
}

static void scalar_moment(struct fill *f, const struct node *n, struct moment *field, const struct where *at)
{
    char whole[CLOCK_TEXT];
    snprintf(whole, sizeof whole, "%.10sT00:00:00Z", n->text.at);
    if (n->text.n == 10 && clock_parse(str_of(whole), &field->ms))
        field->ms += 86400000;
    else if (!clock_parse(n->text, &field->ms))
        problem_at(f->out, n, at,
                   "\"%.*s\" is neither a date (2026-12-24, to its end in UTC) nor a moment (2026-12-24T18:00:00Z)",
                   SHOWN(n->written));
}

static void scalar_bytes(struct fill *f, const struct option *row, const struct node *n, struct bytes *field,
                         const struct where *at)
{
    int64_t bytes;
    if (!value_bytes(n->text, &bytes))
        problem_at(f->out, n, at, "\"%.*s\" is not a size (examples: 500B 64KiB 1MiB 2GiB)", SHOWN(n->written));
    else if (scalar_in_range(f, row, n, (double)bytes, at))
        field->n = bytes;
}

static void scalar_text(struct fill *f, const struct node *n, char **field)
{
    *field = arena_text(f->arena, n->text);
}

static void scalar_say_values(struct fill *f, const struct option_value *values, const struct node *n,
                              const struct where *at)
{
    enum { VALUES = 64 };
    const char *names[VALUES] = { 0 };
    char hint[HINT_TEXT];
    struct buf b = buf_new(1024);
    for (size_t i = 0; i < VALUES - 1 && values[i].text; i++) {
        names[i] = values[i].text;
        buf_printf(&b, "%s%s", i ? ", " : "", values[i].text);
    }
    problem_at(f->out, n, at, "\"%.*s\" is not one of %.*s%s", SHOWN(n->written), STR_ARG(buf_str(&b)),
               problem_hint(n->text, names, hint));
    buf_free(&b);
}

static void scalar_enum(struct fill *f, const struct option *row, const struct node *n, void *field,
                        const struct where *at)
{
    CHECK(row->values);
    for (const struct option_value *v = row->values; v->text; v++)
        if (str_eq(n->text, str_of(v->text))) {
            memcpy(field, &v->value, sizeof v->value);
            return;
        }
    scalar_say_values(f, row->values, n, at);
}

static void scalar_secret(struct fill *f, const struct node *n, struct secret *field, const struct where *at)
{
    if (n->text.n == 0)
        problem_at(f->out, n, at, "is empty: a secret must have at least one character%s",
                   str_ends(n->written, STR(":-}")) ? " (without :- an unset variable is named)" : "");
    else if (scalar_is_placeholder(n->text))
        problem_at(f->out, n, at,
                   "is a placeholder that everybody can guess: write ${NAME} or ${file:/path}, without a default");
    else if (scalar_check_secret(f, n, at)) {
        struct str rest = n->written, path;
        field->text = arena_text(f->arena, n->text);
        field->written = expand_next_file(&rest, &path) ? arena_text(f->arena, n->written) : NULL;
    }
}

void scalar_fill(struct fill *f, const struct option *row, const struct node *n, void *field, const struct where *at)
{
    if (!scalar_check(f, n, at))
        return;
    switch (row->type) {
    case OPT_BOOL: scalar_bool(f, n, field, at); return;
    case OPT_INT: scalar_int(f, row, n, field, at); return;
    case OPT_REAL: scalar_real(f, row, n, field, at); return;
    case OPT_STR: scalar_text(f, n, field); return;
    case OPT_SECRET: scalar_secret(f, n, field, at); return;
    case OPT_ENUM: scalar_enum(f, row, n, field, at); return;
    case OPT_MOMENT: scalar_moment(f, n, field, at); return;
    case OPT_DURATION: scalar_duration(f, row, n, field, at); return;
    case OPT_BYTES: scalar_bytes(f, row, n, field, at); return;
    case OPT_STRINGS:
    case OPT_SECRETS:
    case OPT_DURATIONS:
    case OPT_MAP:
    case OPT_FILTER:
    case OPT_TREE:
    case OPT_DEFAULTS:
    case OPT_PRESET:
    case OPT_LIST:
    case OPT_GROUP: CHECK(false); /* no scalar */
    }
}
