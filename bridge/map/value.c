/* SPDX-License-Identifier: MIT */
/* SQLite values as typed keys, hashes, JSON and times. */
#include "bridge/map/value.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct str value_text(sqlite3_stmt *row, int col)
{
    const char *at = (const char *)sqlite3_column_text(row, col); /* before bytes: it may convert */
    return (struct str){ at ? at : "", at ? (size_t)sqlite3_column_bytes(row, col) : 0 };
}

struct str value_blob(sqlite3_stmt *row, int col)
{
    const char *at = sqlite3_column_blob(row, col); /* NULL for an empty one */
    return (struct str){ at ? at : "", at ? (size_t)sqlite3_column_bytes(row, col) : 0 };
}

static uint64_t value_bits(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return bits;
}

/* Of its 8 bytes, the highest first. */
static double value_real(struct str bytes)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < 8; i++)
        bits = bits << 8 | (unsigned char)bytes.at[i];
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* A long text or BLOB as its hash. */
static void value_add_hash(struct buf *out, bool text, struct str bytes)
{
    char id[UUID_TEXT];
    uuid_of((struct str[]){ text ? STR("t") : STR("x"), bytes }, 2, id);
    buf_add_char(out, 'h');
    buf_add_c(out, id);
}

void value_key(struct buf *out, sqlite3_stmt *row, int col)
{
    int type = sqlite3_column_type(row, col);
    if (type == SQLITE_INTEGER) {
        buf_printf(out, "i%" PRId64, (int64_t)sqlite3_column_int64(row, col));
        return;
    }
    if (type == SQLITE_FLOAT) {
        buf_printf(out, "r%016" PRIx64, value_bits(sqlite3_column_double(row, col)));
        return;
    }
    if (type == SQLITE_NULL) {
        buf_add_char(out, 'n');
        return;
    }
    bool text = type == SQLITE_TEXT;
    struct str bytes = text ? value_text(row, col) : value_blob(row, col);
    if (bytes.n > (text ? KEY_BYTES : KEY_BYTES / 2)) {
        value_add_hash(out, text, bytes);
        return;
    }
    buf_add_char(out, text ? 't' : 'x');
    if (text)
        buf_add_str(out, bytes);
    else
        hex_add(out, bytes);
}

char *value_exact(sqlite3_stmt *row, int col)
{
    int type = sqlite3_column_type(row, col);
    bool text = type == SQLITE_TEXT;
    struct str bytes = text ? value_text(row, col) : type == SQLITE_BLOB ? value_blob(row, col) : STR("");
    if (type == SQLITE_INTEGER) { /* most of all */
        char number[24];
        snprintf(number, sizeof number, "i%" PRId64, (int64_t)sqlite3_column_int64(row, col));
        return str_dup(str_of(number));
    }
    struct buf out = buf_new(2 * bytes.n + 32);
    if (type != SQLITE_TEXT && type != SQLITE_BLOB) {
        value_key(&out, row, col);
    } else if (text && !memchr(bytes.at, '\0', bytes.n)) {
        buf_add_char(&out, 't');
        buf_add_str(&out, bytes);
    } else {
        buf_add_char(&out, text ? 'T' : 'x');
        hex_add(&out, bytes);
    }
    CHECK(!out.failed);
    char *exact = str_dup(buf_str(&out));
    buf_free(&out);
    return exact;
}

/* How much of a text, or of hex, may be kept so that no character is cut. */
static size_t value_whole_characters(const char *at, size_t n, bool hex)
{
    size_t step = hex ? 2 : 1;
    n -= n % step;
    while (n >= step && (hex ? strchr("89abAB", at[n]) != NULL : ((unsigned char)at[n] & 0xc0) == 0x80))
        n -= step;
    return n;
}

char *value_cut(const char *exact)
{
    size_t n = strlen(exact);
    if (n <= EXACT_BYTES || !strchr("tTx", exact[0]))
        return str_dup(str_of(exact));
    bool hex = exact[0] != 't';
    n = exact[0] == 'x' ? EXACT_BYTES - 2 : value_whole_characters(exact + 1, EXACT_BYTES - 2, hex);
    char *cut = str_dup((struct str){ exact, n + 1 });
    cut[0] = exact[0] == 't' ? 'c' : exact[0] == 'T' ? 'C' : 'X';
    return cut;
}

bool value_is_cut(const char *kept)
{
    return kept && strchr("cCX", kept[0]) != NULL;
}

bool value_begins_with(const char *exact, const char *cut)
{
    char whole = cut[0] == 'c' ? 't' : cut[0] == 'C' ? 'T' : 'x';
    return exact[0] == whole && strncmp(exact + 1, cut + 1, strlen(cut + 1)) == 0;
}

