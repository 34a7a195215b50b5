/* SPDX-License-Identifier: MIT */
/* Takes tokens apart, and has their signatures and claims verified. */
#include "bridge/verify/jwt.h"
#include <stdlib.h>
#include "bridge/auth/secret_files.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/verify/issuer.h"
#include "bridge/verify/jwt_claims.h"

enum { JWT_TRIES = 8 }; /* keys that one token is tried with */

struct jwt {
    const struct jwt_options *o;
    bool allowed[JWT_COUNT];
    struct jwks *own;          /* of secrets and file */
    struct secret_files files; /* of the secrets */
    struct watch watch;        /* of keys_file */
    struct transport way;      /* to the issuer */
    struct address_rules rules;
    struct issuer *issuer; /* NULL: no URL, or not started */
    struct jwt_claims *claims;
    struct buf part, subject; /* of the token at hand */
    json_t *told;             /* its claims, when it was good; NULL */
};

static const struct option_value jwt_guards[] = {
    { GUARD_METADATA, "metadata" },
    { GUARD_PRIVATE, "private" },
    { GUARD_OFF, "off" },
    { 0 },
};

const struct option jwt_rows[] = {
    OPTION(
        struct jwt_options, secrets, .of = secret_rows,
        .doc =
            "Secrets of at least 32 characters that tokens are signed with (HS256, HS384, HS512); all of them are valid, so that they can be rotated."),
    OPTION(
        struct jwt_options, keys_file,
        .doc =
            "File with public keys: PEM (PUBLIC KEY or CERTIFICATE, one or several), or a JSON Web Key Set, which may have secrets, too."),
    OPTION(
        struct jwt_options, keys_url,
        .doc =
            "Where the issuer publishes its keys (jwks_uri): a JSON Web Key Set. It is fetched at the start, each `refresh`, and when a token names a key that is not in it; until it is there, senders get 503."),
    OPTION(
        struct jwt_options, openid,
        .doc =
            "In place of keys_url: an issuer (its iss, exactly, beginning with https://) whose /.well-known/openid-configuration says where its keys are. Tokens must be its own unless `issuer` says otherwise."),
    OPTION(struct jwt_options, refresh, .fallback = "1h", .min = ISSUER_REFRESH_LEAST_MS, .max = 86400000,
           .doc = "How often an issuer's keys are fetched at least; more often if its Cache-Control says so."),
    OPTION(struct jwt_options, ca_file,
           .doc = "PEM file of the authorities that the issuer's certificate is verified by; default: the system's."),
    OPTION(
        struct jwt_options, plain_http,
        .doc =
            "May keys_url and openid begin with http://? Whoever stands between could then forge every token; for the same machine only."),
    OPTION(
        struct jwt_options, guard, .fallback = "metadata", .values = jwt_guards,
        .doc =
            "Addresses that keys are never fetched from, whatever name they have: link-local ones, where clouds keep metadata, and the like (metadata), this machine and private networks as well (private), or none (off)."),
    OPTION(struct jwt_options, allow, .max = 100,
           .doc = "Exceptions from guard: addresses, networks (10.0.0.0/8) and names of hosts."),
    OPTION(
        struct jwt_options, algorithms, .max = JWT_COUNT - 1,
        .doc =
            "Algorithms that are accepted, of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA (Ed25519); default: all that fit the keys."),
    OPTION(struct jwt_options, issuer, .max = 100, .doc = "Accepted values of iss, compared exactly; default: any."),
    OPTION(
        struct jwt_options, audience, .max = 100,
        .doc =
            "Values of aud that mean us; the token must name one. Without it, tokens that have an aud are refused: they are for somebody else."),
    OPTION(struct jwt_options, scope,
           .doc = "Words that must all be in the token's scope or scp, with blanks between them."),
    OPTION(
        struct jwt_options, required,
        .doc =
            "Claims that must have a value, or one of a list of values: {email_verified: true, /realm/roles: [writer, admin]}. A name that begins with / is a JSON pointer; of a claim that is a list, one element must have the value."),
    OPTION(struct jwt_options, leeway, .fallback = "60s", .max = 600000,
           .doc = "How far the issuer's clock may be from ours."),
    OPTION(struct jwt_options, max_age, .max = (int64_t)366 * 86400000,
           .doc = "Longest time since a token was issued (iat); default: any."),
    OPTION(struct jwt_options, needs_exp, .fallback = "true",
           .doc = "Must a token have an end (exp)? One that has is never accepted after it."),
    { 0 },
};

