/* SPDX-License-Identifier: MIT */
/* Reads TZif: the header, the block of changes with the widest times, and the footer's rule. */
#include "bridge/lib/tzif.h"
#include <stdlib.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

enum {
    TZIF_HEADER = 44,
    TZIF_DAY = 86400,
    TZIF_OFFSET_LEAST = -89999, /* as the format allows */
    TZIF_OFFSET_MOST = 93599,
    TZIF_HOURS_MOST = 167, /* of a rule's time of day */
    TZIF_FIRST_YEAR = 1970,
};
static const int64_t tzif_times_most = INT64_C(1) << 60;

/* ---- bytes ---- */

static uint32_t tzif_u32(const char *at)
{
    uint32_t n = 0;
    for (int i = 0; i < 4; i++)
        n = n << 8 | (unsigned char)at[i];
    return n;
}

static int64_t tzif_time(const char *at, size_t width)
{
    uint64_t n = 0;
    for (size_t i = 0; i < width; i++)
        n = n << 8 | (unsigned char)at[i];
    return width == 4 ? (int32_t)(uint32_t)n : (int64_t)n;
}

struct tzif_block {
    uint32_t utc, standard, leap, times, types, chars; /* counts */
    size_t width;                                      /* bytes of a time */
};

/* Takes a header; the counts are bounded by what is left of the file. */
static bool tzif_header(struct str *file, size_t width, struct tzif_block *out, char *version)
{
    if (file->n < TZIF_HEADER || memcmp(file->at, "TZif", 4) != 0)
        return false;
    uint32_t *all[] = { &out->utc, &out->standard, &out->leap, &out->times, &out->types, &out->chars };
    *version = file->at[4];
    for (size_t i = 0; i < 6; i++) {
        *all[i] = tzif_u32(file->at + 20 + 4 * i);
        if (*all[i] > file->n)
            return false;
    }
    out->width = width;
    *file = str_from(*file, TZIF_HEADER);
    return true;
}

/* Takes a block's data; absent: it is longer than the file. */
static struct str tzif_take(struct str *file, const struct tzif_block *b)
{
    size_t n = b->times * (b->width + 1) + b->types * (size_t)6 + b->chars + b->leap * (b->width + 4) + b->standard
               + b->utc;
    if (n > file->n)
        return STR_ABSENT;
    struct str data = { file->at, n };
    *file = str_from(*file, n);
    return data;
}

/* ---- changes ---- */

static bool tzif_is_offset(int64_t seconds)
{
    return seconds >= TZIF_OFFSET_LEAST && seconds <= TZIF_OFFSET_MOST;
}

static void tzif_add(struct tzif *t, int64_t at, int32_t offset)
{
    if (t->count % 64 == 0)
        t->changes = mem_grow(t->changes, t->count + 64, sizeof *t->changes);
    t->changes[t->count++] = (struct tzif_change){ at, offset };
}

static bool tzif_changes(const struct tzif_block *b, struct str data, struct tzif *out)
{
    const char *indices = data.at + b->times * b->width, *types = indices + b->times;
    if (b->types == 0)
        return false;
    for (uint32_t i = 0; i < b->types; i++)
        if (!tzif_is_offset((int32_t)tzif_u32(types + i * (size_t)6)))
            return false;
    out->first = (int32_t)tzif_u32(types);
    for (uint32_t i = 0; i < b->times; i++) {
        int64_t at = tzif_time(data.at + i * b->width, b->width);
        unsigned type = (unsigned char)indices[i];
        if (type >= b->types || at > tzif_times_most || at < -tzif_times_most
            || (out->count && at <= out->changes[out->count - 1].at))
            return false;
        tzif_add(out, at, (int32_t)tzif_u32(types + type * (size_t)6));
    }
    return true;
}

/* ---- the footer: CET-1CEST,M3.5.0,M10.5.0/3 ---- */

struct tzif_day {
    char kind;            /* 'M': month.week.weekday; 'J': day 1..365, never February 29; 'N': day 0..365 */
    int month, week, day; /* week 5: the last */
    int64_t seconds;      /* of that day, by the clock before the change */
};

static bool tzif_number(struct str *s, int most, int *out)
{
    size_t n = 0;
    *out = 0;
    for (; n < s->n && n < 3 && s->at[n] >= '0' && s->at[n] <= '9'; n++)
        *out = *out * 10 + (s->at[n] - '0');
    *s = str_from(*s, n);
    return n > 0 && *out <= most;
}

static bool tzif_sign(struct str *s, char c)
{
    if (!s->n || s->at[0] != c)
        return false;
    *s = str_from(*s, 1);
    return true;
}

/* [+-]hh[:mm[:ss]] */
static bool tzif_clock(struct str *s, int hours_most, int64_t *seconds)
{
    int part[3] = { 0 };
    bool minus = tzif_sign(s, '-');
    if (!minus)
        tzif_sign(s, '+');
    if (!tzif_number(s, hours_most, &part[0]))
        return false;
    for (int i = 1; i < 3 && tzif_sign(s, ':'); i++)
        if (!tzif_number(s, 59, &part[i]))
            return false;
    *seconds = (part[0] * INT64_C(3600) + part[1] * 60 + part[2]) * (minus ? -1 : 1);
    return true;
}

