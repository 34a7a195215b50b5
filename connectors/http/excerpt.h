/* SPDX-License-Identifier: MIT */
/* The beginning of a body for people to see, without the secrets in it.
 *
 * It may be cut off anywhere, and need not be well-formed: what cannot be judged is left out rather than shown. Any
 * thread. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/option.h"

/* Appends JSON, without its blanks and as far as it is some, with "***" for the values of members whose names are of secrets (secret_is_name) or in `mask`, at any depth, and
 * for texts that hold JSON; the same of a form (a=b&c=d). Nothing of what is neither. */
void excerpt_add(struct str body, struct str content_type, const struct strings *mask, struct buf *out);
