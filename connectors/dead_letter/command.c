/* SPDX-License-Identifier: MIT */
/* `aqueduct dead list | show | redrive | discard`. */
#include <inttypes.h>
#include <stdlib.h>
#include "bridge/command.h"
#include "connectors/dead_letter/dead_letter.h"
#include "connectors/dead_letter/names.h"
#include "connectors/dead_letter/print.h"
#include "connectors/dead_letter/redrive.h"

enum {
    COMMAND_LIST = 50,
    COMMAND_SHOW_BYTES = 4096,
};

static const char command_usage
    [] = "aqueduct dead list    [filter] [--limit N] [--json]     what other sinks gave up, newest first\n"
         "aqueduct dead show    [filter | ID] [--raw]             everything about them, data included\n"
         "aqueduct dead redrive (filter | ID | --all) [--to PLACE] [--rate N] [--dry-run] [--json]\n"
         "                                                        gives them again to the sink that failed\n"
         "aqueduct dead discard (filter | ID | --all) [--dry-run] [--json]\n"
         "                                                        gives them up for good; they stay listed\n";

static const char command_notes
    [] = "A redriven event keeps its id, key and headers; it is signed afresh. From then on it counts as\n"
         "redriven, and is not taken again without --again; if it fails again, it is dead again. What was\n"
         "redriven three times and is dead is left out as well, until --again says otherwise.\n"
         "\n"
         "--to gives the events to one other place, whatever its topics and filter are. It must have run with\n"
         "this broker. Long work says on stderr how far it is. Ctrl-C ends it behind the letters that are\n"
         "under way and says how many are left; the same command goes on with those. The daemon may run or\n"
         "not: what is redriven while none runs is delivered when it starts.\n"
         "\n"
         "--json of redrive and discard: a line for each letter, as list prints it, with result (redriven,\n"
         "discarded, would, refused, skipped), why and to; then one with the result total: redriven or\n"
         "discarded, refused, skipped, of, dry_run, interrupted.\n"
         "\n"
         "Exit codes: 0 done; 1 none matches, some were refused or left (ctrl-C), or it failed; 2 wrong usage.\n"
         "\n"
         "Examples:\n"
         "  aqueduct dead list --class unavailable --since 2h\n"
         "  aqueduct dead redrive --sink crm --until 2026-11-20T10:00:00Z --rate 50\n"
         "  aqueduct dead redrive 8f14e45f-ceea --to audit/archive\n"
         "  aqueduct dead discard --class refused --type test. --dry-run\n";

struct request {
    struct selection selection;
    struct str since, until, state, from, to; /* as written */
    bool json, all, dry_run, raw, again;
    int64_t most, rate; /* 0: not given */
    struct print_table table;
};

static const struct flag command_flags[] = {
    FLAG(struct request, selection.owner, .name = "--sink", .value = "NAME", .group = "filter",
         .doc = "the sink that gave up, or SINK/ENDPOINT (or the source, for events that no topic could take)"),
    FLAG(struct request, selection.endpoint, .name = "--endpoint", .value = "NAME",
         .doc = "the one of the sink's endpoints that gave up"),
    FLAG(struct request, selection.class, .name = "--class", .value = "CLASS",
         .choices = "refused|unavailable|configuration|poison|blocked|orphaned|invalid|unrouted",
         .doc = "refused unavailable configuration poison blocked orphaned invalid unrouted"),
    FLAG(struct request, selection.type_prefix, .name = "--type", .value = "PREFIX",
         .doc = "event types that begin like this"),
    FLAG(struct request, selection.source_prefix, .name = "--source", .value = "PREFIX",
         .doc = "event sources that begin like this"),
    FLAG(struct request, selection.id, .name = "--id", .value = "ID", .doc = "one event"),
    FLAG(struct request, since, .name = "--since", .value = "TIME",
         .doc = "last attempt since: 2026-11-20T10:00:00Z, or a time ago: 90s 30m 2h 7d"),
    FLAG(struct request, until, .name = "--until", .value = "TIME", .doc = "last attempt before that"),
    FLAG(struct request, state, .name = "--state", .value = "STATE", .choices = "dead|redriven|discarded|all",
         .doc = "dead (default), redriven, discarded or all"),
    FLAG(struct request, most, .name = "--limit", .value = "N", .min = 1, .max = INT32_MAX, .group = "",
         .doc = "at most N (list: 50 unless --json or --all)"),
    FLAG(struct request, all, .name = "--all",
         .doc = "every letter: must be said to redrive or discard without a filter"),
    FLAG(struct request, json, .name = "--json", .doc = "one JSON object per line"),
    FLAG(struct request, dry_run, .name = "--dry-run", .doc = "redrive, discard: only say what would be done"),
    FLAG(struct request, to, .name = "--to", .value = "PLACE", .doc = "redrive: to this SINK or SINK/ENDPOINT instead"),
    FLAG(struct request, rate, .name = "--rate", .value = "N", .min = 1, .max = 1000000,
         .doc = "redrive: at most N letters a second"),
    FLAG(struct request, raw, .name = "--raw", .doc = "show: only the data, as it is"),
    FLAG(struct request, again, .name = "--again", .doc = "redrive: also what was redriven before"),
    FLAG(struct request, from, .name = "--from", .value = "NAME",
         .doc = "the dead_letter sink whose file is read, when there are several"),
    { 0 },
};

