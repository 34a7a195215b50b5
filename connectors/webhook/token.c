/* SPDX-License-Identifier: MIT */
/* Fetches access tokens. */
#include "connectors/webhook/token.h"

#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"

enum {
    TOKEN_TIMEOUT_MS = 10000,
    TOKEN_PAUSE_MS = 1000,       /* between a fetch that failed and the next */
    TOKEN_PAUSE_MOST_MS = 60000, /* the same, of a service that refuses us again and again */
    TOKEN_RENEW_MS = 30000,      /* between two fetches because of 401 */
    TOKEN_SLACK_MS = 10000,      /* before its end it is not used any more */
};

/* ---- sharing ---- */

static char *token_copy(const char *text)
{
    return text && *text ? str_dup(str_of(text)) : NULL;
}

static bool token_is_of(const struct token *k, const struct grant *g, const struct transport *way)
{
    struct transport own = *way;
    own.tls = k->target.transport.tls;
    own.http = HTTP_1_1;
    return k->users && grant_is_same(&k->grant, g) && transport_is_same(&k->target.transport, &own);
}

static void token_fill(struct token *k, const struct grant *g, const struct transfer_target *receiver,
                       const struct address_rules *rules)
{
    struct err e;
    const struct transport *way = &receiver->transport;
    k->grant = *g;
    k->target.transport = (struct transport){ .ca_file = token_copy(way->ca_file),
                                              .cert_file = token_copy(way->cert_file),
                                              .key_file = token_copy(way->key_file),
                                              .tls_min = way->tls_min,
                                              .http = HTTP_1_1,
                                              .proxy = token_copy(way->proxy) };
    CHECK(target_set_url(&k->target, "token", g->url, &e)); /* the grant's maker has checked it */
    target_set_guard(&k->target, rules);
    k->target.rules.statuses = g->statuses;
    k->target.hidden = g->hidden;
    k->target.multi = receiver->multi;
    k->target.timeout = k->target.connect_timeout = (struct duration){ TOKEN_TIMEOUT_MS };
    k->answer = buf_new(GRANT_BYTES);
    k->transfer.fetches = k;
    k->transfer.whole = &k->answer;
    k->transfer.request = g->request;
}

struct token *token_take(struct token **list, struct grant *g, const struct transfer_target *receiver,
                         const struct address_rules *rules)
{
    struct token *k = *list, *unused = NULL;
    for (; k && !token_is_of(k, g, &receiver->transport); k = k->next)
        unused = k->users ? unused : k;
    if (!k && !unused) {
        unused = mem_alloc(sizeof *unused);
        unused->next = *list;
        *list = unused;
    }
    if (k)
        grant_free(g);
    else
        token_fill(k = unused, g, receiver, rules);
    k->users++;
    return k;
}

static void token_drop(struct token *k)
{
    if (k->line)
        crypto_wipe(k->line, strlen(k->line));
    free(k->line);
    k->line = NULL;
}

/* Leaves the struct as new, but for what kept connections and the list know of it. */
static void token_clear(struct token *k)
{
    struct transport *way = &k->target.transport;
    const char *owned[] = { way->ca_file, way->cert_file, way->key_file, way->proxy };
    token_drop(k);
    k->transfer.request = (struct request){ 0 };
    transfer_free(&k->transfer);
    target_free_url(&k->target);
    grant_free(&k->grant);
    buf_free(&k->answer);
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free((char *)(uintptr_t)owned[i]);
    struct multi_opened opened = k->transfer.opened;
    *k = (struct token){ .next = k->next, .generation = k->generation, .transfer = { .opened = opened } };
}

void token_release(struct token *k)
{
    if (k && --k->users == 0)
        token_clear(k);
}

void token_free(struct token *list)
{
    while (list) {
        struct token *next = list->next;
        CHECK(list->users == 0);
        free(list);
        list = next;
    }
}

/* ---- the token ---- */

