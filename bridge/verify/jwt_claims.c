/* SPDX-License-Identifier: MIT */
/* Compares the claims of tokens with what is demanded. */
#include "bridge/verify/jwt_claims.h"
#include <stdlib.h>
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

struct jwt_claims {
    const struct jwt_options *o;
    json_t *required; /* object; NULL: none */
    double leeway_s, max_age_s;
};

/* ---- what is demanded ---- */

static bool jwt_claims_check_required(const json_t *required, struct err *e)
{
    const char *name;
    json_t *value;
    if (!json_is_object(required))
        return err_set(e, "required: must be a mapping of claims to values");
    json_object_foreach((json_t *)(uintptr_t)required, name, value)
    {
        if (!*name || json_is_object(value) || json_is_null(value)
            || (json_is_array(value) && json_array_size(value) == 0))
            return err_set(e, "required: %.64s: must be a value, or a list of values of which one is enough", name);
    }
    return true;
}

struct jwt_claims *jwt_claims_new(const struct jwt_options *o, struct err *e)
{
    struct jwt_claims *c = mem_alloc(sizeof *c);
    *c = (struct jwt_claims){ .o = o,
                              .required = o->required.json ? json_loads(o->required.json, JSON_DECODE_ANY, NULL) : NULL,
                              .leeway_s = (double)o->leeway.ms / 1000,
                              .max_age_s = (double)o->max_age.ms / 1000 };
    if (!o->required.json || jwt_claims_check_required(c->required, e))
        return c;
    jwt_claims_free(c);
    return NULL;
}

void jwt_claims_free(struct jwt_claims *c)
{
    if (!c)
        return;
    json_decref(c->required);
    free(c);
}

/* ---- what it says ---- */

/* The member that a token of a JSON pointer names: ~1 is '/' and ~0 is '~'. */
static const json_t *jwt_claims_member(const json_t *of, struct str token)
{
    struct buf name = buf_new(token.n + 1);
    for (size_t i = 0; i < token.n; i++) {
        bool escaped = token.at[i] == '~' && i + 1 < token.n && (token.at[i + 1] == '0' || token.at[i + 1] == '1');
        buf_add_char(&name, !escaped ? token.at[i] : token.at[i + 1] == '1' ? '/' : '~');
        i += escaped;
    }
    uint64_t index;
    const json_t *found = json_is_array(of) && str_to_u64(token, &index) ? json_array_get(of, index)
                                                                         : json_object_get(of, buf_c(&name));
    buf_free(&name);
    return found;
}

const json_t *jwt_claims_find(const json_t *claims, const char *name)
{
    struct str rest = str_of(name), token;
    if (*name != '/' || json_object_get(claims, name))
        return json_object_get(claims, name);
    rest = str_from(rest, 1);
    while (claims && str_cut(&rest, '/', &token))
        claims = jwt_claims_member(claims, token);
    return claims;
}

/* Is it the value, or a list that has it? */
static bool jwt_claims_holds(const json_t *claim, const json_t *value)
{
    size_t i;
    const json_t *one;
    if (json_equal(claim, value))
        return true;
    json_array_foreach(claim, i, one)
    {
        if (json_equal(one, value))
            return true;
    }
    return false;
}

static bool jwt_claims_holds_one(const json_t *claim, const json_t *wanted)
{
    size_t i;
    const json_t *one;
    if (!json_is_array(wanted))
        return jwt_claims_holds(claim, wanted);
    json_array_foreach(wanted, i, one)
    {
        if (jwt_claims_holds(claim, one))
            return true;
    }
    return false;
}

static bool jwt_claims_has_required(const struct jwt_claims *c, const json_t *claims)
{
    const char *name;
    json_t *value;
    json_object_foreach(c->required, name, value)
    {
        const json_t *claim = jwt_claims_find(claims, name);
        if (!claim || !jwt_claims_holds_one(claim, value))
            return false;
    }
    return true;
}

/* Has a text, words of a text (`scope`), or a list this word? */
static bool jwt_claims_has_word(const json_t *claim, struct str word)
{
    size_t i;
    const json_t *one;
    struct str rest = str_of(json_string_value(claim)), piece;
    while (str_cut(&rest, ' ', &piece))
        if (str_eq(piece, word))
            return true;
    json_array_foreach(claim, i, one)
    {
        if (json_is_string(one) && str_eq(str_of(json_string_value(one)), word))
            return true;
    }
    return false;
}