/* CET, <+03> */
static bool tzif_word(struct str *s)
{
    bool quoted = tzif_sign(s, '<');
    size_t n = 0;
    for (; n < s->n && (quoted ? s->at[n] != '>' : ((s->at[n] | 0x20) >= 'a' && (s->at[n] | 0x20) <= 'z')); n++) {}
    *s = str_from(*s, n);
    return n > 0 && (!quoted || tzif_sign(s, '>'));
}

static bool tzif_day(struct str *s, struct tzif_day *out)
{
    *out = (struct tzif_day){ .kind = 'N', .seconds = 2 * 3600 };
    if (!tzif_sign(s, ','))
        return false;
    if (tzif_sign(s, 'M')) {
        out->kind = 'M';
        if (!tzif_number(s, 12, &out->month) || out->month == 0 || !tzif_sign(s, '.') || !tzif_number(s, 5, &out->week)
            || out->week == 0 || !tzif_sign(s, '.') || !tzif_number(s, 6, &out->day))
            return false;
    } else {
        out->kind = tzif_sign(s, 'J') ? 'J' : 'N';
        if (!tzif_number(s, 365, &out->day) || (out->kind == 'J' && out->day == 0))
            return false;
    }
    return !tzif_sign(s, '/') || tzif_clock(s, TZIF_HOURS_MOST, &out->seconds);
}

/* Of that year, in seconds since 1970 by the clock before the change. */
static int64_t tzif_when(const struct tzif_day *d, int year)
{
    int64_t days = clock_days_of(year, 1, 1);
    if (d->kind == 'M') {
        int last = clock_days_in(year, d->month);
        int64_t first = clock_days_of(year, d->month, 1);
        int weekday = (int)(((first + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
        int day = (d->day - weekday + 7) % 7 + 7 * (d->week - 1);
        days = first + (day < last ? day : day - 7);
    } else {
        bool behind = d->kind == 'J' && d->day > 59 && clock_days_in(year, 2) == 29;
        days += d->day - (d->kind == 'J') + behind;
    }
    return days * TZIF_DAY + d->seconds;
}

static void tzif_add_later(struct tzif *t, int64_t at, int64_t offset)
{
    if (t->count == 0 || at > t->changes[t->count - 1].at)
        tzif_add(t, at, (int32_t)offset);
}

/* The year of the last change, from which on the rule may hold. */
static int tzif_year(const struct tzif *t)
{
    int year = TZIF_FIRST_YEAR;
    while (t->count && year < TZIF_LAST_YEAR && clock_days_of(year + 1, 1, 1) * TZIF_DAY <= t->changes[t->count - 1].at)
        year++;
    return year;
}

static bool tzif_footer(struct str s, struct tzif *out)
{
    int64_t standard, summer;
    struct tzif_day begin, end;
    if (!s.n)
        return true;
    if (!tzif_word(&s) || !tzif_clock(&s, 24, &standard))
        return false;
    standard = -standard; /* west is positive there */
    if (!s.n)
        return true;
    if (!tzif_word(&s))
        return false;
    summer = standard + 3600;
    if (s.n && s.at[0] != ',') {
        if (!tzif_clock(&s, 24, &summer))
            return false;
        summer = -summer;
    }
    if (!tzif_day(&s, &begin) || !tzif_day(&s, &end) || s.n || !tzif_is_offset(standard) || !tzif_is_offset(summer))
        return false;
    for (int year = tzif_year(out); year <= TZIF_LAST_YEAR; year++) {
        int64_t from = tzif_when(&begin, year) - standard, to = tzif_when(&end, year) - summer;
        if (to < from) /* the south */
            tzif_add_later(out, to, standard);
        tzif_add_later(out, from, summer);
        if (to > from)
            tzif_add_later(out, to, standard);
    }
    return true;
}

/* ---- the file ---- */

static bool tzif_read_all(struct str file, struct tzif *out)
{
    struct tzif_block b;
    char version;
    struct str data;
    if (!tzif_header(&file, 4, &b, &version) || !(data = tzif_take(&file, &b)).at)
        return false;
    if (version < '2')
        return tzif_changes(&b, data, out);
    if (!tzif_header(&file, 8, &b, &version) || !(data = tzif_take(&file, &b)).at || !tzif_changes(&b, data, out))
        return false;
    struct str line;
    return tzif_sign(&file, '\n') && str_cut(&file, '\n', &line) && file.at && tzif_footer(line, out);
}

bool tzif_read(struct str file, struct tzif *out)
{
    *out = (struct tzif){ 0 };
    bool good = file.n <= TZIF_BYTES && tzif_read_all(file, out);
    if (!good)
        tzif_free(out);
    return good;
}

void tzif_free(struct tzif *t)
{
    free(t->changes);
    *t = (struct tzif){ 0 };
}
