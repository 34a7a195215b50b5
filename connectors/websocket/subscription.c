/* SPDX-License-Identifier: MIT */
/* Parses a listener's query into topics and a filter. */
#include "connectors/websocket/subscription.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/lib/query.h"

enum { VALUE_BYTES = 32 * 1024, NAME_BYTES = 32, TOPICS = 256, KEY_BYTES = 256 * 1024 };

struct parsing {
    struct subscription *s;
    const struct strings *known;
    bool (*is_secret)(const void *ctx, struct str name);
    const void *ctx;
    json_t *conditions; /* all of them must hold */
    struct err *e;
};

static bool subscription_is_known(const struct strings *known, struct str topic)
{
    return !known || known->count == 0 || strings_have(known, topic);
}

static bool subscription_add_topic(struct parsing *p, struct str one)
{
    struct strings *t = &p->s->topics;
    if (one.n == 0)
        return err_set(p->e, "topics: there is an empty name");
    if (!subscription_is_known(p->known, one))
        return err_set(p->e, "topics: \"%.*s\" is not served here", (int)(one.n < 100 ? one.n : 100), one.at);
    if (t->count == TOPICS)
        return err_set(p->e, "topics: more than %d", TOPICS);
    for (size_t i = 0; i < t->count; i++)
        if (str_eq(str_of(t->at[i]), one))
            return err_set(p->e, "topics: \"%.100s\" is there twice", t->at[i]);
    t->at = mem_grow(t->at, t->count + 1, sizeof *t->at);
    t->at[t->count++] = str_dup(one);
    return true;
}

static bool subscription_add_topics(struct parsing *p, struct str list)
{
    struct str one;
    while (str_cut(&list, ',', &one))
        if (!subscription_add_topic(p, one))
            return false;
    return true;
}

static void subscription_add_attribute(struct parsing *p, const char *attribute, struct str value)
{
    bool prefix = value.n && value.at[value.n - 1] == '*';
    size_t n = prefix ? value.n - 1 : value.n;
    if (prefix && n == 0)
        return; /* anything */
    json_array_append_new(p->conditions, json_pack("{s:{s:s%}}", prefix ? "prefix" : "exact", attribute, value.at, n));
}

/* Its conditions join the others. */
static bool subscription_add_filter(struct parsing *p, struct str text)
{
    json_error_t at;
    json_t *json = json_loadb(text.at, text.n, JSON_REJECT_DUPLICATES, &at);
    if (!json)
        return err_set(p->e, "filter: not JSON at character %d: %s", at.position, at.text);
    bool array = json_is_array(json);
    if (array)
        json_array_extend(p->conditions, json);
    else
        json_array_append(p->conditions, json);
    json_decref(json);
    return true;
}

static bool subscription_name_events(struct parsing *p, struct str value)
{
    if (!p->s->sse)
        return err_set(p->e, "event: only server-sent events have names");
    if (!str_eq(value, STR("type")))
        return err_set(p->e, "event: there is only event=type, which names each event by its type");
    return p->s->named = true;
}

static bool subscription_add_cursors(struct parsing *p, struct str value)
{
    if (p->s->sse)
        return err_set(p->e, "cursor: server-sent events have it as their id");
    if (!str_eq(value, STR("1")))
        return err_set(p->e, "cursor: there is only cursor=1, which gives each event the position after it");
    return p->s->with_cursor = true;
}

/* Is it one of connectors/websocket/wish.h? */
static bool subscription_is_wish(struct str name)
{
    static const char *const names[] = { "from", "last_event_id", "lastEventId", "slow", "by" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq(name, str_of(names[i])))
            return true;
    return false;
}

static bool subscription_add_parameter(struct parsing *p, struct str name, struct str value)
{
    if (value.n == 0)
        return err_set(p->e, "parameter \"%.*s\" has no value", STR_ARG(name));
    if (str_eq(name, STR("topics")))
        return subscription_add_topics(p, value);
    if (str_eq(name, STR("filter")))
        return subscription_add_filter(p, value);
    if (str_eq(name, STR("event")))
        return subscription_name_events(p, value);
    if (str_eq(name, STR("cursor")))
        return subscription_add_cursors(p, value);
    if (subscription_is_wish(name))
        return true;
    static const char *const attributes[] = { "type", "subject", "source" };
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        if (str_eq(name, str_of(attributes[i]))) {
            subscription_add_attribute(p, attributes[i], value);
            return true;
        }
    static const char *const names[] = { "topics", "type",   "subject", "source", "filter",        "event",
                                         "from",   "cursor", "slow",    "key",    "last_event_id", NULL };
    const char *near = str_nearest(name, names);
    return err_set(
        p->e,
        "parameter \"%.*s\" is unknown%s%s; there are topics, type, subject, source, filter, event, from, last_event_id, cursor, slow and by",
        STR_ARG(name), near ? ", meant is perhaps " : "", near ? near : "");
}

