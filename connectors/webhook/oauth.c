/* SPDX-License-Identifier: MIT */
/* Fetches access tokens. */
#include "connectors/webhook/oauth.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"

enum {
    OAUTH_TIMEOUT_MS = 10000,
    OAUTH_PAUSE_MS = 1000,     /* between a fetch that failed and the next */
    OAUTH_RENEW_MS = 30000,    /* between two fetches because of 401 */
    OAUTH_LIFE_S = 3600,       /* when the answer does not say */
    OAUTH_MOST_S = 86400 * 30, /* more is not believed */
    OAUTH_SLACK_MS = 10000,    /* before its end it is not used any more */
    OAUTH_LINES = 3,
};

#define OAUTH_URL "oauth.token_url"

static const struct option_value oauth_auths[] = { { OAUTH_BASIC, "basic" }, { OAUTH_BODY, "body" }, { 0 } };

const struct option oauth_rows[] = {
    OPTION(struct oauth, token_url, .doc = "Where the token is fetched."),
    OPTION(struct oauth, client_id, .doc = "Who we are there."),
    OPTION(struct oauth, client_secret, .doc = "Our secret there."),
    OPTION(struct oauth, scope, .doc = "What the token shall allow."),
    OPTION(struct oauth, audience, .doc = "For whom the token shall be; some services want it."),
    OPTION(struct oauth, auth, .fallback = "basic", .values = oauth_auths,
           .doc = "Where id and secret stand: in the header Authorization (basic), or in the form (body)."),
    { 0 }
};

bool oauth_check(const struct oauth *o, const struct address_rules *rules, struct err *e)
{
    struct transfer_target to = { 0 };
    if (!o->token_url)
        return (!o->client_id && !o->client_secret.text) || err_set(e, "oauth.token_url: is missing");
    if (!o->client_id || !*o->client_id)
        return err_set(e, "oauth.client_id: is missing");
    if (!o->client_secret.text || !*o->client_secret.text)
        return err_set(e, "oauth.client_secret: is missing");
    bool ok = target_set_url(&to, OAUTH_URL, o->token_url, e) && target_check_address(&to, OAUTH_URL, rules, e);
    target_free_url(&to);
    return ok;
}

/* ---- the request ---- */

static void oauth_add_escaped(struct buf *out, const char *text)
{
    char *escaped = curl_easy_escape(NULL, text, (int)strlen(text));
    CHECK(escaped);
    buf_add_c(out, escaped);
    curl_free(escaped);
}

static void oauth_add_field(struct buf *out, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    buf_printf(out, "&%s=", name);
    oauth_add_escaped(out, value);
}

/* Hides the secret, in whichever form it is sent. */
static void oauth_hide(struct oauth_token *k)
{
    struct buf form = buf_new(3 * strlen(k->settings.client_secret.text) + 1);
    struct hidden *h = &k->target.hidden;
    hide_word(h, k->settings.client_secret.text);
    oauth_add_escaped(&form, k->settings.client_secret.text);
    hide_word(h, buf_c(&form));
    if (k->settings.auth == OAUTH_BASIC)
        hide_word(h, strrchr(k->transfer.request.text.at, ' ') + 1);
    crypto_wipe(form.at, form.n);
    buf_free(&form);
}

static void oauth_add_basic(struct buf *out, const struct oauth *o)
{
    struct buf pair = buf_new(OAUTH_BYTES);
    oauth_add_escaped(&pair, o->client_id);
    buf_add_char(&pair, ':');
    oauth_add_escaped(&pair, o->client_secret.text);
    buf_add_c(out, "Authorization: Basic ");
    base64_add(out, buf_str(&pair));
    crypto_wipe(pair.at, pair.n);
    buf_free(&pair);
}

/* Fills the transfer's request, which stays the same. */
static void oauth_build(struct oauth_token *k)
{
    struct request *r = &k->transfer.request;
    const struct oauth *o = &k->settings;
    bool basic = o->auth == OAUTH_BASIC;
    r->json = buf_new(4 * OAUTH_BYTES);
    r->text = buf_new(4 * OAUTH_BYTES);
    buf_add_c(&r->json, "grant_type=client_credentials");
    oauth_add_field(&r->json, "client_id", basic ? NULL : o->client_id);
    oauth_add_field(&r->json, "client_secret", basic ? NULL : o->client_secret.text);
    oauth_add_field(&r->json, "scope", o->scope);
    oauth_add_field(&r->json, "audience", o->audience);
    r->body = buf_str(&r->json);
    if (basic)
        oauth_add_basic(&r->text, o);
    buf_add_char(&r->text, '\0');
    static char accept[] = "Accept: application/json", expect[] = "Expect:";
    r->lines = mem_grow(NULL, OAUTH_LINES, sizeof *r->lines);
    r->lines[0] = (struct curl_slist){ accept, &r->lines[1] };
    r->lines[1] = (struct curl_slist){ expect, basic ? &r->lines[2] : NULL };
    r->lines[2] = (struct curl_slist){ r->text.at, NULL };
}

