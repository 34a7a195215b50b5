/* SPDX-License-Identifier: MIT */
/* Rights of claims. */
#include "connectors/websocket/rights.h"
#include <stdlib.h>
#include <string.h>

const struct option claims_rows[] = {
    OPTION(
        struct claims_options, topics,
        .doc =
            "Claim of JSON Web Tokens that lists the topics that may be seen (ai.* for all that begin so), by name or "
            "JSON pointer. Default: all topics of the sink."),
    OPTION(struct claims_options, filter,
           .doc = "Claim with a filter, or a list of them, that events must fit besides what the listener asks for."),
    OPTION(struct claims_options, publish,
           .doc = "Claim that lists the types that may be published, of those in publish.types."),
    { 0 },
};

static bool rights_is_text(const char *text)
{
    return text && *text;
}

bool claims_are_set(const struct claims_options *o)
{
    return rights_is_text(o->topics) || rights_is_text(o->filter) || rights_is_text(o->publish);
}

/* A list of texts, or one text with blanks between them, as a list. */
static json_t *rights_list(const json_t *claim)
{
    json_t *list = json_array();
    struct str rest = str_of(json_is_string(claim) ? json_string_value(claim) : NULL), one;
    while (str_cut(&rest, ' ', &one))
        if (one.n)
            json_array_append_new(list, json_stringn(one.at, one.n));
    size_t i;
    const json_t *value;
    json_array_foreach(claim, i, value) if (json_is_string(value))
        json_array_append_new(list, json_string(json_string_value(value)));
    return list;
}

static bool rights_take_list(json_t **out, const char *name, const struct verifier *v, struct err *e)
{
    if (!rights_is_text(name))
        return true;
    const json_t *claim = verifier_claim(v, name);
    if (!claim || (!json_is_array(claim) && !json_is_string(claim)))
        return err_set(e, "the token has no claim %.100s that is a list of texts", name);
    *out = rights_list(claim);
    return true;
}

static bool rights_take_filter(struct rights *r, const char *name, const struct verifier *v, struct err *e)
{
    if (!rights_is_text(name))
        return true;
    const json_t *claim = verifier_claim(v, name);
    struct filter *f = claim ? filter_new(claim, e) : NULL;
    if (!claim)
        return err_set(e, "the token has no claim %.100s", name);
    if (!f)
        return err_prefix(e, "the token's claim %.100s", name);
    filter_free(f);
    r->filter = json_deep_copy(claim);
    return true;
}

/* Tokens without `sub` have a key as well, which is the same for all of them. */
static void rights_take_user(struct rights *r, struct str key, const struct claims_options *o, const struct verifier *v)
{
    const char *user = json_string_value(verifier_claim(v, "sub"));
    r->claimed = claims_are_set(o);
    if (r->claimed && user && str_eq(key, str_of(user)))
        r->user = str_dup(key);
}

bool rights_take(struct rights *r, struct str key, const struct claims_options *o, const struct verifier *v,
                 struct err *e)
{
    *r = (struct rights){ 0 };
    if (!v)
        return true;
    const json_t *exp = verifier_claim(v, "exp");
    if (json_is_number(exp) && json_number_value(exp) < 1e12)
        r->until_ms = (int64_t)(json_number_value(exp) * 1000);
    rights_take_user(r, key, o, v);
    if (rights_take_list(&r->topics, o->topics, v, e) && rights_take_filter(r, o->filter, v, e)
        && rights_take_list(&r->publish, o->publish, v, e))
        return true;
    rights_free(r);
    return false;
}

bool rights_are_over(const struct rights *r, int64_t wall_ms)
{
    return r->until_ms && wall_ms >= r->until_ms;
}

void rights_free(struct rights *r)
{
    json_decref(r->topics);
    json_decref(r->filter);
    json_decref(r->publish);
    free(r->user);
    *r = (struct rights){ 0 };
}

static bool rights_is_same(const json_t *a, const json_t *b)
{
    return a && b ? json_equal(a, b) : a == b;
}

bool rights_are_same(const struct rights *a, const struct rights *b)
{
    return rights_is_same(a->topics, b->topics) && rights_is_same(a->filter, b->filter)
           && rights_is_same(a->publish, b->publish);
}

/* Is it in the list? NULL: everything is. */
static bool rights_fit(const json_t *list, struct str text)
{
    size_t i;
    const json_t *value;
    bool fits = !list;
    json_array_foreach(list, i, value)
    {
        struct str one = str_of(json_string_value(value));
        fits |= str_ends(one, STR("*")) ? str_starts(text, (struct str){ one.at, one.n - 1 }) : str_eq(text, one);
    }
    return fits;
}

bool rights_let_publish(const struct rights *r, struct str type)
{
    return rights_fit(r->publish, type);
}

static bool rights_see(const void *list, struct str topic)
{
    return rights_fit(list, topic);
}

enum code rights_narrow(const struct rights *r, struct subscription *s, const struct strings *known, struct err *e)
{
    if (r->topics && !subscription_keep_topics(s, known, rights_see, r->topics, e))
        return CODE_FORBIDDEN;
    return !r->filter || subscription_add_condition(s, r->filter, e) ? 0 : CODE_BAD_FILTER;
}
