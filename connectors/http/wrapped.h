/* SPDX-License-Identifier: MIT */
/* A body that is no CloudEvent becomes an event: through the path's `map`, or as the data of one whose attributes the
 * path's options, the request and the scheme say. What nobody signed counts with the event's id, so that nothing that
 * is sent again takes the place of the real one. One thread. */
#pragma once
#include <stdbool.h>

struct http_request;
struct path;
struct taking;

int wrapped_events(struct taking *t); /* what path_events returns */
/* Is the id of what path_events made of it, just now, an Idempotency-Key? */
bool wrapped_is_keyed(const struct path *p, const struct http_request *r);
/* Is the id of what it made of it, just now, the sender's name of the thing, in the signed body? Then what has it is
 * a repeat, whatever else is in it: Stripe counts in a body how often it has sent it. */
bool wrapped_is_named(const struct path *p, const struct http_request *r);
