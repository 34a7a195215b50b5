/* SPDX-License-Identifier: MIT */
/* How a sender proves who it is: the headers that go with a body, by the scheme and secrets of a path or of flags. The
 * other half of verify/. Main thread. */
#pragma once
#include "bridge/lib/option.h"
#include "bridge/verify/options.h"

enum { PROOF_BYTES = 16 << 10 };

struct proof {
    const struct verify_options *o; /* scheme, secrets and what describes the scheme; url: where that is signed */
    struct str id;                  /* of the delivery */
    int64_t wall_ms;
    struct buf *query; /* gets what belongs into the URL, "key=..."; NULL: that is a failure */
};
/* Appends header lines, each ended by NUL. False with *e: by this scheme, or these secrets, nothing can be proved. */
bool proof_add(const struct proof *p, struct str body, struct buf *lines, struct err *e);
