/* SPDX-License-Identifier: MIT */
/* How much a verified request says: what of it is vouched for, and what it had to show. No zero on purpose. */
#pragma once

/* The rest may have been changed by whoever saw an earlier one. */
enum cover {
    COVER_BODY = 1, /* the body: a signature over nothing else */
    COVER_ID_BODY,  /* id, time and body */
    COVER_REQUEST,  /* all of it: the sender itself was recognised, or nothing is asked */
};

enum asks {
    ASKS_NOTHING = 1, /* whoever connects may send */
    ASKS_WHERE,       /* an address: who it is remains open */
    ASKS_WHO,         /* a secret, or what only its owner can make */
};