static void token_fetch(struct token *k)
{
    k->failure = (struct result){ .verdict = VERDICT_RETRY };
    k->fetching = true;
    transfer_start(&k->transfer, &k->target);
}

enum token_state token_ask(struct token *k, int64_t now_ms)
{
    bool usable = k->line && now_ms < k->ends_ms;
    if (!k->fetching && now_ms >= k->again_ms && (!usable || now_ms >= k->refresh_ms))
        token_fetch(k);
    if (usable)
        return TOKEN_READY;
    return k->fetching ? TOKEN_COMING : TOKEN_FAILED;
}

bool token_refuse(struct token *k, uint64_t generation, int64_t now_ms)
{
    if (generation != k->generation || !k->line)
        return true; /* there is another one already, or it is being fetched */
    if (now_ms < k->renewable_ms)
        return false;
    k->renewable_ms = now_ms + TOKEN_RENEW_MS;
    token_drop(k);
    return true;
}

/* Takes the token over, or says why not. */
static bool token_accept(struct token *k, int64_t now_ms, struct err *e)
{
    char room[GRANT_BYTES];
    struct duration life;
    if (k->answer.failed)
        return err_set(e, "the answer is larger than %d KiB", GRANT_BYTES >> 10);
    if (!grant_read(&k->grant, buf_str(&k->answer), clock_wall_ms(), room, &life, e))
        return false;
    token_drop(k);
    k->line = str_join("Authorization: Bearer ", room, "");
    crypto_wipe(room, sizeof room);
    k->generation++;
    int64_t slack = life.ms / 10 < TOKEN_SLACK_MS ? life.ms / 10 : TOKEN_SLACK_MS;
    k->ends_ms = now_ms + life.ms - slack;
    k->refresh_ms = now_ms + life.ms / 5 * 4;
    k->again_ms = k->pause_ms = 0;
    return true;
}

static bool token_is_our_fault(int status)
{
    return status == 400 || status == 401 || status == 403 || status == 422;
}

/* With a status that `success` does not name. */
static bool token_is_unnamed(const struct result *r)
{
    return r->status / 100 == 2 && r->verdict != VERDICT_DELIVERED;
}

/* Says why there is no token; does not quote an answer that may have one. */
static void token_say(struct token *k, const struct result *r, const struct err *e)
{
    char unnamed[64];
    snprintf(unnamed, sizeof unnamed, "%d, which login.success does not name", r->status);
    const char *why = token_is_unnamed(r) ? unnamed : r->verdict == VERDICT_DELIVERED ? e->text : r->why;
    snprintf(k->failure.why, sizeof k->failure.why, "no access token from %.64s: %.*s", k->target.host,
             (int)sizeof k->failure.why - 90, why);
}

void token_took(struct token *k, int64_t now_ms)
{
    struct err e = { "" };
    const struct result *r = &k->transfer.result;
    k->fetching = false;
    bool accepted = r->verdict == VERDICT_DELIVERED && token_accept(k, now_ms, &e);
    buf_reset(&k->answer);
    if (accepted)
        return;
    bool refused = token_is_our_fault(r->status) || token_is_unnamed(r);
    k->pause_ms = refused && k->pause_ms ? 2 * k->pause_ms : TOKEN_PAUSE_MS;
    k->pause_ms = k->pause_ms < TOKEN_PAUSE_MOST_MS ? k->pause_ms : TOKEN_PAUSE_MOST_MS;
    k->again_ms = now_ms + k->pause_ms;
    k->failure.verdict = r->verdict == VERDICT_UNTRIED ? VERDICT_UNTRIED : VERDICT_RETRY;
    k->failure.away = k->failure.verdict == VERDICT_RETRY;
    k->failure.reason = refused                       ? REASON_CONFIGURATION
                        : r->reason == REASON_BLOCKED ? REASON_BLOCKED
                                                      : REASON_UNAVAILABLE;
    k->failure.retry_after = r->retry_after.ms > k->pause_ms ? r->retry_after : (struct duration){ k->pause_ms };
    token_say(k, r, &e);
}
