/* SPDX-License-Identifier: MIT */
/* The query of a request for events. */
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/query.h"
#include "connectors/websocket/access.h"
#include "connectors/websocket/pull_private.h"

enum { PULL_VALUE_BYTES = CURSOR_TEXT_MAX + 1 };

static const char *const pull_parameters[] = { "from", "after", "wait", "max", "position", "ack" };

static bool pull_is_ours(const void *ctx, struct str name)
{
    for (size_t i = 0; i < sizeof pull_parameters / sizeof *pull_parameters; i++)
        if (str_eq(name, str_of(pull_parameters[i])))
            return true;
    const struct websocket_sink *s = ctx;
    return access_is_secret(&s->verify, s->token_in_query, name);
}

/* The parameter's value in `out`; absent: it is not there. False with *e: it is there twice, or no text. */
static bool pull_parameter(struct str query, const char *name, struct buf *out, struct str *value, struct err *e)
{
    size_t count = 0;
    bool good = query_value(query, str_of(name), out, &count);
    *value = STR_ABSENT;
    if (count == 0)
        return true;
    if (count > 1)
        return err_set(e, "parameter \"%s\" is there twice", name);
    if (!good)
        return err_set(e, "parameter \"%s\" is too long or not percent-encoded UTF-8", name);
    if (out->n == 0)
        return err_set(e, "parameter \"%s\" has no value", name);
    *value = buf_str(out);
    return true;
}

static bool pull_number(struct str text, const char *name, int64_t least, int64_t most, int64_t *out, struct err *e)
{
    int64_t n;
    if (!text.at)
        return true;
    if (!str_to_i64(text, &n) || n < least || n > most)
        return err_set(e, "%s: takes a whole number from %lld to %lld", name, (long long)least, (long long)most);
    *out = n;
    return true;
}

static bool pull_from(struct pulling *p, struct str text, const char *name, struct err *e)
{
    int64_t n = 0;
    p->start.from = p->name ? CURSOR_EARLIEST : CURSOR_LATEST;
    if (!text.at)
        return true;
    if (str_eq(text, STR("earliest")))
        p->start.from = CURSOR_EARLIEST;
    else if (str_eq(text, STR("latest")))
        p->start.from = CURSOR_LATEST;
    else if (str_starts(text, STR("last:")) && pull_number(str_from(text, 5), "from: last:", 1, 1000000, &n, e))
        p->start = (struct cursor_start){ CURSOR_LAST, n };
    else if (str_starts(text, STR("last:")))
        return false;
    else if (clock_since(text, &n))
        p->start = (struct cursor_start){ CURSOR_TIME, n };
    else if (text.n > CURSOR_TEXT_MAX)
        return err_set(e, "%s: this is longer than any position", name);
    else
        p->from = str_dup(text);
    return true;
}

static bool pull_named(struct pulling *p, struct str query, struct buf *value, struct err *e)
{
    struct str text;
    if (!pull_parameter(query, "position", value, &text, e))
        return false;
    if (text.at && !named_is_good(text))
        return err_set(e, "position: a name has at most %d letters, digits, points, dashes and underlines",
                       PULL_NAME_BYTES);
    p->name = text.at ? str_dup(text) : NULL;
    if (!pull_parameter(query, "ack", value, &text, e))
        return false;
    if (text.at && !p->name)
        return err_set(e, "ack: needs `position`, whose name it moves");
    p->ack = text.at ? str_dup(text) : NULL;
    return true;
}

static bool pull_bounds(struct pulling *p, struct str query, struct buf *value, struct err *e)
{
    struct str from, after, text;
    int64_t wait_s = 0, most = PULL_MAX;
    if (!pull_parameter(query, "wait", value, &text, e) || !pull_number(text, "wait", 0, PULL_WAIT_MOST_S, &wait_s, e)
        || !pull_parameter(query, "max", value, &text, e) || !pull_number(text, "max", 1, PULL_MAX_MOST, &most, e))
        return false;
    p->most = (size_t)most;
    p->due_ms = clock_mono_ms() + wait_s * 1000;
    p->give_up_ms = p->due_ms + PULL_PATIENCE_MS;
    if (!pull_parameter(query, "after", value, &after, e))
        return false;
    bool is_after = after.at != NULL;
    if (is_after && !pull_from(p, after, "after", e))
        return false;
    if (!pull_parameter(query, "from", value, &from, e))
        return false;
    if (is_after && from.at)
        return err_set(e, "after and from say the same");
    return is_after || pull_from(p, from, "from", e);
}

bool pull_query(struct pulling *p, const struct websocket_sink *s, const struct http_request *r, struct err *e)
{
    struct buf value = buf_new(PULL_VALUE_BYTES);
    p->format = access_header_has(r, "Accept", STR("application/x-ndjson"))                 ? PULL_LINES
                : access_header_has(r, "Accept", STR("application/cloudevents-batch+json")) ? PULL_BATCH
                                                                                            : PULL_JSON;
    p->head = str_eq(r->method, STR("HEAD"));
    bool good = pull_named(p, r->query, &value, e) && pull_bounds(p, r->query, &value, e)
                && subscription_parse(&p->wanted, r->query, false, s->base.topics, pull_is_ours, s, e);
    buf_free(&value);
    return good;
}
