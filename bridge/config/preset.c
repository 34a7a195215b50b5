/* SPDX-License-Identifier: MIT */
/* Finds a preset (a file of options, kept as data) and fills a struct from it. */
#include "bridge/config/preset.h"
#include "bridge/config/private.h"
#include "bridge/lib/file.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/str.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PRESET_NAMES = 64 };

/* <folder>/<name>.yaml, in AQUEDUCT_PRESETS or in ../share/aqueduct/presets seen from the program. */
static bool path_of(char *path, size_t size, const char *name, bool installed)
{
    if (!installed) {
        const char *folder = getenv("AQUEDUCT_PRESETS");
        return folder && *folder && (size_t)snprintf(path, size, "%s/%s.yaml", folder, name) < size;
    }
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return false;
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return (size_t)snprintf(path, size, "%s/../share/aqueduct/presets/%s.yaml", self, name) < size;
}

static bool fill(const char *file, struct str text, const struct option *rows, void *obj, struct err *e)
{
    struct problems problems = { 0 };
    bool good = config_fill(file, text, rows, obj, NULL, &problems);
    if (!good && problems.count)
        err_set(e, "%s:%d:%d: %s", problems.at[0].file ? problems.at[0].file : file, problems.at[0].line,
                problems.at[0].column, problems.at[0].text);
    else if (!good)
        err_set(e, "%s: cannot be used as a preset", file);
    problems_free(&problems);
    return good;
}

static bool fill_file(const char *path, const struct option *rows, void *obj, struct err *e)
{
    struct buf text = buf_new(CONFIG_FILE_BYTES + 1);
    bool good = file_read(path, CONFIG_FILE_BYTES, &text) ? fill(path, buf_str(&text), rows, obj, e)
                                                          : err_set(e, "preset %s: %s", path, strerror(errno));
    buf_free(&text);
    return good;
}

static bool unknown(const char *name, struct err *e)
{
    const char *names[PRESET_NAMES + 1] = { 0 };
    char list[256] = "";
    size_t n = 0, at = 0;
    for (const struct preset *p = presets; p->name && n < PRESET_NAMES; p++) {
        names[n++] = p->name;
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", at ? ", " : "", p->name);
        if (at >= sizeof list)
            break;
    }
    const char *near = str_nearest(str_of(name), names);
    if (near)
        return err_set(e, "there is no preset \"%s\"; did you mean \"%s\"?", name, near);
    return err_set(e, "there is no preset \"%s\" (there are: %s)", name, list);
}

bool preset_load(const char *name, const struct option *rows, void *obj, struct err *e)
{
    if (strchr(name, '/') || str_ends(str_of(name), STR(".yaml")))
        return fill_file(name, rows, obj, e);
    char path[PATH_MAX];
    for (int installed = 0; installed <= 1; installed++)
        if (path_of(path, sizeof path, name, installed) && access(path, F_OK) == 0)
            return fill_file(path, rows, obj, e);
    for (const struct preset *p = presets; p->name; p++)
        if (strcmp(p->name, name) == 0) {
            snprintf(path, sizeof path, "preset %s", name);
            return fill(path, p->text, rows, obj, e);
        }
    return unknown(name, e);
}
