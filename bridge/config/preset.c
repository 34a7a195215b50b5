/* SPDX-License-Identifier: MIT */
/* Where presets are looked for, and what is said when there is none of that name. */
#include "bridge/config/preset.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/file.h"

enum { PRESET_NAMES = 64 };

/* <folder>/<name>.yaml, in AQUEDUCT_PRESETS or in ../share/aqueduct/presets seen from the program. */
static bool preset_path(char path[PRESET_FILE], const char *name, bool installed)
{
    if (!installed) {
        const char *folder = getenv("AQUEDUCT_PRESETS");
        return folder && *folder && snprintf(path, PRESET_FILE, "%s/%s.yaml", folder, name) < PRESET_FILE;
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
    return snprintf(path, PRESET_FILE, "%s/../share/aqueduct/presets/%s.yaml", self, name) < PRESET_FILE;
}

static bool preset_unknown(const char *name, struct err *e)
{
    const char *names[PRESET_NAMES + 1] = { 0 };
    char list[256] = "";
    size_t n = 0, at = 0;
    for (const struct preset_text *p = preset_texts; p->name && n < PRESET_NAMES; p++) {
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

static bool preset_read(char file[PRESET_FILE], struct buf *out, struct err *e)
{
    return file_read(file, PRESET_BYTES, out) || err_set(e, "preset %s: %s", file, strerror(errno));
}

bool preset_find(const char *name, struct buf *out, char file[PRESET_FILE], struct err *e)
{
    if (strlen(name) >= PRESET_FILE)
        return err_set(e, "the name of a preset is shorter than %d characters", PRESET_FILE);
    if (strchr(name, '/') || str_ends(str_of(name), STR(".yaml"))) {
        snprintf(file, PRESET_FILE, "%s", name);
        return preset_read(file, out, e);
    }
    for (int installed = 0; installed <= 1; installed++)
        if (preset_path(file, name, installed) && access(file, F_OK) == 0)
            return preset_read(file, out, e);
    for (const struct preset_text *p = preset_texts; p->name; p++)
        if (strcmp(p->name, name) == 0) {
            snprintf(file, PRESET_FILE, "preset %s", name);
            buf_add_str(out, p->text);
            return true;
        }
    return preset_unknown(name, e);
}
