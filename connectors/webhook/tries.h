/* SPDX-License-Identifier: MIT */
/* The attempts of a webhook sink, each with a transfer of its own:
 *
 *   tries_begin   -> waits for the receiver's consent and token -> the request is built, signed and sent
 *                 -> it cannot be sent: it ends
 *   tries_judge   a transfer has ended. True: it was an attempt's; the caller looks at the result, and says
 *   tries_end     -> it stands in `ended`, for the core
 *
 * A token that the receiver refuses is renewed once, within the same attempt. The sink's thread. */
#pragma once
#include "connectors/webhook/endpoint.h"

struct tries {
    const struct webhook_base *sink;
    struct transfer *waiting;             /* for a consent or a token, the last one first */
    struct transfer *ended, **ended_tail; /* the core has not taken their results yet; the oldest first */
    struct metric *tokens_fetched, *tokens_failed;
};

void tries_open(struct tries *y, const struct webhook_base *sink); /* the sink has its id */
void tries_begin(struct tries *y, struct transfer *t, const struct message *m);
/* Takes in the end of a transfer (transfer_end). False: it was not an attempt's, or the attempt goes on. */
bool tries_judge(struct tries *y, struct transfer *t, CURLcode code);
void tries_end(struct tries *y, struct transfer *t); /* with t->result */
/* Takes what waits or has ended out of the lists, if it is for that receiver; returns it, by `next`. */
struct transfer *tries_forget(struct tries *y, const struct webhook_endpoint *gone);
