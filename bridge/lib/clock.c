/* SPDX-License-Identifier: MIT */
/* The clocks, the fake one, and RFC 3339. */
#include "bridge/lib/clock.h"
#include <stdatomic.h>
#include <time.h>

static atomic_bool fake;
static atomic_int_least64_t fake_mono_ms, fake_wall_ms;

static int64_t clock_now_us(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
    return fake ? fake_mono_ms * 1000 : clock_now_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

int64_t clock_elapsed_ms(void)
{
    return fake ? fake_mono_ms : clock_now_us(CLOCK_BOOTTIME) / 1000;
}

int64_t clock_wall_us(void)
{
    return fake ? fake_wall_ms * 1000 : clock_now_us(CLOCK_REALTIME);
}

int64_t clock_wall_ms(void)
{
    return clock_wall_us() / 1000;
}

void clock_fake(int64_t mono_ms, int64_t wall_ms)
{
    fake_mono_ms = mono_ms;
    fake_wall_ms = wall_ms;
    fake = true;
}

void clock_fake_advance(int64_t ms)
{
    fake_mono_ms += ms;
    fake_wall_ms += ms;
}

void clock_real(void)
{
    fake = false;
}

enum { DAY_MS = 24 * 60 * 60 * 1000, DAYS_TO_1970 = 719468, ERA_DAYS = 146097 };

/* Years begin in March here, so that the leap day comes last. */
int64_t clock_days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - DAYS_TO_1970;
}

static void clock_date_of(int64_t days, int *year, int *month, int *day)
{
    int64_t z = days + DAYS_TO_1970;
    int64_t era = (z >= 0 ? z : z - (ERA_DAYS - 1)) / ERA_DAYS;
    int64_t d = z - era * ERA_DAYS;
    int64_t y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
    int64_t day_of_year = d - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = (int)(y + era * 400 + (*month <= 2));
}

/* Writes `width` digits and the character that follows; returns where to go on. */
static char *clock_put(char *out, int width, int64_t value, char after)
{
    for (int i = width - 1; i >= 0; i--, value /= 10)
        out[i] = (char)('0' + value % 10);
    out[width] = after;
    return out + width + 1;
}

void clock_text(int64_t wall_ms, char out[CLOCK_TEXT])
{
    const int64_t first = -62167219200000, last = 253402300799999; /* years 0000 and 9999 */
    int64_t ms = wall_ms < first ? first : wall_ms > last ? last : wall_ms;
    int64_t days = (ms - (ms < 0 ? DAY_MS - 1 : 0)) / DAY_MS;
    int64_t rest = ms - days * DAY_MS;
    int year, month, day;
    clock_date_of(days, &year, &month, &day);
    out = clock_put(out, 4, year, '-');
    out = clock_put(out, 2, month, '-');
    out = clock_put(out, 2, day, 'T');
    out = clock_put(out, 2, rest / 3600000, ':');
    out = clock_put(out, 2, rest / 60000 % 60, ':');
    out = clock_put(out, 2, rest / 1000 % 60, '.');
    out = clock_put(out, 3, rest % 1000, 'Z');
    *out = '\0';
}

/* Reads `count` digits from the front of *s; false when they are not there or the number is outside [min, max]. */
static bool clock_digits(struct str *s, size_t count, int min, int max, int *out)
{
    uint64_t value;
    if (s->n < count || !str_to_u64((struct str){ s->at, count }, &value))
        return false;
    *s = str_from(*s, count);
    *out = (int)value;
    return *out >= min && *out <= max;
}

static bool clock_one_of(struct str *s, const char *chars)
{
    if (s->n == 0 || s->at[0] == '\0' || !strchr(chars, s->at[0]))
        return false;
    *s = str_from(*s, 1);
    return true;
}

static bool clock_fraction(struct str *s, int *ms)
{
    int scale = 100;
    *ms = 0;
    if (!clock_one_of(s, "."))
        return true;
    if (s->n == 0 || s->at[0] < '0' || s->at[0] > '9')
        return false;
    for (; s->n > 0 && s->at[0] >= '0' && s->at[0] <= '9'; scale /= 10) {
        *ms += (s->at[0] - '0') * scale;
        *s = str_from(*s, 1);
    }
    return true;
}

static bool clock_offset_minutes(struct str *s, int *out)
{
    int hours, minutes;
    *out = 0;
    if (clock_one_of(s, "Zz"))
        return true;
    bool west = s->n > 0 && s->at[0] == '-';
    if (!clock_one_of(s, "+-") || !clock_digits(s, 2, 0, 23, &hours) || !clock_one_of(s, ":")
        || !clock_digits(s, 2, 0, 59, &minutes))
        return false;
    *out = (hours * 60 + minutes) * (west ? -1 : 1);
    return true;
}

int clock_days_in(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

bool clock_parse(struct str s, int64_t *wall_ms)
{
    int year, month, day, hour, minute, second, ms, offset;
    bool ok = clock_digits(&s, 4, 0, 9999, &year) && clock_one_of(&s, "-") && clock_digits(&s, 2, 1, 12, &month)
              && clock_one_of(&s, "-") && clock_digits(&s, 2, 1, clock_days_in(year, month), &day)
              && clock_one_of(&s, "Tt") && clock_digits(&s, 2, 0, 23, &hour) && clock_one_of(&s, ":")
              && clock_digits(&s, 2, 0, 59, &minute) && clock_one_of(&s, ":") && clock_digits(&s, 2, 0, 60, &second)
              && clock_fraction(&s, &ms) && clock_offset_minutes(&s, &offset) && s.n == 0;
    if (!ok)
        return false;
    int64_t minutes = clock_days_of(year, month, day) * 1440 + hour * 60 + minute - offset;
    if (second == 60) {
        /* Leap seconds end a day of UTC; we have no room for one and count it as the last millisecond before. */
        if ((minutes % 1440 + 1440) % 1440 != 1439)
            return false;
        second = 59;
        ms = 999;
    }
    *wall_ms = minutes * 60000 + second * 1000 + ms;
    return true;
}

bool clock_since(struct str text, int64_t *wall_ms)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = { { 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 } };
    uint64_t n;
    if (clock_parse(text, wall_ms))
        return true;
    for (size_t i = 0; text.n && i < sizeof units / sizeof *units; i++)
        if (text.at[text.n - 1] == units[i].unit && str_to_u64((struct str){ text.at, text.n - 1 }, &n)
            && n < 1000000) {
            *wall_ms = clock_wall_ms() - (int64_t)n * units[i].ms;
            return true;
        }
    return false;
}
