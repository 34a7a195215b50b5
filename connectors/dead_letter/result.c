/* SPDX-License-Identifier: MIT */
/* Says what was done with letters. */
#include "connectors/dead_letter/result.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/event/trail.h"
#include "connectors/dead_letter/print.h"

static void results_print(const char *verb, const char *why, const char *to, const struct letter *l)
{
    printf("%-9s ", verb);
    print_clean(l->owner.n ? l->owner : STR("?"), 0, stdout);
    if (l->endpoint.at) {
        fputc('/', stdout);
        print_clean(l->endpoint, 0, stdout);
    }
    fputc(' ', stdout);
    print_clean(l->type.at ? l->type : STR("(no event)"), 0, stdout);
    fputc(' ', stdout);
    if (l->id.at)
        print_clean(l->id, 0, stdout);
    else
        print_origin(l, 0, stdout);
    if (to)
        printf(" to %s", to);
    if (why)
        fputs(": ", stdout);
    print_clean(str_of(why ? why : ""), 0, stdout);
    fputc('\n', stdout);
}

void results_say(const struct results *r, const char *verb, const char *why, const struct letter *l)
{
    if (r->said) {
        r->said(r->ctx, verb, why, l);
        return;
    }
    char *to = r->to.sink ? trail_place(r->to.sink, r->to.endpoint) : NULL;
    if (r->json)
        print_json_result(verb, why, to, l, stdout);
    else
        results_print(verb, why, to, l);
    free(to);
}

void results_say_total(const struct results *r, int64_t of)
{
    const char *verb = letter_state(r->becomes);
    if (r->json)
        printf("{\"result\":\"total\",\"%s\":%" PRId64 ",\"refused\":%" PRId64 ",\"skipped\":%" PRId64
               ",\"of\":%" PRId64 ",\"dry_run\":%s,\"interrupted\":%s}\n",
               verb, r->done, r->refused, r->skipped, of, r->dry_run ? "true" : "false",
               r->interrupted ? "true" : "false");
    else if (r->dry_run)
        printf("would %s %" PRId64 ", refused %" PRId64 ", of %" PRId64 "\n",
               r->becomes == LETTER_DISCARDED ? "discard" : "redrive", r->done, r->refused, of);
    else
        printf("%s %" PRId64 ", refused %" PRId64 ", of %" PRId64 "\n", verb, r->done, r->refused, of);
}
