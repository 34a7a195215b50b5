/* SPDX-License-Identifier: MIT */
/* The vocabulary for people (help) and for programs (JSON Schema, AsyncAPI). */
#include "bridge/cli/schemas.h"
#include <jansson.h>
#include "bridge/admin/openapi.h"
#include "bridge/event/avro.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/wrap.h"

#define SCHEMAS_BASE "urn:aqueduct:event" /* begins dataschema, unless a source's schema_base says otherwise */
enum { SCHEMAS_TYPE_WIDTH = 24, SCHEMAS_PATH_WIDTH = 24, SCHEMAS_FORM_WIDTH = 8, SCHEMAS_NAME = 256 };

static struct str schemas_text(const char *name)
{
    const struct schema_text *t = schema_texts;
    while (t->name && strcmp(t->name, name) != 0)
        t++;
    CHECK(t->name);
    return t->text;
}

/* ---- help ---- */

void schemas_list(FILE *out)
{
    fprintf(out,
            "Types of the vocabulary: what events of any application are called, and one shape of data for all.\n\n");
    for (const struct vocabulary_type *t = vocabulary_types; t->name; t++)
        wrap_print_behind(t->doc, fprintf(out, "  %-*s ", SCHEMAS_TYPE_WIDTH, t->name), SCHEMAS_TYPE_WIDTH + 3, out);
    fprintf(out,
            "\nMore: aqueduct help events TYPE has its fields and examples, aqueduct schema TYPE its JSON Schema.\n");
}

static const char *schemas_form(enum vocabulary_form form)
{
    switch (form) {
    case VOCABULARY_STRING: return "text";
    case VOCABULARY_INTEGER: return "integer";
    case VOCABULARY_NUMBER: return "number";
    case VOCABULARY_BOOLEAN: return "boolean";
    case VOCABULARY_TIME: return "time";
    case VOCABULARY_ARRAY: return "list";
    case VOCABULARY_OBJECT: return "object";
    }
    return "";
}

static void schemas_describe_paths(const struct vocabulary_type *type, FILE *out)
{
    for (const struct vocabulary_path *p = vocabulary_paths; p->path; p++)
        if (vocabulary_carries(type, str_of(p->path)))
            fprintf(out, "  %-*s %-*s %s%s%s\n", SCHEMAS_PATH_WIDTH, p->path, SCHEMAS_FORM_WIDTH, schemas_form(p->form),
                    p->doc, p->content ? " [content]" : "", p->personal ? " [personal]" : "");
}

static void schemas_describe_required(const struct vocabulary_type *type, FILE *out)
{
    fprintf(out, "Required:   ");
    for (const char *const *path = type->required; *path; path++) {
        struct str rest = str_of(*path), one;
        const char *between = path == type->required ? "" : ", ";
        for (; str_cut(&rest, '|', &one); between = " or ")
            fprintf(out, "%s%.*s", between, STR_ARG(one));
    }
    fputc('\n', out);
}

static void schemas_describe_subject(const struct vocabulary_type *type, FILE *out)
{
    const char *between = "Subject:    ";
    for (const char *const *path = type->subject; *path; path++, between = "/")
        fprintf(out, "%s%.*ss/{%s}", between, (int)strcspn(*path, "."), *path, *path);
    if (*type->subject)
        fputc('\n', out);
}

/* The name of the application, when that file is an example of the type. */
static bool schemas_is_example(const char *file, const struct vocabulary_type *type, struct str *app)
{
    struct str rest = str_of(file), folder, name;
    return str_cut(&rest, '/', &folder) && str_eq(folder, STR("examples")) && str_cut(&rest, '/', &name)
           && str_eq(name, str_of(type->name)) && str_cut(&rest, '.', app);
}

void schemas_describe(const struct vocabulary_type *type, FILE *out)
{
    struct str app;
    fprintf(out, "%s\n\n%s\n\nDataschema: " SCHEMAS_BASE "/%s/%u\n", type->name, type->doc, type->name, type->major);
    schemas_describe_subject(type, out);
    schemas_describe_required(type, out);
    fprintf(out, "\nFields of the data; what is unknown is absent:\n");
    schemas_describe_paths(type, out);
    fprintf(out, "  %-*s %-*s What changed, as it was: the same fields, only those that changed and were kept.\n",
            SCHEMAS_PATH_WIDTH, "before", SCHEMAS_FORM_WIDTH, "object");
    fprintf(out, "  %-*s %-*s The row as the application has it: table and row.\n", SCHEMAS_PATH_WIDTH, "raw",
            SCHEMAS_FORM_WIDTH, "object");
    for (const struct schema_text *t = schema_texts; t->name; t++)
        if (schemas_is_example(t->name, type, &app))
            fprintf(out, "\nExample, %.*s:\n%.*s", STR_ARG(app), STR_ARG(t->text));
}

/* ---- JSON Schema ---- */

static json_t *schemas_load(const char *name)
{
    struct str text = schemas_text(name);
    json_t *j = json_loadb(text.at, text.n, 0, NULL);
    CHECK(j);
    return j;
}

/* Turns references to the vocabulary into such to `$defs` beside it. */
static void schemas_turn_references(json_t *schema)
{
    const char *key, *hash;
    json_t *value;
    void *next;
    json_object_foreach_safe(schema, next, key, value)
    {
        if (strcmp(key, "$ref") == 0 && (hash = strchr(json_string_value(value), '#')))
            json_object_set_new(schema, key, json_string(hash));
        schemas_turn_references(value);
    }
}

/* Keys that a schema with properties does not name become wrong, all the way down. */
static void schemas_close(json_t *schema)
{
    const char *key;
    json_t *value;
    json_object_foreach(schema, key, value) schemas_close(value);
    if (json_is_object(json_object_get(schema, "properties")) && json_is_string(json_object_get(schema, "type")))
        json_object_set_new(schema, "additionalProperties", json_false());
}

void schemas_print(const struct vocabulary_type *type, bool closed, FILE *out)
{
    char name[SCHEMAS_NAME];
    snprintf(name, sizeof name, "events/%s.%u.schema.json", type->name, type->major);
    json_t *schema = schemas_load(name), *vocabulary = schemas_load("vocabulary.schema.json");
    snprintf(name, sizeof name, SCHEMAS_BASE "/%s/%u", type->name, type->major);
    json_object_set_new(schema, "$id", json_string(name));
    schemas_turn_references(schema);
    json_object_set(schema, "$defs", json_object_get(vocabulary, "$defs"));
    if (closed)
        schemas_close(schema);
    json_dumpf(schema, out, JSON_INDENT(2));
    fputc('\n', out);
    json_decref(vocabulary);
    json_decref(schema);
}

void schemas_print_asyncapi(FILE *out)
{
    struct str text = schemas_text("asyncapi.yaml");
    fwrite(text.at, 1, text.n, out);
}

void schemas_print_registered(enum record_schema which, FILE *out)
{
    struct str text = event_schema(which).text;
    fprintf(out, "%.*s%s", STR_ARG(text), str_ends(text, STR("\n")) ? "" : "\n");
}

void schemas_print_openapi(FILE *out)
{
    json_t *api = openapi_new();
    json_dumpf(api, out, JSON_INDENT(2));
    fputc('\n', out);
    json_decref(api);
}