/* Is there a parameter of that name? */
static bool subscription_has_name(struct str query, struct str name)
{
    struct str pair, key;
    while (str_cut(&query, '&', &pair)) {
        str_cut(&pair, '=', &key);
        if (str_eq(key, name))
            return true;
    }
    return false;
}

static bool subscription_add_parameters(struct parsing *p, struct str query, struct buf *value)
{
    struct str rest = query, pair, name;
    while (str_cut(&rest, '&', &pair)) {
        if (pair.n == 0)
            continue;
        str_cut(&pair, '=', &name);
        if (p->is_secret && p->is_secret(p->ctx, name))
            continue;
        struct str shown = { name.at, name.n < NAME_BYTES ? name.n : NAME_BYTES };
        if (!str_is_utf8(shown))
            return err_set(p->e, "a parameter's name is not text");
        if (rest.at && subscription_has_name(rest, name))
            return err_set(p->e, "parameter \"%.*s\" is there twice", STR_ARG(shown));
        if (!query_decode(pair, value))
            return err_set(p->e, "parameter \"%.*s\" is not percent-encoded UTF-8", STR_ARG(shown));
        if (!subscription_add_parameter(p, name.n > NAME_BYTES ? shown : name, buf_str(value)))
            return false;
    }
    return true;
}

static int subscription_by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Equal subscriptions have equal keys. */
static bool subscription_make_key(struct subscription *s, struct err *e)
{
    struct buf key = buf_new(KEY_BYTES);
    if (s->topics.count)
        qsort(s->topics.at, s->topics.count, sizeof *s->topics.at, subscription_by_name);
    buf_add_c(&key, s->named         ? "sse, named\n"
                    : s->sse         ? "sse\n"
                    : s->with_cursor ? "websocket, cursor\n"
                                     : "websocket\n");
    if (s->sub)
        buf_printf(&key, "%s\n", s->sub);
    for (size_t i = 0; i < s->topics.count; i++)
        buf_printf(&key, "%s,", s->topics.at[i]);
    buf_add_char(&key, '\n');
    if (s->filter) {
        char *text = filter_text(s->filter);
        buf_add_c(&key, text);
        free(text);
    }
    free(s->key);
    s->key = key.failed ? NULL : str_dup(buf_str(&key));
    buf_free(&key);
    return s->key || err_set(e, "the subscription is too long");
}

/* Makes the filter and the key of all conditions. */
static bool subscription_finish(struct parsing *p)
{
    struct subscription *s = p->s;
    if (json_array_size(p->conditions) > 0) {
        s->filter = filter_new(p->conditions, p->e);
        if (!s->filter)
            return err_prefix(p->e, "filter");
    }
    return subscription_make_key(s, p->e);
}

bool subscription_parse(struct subscription *s, struct str query, bool sse, const struct strings *known,
                        bool (*is_secret)(const void *ctx, struct str name), const void *ctx, struct err *e)
{
    *s = (struct subscription){ .sse = sse };
    struct parsing p = {
        .s = s, .known = known, .is_secret = is_secret, .ctx = ctx, .conditions = json_array(), .e = e
    };
    struct buf value = buf_new(VALUE_BYTES);
    bool good = subscription_add_parameters(&p, query, &value) && subscription_finish(&p);
    buf_free(&value);
    json_decref(p.conditions);
    if (!good)
        subscription_free(s);
    return good;
}

/* ---- by an op ---- */

static enum code subscription_take_topics(struct parsing *p, const struct op *o)
{
    const struct jscan_value *topics = op_member(o, "topics");
    struct jscan_value one;
    if (!topics)
        return 0;
    if (topics->type != JSCAN_ARRAY) {
        err_set(p->e, "topics: is no list");
        return CODE_MALFORMED;
    }
    struct buf name = buf_new(VALUE_BYTES);
    enum code code = 0;
    for (const char *at = topics->raw.at; !code && jscan_next(*topics, &at, &one);) {
        buf_reset(&name);
        if (one.type != JSCAN_STRING) {
            err_set(p->e, "topics: a name is no text");
            code = CODE_MALFORMED;
            break;
        }
        jscan_unescape(&name, one.raw);
        code = subscription_add_topic(p, buf_str(&name)) ? 0 : CODE_UNKNOWN;
    }
    if (!code && p->s->topics.count == 0) {
        err_set(p->e, "topics: is an empty list; leave it out for all topics");
        code = CODE_MALFORMED;
    }
    buf_free(&name);
    return code;
}

