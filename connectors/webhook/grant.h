/* SPDX-License-Identifier: MIT */
/* How an access token is asked for: one request, the same each time, and what its answer grants. Made by oauth_grant or
 * login_grant, owned by the token (token.h) that it is given to. */
#pragma once
#include "connectors/webhook/hide.h"
#include "connectors/webhook/request.h"
#include "connectors/webhook/statuses.h"

enum {
    GRANT_BYTES = 16 * 1024 /* most of an answer with a token */,
    GRANT_MOST_S = 86400 * 30 /* more is not believed */
};

struct grant {
    char *url;
    struct request request;
    struct statuses statuses; /* of answers that have a token */
    char *member;             /* where they have it: a JSON pointer */
    int64_t life_s;           /* of a token that does not say when it ends */
    struct hidden hidden;     /* what no answer may show */
};

/* Has the request these bytes (moved) as its body, and one more header line. */
void grant_set_request(struct grant *g, struct buf body, const char *line);
bool grant_is_same(const struct grant *a, const struct grant *b);
void grant_free(struct grant *g);

/* What an answer grants: the token, which lies in *room, and for how long: by its `expires_in`, or else by what the token
 * itself says, if it is a JWT. */
bool grant_read(const struct grant *g, struct str body, int64_t wall_ms, char room[GRANT_BYTES], struct duration *life,
                struct err *e);
