/* SPDX-License-Identifier: MIT */
/* JSON by rows: checked, read from a query, described by JSON Schema. */
#include "bridge/admin/shape.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/query.h"

enum { SHAPE_NAMES = 64, SHAPE_QUERY = 64 << 10, SHAPE_SHOWN = 64 };

/* ---- check ---- */

static size_t shape_characters(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static bool shape_is_one_of(const char *values, const char *text)
{
    struct str rest = str_of(values), one;
    while (str_cut(&rest, '|', &one))
        if (str_eq(one, str_of(text)))
            return true;
    return false;
}

static bool shape_in_range(const struct shape *row, double n, const char *of, struct err *e)
{
    if ((!row->min && !row->max) || (n >= (double)row->min && (row->max <= row->min || n <= (double)row->max)))
        return true;
    if (row->max <= row->min)
        return err_set(e, "must be at least %" PRId64 "%s", row->min, of);
    return err_set(e, "must be from %" PRId64 " to %" PRId64 "%s", row->min, row->max, of);
}

static bool shape_text(const struct shape *row, const json_t *value, struct err *e)
{
    if (!json_is_string(value))
        return err_set(e, "must be a text");
    const char *text = json_string_value(value);
    if (row->values && !shape_is_one_of(row->values, text))
        return err_set(e, "must be one of %s", row->values);
    return shape_in_range(row, (double)shape_characters(text), " characters", e);
}

static bool shape_moment(const json_t *value, bool since, struct err *e)
{
    int64_t ms;
    struct str text = str_of(json_string_value(value));
    if (text.at && (since ? clock_since(text, &ms) : clock_parse(text, &ms)))
        return true;
    return err_set(e, "must be a moment (2026-12-24T18:00:00Z)%s", since ? ", or so long ago (30m, 2h, 7d)" : "");
}

static bool shape_one(const struct shape *row, const json_t *value, struct err *e)
{
    switch (row->kind) {
    case SHAPE_TEXT: return shape_text(row, value, e);
    case SHAPE_INTEGER:
        if (!json_is_integer(value)
            && !(json_is_real(value) && json_real_value(value) == floor(json_real_value(value))))
            return err_set(e, "must be a whole number");
        return shape_in_range(row, json_number_value(value), "", e);
    case SHAPE_NUMBER:
        return json_is_number(value) ? shape_in_range(row, json_number_value(value), "", e)
                                     : err_set(e, "must be a number");
    case SHAPE_BOOLEAN:
        if (row->values && json_is_boolean(value) && json_is_true(value) != (strcmp(row->values, "true") == 0))
            return err_set(e, "can only be %s", row->values);
        return json_is_boolean(value) || err_set(e, "must be true or false");
    case SHAPE_MOMENT: return shape_moment(value, false, e);
    case SHAPE_SINCE: return shape_moment(value, true, e);
    case SHAPE_OBJECT:
        if (!json_is_object(value))
            return err_set(e, "must be an object");
        return !row->of || shape_check(row->of, value, e);
    case SHAPE_ANY: return true;
    }
    return false;
}

static bool shape_list(const struct shape *row, const json_t *value, struct err *e)
{
    char place[24];
    if (!json_is_array(value))
        return err_set(e, "must be a list");
    if (json_array_size(value) > SHAPE_LIST)
        return err_set(e, "must be a list of at most %d", SHAPE_LIST);
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (shape_one(row, json_array_get(value, i), e))
            continue;
        snprintf(place, sizeof place, "[%zu]", i);
        return err_prefix(e, "%s", place);
    }
    return true;
}

static bool shape_map(const struct shape *row, const json_t *value, struct err *e)
{
    const char *name;
    json_t *one;
    if (!json_is_object(value))
        return err_set(e, "must be an object");
    json_object_foreach((json_t *)(uintptr_t)value, name, one)
    {
        if (!shape_one(row, one, e))
            return err_prefix(e, "%.*s", SHAPE_SHOWN, name);
    }
    return true;
}

static bool shape_value(const struct shape *row, const json_t *value, struct err *e)
{
    if (row->nullable && json_is_null(value))
        return true;
    return row->list ? shape_list(row, value, e) : row->map ? shape_map(row, value, e) : shape_one(row, value, e);
}

