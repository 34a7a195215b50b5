/* SPDX-License-Identifier: MIT */
/* Names of positions, as the sink's bookmarks. */
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/jscan.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "connectors/websocket/pull_private.h"

/* ---- to store one ---- */

/* What is to be stored in the place of `before`. False with *e: it is no cursor. */
static bool pull_value(struct pulling *p, const struct websocket_sink *s, struct str before, struct buf *out,
                       struct err *e)
{
    if (p->creates) {
        buf_printf(out, "%lld ", (long long)clock_wall_ms());
        cursor_write(p->cursor, s->pull.key, out);
        named_sign(out, &p->by, before);
        return true;
    }
    const struct named_change c = { &p->by, before, str_of(p->ack), p->sets };
    return named_value(s->base.topics, s->pull.key, &c, out, e) || err_prefix(e, p->sets ? "the cursor" : "ack");
}

enum pull_kept pull_keep(struct pulling *p, struct websocket_sink *s, struct err *e)
{
    struct bookmarks *b = s->base.bookmarks;
    struct buf value = buf_new(BOOKMARK_BYTES);
    struct str before;
    enum pull_kept kept = PULL_KEPT_LATER;
    if (!b->ops->recall(b, str_of(p->name), &before))
        return PULL_KEPT_LATER;
    if (!named_may_use(&p->by, before))
        return PULL_KEPT_FOREIGN;
    if (p->forgets && !before.at)
        return PULL_KEPT_NONE;
    if (!p->forgets && !pull_value(p, s, before, &value, e))
        kept = PULL_KEPT_WRONG;
    else if (value.failed)
        kept = PULL_KEPT_WRONG;
    else if (p->creates && before.at) /* somebody else made it meanwhile */
        kept = PULL_KEPT_CHANGED;
    else {
        p->tag = ++s->pull.tag;
        b->ops->remember(b, str_of(p->name), before, p->forgets ? STR_ABSENT : buf_str(&value), p->tag);
        kept = PULL_KEPT_BEGUN;
    }
    if (value.failed)
        err_set(e, "a position in so many partitions is too long to be kept");
    buf_free(&value);
    return kept;
}

/* ---- requests about names ---- */

static void pull_name_json(struct buf *out, struct str name, struct str value)
{
    struct named_mark m = named_stored(value);
    buf_add_c(out, "{\"name\":");
    jscan_add_string(out, name);
    json_add_text(out, "cursor", m.cursor);
    json_add_moment(out, "since", m.since_ms);
    buf_add_char(out, '}');
}

struct pull_list {
    const struct pulling *of;
    struct buf body;
    size_t count;
};

static void pull_list_one(void *ctx, struct str name, struct str value)
{
    struct pull_list *l = ctx;
    if (!named_may_use(&l->of->by, value))
        return;
    if (l->count++)
        buf_add_char(&l->body, ',');
    pull_name_json(&l->body, name, value);
}

bool pull_list(struct pulling *p, struct websocket_sink *s)
{
    const struct header json = { STR("Content-Type"), STR("application/json") };
    struct bookmarks *b = s->base.bookmarks;
    struct pull_list l = { .of = p, .body = buf_new(64 << 20) };
    struct str value = STR_ABSENT;
    buf_add_c(&l.body, p->name ? "" : "{\"positions\":[");
    bool known = p->name ? b->ops->recall(b, str_of(p->name), &value) : b->ops->each(b, pull_list_one, &l);
    bool foreign = p->name && !named_may_use(&p->by, value);
    if (p->name && value.at)
        pull_name_json(&l.body, str_of(p->name), value);
    buf_add_c(&l.body, p->name ? "\n" : "]}\n");
    if (known && foreign)
        pull_fail(s, p, 403, NAMED_FOREIGN);
    else if (known && p->name && !value.at)
        pull_fail(s, p, 404, "there is no position of this name");
    else if (known)
        pull_reply(s, p, 200, &json, 1, buf_str(&l.body));
    buf_free(&l.body);
    return known;
}

static struct str pull_trim(struct str body)
{
    while (body.n && strchr("\r\n ", body.at[body.n - 1]))
        body.n--;
    return body.n ? body : STR("");
}

/* What is to become of the name, by the method. False: answered. */
static bool pull_name_method(struct pulling *p, struct websocket_sink *s, const struct http_request *r)
{
    bool get = str_eq(r->method, STR("GET")) || p->head;
    p->state = get ? PULL_LISTS : PULL_KEEPS;
    p->forgets = str_eq(r->method, STR("DELETE"));
    p->sets = str_eq(r->method, STR("PUT"));
    if (p->sets)
        p->ack = str_dup(pull_trim(r->body));
    if (!get && !p->name)
        pull_fail(s, p, 405, "of all names there is GET alone");
    else if (!get && !p->forgets && !p->sets)
        pull_fail(s, p, 405, "of a name there are GET, PUT and DELETE");
    else if (p->sets && (!p->ack[0] || strlen(p->ack) > CURSOR_TEXT_MAX))
        pull_fail(s, p, 400, "the body is a cursor, as an answer with events says it");
    else
        return true;
    return false;
}

bool pull_names(struct pulling *p, struct websocket_sink *s, const struct http_request *r, struct str rest)
{
    struct str name = str_from(rest, sizeof "/positions" - 1);
    name = name.n ? str_from(name, 1) : name;
    if (name.n && !named_is_good(name)) {
        pull_fail(s, p, 404, "a name has letters, digits, points, dashes and underlines");
        return false;
    }
    p->name = name.n ? str_dup(name) : NULL;
    return pull_name_method(p, s, r);
}
