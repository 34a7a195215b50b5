/* SPDX-License-Identifier: MIT */
/* Who may come to a listener whose requests have no body: by `tokens`, in short for scheme bearer, or by `verify`. */
#pragma once
#include "bridge/verify/verify.h"

/* What they say, which borrows both; not set: nothing is asked. */
struct verify_options listener_verify(const struct secrets *tokens, const struct verify_options *verify);
/* False with *e ("tokens[1]: ..."). */
bool listener_check(const struct secrets *tokens, const struct verify_options *verify, struct err *e);
/* As verify_doubts. */
void listener_doubts(const struct secrets *tokens, const struct verify_options *verify, int64_t wall_ms,
                     void (*each)(void *ctx, const char *text), void *ctx);