static int command_wrong(const char *what, struct str word)
{
    fprintf(stderr, "aqueduct dead: %s%s", what, word.at ? ": " : "");
    print_clean(word, 0, stderr);
    fputs("; see aqueduct help dead\n", stderr);
    return COMMAND_USAGE;
}

static int command_fail(const struct err *e)
{
    fputs("aqueduct dead: ", stderr);
    print_clean(str_of(e->text), 0, stderr);
    fputc('\n', stderr);
    return COMMAND_FAILED;
}

/* --sink SINK/ENDPOINT is --sink SINK --endpoint ENDPOINT; 0 or the exit code. */
static int command_split_place(struct selection *s)
{
    struct str endpoint = s->owner, sink;
    if (!s->owner.at || !memchr(s->owner.at, '/', s->owner.n))
        return 0;
    str_cut(&endpoint, '/', &sink);
    if (s->endpoint.at && !str_eq(s->endpoint, endpoint))
        return command_wrong("--sink names another endpoint than --endpoint", s->owner);
    s->owner = sink;
    s->endpoint = endpoint;
    return 0;
}

/* Makes the selection of what was written; 0 or the exit code. */
static int command_select(const struct command_call *call, struct request *r)
{
    struct selection *s = &r->selection;
    if (call->word_count == 2 && s->id.at)
        return command_wrong("one ID at a time", str_of(call->words[1]));
    if (call->word_count == 2)
        s->id = str_of(call->words[1]);
    bool all_states = str_eq(r->state, STR("all"));
    s->dead = all_states || !r->state.at || str_eq(r->state, STR("dead"));
    s->redriven = all_states || str_eq(r->state, STR("redriven")) || (!r->state.at && r->again);
    s->discarded = all_states || str_eq(r->state, STR("discarded"));
    if (r->since.at && !clock_since(r->since, &s->since_ms))
        return command_wrong("--since is neither a moment nor a time ago", r->since);
    if (r->until.at && !clock_since(r->until, &s->until_ms))
        return command_wrong("--until is neither a moment nor a time ago", r->until);
    return command_split_place(s);
}

static bool command_is_filtered(const struct request *r)
{
    const struct selection *s = &r->selection;
    return s->owner.at || s->endpoint.at || s->class.at || s->type_prefix.at || s->source_prefix.at || s->id.at
           || r->since.at || r->until.at;
}

/* ---- list, show ---- */

static bool command_fit_letter(void *ctx, struct letter *l, struct err *e)
{
    struct request *r = ctx;
    (void)e;
    print_table_fit(&r->table, l);
    return true;
}

static bool command_list_letter(void *ctx, struct letter *l, struct err *e)
{
    const struct request *r = ctx;
    (void)e;
    if (r->json)
        print_json(l, stdout);
    else
        print_table_row(&r->table, l, stdout);
    return true;
}

