/* SPDX-License-Identifier: MIT */
/* Which attempts of the delivery log are meant: for `aqueduct log` and the API. Any thread. */
#pragma once
#include <jansson.h>
#include "bridge/lib/str.h"

struct attempts_filter { /* absent, 0 and false: any */
    struct str sink, endpoint, event, type;
    bool failures;              /* those that did not deliver */
    struct str end;             /* what followed: delivered, retry, spared, dead, released */
    int64_t since_ms, until_ms; /* ended at or after, and before */
};

bool attempts_are_of(const struct attempts_filter *f, const json_t *attempt); /* by sink and endpoint */
bool attempts_match(const struct attempts_filter *f, const json_t *attempt);
