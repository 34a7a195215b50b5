/* SPDX-License-Identifier: MIT */
/* Access tokens by OAuth 2.0 client credentials (RFC 6749 section 4.4), for receivers that want them.
 *
 *   oauth_ask: READY      its header line is good for this request
 *              COMING     it is being fetched; ask again when oauth_took says so
 *              FAILED     it could not be: `failure` is what the event's attempt ends with
 *
 * Receivers with the same settings share a token. It is fetched by a transfer of its own among the others when the first
 * event needs it, and anew when four fifths of its life are over, while the old one serves; once more when a receiver
 * answers 401, but not in the half minute after it did so for that reason. One thread. */
#pragma once
#include "connectors/webhook/transfer.h"

enum { OAUTH_BYTES = 16 * 1024 }; /* most of an answer with a token */

struct oauth { /* options */
    char *token_url, *client_id;
    struct secret client_secret;
    char *scope, *audience;
    enum oauth_auth {
        OAUTH_BASIC, /* id and secret in the header Authorization */
        OAUTH_BODY,  /* in the form */
    } auth;
};

extern const struct option oauth_rows[];

enum oauth_state {
    OAUTH_READY = 1,
    OAUTH_COMING,
    OAUTH_FAILED,
};

struct oauth_token {
    struct oauth_token *next;
    size_t users;          /* 0: the struct waits for other settings: kept connections still know its transfer */
    struct oauth settings; /* copies, like the strings of the target's transport */
    struct transfer_target target;
    struct transfer transfer; /* that fetches it */
    struct buf answer;
    bool fetching;
    char *line;          /* "Authorization: Bearer ..."; NULL: there is none */
    uint64_t generation; /* counts the tokens */
    int64_t ends_ms, refresh_ms, again_ms,
        renewable_ms;      /* clock_mono_ms: not used from, fetched anew from; no fetch before;
                                                            a 401 counts from */
    struct result failure; /* of the last fetch */
};

/* Is there a URL, an identity? False with *e ("oauth.token_url: ..."). Nothing set at all is fine. */
bool oauth_check(const struct oauth *o, const struct address_rules *rules, struct err *e);
/* The token of these settings for that receiver, in the list; nothing is sent yet. */
struct oauth_token *oauth_take(struct oauth_token **list, const struct oauth *o, const struct transfer_target *receiver,
                               const struct address_rules *rules);
void oauth_release(struct oauth_token *k); /* one of its receivers ends; accepts NULL */
/* All of the list, none of which is used; behind the end of the multi handle. */
void oauth_free(struct oauth_token *list);

enum oauth_state oauth_ask(struct oauth_token *k, int64_t now_ms);
/* A receiver answered 401 to that generation. True: ask again, another one comes. */
bool oauth_refuse(struct oauth_token *k, uint64_t generation, int64_t now_ms);
/* Its transfer has ended (transfer_end said true). */
void oauth_took(struct oauth_token *k, int64_t now_ms);

/* What an answer grants: the token, which lies in *room, and for how long. */
bool oauth_read(struct str body, char room[OAUTH_BYTES], struct duration *life, struct err *e);
