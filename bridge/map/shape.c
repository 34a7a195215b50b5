/* SPDX-License-Identifier: MIT */
/* Values in the forms of the vocabulary, and what privacy leaves of them. */
#include "bridge/map/shape.h"
#include <math.h>
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"
#include "bridge/map/value.h"

enum { SHAPE_MEMBERS = 64, SHAPE_NUMBER = 64 };

/* How it is told. (Any JSON of the application may hold all.) */
static enum tell shape_tell(const struct shaping *w, const struct vocabulary_path *path)
{
    enum tell content = path->content || path->form == VOCABULARY_OBJECT ? w->told->content : TELL_FULL,
              personal = path->personal || path->form == VOCABULARY_OBJECT ? w->told->personal : TELL_FULL;
    return content > personal ? content : personal;
}

static bool shape_is_told(const struct shaping *w, const struct vocabulary_path *path)
{
    return shape_tell(w, path) == TELL_FULL;
}

static void shape_name(struct buf *out, const char *name)
{
    buf_add_char(out, '"');
    buf_add_c(out, name);
    buf_add(out, "\":", 2);
}

static void shape_add_integer(struct buf *out, int64_t n)
{
    char digits[24], *at = digits + sizeof digits;
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (n < 0)
        *--at = '-';
    buf_add(out, at, (size_t)(digits + sizeof digits - at));
}

/* ---- texts ---- */

static size_t shape_chars(struct str text)
{
    size_t chars = 0;
    for (size_t i = 0; i < text.n; i++)
        chars += ((unsigned char)text.at[i] & 0xc0) != 0x80;
    return chars;
}

/* At most so many bytes, no character cut. */
static struct str shape_cut(struct str text, size_t max)
{
    size_t n = max;
    if (text.n <= max)
        return text;
    while (n > 0 && ((unsigned char)text.at[n] & 0xc0) == 0x80)
        n--;
    return (struct str){ text.at, n };
}

static void shape_digest(const struct shaping *w, struct buf *out, struct str text)
{
    unsigned char mac[SHA256_BYTES];
    hmac_sign(w->hmac, &text, 1, mac);
    buf_add_c(out, "\"hmac-sha256:");
    hex_add(out, (struct str){ (const char *)mac, sizeof mac });
    buf_add_char(out, '"');
}

/* The text as the source tells it: whole, cut, as a digest, or not. */
static void shape_told(const struct shaping *w, const struct binding *b, struct str text, struct cell *out)
{
    struct buf *json = w->json;
    size_t limit = b->path->content && w->told->content_max.n ? (size_t)w->told->content_max.n : text.n;
    struct str told = shape_cut(text, limit);
    switch (shape_tell(w, b->path)) {
    case TELL_NONE: return;
    case TELL_HASH:
        if (b->digested)
            return; /* beside it */
        shape_name(json, b->name);
        shape_digest(w, json, text);
        return;
    case TELL_FULL:
        out->large = told.n > w->max_event;
        out->cut = told.n < text.n;
        if (out->large || !told.n)
            return;
        shape_name(json, b->name);
        if (!str_is_utf8(told))
            metric_add(w->repaired, 1);
        jscan_add_string(json, told);
    }
}

/* What the bridge makes of the text. */
static void shape_made(const struct shaping *w, const struct binding *b, struct str text, struct cell *out)
{
    struct buf *json = w->json;
    if (b->counted) {
        shape_name(json, "chars");
        shape_add_integer(json, (int64_t)shape_chars(text));
    }
    if (b->digested && shape_tell(w, b->path) == TELL_HASH) {
        buf_add_c(json, ",\"digest\":");
        shape_digest(w, json, text);
    }
    if (b->marked && out->cut)
        buf_add_c(json, ",\"truncated\":true");
}

static void shape_text(const struct shaping *w, const struct binding *b, sqlite3_stmt *row, int col, struct cell *out)
{
    bool blob = sqlite3_column_type(row, col) == SQLITE_BLOB;
    struct str text = blob ? value_blob(row, col) : value_text(row, col);
    struct buf masked = buf_new(text.n * 4 + 64), coded = buf_new(text.n * 2 + 64);
    text = value_mask_inside(&masked, text, w->mask);
    if (blob) {
        base64_add(&coded, text);
        text = buf_str(&coded);
    }
    if (text.n)
        shape_told(w, b, text, out);
    out->n = w->json->n - out->at;
    out->more_at = w->json->n;
    shape_made(w, b, text, out);
    out->more_n = w->json->n - out->more_at;
    buf_free(&masked);
    buf_free(&coded);
}

