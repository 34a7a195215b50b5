/* SPDX-License-Identifier: MIT */
/* The configuration in effect, and the check of a draft. */
#include <stdio.h>
#include "bridge/admin/api_work.h"
#include "bridge/lib/json.h"
#include "bridge/lib/uri.h"

enum { CONFIG_PLACE = 512, CONFIG_VALUE = 16384 };

/* `veil`: what of a URL may be a token is hidden, as in the lists of endpoints. */
static json_t *config_value_json(const struct config_value *v, bool veil)
{
    char place[CONFIG_PLACE] = "default";
    struct buf value = buf_new(CONFIG_VALUE);
    if (veil)
        uri_veil(str_of(v->value), &value);
    else
        buf_add_c(&value, v->value);
    if (v->file)
        snprintf(place, sizeof place, "%s:%d:%d", v->file, v->line, v->column);
    json_t *j = json_pack("{s:o,s:o,s:o}", "path", json_of_text(str_of(v->path)), "value",
                          json_of_text(value.failed || !value.n ? STR("") : buf_str(&value)), "at",
                          json_of_text(str_of(place)));
    buf_free(&value);
    return j;
}

static void config_get(struct api_call *call)
{
    const struct config_view *view = &call->home->config->view;
    const char *prefix = api_query_text(call, "path");
    bool defaults = !json_is_false(json_object_get(call->query, "defaults"));
    bool veil = call->ticket.who.is.role < ROLE_OPERATOR;
    json_t *items = json_array();
    for (size_t i = 0; i < view->count; i++)
        if ((!prefix || str_starts(str_of(view->at[i].path), str_of(prefix))) && (defaults || view->at[i].file))
            json_array_append_new(items, config_value_json(&view->at[i], veil));
    api_answer(&call->ticket, 200, json_pack("{s:o,s:n,s:b}", "items", items, "next", "cut", (int)view->cut));
}

static void config_check_draft(struct api_work *w)
{
    struct problems problems = { 0 };
    struct config *c = config_load_text(w->home->config->connectors, "draft", str_of(w->text), &problems);
    json_t *list = json_array();
    for (size_t i = 0; i < problems.count; i++) {
        const struct problem *p = &problems.at[i];
        json_array_append_new(list, json_pack("{s:s,s:o,s:i,s:i,s:o}", "level", p->warning ? "warning" : "error",
                                              "file", json_of_text(str_of(p->file)), "line", p->line, "column",
                                              p->column, "text", json_of_text(str_of(p->text))));
    }
    w->answer = json_pack("{s:b,s:o}", "ok", c != NULL, "problems", list);
    problems_free(&problems);
    config_free(c);
}

static void config_check_call(struct api_call *call)
{
    if (call->request->body.n == 0 || memchr(call->request->body.at, '\0', call->request->body.n))
        api_problem(&call->ticket, 400, "the body must be the text of a configuration");
    else
        api_later(call, LANE_READ, config_check_draft);
}

static const struct shape config_query[] = {
    { "path", SHAPE_TEXT, .min = 1, .doc = "Only what begins like this: sinks.crm." },
    { "defaults", SHAPE_BOOLEAN, .doc = "false: only what the files say." },
    { 0 },
};
static const struct shape config_item[] = {
    { "path", SHAPE_TEXT, .required = true, .doc = "The option: sinks.crm.retry." },
    { "value", SHAPE_TEXT, .required = true,
      .doc = "As it is written; secrets are hidden, and from who is no operator what may be a token in a URL." },
    { "at", SHAPE_TEXT, .required = true, .doc = "file:line:column, or default." },
    { 0 },
};
static const struct shape config_answer[] = {
    { "items", SHAPE_OBJECT, .list = true, .required = true, .of = config_item, .doc = "Every option in effect." },
    API_LIST_NEXT,
    { "cut", SHAPE_BOOLEAN, .required = true, .doc = "Are there more than can be kept?" },
    { 0 },
};
static const struct shape config_problem[] = {
    { "level", SHAPE_TEXT, .required = true, .values = "error|warning", .doc = "A warning is no reason to refuse it." },
    { "file", SHAPE_TEXT, .required = true, .nullable = true, .doc = "draft, or a file that it names." },
    { "line", SHAPE_INTEGER, .required = true, .doc = "From 1; 0: unknown." },
    { "column", SHAPE_INTEGER, .required = true, .doc = "From 1; 0: unknown." },
    { "text", SHAPE_TEXT, .required = true, .doc = "The object, the cause, and what is near." },
    { 0 },
};
static const struct shape config_checked[] = {
    { "ok", SHAPE_BOOLEAN, .required = true, .doc = "Would a daemon take it?" },
    { "problems", SHAPE_OBJECT, .list = true, .required = true, .of = config_problem, .doc = "All there are." },
    { 0 },
};

extern const struct api_row api_config_rows[];
const struct api_row api_config_rows[] = {
    { "GET", "/api/v1/config", "getConfig", ROLE_VIEWER, "Every option in effect, and where it stands.",
      .query = config_query, .done = 200, .answer = config_answer, .handle = config_get },
    { "POST", "/api/v1/config/check", "checkConfig", ROLE_OPERATOR,
      "Checks the draft of a configuration as aqueduct check does; changes nothing.", .media = "application/yaml",
      .harmless = true, .done = 200, .answer = config_checked, .handle = config_check_call },
    { 0 },
};
