/* SPDX-License-Identifier: MIT */
/* OpenAPI from rows. */
#include "bridge/admin/openapi.h"
#include <ctype.h>
#include "bridge/admin/api.h"

enum { OPENAPI_METHOD = 16, OPENAPI_STATUS = 8 };

static const struct shape openapi_problem[] = {
    { "type", SHAPE_TEXT, .required = true, .doc = "about:blank: the status says it." },
    { "title", SHAPE_TEXT, .required = true, .doc = "The status in words." },
    { "status", SHAPE_INTEGER, .required = true, .min = 400, .max = 599, .doc = "The status." },
    { "detail", SHAPE_TEXT, .required = true, .doc = "What was wrong, and what to do, for a person." },
    { 0 },
};

static json_t *openapi_parameter(const char *name, const char *in, bool required, const char *doc, json_t *schema)
{
    json_t *p = json_pack("{s:s,s:s,s:b,s:o}", "name", name, "in", in, "required", required, "schema", schema);
    if (doc)
        json_object_set_new(p, "description", json_string(doc));
    return p;
}

/* Those of the path, then those of the query. */
static json_t *openapi_parameters(const struct api_row *row)
{
    json_t *list = json_array();
    struct str path = str_of(row->path), part;
    while (str_cut(&path, '/', &part))
        if (part.n > 2 && part.at[0] == '{') {
            char *name = str_dup((struct str){ part.at + 1, part.n - 2 });
            json_array_append_new(list, openapi_parameter(name, "path", true, NULL,
                                                          json_pack("{s:s,s:i}", "type", "string", "minLength", 1)));
            free(name);
        }
    for (const struct shape *q = row->query; q && q->name; q++) {
        json_t *schema = shape_schema_of(q, true);
        json_object_del(schema, "description");
        json_array_append_new(list, openapi_parameter(q->name, "query", q->required, q->doc, schema));
    }
    return list;
}

static json_t *openapi_content(const char *media, json_t *schema)
{
    return json_pack("{s:{s:o}}", media, "schema", schema);
}

static json_t *openapi_any_of(const char *names)
{
    json_t *list = json_array();
    struct str rest = str_of(names), one;
    while (str_cut(&rest, '|', &one))
        json_array_append_new(list, json_pack("{s:[s%]}", "required", one.at, one.n));
    return list;
}

static json_t *openapi_body(const struct api_row *row)
{
    json_t *schema = row->media ? json_object() : shape_schema(row->body, true);
    if (row->any_of)
        json_object_set_new(schema, "anyOf", openapi_any_of(row->any_of));
    json_t *content = openapi_content(row->media ? row->media : "application/json", schema);
    return json_pack("{s:b,s:o}", "required", !row->bodiless, "content", content);
}

static void openapi_add_done(const struct api_row *row, int status, json_t *responses)
{
    char name[OPENAPI_STATUS];
    if (!status)
        return;
    json_t *done = json_pack("{s:s}", "description", http_status_text(status));
    if (row->answer && status < 300)
        json_object_set_new(done, "content", openapi_content("application/json", shape_schema(row->answer, false)));
    else if (row->answers && status < 300)
        json_object_set_new(done, "content", openapi_content(row->answers, json_pack("{s:s}", "type", "string")));
    snprintf(name, sizeof name, "%d", status);
    json_object_set_new(responses, name, done);
}

static void openapi_add_refusal(const struct api_row *row, json_t *responses)
{
    char name[OPENAPI_STATUS];
    if (!row->refusal)
        return;
    json_t *schema = json_pack("{s:[{s:s},o]}", "allOf", "$ref", "#/components/schemas/problem",
                               shape_schema(row->refusal, false));
    snprintf(name, sizeof name, "%d", API_REFUSED);
    json_object_set_new(responses, name,
                        json_pack("{s:s,s:o}", "description", http_status_text(API_REFUSED), "content",
                                  openapi_content("application/problem+json", schema)));
}

static json_t *openapi_operation(const struct api_row *row)
{
    json_t *responses = json_object();
    openapi_add_done(row, row->done, responses);
    openapi_add_done(row, row->also, responses);
    openapi_add_refusal(row, responses);
    json_object_set_new(responses, "default", json_pack("{s:s}", "$ref", "#/components/responses/problem"));
    json_t *op = json_pack("{s:s,s:s,s:s,s:o}", "operationId", row->name, "summary", row->doc, "x-role",
                           role_name(row->role), "responses", responses);
    json_t *parameters = openapi_parameters(row);
    if (json_array_size(parameters))
        json_object_set(op, "parameters", parameters);
    json_decref(parameters);
    if (row->body || row->media)
        json_object_set_new(op, "requestBody", openapi_body(row));
    if (row->role == ROLE_NONE)
        json_object_set_new(op, "security", json_array());
    return op;
}

static void openapi_add(const struct api_row *row, json_t *paths)
{
    char method[OPENAPI_METHOD];
    size_t n = 0;
    for (; row->method[n] && n + 1 < sizeof method; n++)
        method[n] = (char)tolower((unsigned char)row->method[n]);
    method[n] = '\0';
    json_t *path = json_object_get(paths, row->path);
    if (!path)
        json_object_set_new(paths, row->path, path = json_object());
    json_object_set_new(path, method, openapi_operation(row));
}

json_t *openapi_new(void)
{
    json_t *paths = json_object();
    for (const struct api_row *const *table = api_tables; *table; table++)
        for (const struct api_row *row = *table; row->method; row++)
            openapi_add(row, paths);
    json_t *problem = json_pack("{s:s,s:o}", "description", "It was not done.", "content",
                                openapi_content("application/problem+json",
                                                json_pack("{s:s}", "$ref", "#/components/schemas/problem")));
    json_t *schemes = json_pack("{s:{s:s,s:s},s:{s:s,s:s,s:s}}", "token", "type", "http", "scheme", "bearer", "session",
                                "type", "apiKey", "in", "cookie", "name", "aqueduct-9464");
    return json_pack("{s:s,s:{s:s,s:s,s:s},s:[{s:[]},{s:[]}],s:o,s:{s:{s:o},s:{s:o},s:o}}", "openapi", "3.1.0", "info",
                     "title", "Aqueduct", "version", AQUEDUCT_VERSION, "description",
                     "The JSON API of a running daemon.", "security", "token", "session", "paths", paths, "components",
                     "schemas", "problem", shape_schema(openapi_problem, false), "responses", "problem", problem,
                     "securitySchemes", schemes);
}