char *value_hashed(const char *exact)
{
    struct buf bytes = buf_new(strlen(exact)), out = buf_new(UUID_TEXT + 8);
    bool hex = exact[0] != 't';
    if (hex)
        hex_decode(&bytes, str_of(exact + 1));
    value_add_hash(&out, exact[0] != 'x', hex ? buf_str(&bytes) : str_of(exact + 1));
    char *hashed = str_dup(buf_str(&out));
    buf_free(&bytes);
    buf_free(&out);
    return hashed;
}

bool value_is(sqlite3_stmt *row, int col, const char *kept)
{
    if (kept[0] != 'h') {
        char *exact = value_exact(row, col);
        bool same = strcmp(exact, kept) == 0;
        free(exact);
        return same;
    }
    struct buf key = buf_new(KEY_BYTES + 8);
    value_key(&key, row, col);
    bool same = str_eq(buf_str(&key), str_of(kept));
    buf_free(&key);
    return same;
}

static bool value_bind_hex(sqlite3_stmt *stmt, int at, char kind, struct str hex)
{
    struct buf bytes = buf_new(hex.n / 2 + 1);
    bool good = hex_decode(&bytes, hex);
    struct str whole = buf_str(&bytes);
    if (good && kind == 'x') {
        good = sqlite3_bind_blob(stmt, at, whole.at, (int)whole.n, SQLITE_TRANSIENT) == SQLITE_OK;
    } else if (good && kind == 'T') {
        good = sqlite3_bind_text(stmt, at, whole.at, (int)whole.n, SQLITE_TRANSIENT) == SQLITE_OK;
    } else if (good && whole.n == 8) {
        good = sqlite3_bind_double(stmt, at, value_real(whole)) == SQLITE_OK;
    }
    buf_free(&bytes);
    return good;
}

bool value_bind(sqlite3_stmt *stmt, int at, struct str key)
{
    CHECK(key.n > 0);
    struct str rest = { key.at + 1, key.n - 1 };
    int64_t number;
    switch (key.at[0]) {
    case 'i': return str_to_i64(rest, &number) && sqlite3_bind_int64(stmt, at, number) == SQLITE_OK;
    case 'c':
    case 't': return sqlite3_bind_text(stmt, at, rest.at, (int)rest.n, SQLITE_TRANSIENT) == SQLITE_OK;
    case 'C':
    case 'T': return value_bind_hex(stmt, at, 'T', rest);
    case 'X':
    case 'x': return value_bind_hex(stmt, at, 'x', rest);
    case 'r': return value_bind_hex(stmt, at, 'r', rest);
    }
    return false;
}

struct str value_key_plain(struct str key)
{
    return key.n ? (struct str){ key.at + 1, key.n - 1 } : key;
}

uint64_t value_hash(sqlite3_stmt *row, int col)
{
    int type = sqlite3_column_type(row, col);
    uint64_t hash = 1;
    if (type == SQLITE_INTEGER) {
        int64_t number = sqlite3_column_int64(row, col);
        hash = str_hash((struct str){ (const char *)&number, sizeof number });
    } else if (type == SQLITE_FLOAT) {
        uint64_t bits = value_bits(sqlite3_column_double(row, col));
        hash = str_hash((struct str){ (const char *)&bits, sizeof bits });
    } else if (type != SQLITE_NULL) {
        hash = str_hash(type == SQLITE_TEXT ? value_text(row, col) : value_blob(row, col));
    }
    hash ^= (uint64_t)type * 0x9e3779b97f4a7c15u;
    return hash ? hash : 1;
}

void value_plain(struct buf *out, sqlite3_stmt *row, int col)
{
    if (sqlite3_column_type(row, col) == SQLITE_NULL)
        buf_add_c(out, "null");
    else if (sqlite3_column_type(row, col) == SQLITE_BLOB)
        hex_add(out, value_blob(row, col));
    else
        buf_add_str(out, value_text(row, col));
}

void value_json_real(struct buf *out, double d)
{
    if (!isfinite(d)) {
        buf_add_c(out, "null");
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) { /* the shortest that reads back as the same number */
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (value_bits(strtod(text, NULL)) == value_bits(d))
            break;
    }
    buf_add_c(out, text);
}

