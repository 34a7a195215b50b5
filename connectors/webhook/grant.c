/* SPDX-License-Identifier: MIT */
/* Requests for tokens, and their answers. */
#include "connectors/webhook/grant.h"

#include <jansson.h>
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/jpointer.h"
#include "bridge/lib/mem.h"

enum { GRANT_LINES = 3 };

void grant_set_request(struct grant *g, struct buf body, const char *line)
{
    static char accept[] = "Accept: application/json", expect[] = "Expect:";
    struct request *r = &g->request;
    r->json = body;
    r->body = buf_str(&r->json);
    r->text = buf_new(strlen(line) + 1);
    buf_add(&r->text, line, strlen(line) + 1);
    r->lines = mem_grow(NULL, GRANT_LINES, sizeof *r->lines);
    r->lines[0] = (struct curl_slist){ accept, &r->lines[1] };
    r->lines[1] = (struct curl_slist){ expect, &r->lines[2] };
    r->lines[2] = (struct curl_slist){ r->text.at, NULL };
}

bool grant_is_same(const struct grant *a, const struct grant *b)
{
    return strcmp(a->url, b->url) == 0 && str_eq(a->request.body, b->request.body)
           && str_eq(buf_str(&a->request.text), buf_str(&b->request.text)) && strcmp(a->member, b->member) == 0
           && a->life_s == b->life_s && memcmp(&a->statuses, &b->statuses, sizeof a->statuses) == 0;
}

void grant_free(struct grant *g)
{
    crypto_wipe(g->request.json.at, g->request.json.n);
    crypto_wipe(g->request.text.at, g->request.text.n);
    request_free(&g->request);
    hide_close(&g->hidden);
    free(g->url);
    free(g->member);
    *g = (struct grant){ 0 };
}

/* ---- how long ---- */

/* A number of seconds, or one in quotes, as far as it is believed; 0: there is none. */
static int64_t grant_seconds(const json_t *value)
{
    uint64_t seconds = 0;
    if (json_is_string(value) && !str_to_u64(str_of(json_string_value(value)), &seconds))
        return 0;
    if (json_is_number(value)) {
        double number = json_number_value(value);
        seconds = !(number >= 1) ? 0 : number < (double)GRANT_MOST_S ? (uint64_t)number : GRANT_MOST_S;
    }
    return seconds < GRANT_MOST_S ? (int64_t)seconds : GRANT_MOST_S;
}

/* What a JWT says of itself; NULL: it is none. */
static json_t *grant_claims(const char *token)
{
    const char *first = strchr(token, '.'), *second = first ? strchr(first + 1, '.') : NULL;
    struct buf plain = buf_new(GRANT_BYTES);
    bool decoded = second && base64url_decode(&plain, (struct str){ first + 1, (size_t)(second - first) - 1 });
    json_t *claims = decoded ? json_loadb(plain.at, plain.n, 0, NULL) : NULL;
    buf_free(&plain);
    return claims;
}

/* By `exp`, and by `iat` as well: a clock that differs from ours makes no token last longer, or end before it began. */
static int64_t grant_jwt_s(const char *token, int64_t wall_ms)
{
    json_t *claims = grant_claims(token), *from = json_object_get(claims, "iat"), *to = json_object_get(claims, "exp");
    double by_clock = json_number_value(to) - (double)wall_ms / 1000,
           whole = json_number_value(to) - json_number_value(from), left = by_clock;
    if (json_is_number(from) && (by_clock < 1 || whole < by_clock))
        left = whole;
    bool known = json_is_number(to) && left >= 1;
    json_decref(claims);
    return !known ? 0 : left < (double)GRANT_MOST_S ? (int64_t)left : GRANT_MOST_S;
}

/* ---- the token ---- */

static bool grant_is_sound(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return *text != '\0';
}

/* What stands in the answer where the token should; the caller's reference; NULL: nothing. */
static json_t *grant_find(const char *member, struct str body)
{
    struct err e;
    struct jscan_value values[JPOINTER_TOKENS + 1] = { { 0 } };
    struct jpointers *where = jpointers_new();
    int at = jpointers_add(where, str_of(member), &e);
    bool found = at >= 0 && jpointers_find(where, body, values, &e) && values[at].type == JSCAN_STRING;
    jpointers_free(where);
    return found ? json_loadb(values[at].raw.at, values[at].raw.n, JSON_DECODE_ANY, NULL) : NULL;
}

bool grant_read(const struct grant *g, struct str body, int64_t wall_ms, char room[GRANT_BYTES], struct duration *life,
                struct err *e)
{
    json_t *answer = json_loadb(body.at, body.n, JSON_REJECT_DUPLICATES, NULL);
    json_t *found = json_is_object(answer) ? grant_find(g->member, body) : NULL;
    const char *token = json_string_value(found);
    const char *type = json_string_value(json_object_get(answer, "token_type"));
    int64_t seconds = grant_seconds(json_object_get(answer, "expires_in"));
    bool ok = false;
    if (!json_is_object(answer))
        err_set(e, "the answer is no JSON object");
    else if (!token || !grant_is_sound(token) || strlen(token) >= GRANT_BYTES)
        err_set(e, "the answer has no %.64s that can stand in a header", g->member + 1);
    else if (type && !str_eq_nocase(str_of(type), STR("bearer")))
        err_set(e, "the token is of another type than bearer");
    else
        ok = true;
    if (ok)
        memcpy(room, token, strlen(token) + 1);
    if (ok && !seconds)
        seconds = grant_jwt_s(token, wall_ms);
    life->ms = (seconds ? seconds : g->life_s) * 1000;
    json_decref(found);
    json_decref(answer);
    return ok;
}
