/* SPDX-License-Identifier: MIT */
/* What a reload of the configuration's files would change, and the reload. */
#include "bridge/admin/api.h"

static void reload_ask(struct api_call *call, bool apply)
{
    const struct admin_questions *ask = &call->home->ask;
    if (!ask->reload || !ask->reload(ask->ctx, apply, &call->ticket))
        api_busy(&call->ticket);
}

static void reload_post(struct api_call *call)
{
    reload_ask(call, true);
}

static void reload_plan(struct api_call *call)
{
    reload_ask(call, false);
}

static const struct shape reload_change[] = {
    { "what", SHAPE_TEXT, .required = true,
      .doc = "sink NAME, endpoint SINK/NAME, source NAME, topic NAME, or a section." },
    { "change", SHAPE_TEXT, .required = true, .values = "add|remove|change|keep", .doc = "What becomes of it." },
    { "detail", SHAPE_TEXT, .list = true, .required = true, .doc = "The keys that differ; never a value." },
    { "needs", SHAPE_TEXT, .required = true, .values = "nothing|restart",
      .doc = "restart: a start of the daemon alone can do it." },
    { 0 },
};
static const struct shape reload_answer[] = {
    { "ok", SHAPE_BOOLEAN, .required = true, .doc = "Is it possible, or done? Else everything is as it was." },
    { "applied", SHAPE_BOOLEAN, .doc = "Was it done?" },
    { "changes", SHAPE_OBJECT, .list = true, .of = reload_change, .doc = "Missing when the files cannot be read." },
    { "problems", SHAPE_OBJECT, .list = true,
      .doc = "What is wrong, as aqueduct check --json says it; missing with ok." },
    { 0 },
};

const struct api_row api_reload_rows[] = {
    { "POST", "/api/v1/config/plan", "planReload", ROLE_OPERATOR,
      "Reads the configuration's files and says what a reload would change.", .done = 200, .answer = reload_answer,
      .harmless = true, .handle = reload_plan },
    { "POST", "/api/v1/reload", "reload", ROLE_OPERATOR,
      "Reads the configuration's files and becomes what they say, or stays as it is.", .done = 200,
      .answer = reload_answer, .handle = reload_post },
    { 0 },
};
