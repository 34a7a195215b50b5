/* SPDX-License-Identifier: MIT */
/* Finds a zone's file, and looks up what a wall clock said. */
#include "bridge/lib/zone.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/file.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/tzif.h"

enum { ZONE_NAME = 64, ZONE_NAMES = 2000, ZONE_DEPTH = 3, ZONE_PATH = 4096 };

struct zone {
    int32_t first; /* seconds ahead of UTC */
    struct zone_change {
        int64_t wall;    /* from this time of the wall clock on, in seconds; ascending */
        int64_t doubled; /* from here up to `wall` each time comes twice; `wall`: none does */
        int32_t offset;
    } * changes;
    size_t count;
};

/* ---- files ---- */

static const char *const zone_folders[] = { "/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo",
                                            "/etc/zoneinfo" };

static const char *zone_folder(void)
{
    struct stat st;
    const char *own = getenv("TZDIR");
    if (own && *own)
        return own;
    for (size_t i = 0; i < sizeof zone_folders / sizeof *zone_folders; i++)
        if (stat(zone_folders[i], &st) == 0)
            return zone_folders[i];
    return zone_folders[0];
}

struct zone_names {
    char *at[ZONE_NAMES + 1];
    size_t count;
};

/* The names below a folder, which begin with a capital as those of zones do. */
static void zone_list(const char *folder, const char *before, int depth, struct zone_names *out)
{
    DIR *d = opendir(folder);
    for (struct dirent *entry; d && out->count < ZONE_NAMES && (entry = readdir(d));) {
        char path[ZONE_PATH], name[ZONE_NAME * 2];
        struct stat st;
        if (entry->d_name[0] < 'A' || entry->d_name[0] > 'Z'
            || snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path
            || snprintf(name, sizeof name, "%s%s%s", before, *before ? "/" : "", entry->d_name) >= (int)sizeof name
            || stat(path, &st) != 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth > 1)
            zone_list(path, name, depth - 1, out);
        else if (S_ISREG(st.st_mode))
            out->at[out->count++] = str_dup(str_of(name));
    }
    if (d)
        closedir(d);
}

/* The zone of which it is the city, else the one whose name is near. */
static const char *zone_near(const char *name, const struct zone_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        const char *city = strrchr(names->at[i], '/');
        if (city && str_eq_nocase(str_of(city + 1), str_of(name)))
            return names->at[i];
    }
    return str_nearest(str_of(name), (const char *const *)names->at);
}

static void zone_refuse(const char *name, const char *folder, struct err *e)
{
    struct zone_names *names = mem_alloc(sizeof *names);
    zone_list(folder, "", ZONE_DEPTH, names);
    const char *near = zone_near(name, names);
    if (near)
        err_set(e, "there is no time zone \"%.64s\" (did you mean %s?)", name, near);
    else if (names->count)
        err_set(e, "there is no time zone \"%.64s\" in %.200s (names are as Europe/Berlin; an offset is as +02:00)",
                name, folder);
    else
        err_set(
            e,
            "there is no time zone \"%.64s\", as there is no time zone database in %.200s: install tzdata, or write an "
            "offset as +02:00",
            name, folder);
    for (size_t i = 0; i < names->count; i++)
        free(names->at[i]);
    free(names);
}

static bool zone_is_name(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/");
    return n > 0 && n <= ZONE_NAME && !name[n] && name[0] != '/';
}

static bool zone_read(const char *name, struct tzif *out, struct err *e)
{
    const char *folder = zone_folder();
    char *path = str_join(folder, "/", name);
    struct buf file = buf_new(TZIF_BYTES + 1);
    bool there = zone_is_name(name) && file_read(path, TZIF_BYTES, &file),
         good = there && tzif_read(buf_str(&file), out);
    if (!there)
        zone_refuse(name, folder, e);
    else if (!good)
        err_set(e, "%.200s is no compiled time zone, or it is damaged", path);
    buf_free(&file);
    free(path);
    return good;
}

/* ---- a zone ---- */

static int64_t zone_larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void zone_fill(struct zone *z, const struct tzif *t)
{
    int32_t before = z->first = t->first;
    z->changes = mem_alloc((t->count + 1) * sizeof *z->changes);
    for (size_t i = 0; i < t->count; i++) {
        const struct tzif_change *c = &t->changes[i];
        int64_t wall = c->at + zone_larger(before, c->offset);
        if (z->count) /* two changes within hours */
            wall = zone_larger(wall, z->changes[z->count - 1].wall);
        z->changes[z->count++] = (struct zone_change){ wall, c->offset < before ? c->at + c->offset : wall, c->offset };
        before = c->offset;
    }
}

/* +02:00 */
static bool zone_is_offset(const char *name, int32_t *seconds)
{
    static const int64_t at_utc = INT64_C(946684800000);
    char text[CLOCK_TEXT + ZONE_NAME];
    int64_t ms;
    snprintf(text, sizeof text, "2000-01-01T00:00:00%.63s", name);
    bool good = (name[0] == '+' || name[0] == '-') && clock_parse(str_of(text), &ms);
    *seconds = good ? (int32_t)((at_utc - ms) / 1000) : 0;
    return good;
}

struct zone *zone_new(const char *name, struct err *e)
{
    struct zone z = { 0 };
    struct tzif t = { 0 };
    if (strcmp(name, "UTC") != 0 && strcmp(name, "Z") != 0 && !zone_is_offset(name, &t.first)
        && !zone_read(name, &t, e))
        return NULL;
    zone_fill(&z, &t);
    tzif_free(&t);
    struct zone *out = mem_alloc(sizeof *out);
    *out = z;
    return out;
}

void zone_free(struct zone *z)
{
    if (z)
        free(z->changes);
    free(z);
}

/* How many changes that time of the clock is behind. */
static size_t zone_find(const struct zone *z, int64_t wall)
{
    size_t from = 0, to = z->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (z->changes[middle].wall <= wall)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static int64_t zone_seconds(int64_t ms)
{
    return ms / 1000 - (ms % 1000 < 0);
}

int64_t zone_utc(const struct zone *z, int64_t wall_ms)
{
    if (!z)
        return wall_ms;
    size_t n = zone_find(z, zone_seconds(wall_ms));
    return wall_ms - (n ? z->changes[n - 1].offset : z->first) * INT64_C(1000);
}

int64_t zone_again(const struct zone *z, int64_t wall_ms, int64_t *begin_ms)
{
    *begin_ms = wall_ms;
    if (!z || !z->count)
        return 0;
    int64_t wall = zone_seconds(wall_ms);
    size_t n = zone_find(z, wall);
    if (n == z->count || wall < z->changes[n].doubled)
        return 0;
    *begin_ms = z->changes[n].doubled * 1000;
    return ((n ? z->changes[n - 1].offset : z->first) - z->changes[n].offset) * INT64_C(1000);
}
