/* SPDX-License-Identifier: MIT */
/* Reads the daemon's list of endpoints, page by page. */
#include "bridge/cli/made_names.h"
#include <stdio.h>
#include "bridge/cli/ask.h"
#include "bridge/config/known.h"
#include "bridge/lib/json.h"

/* Whether nobody runs, or who runs has no such list, is the same here. */
static json_t *made_names_page(const struct command_call *call, const char *after)
{
    char path[128];
    struct err e;
    struct command_question q = { .method = "GET", .path = path };
    snprintf(path, sizeof path, "/api/v1/endpoints?limit=1000%s%s", *after ? "&after=" : "", after);
    if (ask_daemon(call->config, &q, &e) == ASKED_DONE)
        return q.answer;
    json_decref(q.answer);
    return NULL;
}

json_t *made_names_ask(struct command_call *call)
{
    json_t *all = json_array(), *one;
    char after[64] = "";
    bool many = false;
    size_t i;
    for (i = 0; i < call->sink_count; i++)
        many = many || call->names[i].many;
    while (many) {
        json_t *page = made_names_page(call, after);
        if (!page) {
            json_decref(all);
            return NULL;
        }
        json_array_extend(all, json_object_get(page, "items"));
        snprintf(after, sizeof after, "%s", json_text(page, "next"));
        many = *after;
        json_decref(page);
    }
    json_array_foreach(all, i, one)
    {
        known_add(call, json_text(one, "sink"), json_text(one, "name"));
    }
    return all;
}