/* ---- sharing ---- */

static char *oauth_copy(const char *text)
{
    return text && *text ? str_dup(str_of(text)) : NULL;
}

static bool oauth_same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool oauth_is_of(const struct oauth_token *k, const struct oauth *o, const struct transport *way)
{
    const struct oauth *s = &k->settings;
    struct transport own = *way;
    own.tls = k->target.transport.tls;
    own.http = HTTP_1_1;
    return k->users && oauth_same_text(s->token_url, o->token_url) && oauth_same_text(s->client_id, o->client_id)
           && oauth_same_text(s->client_secret.text, o->client_secret.text) && oauth_same_text(s->scope, o->scope)
           && oauth_same_text(s->audience, o->audience) && s->auth == o->auth
           && transport_is_same(&k->target.transport, &own);
}

static void oauth_copy_settings(struct oauth_token *k, const struct oauth *o, const struct transport *way)
{
    k->settings = (struct oauth){ .token_url = oauth_copy(o->token_url),
                                  .client_id = oauth_copy(o->client_id),
                                  .client_secret = { .text = oauth_copy(o->client_secret.text) },
                                  .scope = oauth_copy(o->scope),
                                  .audience = oauth_copy(o->audience),
                                  .auth = o->auth };
    k->target.transport = (struct transport){ .ca_file = oauth_copy(way->ca_file),
                                              .cert_file = oauth_copy(way->cert_file),
                                              .key_file = oauth_copy(way->key_file),
                                              .tls_min = way->tls_min,
                                              .http = HTTP_1_1,
                                              .proxy = oauth_copy(way->proxy) };
}

static void oauth_fill(struct oauth_token *k, const struct oauth *o, const struct transfer_target *receiver,
                       const struct address_rules *rules)
{
    static char success[] = "2xx", *successes[] = { success };
    struct err e;
    oauth_copy_settings(k, o, &receiver->transport);
    CHECK(target_set_url(&k->target, OAUTH_URL, k->settings.token_url, &e)); /* oauth_check said so */
    CHECK(statuses_load(&k->target.rules.statuses, &(struct strings){ successes, 1 }, &(struct strings){ 0 }, &e));
    target_set_guard(&k->target, rules);
    k->target.multi = receiver->multi;
    k->target.timeout = k->target.connect_timeout = (struct duration){ OAUTH_TIMEOUT_MS };
    k->answer = buf_new(OAUTH_BYTES);
    k->transfer.fetches = k;
    k->transfer.whole = &k->answer;
    oauth_build(k);
    oauth_hide(k);
}

struct oauth_token *oauth_take(struct oauth_token **list, const struct oauth *o, const struct transfer_target *receiver,
                               const struct address_rules *rules)
{
    struct oauth_token *k = *list, *unused = NULL;
    for (; k && !oauth_is_of(k, o, &receiver->transport); k = k->next)
        unused = k->users ? unused : k;
    if (!k && !unused) {
        unused = mem_alloc(sizeof *unused);
        unused->next = *list;
        *list = unused;
    }
    if (!k) {
        k = unused;
        oauth_fill(k, o, receiver, rules);
    }
    k->users++;
    return k;
}

static void oauth_drop(struct oauth_token *k)
{
    if (k->line)
        crypto_wipe(k->line, strlen(k->line));
    free(k->line);
    k->line = NULL;
}

/* Leaves the struct as new, but for what kept connections and the list know of it. */
static void oauth_clear(struct oauth_token *k)
{
    struct oauth *s = &k->settings;
    struct transport *way = &k->target.transport;
    char *owned[] = { s->token_url,
                      s->client_id,
                      s->client_secret.text,
                      s->scope,
                      s->audience,
                      (char *)(uintptr_t)way->ca_file,
                      (char *)(uintptr_t)way->cert_file,
                      (char *)(uintptr_t)way->key_file,
                      (char *)(uintptr_t)way->proxy };
    oauth_drop(k);
    transfer_free(&k->transfer);
    hide_close(&k->target.hidden);
    target_free_url(&k->target);
    buf_free(&k->answer);
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    struct multi_opened opened = k->transfer.opened;
    *k = (struct oauth_token){ .next = k->next, .generation = k->generation, .transfer = { .opened = opened } };
}

void oauth_release(struct oauth_token *k)
{
    if (k && --k->users == 0)
        oauth_clear(k);
}

void oauth_free(struct oauth_token *list)
{
    while (list) {
        struct oauth_token *next = list->next;
        CHECK(list->users == 0);
        free(list);
        list = next;
    }
}

/* ---- the token ---- */

