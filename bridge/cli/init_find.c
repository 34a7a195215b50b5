/* SPDX-License-Identifier: MIT */
/* Looks for the databases of known applications where they usually are. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "bridge/cli/init_find.h"
#include "bridge/lib/buf.h"

static bool init_is_known(const struct init_found *found, size_t count, const struct stat *st)
{
    struct stat other;
    for (size_t i = 0; i < count; i++)
        if (stat(found[i].path, &other) == 0 && other.st_dev == st->st_dev && other.st_ino == st->st_ino)
            return true;
    return false;
}

static size_t init_look(const struct source_ops *type, const char *pattern, struct init_found *out, size_t count,
                        size_t room)
{
    glob_t paths;
    struct stat st;
    struct err e;
    if (glob(pattern, GLOB_TILDE, NULL, &paths) != 0)
        return count;
    for (size_t i = 0; i < paths.gl_pathc && count < room; i++) {
        const char *path = paths.gl_pathv[i];
        if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || init_is_known(out, count, &st))
            continue;
        const struct known_app *app = type->recognise(path, &e);
        if (app)
            out[count++] = (struct init_found){ str_dup(str_of(path)), app };
    }
    globfree(&paths);
    return count;
}

size_t init_find(const struct connectors *connectors, struct init_found *out, size_t room)
{
    size_t count = 0;
    for (const struct source_ops *const *type = connectors->sources; *type; type++)
        for (const struct known_app *app = (*type)->apps; app && app->preset; app++)
            for (const char *const *place = app->places; *place; place++)
                count = init_look(*type, *place, out, count, room);
    return count;
}

void init_free_found(struct init_found *found, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(found[i].path);
}

const struct known_app *init_recognise(const struct connectors *connectors, const char *path, struct err *e)
{
    const struct known_app *app = NULL;
    for (const struct source_ops *const *type = connectors->sources; *type && !app; type++)
        if ((*type)->recognise)
            app = (*type)->recognise(path, e);
    return app;
}

void init_add_apps(const struct connectors *connectors, struct buf *out)
{
    size_t before = out->n;
    for (const struct source_ops *const *type = connectors->sources; *type; type++)
        for (const struct known_app *app = (*type)->apps; app && app->preset; app++)
            buf_printf(out, "%s%s", out->n > before ? ", " : "", app->preset);
}
