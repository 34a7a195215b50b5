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
#define RELOAD_CHANGES                                                                                                 \
    {                                                                                                                  \
        "changes", SHAPE_OBJECT, .list = true, .of = reload_change, .doc = "Missing when the files cannot be read."    \
    }
#define RELOAD_PROBLEMS "What is wrong, as aqueduct check --json says it"
static const struct shape reload_planned[] = {
    { "ok", SHAPE_BOOLEAN, .required = true, .doc = "Would it be done?" },
    { "applied", SHAPE_BOOLEAN, .doc = "It is not; missing without ok." },
    RELOAD_CHANGES,
    { "problems", SHAPE_OBJECT, .list = true, .doc = RELOAD_PROBLEMS "; missing with ok." },
    { 0 },
};
static const struct shape reload_done[] = {
    { "ok", SHAPE_BOOLEAN, .required = true, .doc = "It is done." },
    { "applied", SHAPE_BOOLEAN, .required = true, .doc = "It is done." },
    RELOAD_CHANGES,
    { 0 },
};
static const struct shape reload_refused[] = {
    { "ok", SHAPE_BOOLEAN, .required = true, .doc = "It is not done: everything is as it was." },
    RELOAD_CHANGES,
    { "problems", SHAPE_OBJECT, .list = true, .required = true, .doc = RELOAD_PROBLEMS "." },
    { 0 },
};
static const struct shape reload_body[] = { { 0 } }; /* {} */

const struct api_row api_reload_rows[] = {
    { "POST", "/api/v1/config/plan", "planReload", ROLE_OPERATOR,
      "Reads the configuration's files and says what a reload would change.", .body = reload_body, .bodiless = true,
      .done = 200, .answer = reload_planned, .harmless = true, .handle = reload_plan },
    { "POST", "/api/v1/reload", "reload", ROLE_OPERATOR,
      "Reads the configuration's files and becomes what they say, or stays as it is.", .body = reload_body,
      .bodiless = true, .done = 200, .answer = reload_done, .refusal = reload_refused, .handle = reload_post },
    { 0 },
};
