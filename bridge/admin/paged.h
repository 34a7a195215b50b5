/* SPDX-License-Identifier: MIT */
/* What is asked for page by page (`limit`, and as `after` what `next` of the page before said) is one change, and is told so
 * (audit.h): with its first page, which says what was asked and of how many, and when it ends, which says what came of all of
 * it. A page in between is not told; one that goes on with nothing that this asker began is a first page.
 *
 *   begun         more pages may follow
 *   done          nothing is left, or who asks said that it is the last page
 *   failed, interrupted
 *   left          the next page did not come for PAGED_IDLE_MS, or the daemon ends
 *
 * Main thread. */
#pragma once
#include "bridge/admin/api.h"

enum { PAGED_RUNS = 16, PAGED_IDLE_MS = 60000 }; /* the one that waits longest gives way */

typedef void paged_tell_fn(struct api_ticket *t, int status, const json_t *result);

struct paged;
struct paged *paged_new(paged_tell_fn *tell);
void paged_free(struct paged *p); /* accepts NULL */
/* A page is answered; answer NULL: it failed. What the audit says of it, the caller's; NULL: it is not told. */
json_t *paged_page(struct paged *p, const struct api_ticket *t, const json_t *body, int status, const json_t *answer);
void paged_end_left(struct paged *p, bool all); /* all: whoever may still go on */
/* The same of what is no page: an object of what was asked, its state and the counts of `answer` (NULL: none yet). */
json_t *paged_result(const json_t *body, const char *state, const json_t *answer);
