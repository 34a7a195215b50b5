/* SPDX-License-Identifier: MIT */
/* The option rows as JSON Schema (draft 2020-12), for editors and for programs that write configurations. */
#include <jansson.h>
#include <stdlib.h>
#include "bridge/config/private.h"
#include "bridge/config/sheet.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

#define SCHEMA_NAME "^[a-z0-9][a-z0-9_-]{0,62}$" /* of a source, a sink or an endpoint */

static json_t *schema_of_rows(const struct option *rows);

static void schema_print(json_t *root, FILE *out) /* takes it over */
{
    char *text = json_short(root, JSON_INDENT(2));
    fprintf(out, "%s\n", text ? text : "");
    free(text);
    json_decref(root);
}

static json_t *schema_ref(const char *name)
{
    struct buf b = buf_new(256);
    buf_printf(&b, "#/$defs/%s", name);
    json_t *j = json_pack("{s:s}", "$ref", buf_c(&b));
    buf_free(&b);
    return j;
}

/* A value or a text with ${...}, whose value nobody knows yet. */
static json_t *schema_or_expression(json_t *value)
{
    return json_pack("{s:[o, o]}", "anyOf", value, schema_ref("expression"));
}

static json_t *schema_number(const struct option *row, const char *type)
{
    json_t *j = json_pack("{s:s, s:I}", "type", type, "minimum", (json_int_t)row->min);
    if (!value_open_range(row))
        json_object_set_new(j, "maximum", json_integer(row->max));
    return schema_or_expression(j);
}

static json_t *schema_text(void)
{
    return json_pack("{s:s}", "type", "string");
}

static json_t *schema_enum(const struct option_value *values)
{
    if (strcmp(values->text, "true") == 0) /* and false, or unsaid */
        return schema_or_expression(json_pack("{s:s}", "type", "boolean"));
    json_t *list = json_array();
    for (; values->text; values++)
        json_array_append_new(list, json_string(values->text));
    return schema_or_expression(json_pack("{s:o}", "enum", list));
}

static json_t *schema_array(const struct option *row, json_t *items)
{
    json_t *j = json_pack("{s:s, s:o}", "type", "array", "items", items);
    if (row->min)
        json_object_set_new(j, "minItems", json_integer(row->min));
    if (!value_open_range(row))
        json_object_set_new(j, "maxItems", json_integer(row->max));
    return j;
}

static json_t *schema_secret(const struct option *row)
{
    json_t *text = schema_ref("secret");
    return row->of ? json_pack("{s:[o, o]}", "anyOf", text, schema_of_rows(row->of)) : text;
}

static json_t *schema_durations(const struct option *row)
{
    json_t *list = schema_array(row, schema_ref("duration")), *words = json_array();
    for (const struct option_word *w = row->words; w && w->text; w++)
        json_array_append_new(words, json_string(w->text));
    return json_pack("{s:[{s:o}, o]}", "anyOf", "enum", words, list);
}

static json_t *schema_of_type(const struct option *row)
{
    switch (row->type) {
    case OPT_BOOL: return schema_or_expression(json_pack("{s:s}", "type", "boolean"));
    case OPT_INT: return schema_number(row, "integer");
    case OPT_REAL: return schema_number(row, "number");
    case OPT_ENUM: return schema_enum(row->values);
    case OPT_STR:
    case OPT_DEFAULTS:
    case OPT_PRESET: return schema_text();
    case OPT_TREE:
        if (!row->values)
            return json_pack("{s:[s, s]}", "type", "object", "array");
        return json_pack("{s:[o, {s:s, s:s}, {s:[s, s]}]}", "anyOf", schema_enum(row->values), "type", "string",
                         "pattern", "\\{\\{", "type", "object", "array");
    case OPT_SECRET: return schema_ref("secret");
    case OPT_DURATION: return schema_ref("duration");
    case OPT_BYTES: return schema_ref("size");
    case OPT_STRINGS: return schema_array(row, schema_text());
    case OPT_SECRETS: return schema_array(row, schema_secret(row));
    case OPT_MOMENT: return schema_ref("moment");
    case OPT_DURATIONS: return schema_durations(row);
    case OPT_MAP:
        return json_pack("{s:s, s:{s:[s, s, s]}}", "type", "object", "additionalProperties", "type", "string", "number",
                         "boolean");
    case OPT_FILTER: return schema_ref("filter");
    case OPT_LIST: return schema_array(row, schema_of_rows(row->of));
    case OPT_GROUP: return schema_of_rows(row->of);
    }
    return NULL;
}

/* ---- documentation and defaults ---- */

static json_t *schema_default_list(const char *fallback)
{
    struct arena a = { 0 };
    struct problems none = { 0 };
    const struct node *n = tree_load(&a, "", str_of(fallback), &none);
    json_t *list = json_array();
    for (size_t i = 0; n && i < n->count; i++)
        json_array_append_new(list, json_string(n->at[i].value->text.at));
    CHECK(none.count == 0);
    arena_free(&a);
    return list;
}