static void oauth_fetch(struct oauth_token *k)
{
    k->failure = (struct result){ .verdict = VERDICT_RETRY };
    k->fetching = true;
    transfer_start(&k->transfer, &k->target);
}

enum oauth_state oauth_ask(struct oauth_token *k, int64_t now_ms)
{
    bool usable = k->line && now_ms < k->ends_ms;
    if (!k->fetching && now_ms >= k->again_ms && (!usable || now_ms >= k->refresh_ms))
        oauth_fetch(k);
    if (usable)
        return OAUTH_READY;
    return k->fetching ? OAUTH_COMING : OAUTH_FAILED;
}

bool oauth_refuse(struct oauth_token *k, uint64_t generation, int64_t now_ms)
{
    if (generation != k->generation || !k->line)
        return true; /* there is another one already, or it is being fetched */
    if (now_ms < k->renewable_ms)
        return false;
    k->renewable_ms = now_ms + OAUTH_RENEW_MS;
    oauth_drop(k);
    return true;
}

/* Takes the token over, or says why not. */
static bool oauth_accept(struct oauth_token *k, int64_t now_ms, struct err *e)
{
    char room[OAUTH_BYTES];
    struct duration life;
    if (!oauth_read(buf_str(&k->answer), room, &life, e))
        return false;
    oauth_drop(k);
    k->line = str_join("Authorization: Bearer ", room, "");
    crypto_wipe(room, sizeof room);
    k->generation++;
    int64_t slack = life.ms / 10 < OAUTH_SLACK_MS ? life.ms / 10 : OAUTH_SLACK_MS;
    k->ends_ms = now_ms + life.ms - slack;
    k->refresh_ms = now_ms + life.ms / 5 * 4;
    k->again_ms = 0;
    return true;
}

static bool oauth_is_our_fault(int status)
{
    return status == 400 || status == 401 || status == 403;
}

void oauth_took(struct oauth_token *k, int64_t now_ms)
{
    struct err e = { "" };
    const struct result *r = &k->transfer.result;
    k->fetching = false;
    bool accepted = r->verdict == VERDICT_DELIVERED && oauth_accept(k, now_ms, &e);
    buf_reset(&k->answer);
    if (accepted)
        return;
    k->again_ms = now_ms + OAUTH_PAUSE_MS;
    k->failure.away = true;
    k->failure.verdict = r->verdict == VERDICT_UNTRIED ? VERDICT_UNTRIED : VERDICT_RETRY;
    k->failure.reason = oauth_is_our_fault(r->status) ? REASON_CONFIGURATION
                        : r->reason == REASON_BLOCKED ? REASON_BLOCKED
                                                      : REASON_UNAVAILABLE;
    k->failure.retry_after = r->retry_after.ms > OAUTH_PAUSE_MS ? r->retry_after : (struct duration){ OAUTH_PAUSE_MS };
    snprintf(k->failure.why, sizeof k->failure.why, "no access token from %.64s: %.*s", k->target.host,
             (int)sizeof k->failure.why - 90, r->verdict == VERDICT_DELIVERED ? e.text : r->why);
}

/* ---- the answer ---- */

static bool oauth_is_sound(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return *text != '\0';
}

/* expires_in: a number, or one in quotes; 0: there is none. */
static int64_t oauth_life_s(const json_t *answer)
{
    const json_t *value = json_object_get(answer, "expires_in");
    uint64_t seconds = 0;
    if (json_is_string(value) && !str_to_u64(str_of(json_string_value(value)), &seconds))
        return 0;
    if (json_is_number(value)) {
        double number = json_number_value(value);
        seconds = number >= 1 && number <= OAUTH_MOST_S ? (uint64_t)number : number > OAUTH_MOST_S ? OAUTH_MOST_S : 0;
    }
    return seconds < OAUTH_MOST_S ? (int64_t)seconds : OAUTH_MOST_S;
}

bool oauth_read(struct str body, char room[OAUTH_BYTES], struct duration *life, struct err *e)
{
    json_t *answer = json_loadb(body.at, body.n, JSON_REJECT_DUPLICATES, NULL);
    const char *token = json_string_value(json_object_get(answer, "access_token"));
    const char *type = json_string_value(json_object_get(answer, "token_type"));
    int64_t seconds = oauth_life_s(answer);
    bool ok = false;
    if (!json_is_object(answer))
        err_set(e, "the answer is no JSON object");
    else if (!token || !oauth_is_sound(token) || strlen(token) >= OAUTH_BYTES)
        err_set(e, "the answer has no access_token that can stand in a header");
    else if (type && !str_eq_nocase(str_of(type), STR("bearer")))
        err_set(e, "the token is of another type than bearer");
    else
        ok = true;
    if (ok)
        memcpy(room, token, strlen(token) + 1);
    life->ms = (seconds ? seconds : OAUTH_LIFE_S) * 1000;
    json_decref(answer);
    return ok;
}
