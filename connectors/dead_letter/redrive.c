/* SPDX-License-Identifier: MIT */
/* Redriving dead letters: the event to the sink's redrive topic, then the news of it into the file, for a second call
 * while no daemon runs, and to the dead-letter topic, for every other list. */
#include "connectors/dead_letter/redrive.h"
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/event/trail.h"
#include "connectors/dead_letter/names.h"
#include "connectors/dead_letter/print.h"

enum {
    REDRIVE_PROGRESS = 500, /* a line after so many */
    REDRIVE_SKIPPED = 20,   /* most that are named, newest first */
    REDRIVE_FAILURES = 3, /* one record that cannot be published is that record's; so many in a row are the broker's */
};

/* Gives the event to the sink again, at the endpoint that gave it up. */
static bool redrive_event(const struct command_call *call, const struct letter *l, struct err *e)
{
    char *owner = str_dup(l->owner), *topic = topic_name(call->prefix, TOPIC_REDRIVE, owner);
    char *endpoint = l->endpoint.at ? str_dup(l->endpoint) : NULL;
    struct moved m;
    trail_move(&m, &l->record, topic, (const char *const[]){ TRAIL_ENDPOINT, endpoint, NULL });
    bool ok = call->publish(call, &m.record, e);
    trail_free(&m);
    free(endpoint);
    free(topic);
    free(owner);
    return ok;
}

/* Says so on the dead-letter topic: every list of dead letters learns it there, not only this file. */
static bool redrive_tell(const struct command_call *call, const struct letter *l, struct err *e)
{
    char last[CLOCK_TEXT], *owner = str_dup(l->owner), *endpoint = l->endpoint.at ? str_dup(l->endpoint) : NULL;
    char *topic = topic_name(call->prefix, TOPIC_DEAD_LETTER, NULL);
    clock_text(l->last_ms, last);
    struct moved m;
    trail_move(&m, &l->record, topic,
               (const char *const[]){ TRAIL_SINK, owner, TRAIL_ENDPOINT, endpoint, TRAIL_STATE, "redriven", TRAIL_LAST,
                                      l->last_ms ? last : NULL, NULL });
    m.record.value = STR_ABSENT;
    bool ok = call->publish(call, &m.record, e);
    trail_free(&m);
    free(endpoint);
    free(topic);
    free(owner);
    return ok;
}

/* False with *e: why this letter cannot be redriven. */
static bool redrive_allowed(const struct redrive *d, const struct letter *l, struct err *e)
{
    if (l->of_source)
        return err_set(e, "never reached a sink; it is of the source");
    if (l->owner.n == 0)
        return err_set(e, "does not say which sink gave up");
    if (l->cut)
        return err_set(e, "is too large to be read from the file of dead letters");
    if (l->redriven && !d->again)
        return err_set(e, "was redriven before (--again)");
    return names_reachable(d->call, l, e); /* else the daemon would find nobody to send it to */
}

static void redrive_say(const char *verb, const struct letter *l)
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
}

static void redrive_refuse(struct redrive *d, const struct letter *l, const char *why)
{
    redrive_say("refused", l);
    fputs(": ", stdout);
    print_clean(str_of(why), 0, stdout);
    fputc('\n', stdout);
    d->refused++;
}

/* Gives the event to its sink again and notes it; false with *e. *sent: the event itself is stored. */
static bool redrive_once(struct redrive *d, const struct letter *l, bool *sent, struct err *e)
{
    struct err why;
    *sent = redrive_event(d->call, l, e);
    if (!*sent)
        return false;
    bool marked = letters_mark_redriven(d->letters, l, &why);
    if (!marked && !d->unmarked++)
        fprintf(stderr, "aqueduct dead: %s; the letters stay listed as dead until the daemon has noted them\n",
                why.text);
    return redrive_tell(d->call, l, e)
           || err_prefix(e, "the last event was redriven, but the dead-letter topic could not be told%s",
                         marked ? "" : "; it is still listed as dead");
}

static bool redrive_letter(void *ctx, const struct letter *l, struct err *e)
{
    struct redrive *d = ctx;
    struct err why;
    if (!redrive_allowed(d, l, &why)) {
        redrive_refuse(d, l, why.text);
        return true;
    }
    bool sent = false;
    if (!d->dry_run && !redrive_once(d, l, &sent, e)) {
        if (sent)
            return false;
        redrive_refuse(d, l, e->text);
        return ++d->failures < REDRIVE_FAILURES;
    }
    d->failures = 0;
    redrive_say(d->dry_run ? "would" : "redriven", l);
    fputc('\n', stdout);
    if (++d->sent % REDRIVE_PROGRESS == 0 && !isatty(STDOUT_FILENO))
        fprintf(stderr, "%" PRId64 " of %" PRId64 "\n", d->sent + d->refused, d->total);
    return true;
}

bool redrive_letters(struct redrive *d, struct letters *st, const struct selection *sel, int64_t most, struct err *e)
{
    d->letters = st;
    return letters_each(st, sel, false, most, redrive_letter, d, e) >= 0;
}

static bool redrive_skip(void *ctx, const struct letter *l, struct err *e)
{
    (void)ctx, (void)e;
    redrive_say("skipped", l);
    fputs(": was redriven before (--again)\n", stdout);
    return true;
}

bool redrive_say_skipped(struct letters *st, const struct selection *sel, int64_t *count, struct err *e)
{
    struct selection before = *sel;
    before.dead = false;
    before.redriven = true;
    *count = letters_matches(st, &before, e);
    int64_t said = *count < 0 ? -1 : letters_each(st, &before, true, REDRIVE_SKIPPED, redrive_skip, NULL, e);
    if (said >= 0 && *count > said)
        printf("... and %" PRId64 " older ones\n", *count - said);
    return said >= 0;
}
