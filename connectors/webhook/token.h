/* SPDX-License-Identifier: MIT */
/* Access tokens for receivers that want them, got by a grant: OAuth 2.0 client credentials (oauth.h) or a login (login.h).
 *
 *   token_ask: READY      its header line is good for this request
 *              COMING     it is being fetched; ask again when token_took says so
 *              FAILED     it could not be: `failure` is what the event's attempt ends with
 *
 * Receivers with the same grant share a token. It is fetched by a transfer of its own among the others when the first
 * event needs it, and anew when four fifths of its life are over, while the old one serves; once more when a receiver
 * answers 401, but not in the half minute after it did so for that reason. A service that refuses us is asked again after
 * a second, and then after twice as long each time, up to a minute. One thread. */
#pragma once
#include "connectors/webhook/grant.h"
#include "connectors/webhook/transfer.h"

enum token_state {
    TOKEN_READY = 1,
    TOKEN_COMING,
    TOKEN_FAILED,
};

struct token {
    struct token *next;
    size_t users; /* 0: the struct waits for another grant: kept connections still know its transfer */
    struct grant grant;
    struct transfer_target target; /* its transport's strings are copies; what is hidden is the grant's */
    struct transfer transfer;      /* that fetches it; its request is the grant's */
    struct buf answer;
    bool fetching;
    char *line;          /* "Authorization: Bearer ..."; NULL: there is none */
    uint64_t generation; /* counts the tokens */
    /* clock_mono_ms: not used from, fetched anew from; no fetch before; a 401 counts from */
    int64_t ends_ms, refresh_ms, again_ms, renewable_ms;
    int64_t pause_ms;      /* of the last fetch that failed; 0: it did not */
    struct result failure; /* of the last fetch */
};

/* The token of this grant (moved) for that receiver, in the list; nothing is sent yet. */
struct token *token_take(struct token **list, struct grant *g, const struct transfer_target *receiver,
                         const struct address_rules *rules);
void token_release(struct token *k); /* one of its receivers ends; accepts NULL */
/* All of the list, none of which is used; behind the end of the multi handle. */
void token_free(struct token *list);

enum token_state token_ask(struct token *k, int64_t now_ms);
/* A receiver answered 401 to that generation. True: ask again, another one comes. */
bool token_refuse(struct token *k, uint64_t generation, int64_t now_ms);
/* Its transfer has ended (transfer_end said true). */
void token_took(struct token *k, int64_t now_ms);
