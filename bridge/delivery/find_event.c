/* SPDX-License-Identifier: MIT */
/* Topics by configuration, events by id. */
#include "bridge/delivery/find_event.h"
#include <stdlib.h>
#include "bridge/event/event.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"

bool find_event_is(const struct record *r, struct str id)
{
    struct str header = record_header(r, EVENT_HEADER_PREFIX "id");
    if (header.at)
        return str_eq(header, id);
    const struct event *ev = event_from_record(r, NULL);
    bool is = ev && str_eq(ev->id, id);
    event_unref(ev);
    return is;
}

const char *find_event_hint(struct str id)
{
    return id.n < UUID_TEXT - 1 ? " (a whole id is wanted)" : "";
}

bool find_event_is_own(const struct config *c, const char *topic)
{
    size_t own = strlen(c->broker.prefix);
    return own && strncmp(topic, c->broker.prefix, own) == 0;
}

struct find_event_list {
    const char **at;
    size_t count;
};

static void find_event_add(const struct config *c, struct find_event_list *list, const char *topic)
{
    if (find_event_is_own(c, topic))
        return;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->at[i], topic) == 0)
            return;
    list->at = mem_grow(list->at, list->count + 1, sizeof *list->at);
    list->at[list->count++] = topic;
}

/* Those that are configured, but for the bridge's own. */
static struct find_event_list find_event_listed(const struct config *c)
{
    struct find_event_list list = { 0 };
    const struct topic_config *topics = c->topics.at;
    const struct route_config *routes = c->routes.at;
    for (size_t i = 0; i < c->topics.count; i++)
        find_event_add(c, &list, topics[i].name);
    for (size_t i = 0; i < c->routes.count; i++)
        find_event_add(c, &list, routes[i].topic);
    for (size_t i = 0; i < c->sink_count; i++)
        for (size_t k = 0; k < c->sinks[i].topics.count; k++)
            find_event_add(c, &list, c->sinks[i].topics.at[k]);
    return list;
}

bool find_event_topics(const struct config *c, bool (*each)(void *ctx, const char *topic), void *ctx)
{
    struct find_event_list list = find_event_listed(c);
    bool ok = true;
    for (size_t i = 0; ok && i < list.count; i++)
        ok = each(ctx, list.at[i]);
    free(list.at);
    return ok;
}

const char *find_event_nearest(const struct config *c, const char *topic)
{
    struct find_event_list list = find_event_listed(c);
    list.at = mem_grow(list.at, list.count + 1, sizeof *list.at);
    list.at[list.count] = NULL;
    const char *near = str_nearest(str_of(topic), list.at);
    free(list.at);
    return near && strcmp(near, topic) != 0 ? near : NULL;
}
