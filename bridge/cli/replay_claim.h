/* SPDX-License-Identifier: MIT */
/* One replay is run once at a time: two at once would deliver twice what both read.
 *
 *   nobody runs it?  -->  a record that claims it  -->  read back: is it ours?  -->  replay  -->  a record that ends it
 *
 * Who was killed ends nothing. Of a process of this machine it is known whether it lives (replay_run.h); of another one it is looked for
 * half a minute whether it keeps anything more, which it does at least every few seconds. Who was stopped for so long that another one
 * may have taken it over looks before its next batch. Main thread. */
#pragma once
#include "bridge/cli/replay_kept.h"

/* Does nobody run it, as far as is known? May wait, and says so. False with *e: who does, or it is not known. */
bool replay_claim_is_free(const struct config *c, const struct replay *r, struct err *e);
/* Is it ours, who are `run`? Then *out is what is known of it (NULL: never mind); free it. False with *e. */
bool replay_claim_is_ours(const struct config *c, const char *name, const struct replay_run *run, struct replay *out,
                          struct err *e);
