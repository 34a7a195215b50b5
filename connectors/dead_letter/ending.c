/* SPDX-License-Identifier: MIT */
/* Redrives and discards letters page by page, and says what became of each. */
#include "connectors/dead_letter/ending.h"
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include "bridge/command.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/interrupt.h"
#include "bridge/lib/json.h"
#include "connectors/dead_letter/print.h"
#include "connectors/dead_letter/redrive.h"

enum {
    ENDING_PARTS = 4,     /* pages a second, with a rate */
    ENDING_SAY_MS = 2000, /* between two lines about the progress */
};

static void ending_print_result(const char *verb, const char *why, const char *to, const struct letter *l)
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

/* Says what became of a letter. */
static void ending_say(const struct ending *en, const json_t *one)
{
    struct filing_letter l;
    const char *verb = json_text(one, "result"), *why = json_string_value(json_object_get(one, "why"));
    filing_read(&l, one);
    if (en->json)
        print_json_result(verb, why, en->to, &l.letter, stdout);
    else
        ending_print_result(verb, why, en->to, &l.letter);
    filing_free(&l);
}

static void ending_say_progress(struct ending *en)
{
    int64_t now = clock_mono_ms();
    if (isatty(STDOUT_FILENO) || now - en->said_ms < ENDING_SAY_MS)
        return;
    en->said_ms = now;
    fprintf(stderr, "%" PRId64 " of %" PRId64 "\n", en->done + en->refused, en->total);
}

/* What a page said. */
static void ending_take(struct ending *en, const json_t *page)
{
    int64_t skipped = json_integer_value(json_object_get(page, "skipped")), named = 0;
    const char *unmarked = json_text(page, "unmarked");
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(page, "items"), i, one)
    {
        ending_say(en, one);
        named += strcmp(json_text(one, "result"), "skipped") == 0;
    }
    if (skipped > named && !en->json)
        printf("... and %" PRId64 " older ones\n", skipped - named);
    if (*unmarked && !en->unmarked)
        fprintf(stderr, "aqueduct dead: %s; the letters stay listed as they were until the daemon has noted them\n",
                unmarked);
    en->unmarked = en->unmarked || *unmarked;
    en->skipped += skipped;
    en->done += json_integer_value(json_object_get(page, "done"));
    en->refused += json_integer_value(json_object_get(page, "refused"));
    snprintf(en->after, sizeof en->after, "%s", json_text(page, "next"));
    if (!en->begun) { /* what dies again meanwhile is not taken twice */
        int64_t matched = json_integer_value(json_object_get(page, "matched"));
        en->total = en->most && en->most < matched ? en->most : matched;
        en->begun = true;
    }
}

/* How many letters are to be done yet, as far as is known. */
static int64_t ending_left(const struct ending *en)
{
    int64_t most = en->begun ? en->total : en->most ? en->most : INT64_MAX;
    return most - en->done - en->refused;
}

/* Most letters of the next page: a rate makes small ones. */
static int64_t ending_room(const struct ending *en)
{
    int64_t left = ending_left(en), part = en->rate ? en->rate / ENDING_PARTS : REDRIVE_BATCH;
    part = part < 1 ? 1 : part < REDRIVE_BATCH ? part : REDRIVE_BATCH;
    return left < part ? left : part;
}

/* Waits until one more may be done; false: asked to end. */
static bool ending_may_go_on(const struct ending *en)
{
    int64_t due = en->rate ? en->began_ms + en->done * 1000 / en->rate : 0, wait = due - clock_mono_ms();
    return wait > 0 ? interrupt_wait(wait) : !interrupt_asked();
}

/* One page after the other. False with *e. */
static bool ending_do(struct ending *en, struct err *e)
{
    bool good = true, more = true;
    while (good && more) {
        int64_t room = ending_room(en);
        json_object_set_new(en->which, "limit", json_integer(room));
        json_object_set_new(en->which, "last", json_boolean(room == ending_left(en)));
        if (*en->after)
            json_object_set_new(en->which, "after", json_string(en->after));
        json_t *page = filing_end(en->filing, en->which, en->discard, e);
        if (!page)
            return false;
        ending_take(en, page);
        ending_say_progress(en);
        good = json_is_null(json_object_get(page, "error")) || err_set(e, "%s", json_text(page, "error"));
        en->interrupted = json_is_true(json_object_get(page, "interrupted"));
        json_decref(page);
        more = *en->after && !en->interrupted && ending_room(en) > 0;
        if (good && more)
            more = !(en->interrupted = !ending_may_go_on(en));
    }
    return good;
}

static void ending_say_total(const struct ending *en)
{
    if (en->json)
        printf("{\"result\":\"total\",\"%s\":%" PRId64 ",\"refused\":%" PRId64 ",\"skipped\":%" PRId64
               ",\"of\":%" PRId64 ",\"dry_run\":%s,\"interrupted\":%s}\n",
               en->discard ? "discarded" : "redriven", en->done, en->refused, en->skipped, en->total,
               en->dry_run ? "true" : "false", en->interrupted ? "true" : "false");
    else if (en->total)
        printf("%s %" PRId64 ", refused %" PRId64 ", of %" PRId64 "\n",
               en->dry_run   ? en->discard ? "would discard" : "would redrive"
               : en->discard ? "discarded"
                             : "redriven",
               en->done, en->refused, en->total);
}

/* Nothing of the selection is to be done. */
static void ending_say_nothing(const struct ending *en)
{
    if (en->skipped)
        fprintf(stderr, "nothing to redrive: %" PRId64 " that match%s redriven before (--again)\n", en->skipped,
                en->skipped == 1 ? "es was" : " were");
    else if (!en->json)
        print_nothing(en->which, stderr);
}

bool ending_run(struct ending *en, int *code, struct err *e)
{
    en->began_ms = en->said_ms = clock_mono_ms();
    interrupt_watch();
    bool good = ending_do(en, e);
    if (en->begun)
        ending_say_total(en);
    if (good && en->interrupted)
        fprintf(stderr, "aqueduct dead: interrupted: %" PRId64 " of %" PRId64 " are left; the same command goes on\n",
                en->total - en->done - en->refused, en->total);
    if (good && en->total == 0)
        ending_say_nothing(en);
    *code = en->total == 0 || en->refused || en->interrupted ? COMMAND_FAILED : COMMAND_DONE;
    return good;
}
