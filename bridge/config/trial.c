/* SPDX-License-Identifier: MIT */
/* `aqueduct check --database`: which file is meant for which source, and what the source makes of it. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "bridge/config/private.h"

enum { TRIAL_NAMES = 64 }; /* sources among which a misspelt one is looked for */

static const struct source *trial_source_named(const struct config *c, struct str name)
{
    for (size_t i = 0; i < c->source_count; i++)
        if (str_eq(str_of(c->sources[i].source->id), name))
            return c->sources[i].source;
    return NULL;
}

/* A word without a file of its name: NAME=FILE of a source that is not there, or a file. */
static bool trial_no_file(const struct config *c, const char *word, struct err *e)
{
    const char *names[TRIAL_NAMES + 1] = { 0 };
    int error = errno;
    size_t n = 0;
    struct str rest = str_of(word), name;
    str_cut(&rest, '=', &name);
    if (!rest.at || memchr(name.at, '/', name.n) || access(rest.at, R_OK) != 0)
        return err_set(e, "\"%s\": %s", word, strerror(error));
    for (size_t i = 0; i < c->source_count && n < TRIAL_NAMES; i++)
        if (c->sources[i].source->ops->trial)
            names[n++] = c->sources[i].source->id;
    const char *near = str_nearest(name, names);
    return err_set(e, "\"%s\": there is no source named %.*s%s%s%s", word, STR_ARG(name), near ? " (did you mean " : "",
                   near ? near : "", near ? "?)" : "");
}

/* Of NAME=FILE: the source of that name, and the file; of FILE: NULL and the file. */
static const struct source *trial_split(const struct config *c, const char *word, const char **file)
{
    struct str rest = str_of(word), name;
    str_cut(&rest, '=', &name);
    const struct source *named = rest.at ? trial_source_named(c, name) : NULL;
    *file = named ? rest.at : word;
    return named;
}

static bool trial_check_word(const struct config *c, const struct config_trial *t, const char *word, struct err *e)
{
    const char *file;
    const struct source *named = trial_split(c, word, &file);
    size_t able = 0;
    for (size_t i = 0; i < c->source_count; i++)
        able += c->sources[i].source->ops->trial != NULL;
    if (named && !named->ops->trial)
        return err_set(e, "the source %s reads no database", named->id);
    if (!able)
        return err_set(e, "no source reads a database");
    if (!named && able > 1)
        return err_set(e, "several sources read a database; write NAME=FILE with the name of one");
    if (!named && t->databases.count > 1)
        return err_set(e, "one file for each source");
    if (access(file, R_OK) == 0)
        return true;
    return named ? err_set(e, "\"%s\": %s", file, strerror(errno)) : trial_no_file(c, word, e);
}

bool trial_check(const struct config *c, const struct config_trial *t, struct problems *out)
{
    bool good = true;
    for (size_t i = 0; i < t->databases.count; i++) {
        struct err e;
        if (trial_check_word(c, t, t->databases.at[i], &e))
            continue;
        problem_add(out, NULL, 0, 0, "--database: %s", e.text);
        good = false;
    }
    return good;
}

struct trial_sample {
    const struct config_trial *trial;
    const char *source;
};

static void trial_sample(void *ctx, const char *rule, bool newest, const struct event *ev)
{
    const struct trial_sample *sample = ctx;
    sample->trial->sample(sample->trial->ctx, sample->source, rule, newest, ev);
}

static void trial_missed(void *ctx, const char *rule, const char *what)
{
    const struct trial_sample *sample = ctx;
    sample->trial->missed(sample->trial->ctx, sample->source, rule, what);
}

bool trial_source(const struct config *c, const struct config_trial *t, const struct source *source,
                  struct faults *faults)
{
    bool any = false;
    struct trial_sample sample = { t, source->id };
    for (size_t i = 0; t && source->ops->trial && i < t->databases.count; i++) {
        const char *file;
        const struct source *named = trial_split(c, t->databases.at[i], &file);
        if (named && named != source)
            continue;
        source->ops->trial(source, &(struct trial){ .path = file,
                                                    .wrong = fault_say,
                                                    .doubtful = fault_warn,
                                                    .faults = faults,
                                                    .sample = trial_sample,
                                                    .missed = trial_missed,
                                                    .ctx = &sample });
        any = true;
    }
    return any;
}
