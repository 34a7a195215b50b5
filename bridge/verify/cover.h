/* SPDX-License-Identifier: MIT */
/* How much of a verified request is vouched for; the rest may have been changed by whoever saw an earlier one. */
#pragma once

/* No zero on purpose. */
enum cover {
    COVER_BODY = 1, /* the body: a signature over nothing else */
    COVER_ID_BODY,  /* id, time and body */
    COVER_REQUEST,  /* all of it: the sender itself was recognised, or nothing is asked */
};