/* ---- options ---- */

static bool jwt_is_set(const char *text)
{
    return text && *text;
}

static bool jwt_has_keys(const struct jwt_options *o)
{
    return o->secrets.count > 0 || jwt_is_set(o->keys_file) || jwt_is_set(o->keys_url) || jwt_is_set(o->openid);
}

bool jwt_is_given(const struct jwt_options *o)
{
    return jwt_has_keys(o) || jwt_is_set(o->ca_file) || o->plain_http || o->allow.count || o->algorithms.count
           || o->issuer.count || o->audience.count || jwt_is_set(o->scope) || o->required.json || o->max_age.ms;
}

static bool jwt_set_algorithms(struct jwt *j, struct err *e)
{
    const struct strings *names = &j->o->algorithms;
    for (int a = JWT_NONE + 1; a < JWT_COUNT; a++)
        j->allowed[a] = names->count == 0;
    for (size_t i = 0; i < names->count; i++) {
        enum jwt_algorithm a = jwt_algorithm_of(str_of(names->at[i]));
        if (a == JWT_NONE)
            return err_set(e, "algorithms[%zu]: %.32s is none that verifies tokens here", i, names->at[i]);
        j->allowed[a] = true;
    }
    return true;
}

/* Is there an algorithm for one of these keys? Without one they could never be used. */
static bool jwt_check_own(const struct jwt *j, const struct jwks *own, struct err *e)
{
    size_t usable = 0;
    for (int a = JWT_NONE + 1; a < JWT_COUNT; a++)
        for (size_t at = 0; j->allowed[a] && jwks_find(own, &at, (enum jwt_algorithm)a, STR_ABSENT);)
            usable++;
    return usable || jwks_count(own) == 0 || err_set(e, "algorithms: none of them fits a key of secrets or keys_file");
}

/* Takes the keys of secrets and file in the place of those before; false with *e: none was taken. */
static bool jwt_load(struct jwt *j, const struct secrets *secrets, struct err *e)
{
    struct jwks *own = jwks_new();
    bool ok = jwks_add_secrets(own, secrets, e);
    if (ok && jwt_is_set(j->o->keys_file))
        ok = jwks_add_file(own, j->o->keys_file, e) || err_prefix(e, "keys_file");
    ok = ok && jwt_check_own(j, own, e);
    jwks_unref(ok ? j->own : own);
    if (ok)
        j->own = own;
    return ok;
}

static bool jwt_take_secrets(void *ctx, const struct secrets *now, struct err *e)
{
    return jwt_load(ctx, now, e);
}

/* Reads the files again that have changed. */
static void jwt_turn(struct jwt *j)
{
    struct err e;
    secret_files_turn(&j->files, jwt_take_secrets, j, "jwt");
    if (watch_has_news(&j->watch)) {
        bool ok = jwt_load(j, j->files.now.count ? &j->files.now : &j->o->secrets, &e);
        watch_tell("keys", j->o->keys_file, ok ? NULL : &e);
    }
}

static bool jwt_check_url(const struct jwt *j, const char *option, const char *url, struct err *e)
{
    if (jwt_is_set(url) && !j->o->plain_http && str_starts(str_of(url), STR("http://")))
        return err_set(
            e,
            "%s: begins with http://: whoever stands between could answer in its place; use https://, or, for an "
            "issuer on this machine, plain_http: true",
            option);
    return !jwt_is_set(url) || fetch_check_url(url, j->o->plain_http, &j->rules, e) || err_prefix(e, "%s", option);
}

static bool jwt_set_url(struct jwt *j, struct err *e)
{
    const struct jwt_options *o = j->o;
    j->rules = (struct address_rules){ o->guard, &o->allow };
    j->way = (struct transport){
        .tls = true, .ca_file = jwt_is_set(o->ca_file) ? o->ca_file : NULL, .tls_min = TLS_MIN_1_2, .http = HTTP_1_1
    };
    if (jwt_is_set(o->keys_url) && jwt_is_set(o->openid))
        return err_set(e, "openid: says where the keys are, and so does keys_url: leave one of them away");
    return address_check_allow(&o->allow, e) && jwt_check_url(j, "keys_url", o->keys_url, e)
           && jwt_check_url(j, "openid", o->openid, e) && transport_check(&j->way, e);
}

