/* SPDX-License-Identifier: MIT */
/* Parses the messages of aqueduct.v1+json. */
#include "connectors/websocket/op.h"
#include <string.h>

static const struct op_form {
    const char *name;
    enum op_kind kind;
    const char *members[12]; /* besides op and id; ends with NULL */
} op_forms[] = {
    { "hello", OP_HELLO, { "token", NULL } },
    { "sub",
      OP_SUB,
      { "sub", "topics", "type", "subject", "source", "filter", "from", "slow", "by", "name", "window", NULL } },
    { "unsub", OP_UNSUB, { "sub", NULL } },
    { "ack", OP_ACK, { "sub", "pos", NULL } },
    { "pub", OP_PUB, { "event", NULL } },
    { "refresh", OP_REFRESH, { "token", NULL } },
    { "ping", OP_PING, { NULL } },
};

const struct jscan_value *op_member(const struct op *o, const char *name)
{
    for (size_t i = 0; i < o->count; i++)
        if (str_eq(o->members[i].name, str_of(name)))
            return &o->members[i].value;
    return NULL;
}

bool op_number(const struct op *o, const char *name, int64_t least, int64_t most, int64_t *out, struct err *e)
{
    const struct jscan_value *v = op_member(o, name);
    int64_t n;
    if (!v)
        return true;
    if (v->type != JSCAN_NUMBER || !str_to_i64(v->raw, &n) || n < least || n > most)
        return err_set(e, "%s: is no whole number from %lld to %lld", name, (long long)least, (long long)most);
    *out = n;
    return true;
}

bool op_text(const struct op *o, const char *name, size_t most, struct buf *out, struct err *e)
{
    const struct jscan_value *v = op_member(o, name);
    size_t before = out->n;
    if (!v)
        return err_set(e, "%s: is missing", name);
    if (v->type != JSCAN_STRING)
        return err_set(e, "%s: is no text", name);
    jscan_unescape(out, v->raw);
    if (out->n == before && !out->failed)
        return err_set(e, "%s: is empty", name);
    if (!out->failed && memchr(out->at + before, '\0', out->n - before))
        return err_set(e, "%s: has a NUL in it", name);
    return (!out->failed && out->n - before <= most) || err_set(e, "%s: is longer than %zu bytes", name, most);
}

/* Its id as it will be said again. */
static bool op_take_id(struct op *out, struct err *e)
{
    const struct jscan_value *id = op_member(out, "id");
    if (!id)
        return true;
    if ((id->type != JSCAN_NUMBER && id->type != JSCAN_STRING) || id->raw.n >= ASKED_ID)
        return err_set(e, "id: is neither a number nor a text, or longer than %d bytes", ASKED_ID - 1);
    memcpy(out->asked.id, id->raw.at, id->raw.n);
    out->asked.id[id->raw.n] = '\0';
    return true;
}

static const struct op_form *op_form_of(struct str name)
{
    for (size_t i = 0; i < sizeof op_forms / sizeof *op_forms; i++)
        if (str_eq(name, str_of(op_forms[i].name)))
            return &op_forms[i];
    return NULL;
}

/* One that misspelled its filter must not get everything: there is nothing in it that is not known, or twice. */
static bool op_check_members(const struct op *o, const struct op_form *form, struct err *e)
{
    for (size_t i = 0; i < o->count; i++) {
        struct str name = o->members[i].name;
        bool known = str_eq(name, STR("op")) || str_eq(name, STR("id"));
        for (size_t k = 0; form->members[k] && !known; k++)
            known = str_eq(name, str_of(form->members[k]));
        if (!known)
            return err_set(e, "\"%.*s\" is no part of op %s", (int)(name.n < 40 ? name.n : 40), name.at, form->name);
        for (size_t k = 0; k < i; k++)
            if (str_eq(o->members[k].name, name))
                return err_set(e, "\"%.*s\" is there twice", (int)(name.n < 40 ? name.n : 40), name.at);
    }
    return true;
}

enum code op_parse(struct str json, struct op *out, struct err *e)
{
    char name[OP_NAME];
    *out = (struct op){ .asked = { .op = true } };
    int n = jscan_object(json, out->members, OP_MEMBERS, e);
    if (n < 0)
        return CODE_MALFORMED;
    out->count = n < OP_MEMBERS ? (size_t)n : OP_MEMBERS;
    if (!op_take_id(out, e))
        return CODE_MALFORMED;
    if (n > OP_MEMBERS) {
        err_set(e, "more than %d members", OP_MEMBERS);
        return CODE_MALFORMED;
    }
    struct buf text = buf_new(OP_NAME);
    bool named = op_text(out, "op", OP_NAME - 1, &text, e);
    if (named)
        memcpy(name, text.at, text.n);
    struct str shown = { name, named ? text.n : 0 };
    buf_free(&text);
    if (!named)
        return CODE_MALFORMED;
    const struct op_form *form = op_form_of(shown);
    if (!form) {
        err_set(e, "there is no op \"%.*s\"; there are hello, sub, unsub, ack, pub, refresh and ping", STR_ARG(shown));
        return CODE_UNKNOWN_OP;
    }
    out->kind = form->kind;
    return op_check_members(out, form, e) ? 0 : CODE_MALFORMED;
}
