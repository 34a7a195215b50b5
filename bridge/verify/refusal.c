/* SPDX-License-Identifier: MIT */
/* The words for refusals in logs and metrics. */
#include "bridge/verify/refusal.h"

const char *refusal_text(enum refusal r)
{
    static const char *const texts[REFUSAL_COUNT] = {
        [REFUSAL_NONE] = "none",         [REFUSAL_MISSING] = "missing",     [REFUSAL_ADDRESS] = "address",
        [REFUSAL_REPEATED] = "repeated", [REFUSAL_MALFORMED] = "malformed", [REFUSAL_STALE] = "stale",
        [REFUSAL_MISMATCH] = "mismatch", [REFUSAL_ENDED] = "ended",         [REFUSAL_KEY] = "key",
        [REFUSAL_CLAIM] = "claim",       [REFUSAL_AWAITED] = "awaited",
    };
    return texts[r];
}
