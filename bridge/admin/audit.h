/* SPDX-License-Identifier: MIT */
/* Who changed what, and who was refused: a line of the log each, and with `admin.audit` an event of the type
 * `aqueduct.audit` on the topic <prefix>audit, which sinks can read:
 *
 *   {"operation": "redriveDeadLetters", "who": "anna", "role": "operator", "via": "token", "address": "127.0.0.1:5000",
 *    "object": "/dead-letters/redrive", "status": 200, "outcome": "done", "asked": {"sink": "crm"}, "state": "done",
 *    "matched": 1000, "done": 998, "refused": 2, "pages": 4}
 *
 * No event holds up an answer; one that is not stored is counted. */
#pragma once
#include <jansson.h>
#include "bridge/broker/broker.h"
#include "bridge/config/config.h"

#define AUDIT_TYPE "aqueduct.audit"

struct audit { /* everything is borrowed */
    const char *operation, *who, *role, *via, *address, *object;
    int status;           /* of the answer */
    const json_t *result; /* members besides: what was asked, its state and counts (paged.h); NULL: none */
};

bool audit_topic(const struct config *config, struct broker *b, struct err *e); /* makes the topic, if it is wanted */
void audit_note(const struct config *config, struct broker *b, const struct audit *a);
