/* SPDX-License-Identifier: MIT */
/* Finds templates that are not written as such. */
#include "connectors/http/slip.h"
#include <stdio.h>
#include <string.h>

enum { SLIP_MEANT = 128, SLIP_SHOWN = 80, SLIP_FIXED = 5, SLIP_SQL = 2 };

struct slip_text {
    const char *name, *text;
};

/* Those of options of one value; the first SLIP_SQL are SQL where they are no templates. */
static void slip_texts(const struct path_options *o, struct slip_text out[SLIP_FIXED])
{
    out[0] = (struct slip_text){ "id", o->mapping.rules.id };
    out[1] = (struct slip_text){ "time", o->mapping.rules.time };
    out[2] = (struct slip_text){ "type", o->type };
    out[3] = (struct slip_text){ "subject", o->subject };
    out[4] = (struct slip_text){ "source", o->source };
}

/* What follows the name of what templates read: ".id"; NULL: it is none. */
static const char *slip_behind_name(const char *text)
{
    static const char *const names[] = { "body", "headers", "query", "path" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(text, names[i], strlen(names[i])) == 0)
            return text + strlen(names[i]);
    return NULL;
}

/* Has it an expression between single braces? */
static bool slip_check_braces(const struct slip_text *s, struct err *e)
{
    for (const char *open = s->text ? strchr(s->text, '{') : NULL; open; open = strchr(open + 1, '{')) {
        const char *inside = open + 1 + strspn(open + 1, " "), *behind = slip_behind_name(inside);
        bool alone = (open == s->text || open[-1] != '{') && behind;
        if (!alone || !memchr(".}/ ", *behind, 4))
            continue;
        int n = (int)strcspn(inside, " }");
        return err_set(e, "%.60s: an expression stands between two braces: {{%.*s}}", s->name,
                       n < SLIP_SHOWN ? n : SLIP_SHOWN, inside);
    }
    return true;
}

/* Is all of it an expression, but for the braces? Then `meant` has them. */
static bool slip_is_bare(const char *text, bool pointer, char meant[SLIP_MEANT])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/";
    if (!text)
        return false;
    bool rooted = strncmp(text, "$.", 2) == 0;
    const char *behind = rooted ? text + 1 : pointer && text[0] == '/' ? text : slip_behind_name(text);
    if (!behind || (*behind != '.' && behind != text) || !behind[1] || behind[strspn(behind, letters)])
        return false;
    snprintf(meant, SLIP_MEANT, "{{%s%.*s}}", rooted ? "body" : "", SLIP_SHOWN, rooted ? behind : text);
    return true;
}

bool slip_check(const struct path_options *o, struct err *e)
{
    struct slip_text texts[SLIP_FIXED];
    char meant[SLIP_MEANT];
    slip_texts(o, texts);
    for (size_t i = 0; i < SLIP_FIXED; i++) {
        if (!slip_check_braces(&texts[i], e))
            return false;
        if (i < SLIP_SQL && slip_is_bare(texts[i].text, true, meant))
            return err_set(e, "%s: is neither a template nor SQL: write %s", texts[i].name, meant);
    }
    for (size_t i = 0; i < o->attributes.count; i++)
        if (!slip_check_braces(&(struct slip_text){ o->attributes.at[i].key, o->attributes.at[i].value }, e))
            return err_prefix(e, "attributes");
    return true;
}

static void slip_doubt(const char *of, const struct slip_text *s, void (*each)(void *ctx, const char *text), void *ctx)
{
    char meant[SLIP_MEANT];
    struct err e;
    if (!slip_is_bare(s->text, false, meant))
        return;
    err_set(&e, "%s%.60s: is this text in every event: %s gives what stands there", of, s->name, meant);
    each(ctx, e.text);
}

void slip_doubts(const struct path_options *o, void (*each)(void *ctx, const char *text), void *ctx)
{
    struct slip_text texts[SLIP_FIXED];
    slip_texts(o, texts);
    for (size_t i = SLIP_SQL; i < SLIP_FIXED; i++)
        slip_doubt("", &texts[i], each, ctx);
    for (size_t i = 0; i < o->attributes.count; i++)
        slip_doubt("attributes.", &(struct slip_text){ o->attributes.at[i].key, o->attributes.at[i].value }, each, ctx);
}