static enum code subscription_take_conditions(struct parsing *p, const struct op *o)
{
    static const char *const attributes[] = { "type", "subject", "source" };
    struct buf value = buf_new(VALUE_BYTES);
    bool good = true;
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes && good; i++) {
        buf_reset(&value);
        if (!op_member(o, attributes[i]))
            continue;
        good = op_text(o, attributes[i], VALUE_BYTES, &value, p->e);
        if (good)
            subscription_add_attribute(p, attributes[i], buf_str(&value));
    }
    buf_free(&value);
    const struct jscan_value *filter = op_member(o, "filter");
    if (!good)
        return CODE_MALFORMED;
    return !filter || subscription_add_filter(p, filter->raw) ? 0 : CODE_BAD_FILTER;
}

enum code subscription_of_op(struct subscription *s, const struct op *o, const char *name, const struct strings *known,
                             struct err *e)
{
    *s = (struct subscription){ .sub = str_dup(str_of(name)), .with_cursor = true };
    struct parsing p = { .s = s, .known = known, .conditions = json_array(), .e = e };
    enum code code = subscription_take_topics(&p, o);
    if (!code)
        code = subscription_take_conditions(&p, o);
    if (!code && !subscription_finish(&p))
        code = CODE_BAD_FILTER;
    json_decref(p.conditions);
    if (code)
        subscription_free(s);
    return code;
}

void subscription_encode(struct subscription *s, bool cbor, enum ws_window window)
{
    struct buf key = buf_new(SIZE_MAX);
    if (!window && !cbor)
        return;
    buf_printf(&key, "%sdeflate %d\n%s", cbor ? "cbor, " : "", (int)window, s->key);
    free(s->key);
    s->key = str_dup(buf_str(&key));
    s->deflate = window;
    s->cbor = cbor;
    buf_free(&key);
}

/* ---- narrowed ---- */

/* Of a subscription to all topics: those that are known and that may() lets be. */
static void subscription_list_topics(struct subscription *s, const struct strings *known,
                                     bool (*may)(const void *ctx, struct str topic), const void *ctx)
{
    for (size_t i = 0; known && i < known->count; i++)
        if (may(ctx, str_of(known->at[i]))) {
            s->topics.at = mem_grow(s->topics.at, s->topics.count + 1, sizeof *s->topics.at);
            s->topics.at[s->topics.count++] = str_dup(str_of(known->at[i]));
        }
}

bool subscription_keep_topics(struct subscription *s, const struct strings *known,
                              bool (*may)(const void *ctx, struct str topic), const void *ctx, struct err *e)
{
    for (size_t i = 0; i < s->topics.count; i++)
        if (!may(ctx, str_of(s->topics.at[i])))
            return err_set(e, "topics: \"%.100s\" may not be seen with this token", s->topics.at[i]);
    if (s->topics.count == 0)
        subscription_list_topics(s, known, may, ctx);
    if (s->topics.count == 0)
        return err_set(e, "topics: none may be seen with this token");
    return subscription_make_key(s, e);
}

bool subscription_add_condition(struct subscription *s, const json_t *filter, struct err *e)
{
    char *text = s->filter ? filter_text(s->filter) : NULL;
    json_t *all = json_array(), *own = text ? json_loads(text, JSON_ALLOW_NUL, NULL) : NULL;
    CHECK(!text == !own);
    free(text);
    if (own)
        json_array_append_new(all, own);
    if (json_is_array(filter))
        json_array_extend(all, (json_t *)(uintptr_t)filter);
    else
        json_array_append(all, (json_t *)(uintptr_t)filter);
    struct filter *both = filter_new(all, e);
    json_decref(all);
    if (!both)
        return err_prefix(e, "filter, with that of the token");
    filter_free(s->filter);
    s->filter = both;
    return subscription_make_key(s, e);
}

void subscription_free(struct subscription *s)
{
    for (size_t i = 0; i < s->topics.count; i++)
        free(s->topics.at[i]);
    free(s->topics.at);
    filter_free(s->filter);
    free(s->sub);
    free(s->key);
    *s = (struct subscription){ 0 };
}

bool subscription_has_topic(const struct subscription *s, struct str topic)
{
    bool wanted = s->topics.count == 0;
    for (size_t i = 0; i < s->topics.count && !wanted; i++)
        wanted = str_eq(str_of(s->topics.at[i]), topic);
    return wanted;
}
