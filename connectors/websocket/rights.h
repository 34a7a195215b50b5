/* SPDX-License-Identifier: MIT */
/* What a listener's JSON Web Token allows, and until when: topics and events that it may see, types that it may publish.
 *
 * The options say which claims tell it. Where one is named, a token without it allows nothing of that kind. One thread. */
#pragma once
#include <jansson.h>
#include "bridge/verify/verify.h"
#include "connectors/websocket/subscription.h"

struct claims_options {
    char *topics, *filter, *publish; /* names of claims; NULL or "": none says it */
};
extern const struct option claims_rows[];

bool claims_are_set(const struct claims_options *o);

struct rights {
    int64_t until_ms; /* wall clock: when the token expires; 0: it does not */
    json_t *topics;   /* a list of names, ai.* for all that begin so; NULL: all */
    json_t *filter;   /* what its events must fit as well; NULL: nothing */
    json_t *publish;  /* a list of types; NULL: all */
    bool claimed;     /* the options name a claim: tokens tell users apart, */
    char *user;       /* and this one says whose it is (sub); NULL: it does not */
};

/* Of the request or token that was verified last, which is that key's. False with *e: a claim is not as it must be. NULL verifier: all rights. */
bool rights_take(struct rights *r, struct str key, const struct claims_options *o, const struct verifier *v,
                 struct err *e);
/* Has the token's time passed? A verifier's leeway lets requests in for a while longer, since clocks differ; but what lasts ends
 * when the token says, and so cannot begin, or be refreshed, after that. */
bool rights_are_over(const struct rights *r, int64_t wall_ms);
void rights_free(struct rights *r);                                   /* also fit for a zeroed one */
bool rights_are_same(const struct rights *a, const struct rights *b); /* whenever they end */
/* Narrows the subscription to what may be seen. Not 0 with *e: that is nothing. */
enum code rights_narrow(const struct rights *r, struct subscription *s, const struct strings *known, struct err *e);
bool rights_let_publish(const struct rights *r, struct str type);