/* All words of `scope` are in its `scope` or `scp`. */
static bool jwt_claims_has_scope(const struct jwt_claims *c, const json_t *claims)
{
    struct str rest = str_of(c->o->scope), word;
    while (str_cut(&rest, ' ', &word))
        if (word.n && !jwt_claims_has_word(json_object_get(claims, "scope"), word)
            && !jwt_claims_has_word(json_object_get(claims, "scp"), word))
            return false;
    return true;
}

/* Is it one of the issuers, or the one that OpenID's keys are of? */
static bool jwt_claims_is_from(const struct jwt_options *o, const json_t *iss)
{
    struct str name = str_of(json_string_value(iss));
    if (o->issuer.count)
        return name.at && strings_have(&o->issuer, name);
    return !o->openid || !*o->openid || (name.at && str_eq(name, str_of(o->openid)));
}

/* A token that says for whom it is has to be for us (RFC 7519 section 4.1.3). */
static bool jwt_claims_is_for_us(const struct strings *audience, const json_t *aud)
{
    size_t i;
    const json_t *one;
    if (json_is_string(aud))
        return strings_have(audience, str_of(json_string_value(aud)));
    json_array_foreach(aud, i, one)
    {
        if (json_is_string(one) && strings_have(audience, str_of(json_string_value(one))))
            return true;
    }
    return !aud && audience->count == 0;
}

/* Why the time is not right; NULL: it is. */
static const char *jwt_claims_stale(const struct jwt_claims *c, const json_t *claims, double now_s)
{
    const json_t *exp = json_object_get(claims, "exp"), *nbf = json_object_get(claims, "nbf"),
                 *iat = json_object_get(claims, "iat");
    double early_s = now_s + c->leeway_s, late_s = now_s - c->leeway_s;
    if (!exp && c->o->needs_exp)
        return "it has no exp";
    if (exp && late_s >= json_number_value(exp))
        return "it has expired (exp)";
    if (nbf && early_s < json_number_value(nbf))
        return "it is not valid yet (nbf)";
    if (iat && early_s < json_number_value(iat))
        return "it was issued in the future (iat)";
    if (c->max_age_s > 0 && !iat)
        return "it has no iat, which max_age wants";
    if (c->max_age_s > 0 && late_s - c->max_age_s > json_number_value(iat))
        return "it is older than max_age (iat)";
    return NULL;
}

static bool jwt_claims_is_time(const json_t *claim)
{
    return !claim || json_is_number(claim);
}

static enum jwt_verdict jwt_claims_check_times(const struct jwt_claims *c, const json_t *claims, double now_s,
                                               const char **why)
{
    bool times = jwt_claims_is_time(json_object_get(claims, "exp"))
                 && jwt_claims_is_time(json_object_get(claims, "nbf"))
                 && jwt_claims_is_time(json_object_get(claims, "iat"));
    *why = times ? jwt_claims_stale(c, claims, now_s) : "exp, nbf or iat is no number";
    return !times ? JWT_MALFORMED : *why ? JWT_STALE : JWT_GOOD;
}

enum jwt_verdict jwt_claims_check(const struct jwt_claims *c, const json_t *claims, double now_s, const char **why)
{
    enum jwt_verdict verdict = jwt_claims_check_times(c, claims, now_s, why);
    const json_t *aud = json_object_get(claims, "aud");
    if (verdict != JWT_GOOD)
        return verdict;
    if (!jwt_claims_is_from(c->o, json_object_get(claims, "iss")))
        *why = "iss is none of ours, or missing";
    else if (!jwt_claims_is_for_us(&c->o->audience, aud))
        *why = !aud                        ? "it has no aud"
               : c->o->audience.count == 0 ? "it has an aud, and no audience is configured"
                                           : "aud is none of ours";
    else if (c->o->scope && !jwt_claims_has_scope(c, claims))
        *why = "scope lacks a word that is demanded";
    else if (!jwt_claims_has_required(c, claims))
        *why = "a required claim is missing, or has another value";
    return *why ? JWT_FOREIGN : JWT_GOOD;
}