static bool jwt_set_up(struct jwt *j, struct err *e)
{
    if (!jwt_has_keys(j->o))
        return err_set(
            e, "keys_url: is missing, and so are openid, keys_file and secrets: there is no key to verify with");
    secret_files_open(&j->files, &j->o->secrets);
    if (jwt_is_set(j->o->keys_file))
        watch_add(&j->watch, j->o->keys_file);
    watch_begin(&j->watch);
    j->claims = jwt_claims_new(j->o, e);
    return j->claims && jwt_set_algorithms(j, e) && jwt_load(j, &j->o->secrets, e) && jwt_set_url(j, e);
}

struct jwt *jwt_new(const struct jwt_options *o, struct err *e)
{
    struct jwt *j = mem_alloc(sizeof *j);
    *j = (struct jwt){ .o = o, .part = buf_new(JWT_BYTES), .subject = buf_new(JWT_SUBJECT + 1) };
    if (jwt_set_up(j, e))
        return j;
    jwt_free(j);
    return NULL;
}

void jwt_start(struct jwt *j)
{
    struct issuer_options o = { .url = jwt_is_set(j->o->keys_url) ? j->o->keys_url : NULL,
                                .openid = j->o->openid,
                                .plain = j->o->plain_http,
                                .way = &j->way,
                                .rules = &j->rules,
                                .refresh = j->o->refresh };
    if ((o.url || jwt_is_set(o.openid)) && !j->issuer)
        j->issuer = issuer_start(&o);
}

void jwt_free(struct jwt *j)
{
    if (!j)
        return;
    issuer_stop(j->issuer);
    jwks_unref(j->own);
    secret_files_close(&j->files);
    watch_end(&j->watch);
    jwt_claims_free(j->claims);
    buf_free(&j->part);
    buf_free(&j->subject);
    json_decref(j->told);
    free(j);
}

/* ---- a token ---- */

struct jwt_parts {
    struct str head, claims, signature; /* still encoded */
    struct str text;                    /* what is signed */
};

static bool jwt_cut(struct str token, struct jwt_parts *p)
{
    struct str rest = token;
    *p = (struct jwt_parts){ 0 };
    bool three = token.n && token.n <= JWT_BYTES && str_cut(&rest, '.', &p->head) && str_cut(&rest, '.', &p->claims)
                 && str_cut(&rest, '.', &p->signature) && !rest.at;
    p->text = (struct str){ token.at, p->head.n + 1 + p->claims.n };
    return three && p->head.n && p->claims.n && p->signature.n;
}

/* A part that is a JSON object; NULL: it is none. The caller's reference. */
static json_t *jwt_object(struct jwt *j, struct str part)
{
    buf_reset(&j->part);
    if (!base64url_decode_exact(&j->part, part))
        return NULL;
    json_t *json = json_loadb(j->part.at, j->part.n, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(json))
        return json;
    json_decref(json);
    return NULL;
}

/* What of a head chooses the key. */
struct jwt_choice {
    enum jwt_algorithm algorithm;
    struct str id; /* absent: it names none */
    struct str text, signature;
};

struct jwt_found {
    size_t tried;
    bool live, ended;
};

static void jwt_try(const struct jwks *keys, const struct jwt_choice *c, struct jwt_found *found)
{
    size_t at = 0;
    const struct jwk *k;
    while (!found->live && found->tried < JWT_TRIES && (k = jwks_find(keys, &at, c->algorithm, c->id))) {
        bool ended = jwk_until_ms(k) && jwk_until_ms(k) <= clock_wall_ms();
        found->tried++;
        if (!jwk_verify(k, c->algorithm, c->text, c->signature))
            continue;
        found->live |= !ended;
        found->ended |= ended;
    }
}

