/* SPDX-License-Identifier: MIT */
/* Where the configuration listens, by the rows of whatever listens. */
#include "bridge/config/private.h"

static const char *listeners_text(const struct option *rows, const void *options, const char *key)
{
    const struct option *row = option_find(rows, key, OPT_STR);
    char *text = NULL;
    if (row)
        memcpy(&text, (const char *)options + row->offset, sizeof text);
    return text && *text ? text : NULL;
}

void config_each_listener(const struct config *c,
                          void (*each)(void *ctx, const char *section, const char *name, const char *listen,
                                       const char *certificate),
                          void *ctx)
{
    for (size_t i = 0; i < c->source_count; i++) {
        const struct source *s = c->sources[i].source;
        const char *listen = s->sink ? NULL : listeners_text(s->ops->options, s, "listen");
        if (listen)
            each(ctx, "sources", s->id, listen, listeners_text(s->ops->options, s, "tls_certificate"));
    }
    for (size_t i = 0; i < c->sink_count; i++) {
        const struct sink *s = c->sinks[i].sink;
        const char *listen = listeners_text(s->ops->options, s, "listen");
        if (listen)
            each(ctx, "sinks", s->id, listen, listeners_text(s->ops->options, s, "tls_certificate"));
    }
    if (c->admin.listen && *c->admin.listen)
        each(ctx, "admin", "", c->admin.listen, c->admin.tls_certificate);
}
