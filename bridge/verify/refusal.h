/* SPDX-License-Identifier: MIT */
/* Why a request was not verified: for log and metric only, the sender hears one text for all of them. */
#pragma once

/* Each says more than those before it: of several schemes (`any`), the last is the reason. */
enum refusal {
    REFUSAL_NONE,
    REFUSAL_MISSING,  /* a header that the scheme needs is not there */
    REFUSAL_ADDRESS,  /* from an address that is not allowed */
    REFUSAL_REPEATED, /* a header is there more than once */
    REFUSAL_MALFORMED,
    REFUSAL_KEY,   /* no key of ours is the one that a token names */
    REFUSAL_STALE, /* signed too long ago, or in the future */
    REFUSAL_MISMATCH,
    REFUSAL_CLAIM,   /* a token is right, but from, for or of somebody else */
    REFUSAL_ENDED,   /* right, by a secret that has ended (until), or there is no other any more */
    REFUSAL_AWAITED, /* it cannot be told yet: keys are being fetched */
    REFUSAL_COUNT,
};

const char *refusal_text(enum refusal r); /* "mismatch" */