/* By all keys that it can be; an issuer's may have changed when none of them has its kid. */
static enum jwt_verdict jwt_verify(struct jwt *j, const struct jwt_choice *c, const char **why)
{
    struct jwt_found found = { 0 };
    struct jwks *keys = j->issuer ? issuer_keys(j->issuer) : NULL;
    jwt_try(j->own, c, &found);
    if (keys)
        jwt_try(keys, c, &found);
    bool changed = !found.live && keys && !jwks_has_id(keys, c->id);
    bool awaited = j->issuer && !found.live && (!keys || (changed && issuer_ask(j->issuer)));
    jwks_unref(keys);
    *why = found.live    ? NULL
           : awaited     ? "the keys are being fetched"
           : found.ended ? "it is signed by a secret that has ended"
           : found.tried ? "the signature does not match"
                         : "no key is for its kid and alg";
    return found.live    ? JWT_GOOD
           : awaited     ? JWT_AWAITED
           : found.ended ? JWT_ENDED
           : found.tried ? JWT_MISMATCH
                         : JWT_UNKNOWN_KEY;
}

/* By what its head says; nothing of a head makes a key. */
static enum jwt_verdict jwt_check_head(struct jwt *j, const json_t *head, struct jwt_choice *c, const char **why)
{
    const json_t *id = json_object_get(head, "kid");
    c->algorithm = jwt_algorithm_of(str_of(json_text(head, "alg")));
    c->id = str_of(json_string_value(id));
    if (json_object_get(head, "crit"))
        *why = "its head has crit: what that demands is not known here";
    else if (id && !json_is_string(id))
        *why = "its kid is no text";
    if (*why)
        return JWT_MALFORMED;
    if (c->algorithm == JWT_NONE || !j->allowed[c->algorithm]) {
        *why = "its alg is not accepted";
        return JWT_UNKNOWN_KEY;
    }
    return jwt_verify(j, c, why);
}

static bool jwt_is_shown(struct str text)
{
    for (size_t n; text.n; text = str_from(text, n)) {
        n = str_utf8_length(text);
        if (n == 0 || !str_is_shown((struct str){ text.at, n }))
            return false;
    }
    return true;
}

static void jwt_keep_subject(struct jwt *j, const json_t *claims)
{
    struct str sub = str_of(json_text(claims, "sub"));
    if (sub.n <= JWT_SUBJECT && jwt_is_shown(sub))
        buf_add_str(&j->subject, sub);
}

static enum jwt_verdict jwt_check_parts(struct jwt *j, const struct jwt_parts *p, struct str signature,
                                        const char **why)
{
    struct jwt_choice choice = { .text = p->text, .signature = signature };
    json_t *head = jwt_object(j, p->head);
    if (!head) {
        *why = "its head is no JSON object in base64url";
        return JWT_MALFORMED;
    }
    enum jwt_verdict verdict = jwt_check_head(j, head, &choice, why);
    json_decref(head);
    if (verdict != JWT_GOOD)
        return verdict;
    json_t *claims = jwt_object(j, p->claims);
    if (!claims) {
        *why = "its claims are no JSON object in base64url";
        return JWT_MALFORMED;
    }
    verdict = jwt_claims_check(j->claims, claims, (double)clock_wall_ms() / 1000, why);
    if (verdict == JWT_GOOD) {
        jwt_keep_subject(j, claims);
        j->told = json_incref(claims);
    }
    json_decref(claims);
    return verdict;
}

enum jwt_verdict jwt_check(struct jwt *j, struct str token, const char **why)
{
    struct jwt_parts parts;
    struct buf signature = buf_new(JWT_BYTES);
    enum jwt_verdict verdict = JWT_MALFORMED;
    *why = NULL;
    buf_reset(&j->subject);
    json_decref(j->told);
    j->told = NULL;
    jwt_turn(j);
    if (!jwt_cut(token, &parts))
        *why = token.n > JWT_BYTES ? "it is too long" : "it has not three parts with a dot between them";
    else if (!base64url_decode_exact(&signature, parts.signature))
        *why = "its signature is no base64url";
    else
        verdict = jwt_check_parts(j, &parts, buf_str(&signature), why);
    buf_free(&signature);
    return verdict;
}

struct str jwt_subject(const struct jwt *j)
{
    return j->subject.n ? buf_str(&j->subject) : STR_ABSENT;
}

const json_t *jwt_told(const struct jwt *j)
{
    return j->told;
}

bool jwt_ready(const struct jwt *j, struct err *why)
{
    return !j->issuer || issuer_ready(j->issuer, why);
}
