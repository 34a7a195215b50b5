/* SPDX-License-Identifier: MIT */
/* What the statuses of a receiver's answers mean, as its owner says it: `success: [2xx, 409]`, `reject: [4xx]`.
 *
 * A status named by itself goes before its class. 408, 425 and 429 ask for another try, so no class has them. 410 is
 * rejected unless it is a success. What neither list has is tried again.
 *
 * Rejected by default is what says that this request cannot be taken, now or later: it is too large, of the wrong type, or
 * not to be processed. Other 4xx are most often the receiver's set-up (a key that is being changed, a path or a workflow
 * that is not there yet), which a person repairs while the retries last. */
#pragma once
#include "bridge/connector.h"

enum { STATUS_FIRST = 200, STATUS_END = 600 };

struct statuses {
    uint8_t of[STATUS_END - STATUS_FIRST]; /* enum verdict; ask statuses_verdict */
};

/* False with the first entry that is no status, or that contradicts another, in *e. */
bool statuses_load(struct statuses *st, const struct strings *success, const struct strings *reject, struct err *e);
enum verdict statuses_verdict(const struct statuses *st, int status); /* never UNTRIED */
