/* SPDX-License-Identifier: MIT */
/* Tokens for OAUTHBEARER: asked for at broker.sasl.token_url with what the client's id and secret are by then (RFC 6749,
 * section 4.4), or read from where somebody else puts them.
 *
 * librdkafka asks for one on a thread of each client's own, when it has none and again before it ends. The last token serves
 * all clients that would ask the same, so a hundred sinks ask once. (librdkafka could ask by itself, if it was built with
 * libcurl; Debian's is not.) */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/query.h"
#include "bridge/net/fetch.h"

enum {
    TOKEN_ANSWER = 64 << 10, /* bytes of an answer, and of a token */
    TOKEN_FORM = 16 << 10,
    TOKEN_ASK_MS = 10000,
    TOKEN_UNSAID_MS = 300000, /* life of a token that does not say how long it is */
    TOKEN_LEAST_MS = 10000,   /* one that ends sooner is not handed out a second time */
};

static struct {
    pthread_mutex_t lock; /* guards what follows; held while one is asked for, so that the others wait for it */
    uint64_t asked_with;
    char *text;
    int64_t asked_ms, end_ms; /* of the wall clock */
    char name[KAFKA_USER];
} token = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- what a token says of itself ---- */

/* Its end and its `sub`, as far as it is a JSON Web Token: it is the cluster that verifies it. */
static void token_read(struct str text)
{
    struct str rest = text, head, body;
    struct buf bytes = buf_new(TOKEN_ANSWER);
    if (!str_cut(&rest, '.', &head) || !str_cut(&rest, '.', &body) || !base64url_decode(&bytes, body)) {
        buf_free(&bytes);
        return;
    }
    json_t *claims = json_loadb(buf_str(&bytes).at, bytes.n, 0, NULL);
    const json_t *end = json_object_get(claims, "exp");
    if (json_is_number(end))
        token.end_ms = (int64_t)(json_number_value(end) * 1000);
    snprintf(token.name, sizeof token.name, "%s", json_text(claims, "sub"));
    json_decref(claims);
    buf_free(&bytes);
}

/* Keeps it; false with *e when librdkafka could do nothing with it. */
static bool token_take(struct str text, int64_t life_ms, struct err *e)
{
    text = str_trim(text);
    if (!text.n || memchr(text.at, '\n', text.n) || memchr(text.at, ' ', text.n))
        return err_set(e, "there is no token");
    kafka_login_wipe(token.text);
    token.text = str_dup(text);
    token.asked_ms = clock_wall_ms();
    token.end_ms = token.asked_ms + life_ms;
    token.name[0] = '\0';
    token_read(text);
    return token.end_ms > token.asked_ms || err_set(e, "the token has ended already");
}

/* ---- the server of tokens ---- */

static void token_form_pair(struct buf *out, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    buf_add_c(out, out->n ? "&" : "");
    query_add_escaped(out, str_of(name));
    buf_add_char(out, '=');
    query_add_escaped(out, str_of(value));
}

/* The client's id and secret as RFC 6749, section 2.3.1, has them. */
static void token_credentials(struct buf *out, const char *id, const char *secret)
{
    struct buf pair = buf_new(TOKEN_FORM);
    query_add_escaped(&pair, str_of(id));
    buf_add_char(&pair, ':');
    query_add_escaped(&pair, str_of(secret));
    buf_add_c(out, "Basic ");
    base64_add(out, buf_str(&pair));
    crypto_wipe_buf(&pair);
}

/* What a refusal says: {"error": "invalid_client", "error_description": "..."}. */
static void token_say_refused(const struct buf *body, struct err *e)
{
    json_t *said = json_loadb(buf_str(body).at, body->n, 0, NULL);
    const char *error = json_text(said, "error"), *more = json_text(said, "error_description");
    struct err before = *e;
    if (*error)
        err_set(e, "%s (%.60s%s%.120s)", before.text, error, *more ? ": " : "", more);
    json_decref(said);
}

static bool token_take_answer(const struct buf *body, struct err *e)
{
    json_t *said = body->failed ? NULL : json_loadb(buf_str(body).at, body->n, 0, NULL);
    const char *text = json_text(said, "access_token");
    const json_t *life = json_object_get(said, "expires_in");
    bool ok = *text || err_set(e, "it answered without an access_token");
    ok = ok
         && token_take(str_of(text), json_is_number(life) ? (int64_t)(json_number_value(life) * 1000) : TOKEN_UNSAID_MS,
                       e);
    json_decref(said);
    return ok;
}