/* A BLOB's or number's key, kept as hex, as value_json() shows the value. False: it is not of that kind. */
static bool value_key_json_hex(struct buf *out, struct str key)
{
    struct buf bytes = buf_new(key.n + 1);
    bool good = key.n && (key.at[0] == 'x' || key.at[0] == 'r') && hex_decode(&bytes, value_key_plain(key));
    struct str whole = buf_str(&bytes);
    if (good && key.at[0] == 'x') {
        buf_add_char(out, '"');
        base64_add(out, whole);
        buf_add_char(out, '"');
    } else if (good && whole.n == 8) {
        value_json_real(out, value_real(whole));
    } else {
        good = false;
    }
    buf_free(&bytes);
    return good;
}

void value_key_json(struct buf *out, struct str key)
{
    if (key.n && key.at[0] == 'i')
        buf_add_str(out, value_key_plain(key));
    else if (key.n && key.at[0] == 'n')
        buf_add_c(out, "null");
    else if (!value_key_json_hex(out, key))
        jscan_add_string(out, value_key_plain(key));
}

static bool value_is_masked(struct str name, const struct strings *mask)
{
    char plain[128];
    struct buf unescaped = { .at = plain, .cap = sizeof plain, .max = sizeof plain };
    if (memchr(name.at, '\\', name.n) && name.n + 2 <= sizeof plain) {
        char quoted[sizeof plain];
        snprintf(quoted, sizeof quoted, "\"%.*s\"", STR_ARG(name));
        jscan_unescape(&unescaped, (struct str){ quoted, name.n + 2 });
        name = buf_str(&unescaped);
    }
    for (size_t i = 0; i < mask->count; i++)
        if (str_eq_nocase(name, str_of(mask->at[i])))
            return true;
    return false;
}

/* Behind the string that begins at `at` (on its quote), in JSON that was checked. */
static const char *value_string_end(const char *at)
{
    for (at++; *at != '"'; at++)
        if (*at == '\\')
            at++;
    return at + 1;
}

static const char *value_skip_space(const char *at, const char *end)
{
    while (at < end && strchr(" \t\r\n", *at))
        at++;
    return at;
}

/* Behind the value that begins at `at`, in JSON that was checked. */
static const char *value_behind(const char *at, const char *end)
{
    int depth = 0;
    do {
        if (*at == '"') {
            at = value_string_end(at);
            continue;
        }
        if (*at == '{' || *at == '[')
            depth++;
        else if (*at == '}' || *at == ']')
            depth--;
        else if (depth == 0) { /* a number or a literal */
            while (at < end && !strchr(",}] \t\r\n", *at))
                at++;
            return at;
        }
        at++;
    } while (depth > 0 && at < end);
    return at;
}

/* Copies checked JSON; the values of members that the mask names, at any depth, become "***". */
static void value_json_masked(struct buf *out, struct str json, const struct strings *mask)
{
    const char *at = json.at, *end = json.at + json.n;
    while (at < end) {
        if (*at != '"') {
            buf_add_char(out, *at++);
            continue;
        }
        const char *behind = value_string_end(at), *colon = value_skip_space(behind, end);
        buf_add(out, at, (size_t)(behind - at));
        struct str name = { at + 1, (size_t)(behind - at) - 2 };
        at = behind;
        if (colon < end && *colon == ':' && value_is_masked(name, mask)) {
            buf_add_c(out, ":\"***\"");
            at = value_behind(value_skip_space(colon + 1, end), end);
        }
    }
}

struct str value_mask_inside(struct buf *out, struct str text, const struct strings *mask)
{
    struct jscan_value value;
    const char *end = text.at + text.n, *first = value_skip_space(text.at, end);
    if (!mask->count || first == end || (*first != '{' && *first != '[') || !jscan_check(text, &value, NULL))
        return text;
    value_json_masked(out, text, mask);
    return out->failed ? STR("***") : buf_str(out);
}

static void value_json_text(struct buf *out, struct str text, enum form form, const struct strings *mask,
                            bool *repaired)
{
    struct jscan_value value;
    if (form == FORM_JSON && jscan_check(text, &value, NULL)) {
        if (mask->count)
            value_json_masked(out, text, mask);
        else
            buf_add_str(out, text);
        return;
    }
    if (form == FORM_JSON && mask->count) { /* not JSON, so nothing in it can be told apart */
        buf_add_c(out, text.n ? "\"***\"" : "\"\"");
        return;
    }
    struct buf masked = buf_new(text.n * 4 + 64);
    text = value_mask_inside(&masked, text, mask);
    if (!str_is_utf8(text))
        *repaired = true;
    jscan_add_string(out, text);
    buf_free(&masked);
}

static void value_json_blob(struct buf *out, struct str bytes, const struct strings *mask)
{
    struct buf masked = buf_new(bytes.n * 4 + 64);
    buf_add_char(out, '"');
    base64_add(out, value_mask_inside(&masked, bytes, mask));
    buf_add_char(out, '"');
    buf_free(&masked);
}