/* ---- numbers, booleans, times ---- */

/* Is it a number, or text that is one? */
static bool shape_real(sqlite3_stmt *row, int col, double *out)
{
    char copy[SHAPE_NUMBER], *end;
    *out = sqlite3_column_double(row, col);
    if (sqlite3_column_type(row, col) == SQLITE_INTEGER || sqlite3_column_type(row, col) == SQLITE_FLOAT)
        return isfinite(*out);
    struct str text = str_trim(value_text(row, col));
    if (sqlite3_column_type(row, col) == SQLITE_BLOB || !text.n || text.n >= sizeof copy)
        return false;
    memcpy(copy, text.at, text.n);
    copy[text.n] = '\0';
    *out = strtod(copy, &end);
    return !*end && isfinite(*out);
}

static bool shape_integer(struct buf *json, sqlite3_stmt *row, int col)
{
    int64_t n;
    double d;
    if (sqlite3_column_type(row, col) == SQLITE_INTEGER)
        n = sqlite3_column_int64(row, col);
    else if (sqlite3_column_type(row, col) != SQLITE_TEXT || !str_to_i64(str_trim(value_text(row, col)), &n)) {
        if (!shape_real(row, col, &d) || fabs(d) >= 9e15)
            return false;
        n = (int64_t)llround(d);
    }
    shape_add_integer(json, n);
    return true;
}

static bool shape_number(struct buf *json, sqlite3_stmt *row, int col)
{
    double d;
    if (sqlite3_column_type(row, col) == SQLITE_INTEGER)
        return shape_integer(json, row, col);
    if (!shape_real(row, col, &d))
        return false;
    value_json_real(json, d);
    return true;
}

static bool shape_boolean(struct buf *json, sqlite3_stmt *row, int col)
{
    double d;
    struct str text = sqlite3_column_type(row, col) == SQLITE_TEXT ? str_trim(value_text(row, col)) : STR("");
    if (str_eq_nocase(text, STR("true")))
        d = 1;
    else if (str_eq_nocase(text, STR("false")))
        d = 0;
    else if (!shape_real(row, col, &d))
        return false;
    buf_add_c(json, d != 0 ? "true" : "false");
    return true;
}

static bool shape_time(const struct shaping *w, sqlite3_stmt *row, int col)
{
    int64_t ms;
    char text[CLOCK_TEXT];
    if (!value_time_in(row, col, w->zone, &ms))
        return false;
    clock_text(ms, text);
    jscan_add_string(w->json, str_of(text));
    return true;
}

/* ---- JSON ---- */

/* A member of an item, of a path such as sources[].score. False: it has no such form, or is not told. */
static bool shape_member(const struct shaping *w, const struct vocabulary_path *path, struct jscan_value value)
{
    bool number = value.type == JSCAN_NUMBER, flag = value.type == JSCAN_TRUE || value.type == JSCAN_FALSE;
    if (!shape_is_told(w, path))
        return false;
    switch (path->form) {
    case VOCABULARY_STRING:
        if (!number && (value.type != JSCAN_STRING || value.raw.n <= 2))
            return false;
        shape_name(w->json, strrchr(path->path, '.') + 1);
        buf_printf(w->json, number ? "\"%.*s\"" : "%.*s", STR_ARG(value.raw));
        return true;
    case VOCABULARY_INTEGER:
    case VOCABULARY_NUMBER:
    case VOCABULARY_BOOLEAN:
        if (path->form == VOCABULARY_BOOLEAN ? !flag : !number)
            return false;
        shape_name(w->json, strrchr(path->path, '.') + 1);
        buf_add_str(w->json, value.raw);
        return true;
    case VOCABULARY_TIME:
    case VOCABULARY_ARRAY:
    case VOCABULARY_OBJECT: break;
    }
    return false;
}

