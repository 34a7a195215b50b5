/* SPDX-License-Identifier: MIT */
/* Redriving dead letters: the event to the sink's redrive topic, then the news of it to the dead-letter topic. */
#include "connectors/dead_letter/redrive.h"
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/event/trail.h"
#include "connectors/dead_letter/print.h"

enum {
    REDRIVE_PROGRESS = 500, /* a line after so many */
    REDRIVE_FAILURES = 3, /* one record that cannot be published is that record's; so many in a row are the broker's */
};

/* Gives the event to the sink again. */
static bool redrive_event(const struct command_call *call, const struct letter *l, struct err *e)
{
    char *owner = str_dup(l->owner), *topic = topic_name(call->prefix, TOPIC_REDRIVE, owner);
    struct moved m;
    trail_move(&m, &l->record, topic, (const char *const[]){ NULL });
    bool ok = call->publish(call, &m.record, e);
    trail_free(&m);
    free(topic);
    free(owner);
    return ok;
}

/* Says so on the dead-letter topic: every list of dead letters learns it there, not only this file. */
static bool redrive_tell(const struct command_call *call, const struct letter *l, struct err *e)
{
    char last[CLOCK_TEXT], *owner = str_dup(l->owner);
    char *topic = topic_name(call->prefix, TOPIC_DEAD_LETTER, NULL);
    clock_text(l->last_ms, last);
    struct moved m;
    trail_move(&m, &l->record, topic,
               (const char *const[]){ TRAIL_SINK, owner, TRAIL_STATE, "redriven", TRAIL_LAST, l->last_ms ? last : NULL,
                                      NULL });
    m.record.value = STR_ABSENT;
    bool ok = call->publish(call, &m.record, e);
    trail_free(&m);
    free(topic);
    free(owner);
    return ok;
}

/* Why this letter cannot be redriven; NULL: it can. */
static const char *redrive_refusal(const struct redrive *d, const struct letter *l)
{
    if (l->of_source)
        return "never reached a sink; it is of the source";
    if (l->owner.n == 0)
        return "does not say which sink gave up";
    if (l->cut)
        return "is too large to be read from the file of dead letters";
    if (l->redriven && !d->again)
        return "was redriven before (--again)";
    return NULL;
}

static void redrive_say(const char *verb, const struct letter *l)
{
    printf("%-9s ", verb);
    print_clean(l->owner.n ? l->owner : STR("?"), 0, stdout);
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
    printf(": %s\n", why);
    d->refused++;
}

static bool redrive_letter(void *ctx, const struct letter *l, struct err *e)
{
    struct redrive *d = ctx;
    const char *why = redrive_refusal(d, l);
    if (why) {
        redrive_refuse(d, l, why);
        return true;
    }
    if (!d->dry_run) {
        if (!redrive_event(d->call, l, e)) {
            redrive_refuse(d, l, e->text);
            return ++d->failures < REDRIVE_FAILURES;
        }
        d->failures = 0;
        if (!redrive_tell(d->call, l, e))
            return err_prefix(e,
                              "the last event was redriven, but that could not be noted; it is still listed as dead");
    }
    redrive_say(d->dry_run ? "would" : "redriven", l);
    fputc('\n', stdout);
    if (++d->sent % REDRIVE_PROGRESS == 0 && !isatty(STDOUT_FILENO))
        fprintf(stderr, "%" PRId64 " of %" PRId64 "\n", d->sent + d->refused, d->total);
    return true;
}

bool redrive_letters(struct redrive *d, struct letters *st, const struct selection *sel, int64_t most, struct err *e)
{
    return letters_each(st, sel, false, most, redrive_letter, d, e) >= 0;
}