static json_t *schema_default(const struct option *row)
{
    switch (row->type) {
    case OPT_BOOL: return json_boolean(strcmp(row->fallback, "true") == 0);
    case OPT_INT: return json_integer(strtoll(row->fallback, NULL, 10));
    case OPT_REAL: return json_real(strtod(row->fallback, NULL));
    case OPT_STR:
    case OPT_ENUM:
    case OPT_SECRET:
    case OPT_DURATION:
    case OPT_MOMENT:
    case OPT_BYTES:
    case OPT_TREE:
    case OPT_DEFAULTS:
    case OPT_PRESET: return json_string(row->fallback);
    case OPT_STRINGS:
    case OPT_SECRETS:
    case OPT_DURATIONS:
    case OPT_LIST: return schema_default_list(row->fallback);
    case OPT_MAP:
    case OPT_FILTER:
    case OPT_GROUP: return NULL;
    }
    return NULL;
}

/* What the schema cannot check, a person reads. */
static json_t *schema_description(const struct option *row)
{
    char range[RANGE_TEXT];
    struct buf b = buf_new(4096);
    buf_add_c(&b, row->doc ? row->doc : "");
    if ((row->type == OPT_DURATION || row->type == OPT_BYTES) && (row->min || row->max))
        buf_printf(&b, " (%s)", value_range(row, range));
    json_t *j = json_string(buf_c(&b));
    buf_free(&b);
    return j;
}

static json_t *schema_of_row(const struct option *row)
{
    json_t *j = schema_of_type(row);
    json_object_set_new(j, "description", schema_description(row));
    json_t *fallback = row->fallback ? schema_default(row) : NULL;
    if (fallback)
        json_object_set_new(j, "default", fallback);
    return j;
}

/* ---- mappings ---- */

static void schema_add_rows(json_t *object, const struct option *rows)
{
    json_t *properties = json_object_get(object, "properties"), *required = json_object_get(object, "required");
    for (const struct option *row = rows; row->key; row++) {
        json_object_set_new(properties, row->key, schema_of_row(row));
        if (row->required)
            json_array_append_new(required, json_string(row->key));
    }
}

static json_t *schema_object(void)
{
    return json_pack("{s:[s, s], s:b, s:{}, s:[]}", "type", "object", "null", "additionalProperties", 0, "properties",
                     "required");
}

static json_t *schema_of_rows(const struct option *rows)
{
    json_t *j = schema_object();
    schema_add_rows(j, rows);
    return j;
}

/* A mapping by name. */
static json_t *schema_by_name(const char *doc, const char *pattern, json_t *entry)
{
    return json_pack("{s:s, s:[s, s], s:{s:s}, s:o}", "description", doc, "type", "object", "null", "propertyNames",
                     "pattern", pattern, "additionalProperties", entry);
}

/* The rows of a sink's receivers: beside its own, where they are its only one's or all of their defaults, and below
 * `endpoints:`, each by its name. */
static void schema_add_endpoints(json_t *sink, const struct option *rows)
{
    json_t *properties = json_object_get(sink, "properties"), *one = schema_object(), *beside = schema_object(),
           *any = json_pack("[o, {s:[s]}]", json_pack("{}"), "required", "endpoints");
    schema_add_rows(one, endpoint_options);
    schema_add_rows(one, rows);
    schema_add_rows(beside, rows);
    json_object_set_new(json_array_get(any, 0), "required", json_incref(json_object_get(beside, "required")));
    json_object_update(properties, json_object_get(beside, "properties"));
    json_object_set_new(properties, "endpoints",
                        schema_by_name("Several receivers, by name; what stands beside it is their default.",
                                       SCHEMA_NAME, one));
    json_object_set_new(sink, "anyOf", any);
    json_decref(beside);
}

/* An entry of `sources:` or `sinks:` of one type: the type, the connector's own rows, the core's rows. */
static json_t *schema_connector(const struct connector_type *t, const struct option *core)
{
    json_t *j = json_pack("{s:s, s:s, s:b, s:{s:{s:s}}, s:[s]}", "description", t->doc, "type", "object",
                          "additionalProperties", 0, "properties", "type", "const", t->type, "required", "type");
    if (t->endpoints)
        schema_add_endpoints(j, t->endpoints->options);
    schema_add_rows(j, t->options);
    schema_add_rows(j, core);
    for (const struct option *row = core; row->key; row++)
        if (sections_no_use(t, row->key))
            json_object_del(json_object_get(j, "properties"), row->key);
    return j;
}

