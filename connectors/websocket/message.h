/* SPDX-License-Identifier: MIT */
/* What a client publishes becomes an event: a CloudEvent in JSON, or a plain message {type, content, sessionId}, which is mapped
 * as the HTTP source's preset `message` does (schemas/inbound/message.yaml): event_id, type and sessionId become id, type and
 * subject, and all of it is the data.
 *
 * Whatever it says, its source is that of the sink, and `authid` who published it. */
#pragma once
#include "bridge/event/event.h"

struct author {
    struct str source; /* of all events */
    struct str user;   /* absent: nobody in particular */
    struct str scope;  /* whose ids these are (struct emission) */
};

struct published_event {
    const struct event *event; /* one reference */
    char *scope;               /* of its id; free() it */
    bool unique;               /* its id was made here */
};

/* False with *e: it is none. */
bool message_read(struct str json, const struct author *by, struct published_event *out, struct err *e);
