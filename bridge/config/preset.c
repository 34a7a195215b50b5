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

const char *preset_name(const struct preset_text *p, const char *folder)
{
    size_t n = strlen(folder);
    return strncmp(p->name, folder, n) == 0 && p->name[n] == '/' ? p->name + n + 1 : NULL;
}

/* <name>.yaml, in AQUEDUCT_PRESETS or in ../share/aqueduct/<folder> seen from the program. */
static bool preset_path(char path[PRESET_FILE], const char *folder, const char *name, bool installed)
{
    if (!installed) {
        const char *own = getenv("AQUEDUCT_PRESETS"), *inner = strcmp(folder, PRESET_FOLDER) == 0 ? "" : folder;
        return own && *own
               && snprintf(path, PRESET_FILE, "%s/%s%s%s.yaml", own, inner, *inner ? "/" : "", name) < PRESET_FILE;
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
    return snprintf(path, PRESET_FILE, "%s/../share/aqueduct/%s/%s.yaml", self, folder, name) < PRESET_FILE;
}

static bool preset_unknown(const char *folder, const char *name, struct err *e)
{
    const char *names[PRESET_NAMES + 1] = { 0 };
    char list[256] = "";
    size_t n = 0, at = 0;
    for (const struct preset_text *p = preset_texts; p->name && n < PRESET_NAMES && at < sizeof list; p++) {
        const char *one = preset_name(p, folder);
        if (!one)
            continue;
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", at ? ", " : "", one);
        names[n++] = one;
    }
    const char *near = str_nearest(str_of(name), names),
               *kind = strcmp(folder, PRESET_RECEIVERS) == 0 ? "receiver" : "preset";
    if (near)
        return err_set(e, "there is no %s \"%s\" (did you mean %s?)", kind, name, near);
    return err_set(e, "there is no %s \"%s\" (there are: %s)", kind, name, list);
}

static bool preset_read(char file[PRESET_FILE], struct buf *out, struct err *e)
{
    return file_read(file, PRESET_BYTES, out) || err_set(e, "preset %s: %s", file, strerror(errno));
}

bool preset_find(const char *folder, const char *name, struct buf *out, char file[PRESET_FILE], struct err *e)
{
    if (strlen(name) >= PRESET_FILE)
        return err_set(e, "the name of a preset is shorter than %d characters", PRESET_FILE);
    if (strchr(name, '/') || str_ends(str_of(name), STR(".yaml"))) {
        snprintf(file, PRESET_FILE, "%s", name);
        return preset_read(file, out, e);
    }
    for (int installed = 0; installed <= 1; installed++)
        if (preset_path(file, folder, name, installed) && access(file, F_OK) == 0)
            return preset_read(file, out, e);
    for (const struct preset_text *p = preset_texts; p->name; p++)
        if (preset_name(p, folder) && strcmp(preset_name(p, folder), name) == 0) {
            snprintf(file, PRESET_FILE, "preset %s", name);
            buf_add_str(out, p->text);
            return true;
        }
    return preset_unknown(folder, name, e);
}