static bool token_fetch(const struct broker_sasl *s, const char *secret, struct err *e)
{
    struct transport way = { .tls = true, .ca_file = s->ca_file && *s->ca_file ? s->ca_file : NULL };
    struct buf form = buf_new(TOKEN_FORM), login = buf_new(TOKEN_FORM), answer = buf_new(TOKEN_ANSWER);
    long status;
    token_form_pair(&form, "grant_type", "client_credentials");
    token_form_pair(&form, "scope", s->scope);
    for (size_t i = 0; i < s->parameters.count; i++)
        token_form_pair(&form, s->parameters.at[i].key, s->parameters.at[i].value);
    token_credentials(&login, s->client_id, secret);
    const struct header headers[] = { { STR("Authorization"), buf_str(&login) },
                                      { STR("Content-Type"), STR("application/x-www-form-urlencoded") },
                                      { STR("Accept"), STR("application/json") } };
    const struct fetch_question q = { .url = s->token_url,
                                      .body = buf_str(&form),
                                      .headers = headers,
                                      .header_count = sizeof headers / sizeof *headers,
                                      .limit_ms = TOKEN_ASK_MS };
    struct fetch *f = fetch_new(&way, NULL);
    bool ok = fetch_post(f, &q, &answer, &status, e);
    if (!ok && answer.n)
        token_say_refused(&answer, e);
    ok = ok && token_take_answer(&answer, e);
    fetch_free(f);
    struct buf *const all[] = { &form, &login, &answer };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        crypto_wipe_buf(all[i]);
    return ok;
}

static bool token_ask(const struct broker_sasl *s, const char *secret, struct err *e)
{
    char *host = fetch_host(s->token_url);
    bool ok = token_fetch(s, secret, e) || err_prefix(e, "%.100s", host);
    free(host);
    return ok;
}

/* ---- librdkafka ---- */

/* Of all that makes the request what it is. */
static uint64_t token_request(const struct broker_sasl *s, const char *secret)
{
    const char *const parts[] = { s->token_url, s->client_id, s->scope, s->ca_file, secret };
    uint64_t sum = 1;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        sum = sum * 31 + (parts[i] ? str_hash(str_of(parts[i])) : 0);
    for (size_t i = 0; i < s->parameters.count; i++)
        sum = sum * 31 + str_hash(str_of(s->parameters.at[i].key)) * 7 + str_hash(str_of(s->parameters.at[i].value));
    return sum;
}

/* Is there a token for that request, which has most of its life before it? Else it is the time to renew it. */
static bool token_is_good(uint64_t request)
{
    int64_t now = clock_wall_ms(), life = token.end_ms - token.asked_ms;
    return token.text && token.asked_with == request && token.end_ms - now > TOKEN_LEAST_MS
           && now - token.asked_ms < life / 2;
}

static bool token_get(const struct broker_sasl *s, struct err *e)
{
    bool given = s->token.text;
    char *secret = kafka_login_secret(given ? &s->token : &s->client_secret);
    uint64_t request = token_request(s, secret);
    bool ok = token_is_good(request)
              || (given ? token_take(str_of(secret), TOKEN_UNSAID_MS, e) : token_ask(s, secret, e));
    if (ok)
        token.asked_with = request;
    kafka_login_wipe(secret);
    return ok;
}

static bool token_hand_over(rd_kafka_t *rk, const struct broker_sasl *s, struct err *e)
{
    char text[KAFKA_ERRSTR];
    const char **pairs = mem_alloc((2 * s->extensions.count + 1) * sizeof *pairs);
    for (size_t i = 0; i < s->extensions.count; i++) {
        pairs[2 * i] = s->extensions.at[i].key;
        pairs[2 * i + 1] = s->extensions.at[i].value;
    }
    rd_kafka_resp_err_t code = rd_kafka_oauthbearer_set_token(rk, token.text, token.end_ms,
                                                              token.name[0] ? token.name : "aqueduct", pairs,
                                                              2 * s->extensions.count, text, sizeof text);
    free(pairs);
    /* Its text may repeat what it was given. */
    return !code || err_set(e, "librdkafka does not take the token, or the extensions: %s", rd_kafka_err2name(code));
}

static void token_on_refresh(rd_kafka_t *rk, const char *where, void *opaque)
{
    void *config = NULL;
    struct err e = { "" };
    (void)opaque;
    if (sscanf(where, "%p", &config) != 1)
        return;
    const struct broker_sasl *s = &((const struct broker_config *)config)->sasl;
    pthread_mutex_lock(&token.lock);
    bool ok = token_get(s, &e) && token_hand_over(rk, s, &e);
    pthread_mutex_unlock(&token.lock);
    if (!ok)
        rd_kafka_oauthbearer_set_token_failure(rk, e.text);
}

bool kafka_token_conf(rd_kafka_conf_t *conf, const struct broker_config *c)
{
    char where[32];
    if (c->sasl.mechanism != SASL_OAUTHBEARER)
        return true;
    snprintf(where, sizeof where, "%p", (const void *)c); /* the callback is told nothing else of ours */
    rd_kafka_conf_enable_sasl_queue(conf, 1);
    rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, token_on_refresh);
    return rd_kafka_conf_set(conf, "sasl.oauthbearer.config", where, NULL, 0) == RD_KAFKA_CONF_OK;
}

void kafka_token_serve(rd_kafka_t *rk)
{
    rd_kafka_error_destroy(rd_kafka_sasl_background_callbacks_enable(rk));
}

bool kafka_token_name(char out[KAFKA_USER])
{
    pthread_mutex_lock(&token.lock);
    memcpy(out, token.name, KAFKA_USER);
    pthread_mutex_unlock(&token.lock);
    return out[0];
}