/* Adds a schema to the definitions; returns a reference to it. */
static json_t *schema_define(json_t *defs, const char *kind, const char *type, json_t *schema)
{
    struct buf b = buf_new(256);
    buf_printf(&b, "%s-%s", kind, type);
    json_object_set_new(defs, buf_c(&b), schema);
    json_t *j = schema_ref(buf_c(&b));
    buf_free(&b);
    return j;
}

/* A mapping of sources or sinks by name, each of one of the types. */
static json_t *schema_connectors(const struct connectors *connectors, const struct connector_kind *kind,
                                 const char *doc, json_t *defs)
{
    json_t *types = json_array();
    struct connector_type t;
    for (size_t i = 0; kind->type(connectors, i, &t); i++)
        json_array_append_new(types, schema_define(defs, kind->name, t.type, schema_connector(&t, kind->core)));
    return schema_by_name(doc, SCHEMA_NAME, json_pack("{s:o}", "oneOf", types));
}

static const char definitions[] =
    "{\"expression\": {\"type\": \"string\", \"pattern\": \"\\\\$\\\\{\", \"description\": \"${VAR}, ${VAR:-default} or ${file:/path}\"},"
    " \"secret\": {\"type\": \"string\", \"minLength\": 1},"
    " \"duration\": {\"anyOf\": [{\"type\": \"string\", \"pattern\": \"^(0|[0-9]+(ms|s|m|h|d))$\"}, {\"const\": 0}, {\"$ref\": \"#/$defs/expression\"}]},"
    " \"moment\": {\"anyOf\": [{\"type\": \"string\", \"pattern\": \"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt].+)?$\"}, {\"$ref\": \"#/$defs/expression\"}]},"
    " \"size\": {\"anyOf\": [{\"type\": \"string\", \"pattern\": \"^[0-9]+(B|KiB|MiB|GiB|TiB)?$\"}, {\"type\": \"integer\", \"minimum\": 0},"
    " {\"$ref\": \"#/$defs/expression\"}]},"
    " \"pointers\": {\"type\": \"object\", \"minProperties\": 1, \"propertyNames\": {\"pattern\": \"^(/|$)\"},"
    " \"additionalProperties\": {\"type\": [\"string\", \"number\", \"boolean\", \"null\"]}},"
    " \"attributes\": {\"type\": \"object\", \"minProperties\": 1, \"properties\": {\"data\": {\"$ref\": \"#/$defs/pointers\"}},"
    " \"additionalProperties\": {\"type\": [\"string\", \"number\", \"boolean\"]}},"
    " \"filter\": {\"anyOf\": [{\"type\": \"array\", \"items\": {\"$ref\": \"#/$defs/filter\"}},"
    " {\"type\": \"object\", \"additionalProperties\": false, \"minProperties\": 1, \"properties\": {"
    "\"exact\": {\"$ref\": \"#/$defs/attributes\"}, \"prefix\": {\"$ref\": \"#/$defs/attributes\"}, \"suffix\": {\"$ref\": \"#/$defs/attributes\"},"
    " \"all\": {\"type\": \"array\", \"minItems\": 1, \"items\": {\"$ref\": \"#/$defs/filter\"}},"
    " \"any\": {\"type\": \"array\", \"minItems\": 1, \"items\": {\"$ref\": \"#/$defs/filter\"}},"
    " \"not\": {\"$ref\": \"#/$defs/filter\"}, \"data\": {\"$ref\": \"#/$defs/pointers\"}}}]}}";

void config_schema(const struct connectors *connectors, FILE *out)
{
    json_t *defs = json_loads(definitions, 0, NULL);
    CHECK(defs);
    json_t *root = json_pack("{s:s, s:s, s:s, s:b, s:{s:{}}, s:{}, s:[]}", "$schema",
                             "https://json-schema.org/draft/2020-12/schema", "title", "Aqueduct configuration", "type",
                             "object", "additionalProperties", 0, "patternProperties", "^x-", "properties", "required");
    json_t *properties = json_object_get(root, "properties");
    schema_add_rows(root, config_options);
    json_object_set_new(properties, "topics",
                        schema_by_name("Settings of topics, by name; topics may also just be used.",
                                       "^[a-zA-Z0-9._-]{1,249}$", schema_of_rows(topic_options)));
    json_object_set_new(properties, "sources",
                        schema_connectors(connectors, &connector_kinds[KIND_SOURCE], "Where events come from, by name.",
                                          defs));
    json_object_set_new(properties, "sinks",
                        schema_connectors(connectors, &connector_kinds[KIND_SINK], "Where events go, by name.", defs));
    json_object_set_new(root, "$defs", defs);
    schema_print(root, out);
}

void sheet_schema(const char *title, const struct option *rows, FILE *out)
{
    json_t *root = schema_of_rows(rows);
    json_object_set_new(root, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
    json_object_set_new(root, "title", json_string(title));
    json_object_set_new(root, "$defs", json_loads(definitions, 0, NULL));
    schema_print(root, out);
}