static const struct shape *shape_find(const struct shape *rows, const char *name)
{
    const struct shape *others = NULL;
    for (; rows->name; rows++)
        if (strcmp(rows->name, SHAPE_OTHERS) == 0)
            others = rows;
        else if (strcmp(rows->name, name) == 0)
            return rows;
    return others;
}

static bool shape_unknown(const struct shape *rows, const char *name, struct err *e)
{
    const char *names[SHAPE_NAMES + 1];
    size_t count = 0;
    for (; rows->name && count < SHAPE_NAMES; rows++)
        names[count++] = rows->name;
    names[count] = NULL;
    const char *near = str_nearest(str_of(name), names);
    return err_set(e, "\"%.*s\" is not known here%s%s%s", SHAPE_SHOWN, name, near ? " (did you mean " : "",
                   near ? near : "", near ? "?)" : "");
}

bool shape_check(const struct shape *rows, const json_t *object, struct err *e)
{
    const char *name;
    json_t *value;
    if (!json_is_object(object))
        return err_set(e, "must be an object");
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        const struct shape *row = shape_find(rows, name);
        if (!row)
            return shape_unknown(rows, name, e);
        if (!shape_value(row, value, e))
            return err_prefix(e, "%.*s", SHAPE_SHOWN, name);
    }
    for (; rows->name; rows++)
        if (rows->required && !json_object_get(object, rows->name))
            return err_set(e, "%s: is missing%s%s", rows->name, rows->doc ? ": " : "", rows->doc ? rows->doc : "");
    return true;
}

static bool shape_has(const json_t *object, struct str name)
{
    char *text = str_dup(name);
    bool has = json_object_get(object, text);
    free(text);
    return has;
}

bool shape_any_of(const char *names, const json_t *object, struct err *e)
{
    struct str rest = str_of(names), one;
    while (str_cut(&rest, '|', &one))
        if (shape_has(object, one))
            return true;
    return err_set(e, "says too little: one of %s must be there", names);
}

/* ---- queries ---- */

/* The text as the value that the row wants; what is none stays a text, which the check refuses. */
static json_t *shape_of_text(const struct shape *row, struct str text)
{
    int64_t n;
    if (row->kind == SHAPE_INTEGER && str_to_i64(text, &n))
        return json_integer(n);
    if (row->kind == SHAPE_BOOLEAN && (str_eq(text, STR("true")) || str_eq(text, STR("false"))))
        return json_boolean(text.n == 4);
    return json_stringn(text.at, text.n);
}

static bool shape_parameter(const struct shape *rows, json_t *into, const char *name, struct str value, struct err *e)
{
    const struct shape *row = shape_find(rows, name);
    struct buf text = buf_new(SHAPE_QUERY);
    bool good = false;
    if (!row)
        shape_unknown(rows, name, e);
    else if (json_object_get(into, name))
        err_set(e, "%s: is there twice", name);
    else if (!query_decode(value.at ? value : STR(""), &text))
        err_set(e, "%s: is no text (UTF-8, percent-encoded)", name);
    else
        good = json_object_set_new(into, name, shape_of_text(row, buf_str(&text))) == 0;
    buf_free(&text);
    return good;
}

json_t *shape_query(const struct shape *rows, struct str query, bool (*others)(void *ctx, struct str name), void *ctx,
                    struct err *e)
{
    static const struct shape none[] = { { 0 } };
    json_t *found = json_object();
    struct str pair, key;
    struct buf name = buf_new(SHAPE_QUERY);
    bool good = true;
    rows = rows ? rows : none;
    while (good && query.at && str_cut(&query, '&', &pair)) {
        if (pair.n == 0)
            continue;
        str_cut(&pair, '=', &key);
        if (others && others(ctx, key))
            continue;
        good = query_decode(key, &name) ? shape_parameter(rows, found, buf_c(&name), pair, e)
                                        : err_set(e, "a parameter has a name that is no text");
    }
    buf_free(&name);
    if (good && shape_check(rows, found, e))
        return found;
    json_decref(found);
    return NULL;
}

/* ---- JSON Schema ---- */

static json_t *shape_enum(const char *values)
{
    json_t *list = json_array();
    struct str rest = str_of(values), one;
    while (str_cut(&rest, '|', &one))
        json_array_append_new(list, json_stringn(one.at, one.n));
    return list;
}

