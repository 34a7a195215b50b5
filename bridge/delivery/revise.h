/* SPDX-License-Identifier: MIT */
/* What is asked for an endpoint of the state, as options: a new one, a change, another secret; and what of them may be shown.
 *
 * Pure: nothing here is stored, opened or sent. Options are JSON as placed.h has them: `core` and `own`. Any thread. */
#pragma once
#include "bridge/config/made.h"
#include "bridge/delivery/placed.h"

#define REVISE_HIDDEN "********" /* stands where a secret is */

enum { REVISE_SECRET = 64, REVISE_OVERLAP_MS = 24 * 3600000 };

/* Fills and checks what `p` (open) says: NULL with problems. */
struct made *revise_make(const struct sink_config *s, const char *name, const struct placed *p, struct problems *out);
/* Takes over into `p` what the object says (RFC 7396: null takes an option away, objects are merged): options of the core
 * and its own, `paused` and `types`. Where it is new and has no secret although it needs one, one is made and put into
 * `secret`, else that is "". False with problems. */
bool revise_merge(const struct sink_config *s, const char *name, struct placed *p, const json_t *said,
                  char secret[REVISE_SECRET], struct problems *out);
/* Puts another secret before those that it has: `secret` (absent: one is made); these sign on for `overlap`, those that have ended
 * are taken away. The new one is in `shown`. */
bool revise_rotate(const struct sink_config *s, const char *name, struct placed *p, struct str secret,
                   struct duration overlap, char shown[REVISE_SECRET], struct problems *out);
/* A copy of its options in which REVISE_HIDDEN stands for each secret; *count: how many. With `veil`, what of its URL may be
 * a token is hidden, too. */
json_t *revise_shown(const struct sink_config *s, const struct placed *p, bool veil, size_t *count);