void value_json(struct buf *out, sqlite3_stmt *row, int col, enum form form, const struct strings *mask,
                const struct zone *zone, bool *repaired)
{
    int type = sqlite3_column_type(row, col);
    int64_t ms;
    if (type == SQLITE_NULL) {
        buf_add_c(out, "null");
    } else if (form == FORM_TIME && value_time_in(row, col, zone, &ms)) {
        char text[CLOCK_TEXT];
        clock_text(ms, text);
        jscan_add_string(out, str_of(text));
    } else if (type == SQLITE_INTEGER && form == FORM_BOOL) {
        buf_add_c(out, sqlite3_column_int64(row, col) ? "true" : "false");
    } else if (type == SQLITE_INTEGER) {
        buf_printf(out, "%" PRId64, (int64_t)sqlite3_column_int64(row, col));
    } else if (type == SQLITE_FLOAT) {
        double d = sqlite3_column_double(row, col);
        *repaired = *repaired || !isfinite(d);
        value_json_real(out, d);
    } else if (type == SQLITE_BLOB) {
        value_json_blob(out, value_blob(row, col), mask);
    } else {
        value_json_text(out, value_text(row, col), form, mask, repaired);
    }
}

static bool value_time_of_number(double n, int64_t exact, int64_t *ms)
{
    double size = fabs(n);
    if (!(size < 9.2e18))
        return false;
    if (size >= 1e17)
        *ms = exact / 1000000;
    else if (size >= 1e14)
        *ms = exact / 1000;
    else if (size >= 1e11)
        *ms = exact;
    else
        *ms = (int64_t)llround(n * 1000);
    return *ms > -62135596800000 && *ms < 253402300800000; /* years 1 to 9999 */
}

/* *local: it does not say its offset. */
static bool value_time_of_text(struct str text, int64_t *ms, bool *local)
{
    char iso[48];
    text = str_trim(text);
    if (text.n < 10 || text.n > sizeof iso - 12)
        return str_to_i64(text, ms) && value_time_of_number((double)*ms, *ms, ms);
    memcpy(iso, text.at, text.n);
    iso[text.n] = '\0';
    if (text.n == 10)
        snprintf(iso + 10, sizeof iso - 10, "T00:00:00");
    iso[10] = 'T';
    bool bare = !strpbrk(iso + 11, "Zz+-");
    if (bare)
        snprintf(iso + strlen(iso), sizeof iso - strlen(iso), "Z");
    *local = bare && clock_parse(str_of(iso), ms);
    if (*local || clock_parse(str_of(iso), ms))
        return true;
    return str_to_i64(text, ms) && value_time_of_number((double)*ms, *ms, ms);
}

static bool value_read_time(sqlite3_stmt *row, int col, int64_t *ms, bool *local)
{
    *local = false;
    switch (sqlite3_column_type(row, col)) {
    case SQLITE_INTEGER: {
        int64_t n = sqlite3_column_int64(row, col);
        return value_time_of_number((double)n, n, ms);
    }
    case SQLITE_FLOAT: {
        double n = sqlite3_column_double(row, col);
        if (n > 1721425.5 && n < 5373484.5) { /* a Julian day of the years 1 to 9999 */
            *ms = (int64_t)llround((n - 2440587.5) * 86400000.0);
            return true;
        }
        return fabs(n) < 9.2e18 && value_time_of_number(n, (int64_t)n, ms);
    }
    case SQLITE_TEXT: return value_time_of_text(value_text(row, col), ms, local);
    }
    return false;
}

bool value_time_of(struct str text, int64_t *ms)
{
    bool local;
    return value_time_of_text(text, ms, &local);
}

bool value_time(sqlite3_stmt *row, int col, int64_t *ms)
{
    bool local;
    return value_read_time(row, col, ms, &local);
}

bool value_time_in(sqlite3_stmt *row, int col, const struct zone *zone, int64_t *ms)
{
    bool local, good = value_read_time(row, col, ms, &local);
    if (good && local)
        *ms = zone_utc(zone, *ms);
    return good;
}

bool value_time_until(sqlite3_stmt *row, int col, const struct zone *zone, int64_t now, int64_t *ms)
{
    bool local, good = value_read_time(row, col, ms, &local);
    if (!good || !local)
        return good;
    int64_t begin, again = zone_again(zone, *ms, &begin);
    *ms = zone_utc(zone, *ms);
    *ms += *ms + again <= now ? again : 0;
    return true;
}