static void shape_add_range(const struct shape *row, json_t *schema, const char *least, const char *most)
{
    if (!row->min && !row->max)
        return;
    if (row->min || row->kind != SHAPE_TEXT)
        json_object_set_new(schema, least, json_integer(row->min));
    if (row->max > row->min)
        json_object_set_new(schema, most, json_integer(row->max));
}

/* A text that comes in has no NUL. */
static json_t *shape_schema_text(const struct shape *row, bool closed)
{
    json_t *schema = json_pack("{s:s}", "type", "string");
    if (row->values)
        json_object_set_new(schema, "enum", shape_enum(row->values));
    else if (row->pattern || closed)
        json_object_set_new(schema, "pattern", json_string(row->pattern ? row->pattern : "^[^\\u0000]*$"));
    shape_add_range(row, schema, "minLength", "maxLength");
    return schema;
}

static json_t *shape_schema_number(const struct shape *row, const char *type)
{
    json_t *schema = json_pack("{s:s}", "type", type);
    shape_add_range(row, schema, "minimum", "maximum");
    return schema;
}

static json_t *shape_schema_boolean(const struct shape *row)
{
    json_t *schema = json_pack("{s:s}", "type", "boolean");
    if (row->values)
        json_object_set_new(schema, "const", json_boolean(strcmp(row->values, "true") == 0));
    return schema;
}

static json_t *shape_schema_one(const struct shape *row, bool closed)
{
    switch (row->kind) {
    case SHAPE_TEXT: return shape_schema_text(row, closed);
    case SHAPE_INTEGER: return shape_schema_number(row, "integer");
    case SHAPE_NUMBER: return shape_schema_number(row, "number");
    case SHAPE_BOOLEAN: return shape_schema_boolean(row);
    case SHAPE_MOMENT: return json_pack("{s:s,s:s}", "type", "string", "format", "date-time");
    case SHAPE_SINCE:
        return json_pack("{s:[{s:s,s:s},{s:s,s:s}]}", "anyOf", "type", "string", "format", "date-time", "type",
                         "string", "pattern", "^[1-9][0-9]{0,3}[smhd]$");
    case SHAPE_OBJECT: return row->of ? shape_schema(row->of, closed) : json_pack("{s:s}", "type", "object");
    case SHAPE_ANY: return json_object();
    }
    return NULL;
}

static json_t *shape_or_null(json_t *schema)
{
    json_t *type = json_object_get(schema, "type");
    if (!type || json_object_get(schema, "enum"))
        return json_pack("{s:[o,{s:s}]}", "anyOf", schema, "type", "null");
    json_object_set_new(schema, "type", json_pack("[O,s]", type, "null"));
    return schema;
}

json_t *shape_schema_of(const struct shape *row, bool closed)
{
    json_t *schema = shape_schema_one(row, closed);
    if (row->list)
        schema = json_pack("{s:s,s:o}", "type", "array", "items", schema);
    if (row->list && closed)
        json_object_set_new(schema, "maxItems", json_integer(SHAPE_LIST));
    if (row->map)
        schema = json_pack("{s:s,s:o}", "type", "object", "additionalProperties", schema);
    if (row->nullable)
        schema = shape_or_null(schema);
    if (row->doc)
        json_object_set_new(schema, "description", json_string(row->doc));
    return schema;
}

json_t *shape_schema(const struct shape *rows, bool closed)
{
    json_t *properties = json_object(), *required = json_array(), *others = NULL;
    for (; rows->name; rows++) {
        if (strcmp(rows->name, SHAPE_OTHERS) == 0) {
            others = shape_schema_of(rows, closed);
            continue;
        }
        json_object_set_new(properties, rows->name, shape_schema_of(rows, closed));
        if (rows->required)
            json_array_append_new(required, json_string(rows->name));
    }
    json_t *schema = json_pack("{s:s,s:o}", "type", "object", "properties", properties);
    if (json_array_size(required))
        json_object_set(schema, "required", required);
    if (closed || others)
        json_object_set_new(schema, "additionalProperties", others ? others : json_false());
    json_decref(required);
    return schema;
}