/* Says how many letters are not listed because they were discarded. */
static int command_say_discarded(struct letters *st, const struct request *r, struct err *e)
{
    struct selection discarded = r->selection;
    discarded.dead = discarded.redriven = false;
    discarded.discarded = true;
    int64_t count = r->json || r->state.at ? 0 : letters_matches(st, &discarded, e);
    if (count < 0)
        return command_fail(e);
    if (count)
        fprintf(stderr, "%" PRId64 " more that match%s discarded (--state discarded)\n", count,
                count == 1 ? "es was" : " were");
    return COMMAND_DONE;
}

static int command_list(struct letters *st, struct request *r, const struct command_call *call)
{
    struct err e;
    (void)call;
    int64_t matches = letters_matches(st, &r->selection, &e);
    int64_t most = r->most ? r->most : r->all || r->json ? INT64_MAX : COMMAND_LIST;
    if (matches < 0)
        return command_fail(&e);
    r->table.with_state = r->selection.redriven || r->selection.discarded;
    if (!r->json && matches > 0) {
        if (letters_each(st, &r->selection, true, most, command_fit_letter, r, &e) < 0)
            return command_fail(&e);
        print_table_head(&r->table, stdout);
    }
    int64_t shown = letters_each(st, &r->selection, true, most, command_list_letter, r, &e);
    if (shown < 0)
        return command_fail(&e);
    if (!r->json && matches == 0)
        fputs("no dead letters match\n", stderr);
    if (!r->json && matches > shown)
        printf("... and %" PRId64 " older ones (--limit N, --all)\n", matches - shown);
    return command_say_discarded(st, r, &e);
}

static bool command_show_letter(void *ctx, struct letter *l, struct err *e)
{
    const struct request *r = ctx;
    (void)e;
    if (r->raw)
        fwrite(l->record.value.at ? l->record.value.at : "", 1, l->record.value.n, stdout);
    else if (r->json)
        print_json(l, stdout);
    else {
        print_letter(l, COMMAND_SHOW_BYTES, stdout);
        fputc('\n', stdout);
    }
    return true;
}

static int command_show(struct letters *st, struct request *r, const struct command_call *call)
{
    struct err e;
    (void)call;
    if (!command_is_filtered(r) && !r->all)
        return command_wrong("show needs an ID, a filter or --all", STR_ABSENT);
    if (!r->state.at)
        r->selection.redriven = r->selection.discarded = true;
    int64_t shown = letters_each(st, &r->selection, true, r->most ? r->most : INT64_MAX, command_show_letter, r, &e);
    if (shown < 0)
        return command_fail(&e);
    if (shown == 0)
        fputs("no dead letters match\n", stderr);
    return shown ? COMMAND_DONE : COMMAND_FAILED;
}

/* ---- redrive, discard ---- */

/* Nothing of the selection is to be done; `skipped`: so many were redriven before. */
static int command_nothing(const struct request *r, int64_t skipped)
{
    if (skipped)
        fprintf(stderr, "nothing to redrive: %" PRId64 " that match%s redriven before (--again)\n", skipped,
                skipped == 1 ? "es was" : " were");
    else if (!r->json)
        fputs("no dead letters match\n", stderr);
    return COMMAND_FAILED;
}

/* Leaves out, says and counts what was redriven before. */
static bool command_skip(struct redrive *d, struct letters *st, struct request *r, struct err *e)
{
    return r->again || d->as.becomes == LETTER_DISCARDED || redrive_leave_out(d, st, &r->selection, e);
}

static int command_end(struct redrive *d, struct letters *st, struct request *r)
{
    struct err e = { "" };
    int64_t matches = command_skip(d, st, r, &e) ? letters_matches(st, &r->selection, &e) : -1;
    if (matches < 0)
        return command_fail(&e);
    d->total = r->most && r->most < matches ? r->most : matches; /* what dies again meanwhile is not taken twice */
    bool good = d->total == 0 || redrive_letters(d, st, &r->selection, d->total, &e);
    if (d->total || r->json)
        results_say_total(&d->as, d->total);
    if (!good)
        return command_fail(&e);
    if (d->as.interrupted)
        fprintf(stderr, "aqueduct dead: interrupted: %" PRId64 " of %" PRId64 " are left; the same command goes on\n",
                d->total - d->as.done - d->as.refused, d->total);
    if (d->total == 0)
        return command_nothing(r, d->as.skipped);
    return d->as.refused || d->as.interrupted ? COMMAND_FAILED : COMMAND_DONE;
}