/* An item of an array: the members that the vocabulary knows. */
static void shape_item(const struct shaping *w, const struct vocabulary_path *array, struct jscan_value item)
{
    struct jscan_member members[SHAPE_MEMBERS];
    size_t n = strlen(array->path);
    int count = jscan_object(item.raw, members, SHAPE_MEMBERS, NULL);
    count = count > SHAPE_MEMBERS ? SHAPE_MEMBERS : count;
    buf_add_char(w->json, '{');
    for (const struct vocabulary_path *p = vocabulary_paths; p->path; p++) {
        if (strncmp(p->path, array->path, n) != 0 || strncmp(p->path + n, "[].", 3) != 0)
            continue;
        for (int i = 0; i < count; i++) {
            if (!str_eq(members[i].name, str_of(p->path + n + 3)))
                continue;
            size_t before = w->json->n;
            if (w->json->at[before - 1] != '{')
                buf_add_char(w->json, ',');
            if (!shape_member(w, p, members[i].value))
                w->json->n = before;
            break;
        }
    }
    buf_add_char(w->json, '}');
}

static bool shape_array(const struct shaping *w, const struct vocabulary_path *path, struct str text)
{
    struct jscan_value array, item;
    if (!jscan_check(text, &array, NULL) || array.type != JSCAN_ARRAY)
        return false;
    const char *at = array.raw.at;
    buf_add_char(w->json, '[');
    while (jscan_next(array, &at, &item)) {
        if (item.type != JSCAN_OBJECT)
            continue;
        if (w->json->at[w->json->n - 1] != '[')
            buf_add_char(w->json, ',');
        shape_item(w, path, item);
    }
    buf_add_char(w->json, ']');
    return true;
}

static bool shape_json(const struct shaping *w, const struct vocabulary_path *path, struct str text)
{
    struct buf masked = buf_new(text.n * 4 + 64);
    struct jscan_value value = { 0 };
    text = value_mask_inside(&masked, text, w->mask);
    bool good = path->form == VOCABULARY_ARRAY ? shape_array(w, path, text)
                                               : jscan_check(text, &value, NULL) && value.type == JSCAN_OBJECT;
    if (good && path->form == VOCABULARY_OBJECT)
        buf_add_str(w->json, value.raw);
    buf_free(&masked);
    return good;
}

/* ---- any ---- */

static const char *shape_form(const struct shaping *w, const struct binding *b, sqlite3_stmt *row, int col)
{
    struct buf *json = w->json;
    shape_name(json, b->name);
    switch (b->path->form) {
    case VOCABULARY_STRING: break; /* shape_text */
    case VOCABULARY_INTEGER: return shape_integer(json, row, col) ? NULL : "is no integer";
    case VOCABULARY_NUMBER: return shape_number(json, row, col) ? NULL : "is no number";
    case VOCABULARY_BOOLEAN: return shape_boolean(json, row, col) ? NULL : "is neither true nor false";
    case VOCABULARY_TIME: return shape_time(w, row, col) ? NULL : "is no time";
    case VOCABULARY_ARRAY: return shape_json(w, b->path, value_text(row, col)) ? NULL : "is no JSON array";
    case VOCABULARY_OBJECT: return shape_json(w, b->path, value_text(row, col)) ? NULL : "is no JSON object";
    }
    return NULL;
}

const char *shape_value(const struct shaping *w, const struct binding *b, sqlite3_stmt *row, int col, struct cell *out)
{
    const char *wrong = NULL;
    *out = (struct cell){ .at = w->json->n };
    if (sqlite3_column_type(row, col) == SQLITE_NULL)
        return NULL;
    if (b->path->form == VOCABULARY_STRING) {
        shape_text(w, b, row, col, out);
    } else if (shape_is_told(w, b->path)) {
        bool empty = sqlite3_column_type(row, col) == SQLITE_TEXT && !sqlite3_column_bytes(row, col);
        wrong = empty ? NULL : shape_form(w, b, row, col);
        out->n = w->json->n - out->at;
    }
    if (wrong || w->json->failed || out->n > w->max_event) {
        out->large = out->large || !wrong;
        w->json->n = out->more_n ? w->json->n : out->at;
        w->json->failed = false;
        out->n = 0;
    }
    return wrong;
}

void shape_app(const struct shaping *w, const char *app, struct cell *out)
{
    *out = (struct cell){ .at = w->json->n };
    shape_name(w->json, "name");
    jscan_add_string(w->json, str_of(app));
    out->n = w->json->n - out->at;
}
