/* SPDX-License-Identifier: MIT */
/* The words for refusals in logs and metrics. */
#include "bridge/verify/refusal.h"

const char *refusal_text(enum refusal r)
{
    static const char *const texts[REFUSAL_COUNT] = { "none",  "missing",  "repeated", "malformed",
                                                      "stale", "mismatch", "ended" };
    return texts[r];
}