static int command_redrive(struct letters *st, struct request *r, const struct command_call *call)
{
    struct err e;
    struct command_place to = { 0 };
    if (!command_is_filtered(r) && !r->all)
        return command_wrong("redrive needs an ID, a filter or --all", STR_ABSENT);
    if (r->to.at && !call->place(call, r->to, &to, &e)) {
        command_fail(&e);
        return COMMAND_USAGE;
    }
    struct redrive *d = mem_alloc(sizeof *d);
    *d = (struct redrive){
        .call = call,
        .as = { .becomes = LETTER_REDRIVEN, .to = to, .dry_run = r->dry_run, .json = r->json },
        .again = r->again,
        .rate = r->rate,
    };
    int code = command_end(d, st, r);
    free(d);
    return code;
}

static int command_discard(struct letters *st, struct request *r, const struct command_call *call)
{
    if (!command_is_filtered(r) && !r->all)
        return command_wrong("discard needs an ID, a filter or --all", STR_ABSENT);
    if (r->to.at || r->rate || r->again)
        return command_wrong("--to, --rate and --again go with redrive", STR_ABSENT);
    struct redrive *d = mem_alloc(sizeof *d);
    *d = (struct redrive){
        .call = call,
        .as = { .becomes = LETTER_DISCARDED, .dry_run = r->dry_run, .json = r->json },
    };
    int code = command_end(d, st, r);
    free(d);
    return code;
}

/* ---- the command ---- */

extern const struct command dead_command;
extern const struct sink_ops dead_letter_sink;

/* The configured dead_letter sink whose file is meant; NULL after saying why not. */
static const struct dead_letter *command_sink(const struct command_call *call, struct str from)
{
    const struct dead_letter *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < call->sink_count; i++) {
        const struct sink *s = call->sinks[i];
        if (s->ops != &dead_letter_sink)
            continue;
        count++;
        if (!from.at || str_eq(from, str_of(s->id)))
            found = (const struct dead_letter *)s;
    }
    if (!found && from.at)
        fprintf(stderr, "aqueduct dead: the configuration has no dead_letter sink named %.*s\n", STR_ARG(from));
    else if (!found)
        fputs("aqueduct dead: the configuration has no sink of type dead_letter, so nothing files dead letters\n",
              stderr);
    if (!from.at && count > 1) {
        fputs("aqueduct dead: there are several dead_letter sinks; choose one by --from\n", stderr);
        return NULL;
    }
    return found;
}

static const struct verb {
    const char *name;
    int (*run)(struct letters *st, struct request *r, const struct command_call *call);
} command_verbs[] = {
    { "list", command_list },
    { "show", command_show },
    { "redrive", command_redrive },
    { "discard", command_discard },
};

static const char *const command_names[] = { "list", "show", "redrive", "discard", NULL };

static const struct verb *command_verb(const char *name)
{
    for (size_t i = 0; i < sizeof command_verbs / sizeof *command_verbs; i++)
        if (strcmp(name, command_verbs[i].name) == 0)
            return &command_verbs[i];
    return NULL;
}

static int command_run(struct command_call *call)
{
    struct request *r = call->flags;
    const struct verb *verb = command_verb(call->word_count ? call->words[0] : "");
    if (!verb)
        return command_wrong("list, show, redrive or discard", call->word_count ? str_of(call->words[0]) : STR_ABSENT);
    int code = command_select(call, r);
    if (code)
        return code;
    const struct dead_letter *sink = command_sink(call, r->from);
    if (!sink)
        return COMMAND_FAILED;
    struct err e;
    struct letters *st = letters_open(sink->path, false, &e);
    if (!st)
        return command_fail(&e);
    code = names_known(st, &r->selection, call) ? verb->run(st, r, call) : COMMAND_USAGE;
    letters_close(st);
    return code;
}

const struct command dead_command = {
    .name = "dead",
    .doc = "List, show, redrive and discard the events that sinks gave up.",
    .usage = command_usage,
    .notes = command_notes,
    .flags = command_flags,
    .size = sizeof(struct request),
    .min_words = 1,
    .max_words = 2,
    .verbs = command_names,
    .config = true,
    .sinks = "dead_letter",
    .run = command_run,
};
