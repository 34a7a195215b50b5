/* SPDX-License-Identifier: MIT */
/* What a body in JSON says of itself: the sender's id of the event, and its type, at the places that the path's scheme
 * knows (`id_pointer`, `type_pointers` of its row, bridge/auth/signature.h). Both are as good as the signature, which is
 * over the body. One thread.
 *
 *   naming_new -> naming_read per body -> naming_free */
#pragma once
#include "bridge/auth/signature.h"

struct naming;
struct named { /* absent: the body has none that an event could have */
    struct str id, type;
};

/* What of the two is wanted. NULL: nothing of them, or the row (NULL: there is no row) knows no place. */
struct naming *naming_new(const struct signature_style *style, bool id, bool type);
void naming_free(struct naming *n);             /* accepts NULL */
bool naming_knows_id(const struct naming *n);   /* accepts NULL, as the next one: no */
bool naming_knows_type(const struct naming *n); /* is there a place where bodies may have it? */
/* Checks the body as jscan_check does, and finds them; they are there until the next call, or as long as the body. */
bool naming_read(struct naming *n, struct str body, struct named *out, struct err *e);
