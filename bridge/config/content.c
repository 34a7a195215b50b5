/* SPDX-License-Identifier: MIT */
/* Where what people wrote ends up: the types that have it, by the sources' word, through the routes. */
#include <string.h>
#include "bridge/config/config.h"
#include "bridge/connector.h"
#include "bridge/event/filter.h"

enum { CONTENT_WHYS = 4 };

struct content_search {
    const struct config *c;
    const char *topic, *whys[CONTENT_WHYS]; /* each once */
    size_t count;
};

static void content_add(struct content_search *search, const char *why)
{
    for (size_t i = 0; i < search->count; i++)
        if (strcmp(search->whys[i], why) == 0)
            return;
    if (search->count < CONTENT_WHYS)
        search->whys[search->count++] = why;
}

/* Can an event of that type come to the topic? */
static void content_follow(void *ctx, const char *type, const char *why)
{
    struct content_search *search = ctx;
    const struct route_config *routes = search->c->routes.at;
    for (size_t i = 0; i < search->c->routes.count; i++) {
        enum filter_answer taken = filter_match_type(routes[i].filter, str_of(type));
        if (taken != FILTER_NO && strcmp(routes[i].topic, search->topic) == 0)
            content_add(search, why);
        if (taken == FILTER_YES && !routes[i].also)
            return;
    }
}

/* Does a route before the i-th lead to the same topic? */
static bool content_is_repeated(const struct route_config *routes, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(routes[k].topic, routes[i].topic) == 0)
            return true;
    return false;
}

void content_each(const struct config *c,
                  void (*each)(void *ctx, const char *topic, const char *source, const char *why), void *ctx)
{
    const struct route_config *routes = c->routes.at;
    for (size_t i = 0; i < c->routes.count; i++)
        for (size_t k = 0; k < c->source_count && !content_is_repeated(routes, i); k++) {
            const struct source *s = c->sources[k].source;
            struct content_search search = { .c = c, .topic = routes[i].topic };
            if (s->ops->content)
                s->ops->content(s, content_follow, &search);
            for (size_t w = 0; w < search.count; w++)
                each(ctx, search.topic, s->id, search.whys[w]);
        }
}
