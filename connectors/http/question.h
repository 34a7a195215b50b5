/* SPDX-License-Identifier: MIT */
/* What senders ask before their first event (Slack's url_verification). Any thread. */
#pragma once
#include "bridge/lib/buf.h"

/* Is the body the question {"type": "url_verification", "challenge": "..."}? Then writes the answer, {"challenge": "..."}. */
bool question_answer(struct str body, struct buf *answer);
