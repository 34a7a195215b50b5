/* SPDX-License-Identifier: MIT */
/* `aqueduct dead list | show | redrive`. */
#include <inttypes.h>
#include "bridge/command.h"
#include "connectors/dead_letter/dead_letter.h"
#include "connectors/dead_letter/names.h"
#include "connectors/dead_letter/print.h"
#include "connectors/dead_letter/redrive.h"

enum { COMMAND_LIST = 50, COMMAND_SHOW_BYTES = 4096 };

static const char command_usage
    [] = "aqueduct dead list    [filter] [--limit N] [--json]            what other sinks gave up, newest first\n"
         "aqueduct dead show    [filter | ID] [--raw]                    everything about them, data included\n"
         "aqueduct dead redrive (filter | ID | --all) [--dry-run]        gives them again to the sink that failed\n";

static const char command_notes[] =
    "A redriven event keeps its id, key and headers; it is signed afresh. From then on it counts as redriven, and is "
    "not\ntaken again without --again; if it fails again, it is dead again.\n";

struct request {
    struct selection selection;
    struct str since, state, from; /* as written */
    bool json, all, dry_run, raw, again;
    int64_t most; /* --limit; 0: not given */
    struct print_table table;
};

static const struct flag command_flags[] = {
    FLAG(struct request, selection.owner, .name = "--sink", .value = "NAME", .group = "filter",
         .doc = "the sink that gave up (or the source, for events that no topic could take)"),
    FLAG(struct request, selection.endpoint, .name = "--endpoint", .value = "NAME",
         .doc = "the one of the sink's endpoints that gave up"),
    FLAG(struct request, selection.class, .name = "--class", .value = "CLASS",
         .choices = "refused|unavailable|configuration|poison|blocked|orphaned|invalid|unrouted",
         .doc = "refused unavailable configuration poison blocked orphaned invalid unrouted"),
    FLAG(struct request, selection.type_prefix, .name = "--type", .value = "PREFIX",
         .doc = "event types that begin like this"),
    FLAG(struct request, selection.id, .name = "--id", .value = "ID", .doc = "one event"),
    FLAG(struct request, since, .name = "--since", .value = "TIME",
         .doc = "last attempt since: 2026-11-20T10:00:00Z, or a time ago: 90s 30m 2h 7d"),
    FLAG(struct request, state, .name = "--state", .value = "STATE", .choices = "dead|redriven|all",
         .doc = "dead (default), redriven or all"),
    FLAG(struct request, most, .name = "--limit", .value = "N", .min = 1, .max = INT32_MAX, .group = "",
         .doc = "at most N (list: 50 unless --json or --all)"),
    FLAG(struct request, all, .name = "--all", .doc = "every letter: must be said to redrive without a filter"),
    FLAG(struct request, json, .name = "--json", .doc = "one JSON object per line"),
    FLAG(struct request, dry_run, .name = "--dry-run", .doc = "redrive: only say what would be done"),
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

/* Makes the selection of what was written; 0 or the exit code. */
static int command_select(const struct command_call *call, struct request *r)
{
    struct selection *s = &r->selection;
    if (call->word_count == 2 && s->id.at)
        return command_wrong("one ID at a time", str_of(call->words[1]));
    if (call->word_count == 2)
        s->id = str_of(call->words[1]);
    bool all_states = str_eq(r->state, STR("all")) || (!r->state.at && r->again);
    s->dead = all_states || !r->state.at || str_eq(r->state, STR("dead"));
    s->redriven = all_states || str_eq(r->state, STR("redriven"));
    if (r->since.at && !clock_since(r->since, &s->since_ms))
        return command_wrong("--since is neither a moment nor a time ago", r->since);
    return 0;
}

static bool command_is_filtered(const struct request *r)
{
    const struct selection *s = &r->selection;
    return s->owner.at || s->endpoint.at || s->class.at || s->type_prefix.at || s->id.at || r->since.at;
}

/* ---- list, show ---- */

static bool command_fit_letter(void *ctx, const struct letter *l, struct err *e)
{
    struct request *r = ctx;
    (void)e;
    print_table_fit(&r->table, l);
    return true;
}

static bool command_list_letter(void *ctx, const struct letter *l, struct err *e)
{
    const struct request *r = ctx;
    (void)e;
    if (r->json)
        print_json(l, stdout);
    else
        print_table_row(&r->table, l, stdout);
    return true;
}

static int command_list(struct letters *st, struct request *r, const struct command_call *call)
{
    struct err e;
    (void)call;
    int64_t matches = letters_matches(st, &r->selection, &e);
    int64_t most = r->most ? r->most : r->all || r->json ? INT64_MAX : COMMAND_LIST;
    if (matches < 0)
        return command_fail(&e);
    r->table.with_state = r->selection.redriven;
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
    return COMMAND_DONE;
}

static bool command_show_letter(void *ctx, const struct letter *l, struct err *e)
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
        r->selection.redriven = true;
    int64_t shown = letters_each(st, &r->selection, true, r->most ? r->most : INT64_MAX, command_show_letter, r, &e);
    if (shown < 0)
        return command_fail(&e);
    if (shown == 0)
        fputs("no dead letters match\n", stderr);
    return shown ? COMMAND_DONE : COMMAND_FAILED;
}

/* ---- redrive ---- */

/* Nothing of the selection is dead; `skipped`: so many were redriven before. */
static int command_nothing_to_redrive(int64_t skipped)
{
    if (skipped)
        fprintf(stderr, "nothing to redrive: %" PRId64 " that match%s redriven before (--again)\n", skipped,
                skipped == 1 ? "es was" : " were");
    else
        fputs("no dead letters match\n", stderr);
    return COMMAND_FAILED;
}

static int command_redrive(struct letters *st, struct request *r, const struct command_call *call)
{
    struct err e;
    if (!command_is_filtered(r) && !r->all)
        return command_wrong("redrive needs an ID, a filter or --all", STR_ABSENT);
    struct redrive d = { .call = call, .again = r->again, .dry_run = r->dry_run };
    int64_t skipped = 0;
    d.total = letters_matches(st, &r->selection, &e);
    if (d.total < 0 || (!r->selection.redriven && !redrive_say_skipped(st, &r->selection, &skipped, &e)))
        return command_fail(&e);
    if (d.total == 0)
        return command_nothing_to_redrive(skipped);
    int64_t most = r->most && r->most < d.total ? r->most : d.total; /* what dies again meanwhile is not taken twice */
    bool good = redrive_letters(&d, st, &r->selection, most, &e);
    printf("%s %" PRId64 ", refused %" PRId64 ", of %" PRId64 "\n", r->dry_run ? "would redrive" : "redriven", d.sent,
           d.refused, most);
    if (!good)
        return command_fail(&e);
    return d.refused ? COMMAND_FAILED : COMMAND_DONE;
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
} command_verbs[] = { { "list", command_list }, { "show", command_show }, { "redrive", command_redrive } };

static const char *const command_names[] = { "list", "show", "redrive", NULL };

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
        return command_wrong("list, show or redrive", call->word_count ? str_of(call->words[0]) : STR_ABSENT);
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
    .doc = "List, show and redrive the events that sinks gave up.",
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
