/* SPDX-License-Identifier: MIT */
/* What verification schemes share. */
#include "bridge/verify/scheme.h"
#include <stdio.h>
#include "bridge/auth/token.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

/* ---- secrets ---- */

void scheme_unload(struct verifier *v)
{
    if (v->scheme->forget_secrets)
        v->scheme->forget_secrets(v);
    tokens_free(v->tokens);
    tokens_free(v->ended);
    v->tokens = v->ended = NULL;
}

bool scheme_load(struct verifier *v, int64_t wall_ms, struct err *e)
{
    scheme_unload(v);
    v->tokens = tokens_new();
    v->ended = tokens_new();
    v->turn_ms = INT64_MAX;
    for (int ended = 0; ended <= 1; ended++)
        for (size_t i = 0; i < v->secrets.count; i++) {
            const struct secret *s = &v->secrets.at[i];
            if (secret_has_ended(s, wall_ms) != ended)
                continue;
            v->adding = i;
            if (!v->scheme->add_secret(v, str_of(s->text), ended, e))
                return err_prefix(e, "%s.secrets[%zu]", v->place, i);
            if (s->until.ms && !ended && s->until.ms < v->turn_ms)
                v->turn_ms = s->until.ms;
        }
    return true;
}

bool scheme_add_token(struct verifier *v, struct str secret, bool ended, struct err *e)
{
    if (!secret_check(secret, SECRET_LEAST, e))
        return false;
    tokens_add(ended ? v->ended : v->tokens, secret, v->adding);
    return true;
}

/* ---- requests ---- */

/* The secrets as they are now. */
static void scheme_turn(struct verifier *v)
{
    struct err e;
    if (v->turn_ms != INT64_MAX && clock_wall_ms() >= v->turn_ms)
        CHECK(scheme_load(v, clock_wall_ms(), &e)); /* verifier_new has taken all of them */
}

enum refusal scheme_check(struct verifier *v, const struct http_request *r)
{
    scheme_turn(v);
    v->key = STR_ABSENT;
    v->claims = NULL;
    v->why = NULL;
    return v->scheme->check(v, r);
}

enum refusal scheme_check_head(struct verifier *v, const struct http_request *r)
{
    if (v->by_head)
        return scheme_check(v, r);
    return v->scheme->check_head ? v->scheme->check_head(v, r) : REFUSAL_NONE;
}

void scheme_set_unnamed(struct verifier *v, const char *whose)
{
    size_t room = sizeof v->number - v->number_length;
    int n = snprintf(v->number + v->number_length, room, "#%s", whose);
    v->key = (struct str){ v->number, v->number_length + ((size_t)n < room ? (size_t)n : room - 1) };
}

void scheme_set_key(struct verifier *v, size_t secret)
{
    const char *name = v->secrets.at[secret].name;
    char number[24];
    if (name && *name) {
        v->key = str_of(name);
        return;
    }
    snprintf(number, sizeof number, "%zu", secret + 1);
    scheme_set_unnamed(v, number);
}

enum refusal scheme_header(const struct http_request *r, const char *name, struct str *out)
{
    size_t count = 0;
    *out = http_header(r, name, &count);
    if (count > 1)
        return REFUSAL_REPEATED;
    return out->n ? REFUSAL_NONE : REFUSAL_MISSING;
}

enum refusal scheme_token(const struct verifier *v, const struct http_request *r, struct str *out)
{
    enum refusal no = scheme_header(r, v->header ? v->header : v->scheme->header, out);
    if (!no && !v->header)
        *out = token_of_authorization(*out, "Bearer");
    return no;
}

enum refusal scheme_check_token(struct verifier *v, struct str token)
{
    size_t which = 0;
    bool good = tokens_match(v->tokens, token, &which), ended = tokens_match(v->ended, token, NULL);
    if (!good)
        return ended ? REFUSAL_ENDED : REFUSAL_MISMATCH;
    scheme_set_key(v, which);
    return REFUSAL_NONE;
}
