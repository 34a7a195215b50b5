/* SPDX-License-Identifier: MIT */
/* Who runs a replay: a process of some machine, and whether it still does.
 *
 * Of a process of this machine that is known: by its number, and by when it began, for numbers come again. Of one elsewhere, in another
 * container or before the machine was started again, it is not: it has to be looked whether it does anything (replay_claim.h). Any
 * thread. */
#pragma once
#include <jansson.h>
#include <stdint.h>

struct replay_run {
    char *id;    /* of this run alone; NULL: none, and the rest is not set */
    char *host;  /* for a person */
    char *place; /* within which the number of a process means the same one */
    int64_t pid;
    int64_t began; /* in ticks of its machine */
};

enum replay_life { REPLAY_RUNS = 1, REPLAY_IS_OVER, REPLAY_ELSEWHERE };

struct replay_run replay_run_new(void); /* of this process; free it */
void replay_run_free(struct replay_run *r);
json_t *replay_run_json(const struct replay_run *r);
struct replay_run replay_run_of(const json_t *j); /* none when it is not one; free it */
enum replay_life replay_run_lives(const struct replay_run *r);
