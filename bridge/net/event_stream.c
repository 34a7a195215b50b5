/* SPDX-License-Identifier: MIT */
/* Server-sent events, line by line. */
#include "bridge/net/event_stream.h"

struct event_stream event_stream_new(size_t most)
{
    return (struct event_stream){ .most = most,
                                  .line = buf_new(most + 16), /* and the name of a field */
                                  .data = buf_new(most + 1),  /* and the line break behind it */
                                  .id = buf_new(most),
                                  .type = buf_new(most),
                                  .retry_ms = -1 };
}

void event_stream_free(struct event_stream *s)
{
    buf_free(&s->line);
    buf_free(&s->data);
    buf_free(&s->id);
    buf_free(&s->type);
}

static void event_stream_begin_block(struct event_stream *s)
{
    buf_reset(&s->data);
    buf_reset(&s->type);
    s->has_data = s->has_id = false;
}

void event_stream_restart(struct event_stream *s)
{
    event_stream_begin_block(s);
    buf_reset(&s->line);
    s->begun = s->after_cr = false;
}

static void event_stream_field(struct event_stream *s, struct str name, struct str value)
{
    uint64_t ms;
    if (str_eq(name, STR("data"))) {
        buf_add_str(&s->data, value);
        buf_add_char(&s->data, '\n');
        s->has_data = true;
    } else if (str_eq(name, STR("event"))) {
        buf_reset(&s->type);
        buf_add_str(&s->type, value);
    } else if (str_eq(name, STR("id")) && !memchr(value.n ? value.at : "", '\0', value.n)) {
        buf_reset(&s->id);
        buf_add_str(&s->id, value);
        s->has_id = true;
    } else if (str_eq(name, STR("retry")) && str_to_u64(value, &ms) && ms <= INT32_MAX) {
        s->retry_ms = (int64_t)ms;
    }
}

/* The line is whole: a field, or the end of a block. False: that was enough. */
static bool event_stream_line(struct event_stream *s, bool (*each)(void *, const struct event_stream_block *),
                              void *ctx)
{
    struct str value = buf_str(&s->line), name;
    if (!s->begun && str_starts(value, STR("\xef\xbb\xbf")))
        value = str_from(value, 3);
    s->begun = true;
    bool ends = value.n == 0, go_on = true;
    if (ends && (s->has_data || s->has_id)) {
        struct str data = buf_str(&s->data);
        data.n -= data.n > 0; /* the last line break */
        go_on = each(ctx, &(struct event_stream_block){ .id = buf_str(&s->id),
                                                        .type = s->type.n ? buf_str(&s->type) : STR_ABSENT,
                                                        .data = s->has_data ? data : STR_ABSENT });
    }
    if (ends) {
        event_stream_begin_block(s);
    } else if (value.at[0] != ':') {
        str_cut(&value, ':', &name);
        if (value.n && value.at[0] == ' ')
            value = str_from(value, 1);
        event_stream_field(s, name, value.at ? value : STR(""));
    }
    buf_reset(&s->line);
    return go_on;
}

bool event_stream_feed(struct event_stream *s, struct str bytes,
                       bool (*each)(void *, const struct event_stream_block *), void *ctx, struct err *e)
{
    while (bytes.n) {
        size_t n = 0;
        if (s->after_cr && bytes.at[0] == '\n')
            bytes = str_from(bytes, 1);
        s->after_cr = false;
        while (n < bytes.n && bytes.at[n] != '\n' && bytes.at[n] != '\r')
            n++;
        buf_add(&s->line, bytes.at, n);
        if (n == bytes.n)
            break;
        s->after_cr = bytes.at[n] == '\r';
        bytes = str_from(bytes, n + 1);
        if (s->line.failed)
            break;
        if (!event_stream_line(s, each, ctx))
            return false;
        if (s->data.failed || s->id.failed || s->type.failed)
            break;
    }
    bool failed = s->line.failed || s->data.failed || s->id.failed || s->type.failed;
    return !failed || err_set(e, "an event is longer than %zu bytes", s->most);
}
