/* SPDX-License-Identifier: MIT */
/* `aqueduct dead list | show | redrive`. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/buf.h"
#include "bridge/event/trail.h"
#include "connectors/dead_letter/dead_letter.h"
#include "connectors/dead_letter/print.h"

enum { DONE = 0, FAILED = 1, USAGE = 2 }; /* exit codes */
enum { PAGE = 256, LIST_LIMIT = 50, SHOW_BYTES = 4096, PROGRESS_EVERY = 500 };

static const char usage[] =
    "aqueduct dead list    [filter] [--limit N] [--json]            what other sinks gave up, newest first\n"
    "aqueduct dead show    [filter | ID] [--raw]                    everything about them, data included\n"
    "aqueduct dead redrive (filter | ID | --all) [--dry-run]        gives them again to the sink that failed\n"
    "\n"
    "filter\n"
    "  --sink NAME       the sink that gave up (or the source, for events that no topic could take)\n"
    "  --class CLASS     refused unavailable configuration poison blocked invalid unrouted\n"
    "  --type PREFIX     event types that begin like this\n"
    "  --id ID           one event\n"
    "  --since TIME      last attempt since: 2026-11-20T10:00:00Z, or a time ago: 90s 30m 2h 7d\n"
    "  --state STATE     dead (default), redriven or all\n"
    "\n"
    "  --limit N         at most N (list: 50 unless --json or --all)\n"
    "  --all             every letter: must be said to redrive without a filter\n"
    "  --json            one JSON object per line\n"
    "  --raw             show: only the data, as it is\n"
    "  --again           redrive: also what was redriven before\n"
    "  --from NAME       the dead_letter sink whose file is read, when there are several\n"
    "\n"
    "A redriven event keeps its id, key and headers; it is signed afresh. It counts as redriven as soon as the running daemon\n"
    "has filed that; if it fails again, it is dead again.\n";

struct request {
    struct selection selection;
    struct str since, state, limit, from; /* as written */
    bool json, all, dry_run, raw, again;
    int64_t most; /* --limit as a number; 0: not given */
};

#define TEXT(name, field)                                                                                              \
    {                                                                                                                  \
        name, false, offsetof(struct request, field)                                                                   \
    }
#define FLAG(name, field)                                                                                              \
    {                                                                                                                  \
        name, true, offsetof(struct request, field)                                                                    \
    }
static const struct word {
    const char *name;
    bool flag; /* a bool; else a struct str that takes a value */
    size_t offset;
} words[] = {
    TEXT("--sink", selection.owner),
    TEXT("--class", selection.class),
    TEXT("--type", selection.type_prefix),
    TEXT("--id", selection.id),
    TEXT("--since", since),
    TEXT("--state", state),
    TEXT("--limit", limit),
    TEXT("--from", from),
    FLAG("--json", json),
    FLAG("--all", all),
    FLAG("--dry-run", dry_run),
    FLAG("--raw", raw),
    FLAG("--again", again),
};
enum { WORDS = sizeof words / sizeof *words };

static int wrong(const char *what, struct str word)
{
    fprintf(stderr, "aqueduct dead: %s%s%.*s; see aqueduct help dead\n", what, word.at ? ": " : "", STR_ARG(word));
    return USAGE;
}

static int failed(const struct err *e)
{
    fprintf(stderr, "aqueduct dead: %s\n", e->text);
    return FAILED;
}

static const struct word *find_word(struct str name)
{
    for (size_t i = 0; i < WORDS; i++)
        if (str_eq(name, str_of(words[i].name)))
            return &words[i];
    return NULL;
}

/* Stores the words behind the verb in r, unchecked; 0 or the exit code. */
static int parse_words(int argc, char **argv, struct request *r)
{
    for (int i = 0; i < argc; i++) {
        struct str value = str_of(argv[i]), name;
        if (argv[i][0] != '-') {
            if (r->selection.id.at)
                return wrong("one ID at a time", str_of(argv[i]));
            r->selection.id = str_of(argv[i]);
            continue;
        }
        str_cut(&value, '=', &name);
        const struct word *w = find_word(name);
        if (!w)
            return wrong("unknown flag", name);
        if (w->flag && value.at)
            return wrong("takes no value", name);
        void *field = (char *)r + w->offset;
        if (w->flag) {
            *(bool *)field = true;
            continue;
        }
        if (!value.at && ++i < argc)
            value = str_of(argv[i]);
        if (!value.at || value.n == 0)
            return wrong("needs a value", name);
        *(struct str *)field = value;
    }
    return 0;
}

/* A moment, or so long ago. */
static bool parse_since(struct str s, int64_t *ms)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = { { 's', 1000 }, { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 } };
    uint64_t n;
    if (clock_parse(s, ms))
        return true;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (s.at[s.n - 1] == units[i].unit && str_to_u64((struct str){ s.at, s.n - 1 }, &n) && n < 1000000) {
            *ms = clock_wall_ms() - (int64_t)n * units[i].ms;
            return true;
        }
    return false;
}

static int parse(int argc, char **argv, struct request *r)
{
    int code = parse_words(argc, argv, r);
    if (code)
        return code;
    struct selection *s = &r->selection;
    bool all_states = str_eq(r->state, STR("all")) || (!r->state.at && r->again);
    s->dead = all_states || !r->state.at || str_eq(r->state, STR("dead"));
    s->redriven = all_states || str_eq(r->state, STR("redriven"));
    if (!s->dead && !s->redriven)
        return wrong("--state is dead, redriven or all", r->state);
    if (r->since.at && !parse_since(r->since, &s->since_ms))
        return wrong("--since is neither a moment nor a time ago", r->since);
    uint64_t n;
    if (r->limit.at && (!str_to_u64(r->limit, &n) || n == 0 || n > INT32_MAX))
        return wrong("--limit is a number from 1", r->limit);
    r->most = r->limit.at ? (int64_t)n : 0;
    return 0;
}

static bool is_filtered(const struct request *r)
{
    const struct selection *s = &r->selection;
    return s->owner.at || s->class.at || s->type_prefix.at || s->id.at || r->since.at;
}

/* Calls `each` for the selected letters, a page at a time, so that the file is never locked for long; at most `most`
 * of them. Returns how many it called for; -1 with *e when the file fails or `each` does. */
static int64_t walk(struct letters *st, const struct request *r, bool newest, int64_t most,
                    bool (*each)(void *ctx, const struct letter *l, struct err *e), void *ctx, struct err *e)
{
    int64_t page[PAGE], after = 0, total = 0, n;
    do {
        int64_t room = most - total < PAGE ? most - total : PAGE;
        n = letters_select(st, &r->selection, newest, after, page, (size_t)room, e);
        for (int64_t i = 0; i < n; i++) {
            struct letter l;
            after = page[i];
            if (!letters_load(st, page[i], &l, e)) {
                if (l.seq == 0) /* the daemon has filed it anew, or dropped it, since the page was selected */
                    continue;
                return -1;
            }
            bool ok = each(ctx, &l, e);
            letter_free(&l);
            if (!ok)
                return -1;
            total++;
        }
    } while (n > 0 && total < most);
    return n < 0 ? -1 : total;
}

/* ---- list, show ---- */

static bool list_row(void *ctx, const struct letter *l, struct err *e)
{
    const struct request *r = ctx;
    (void)e;
    if (r->json)
        print_json(l, stdout);
    else
        print_table_row(l, r->selection.redriven, stdout);
    return true;
}

static int list(struct letters *st, struct request *r)
{
    struct err e;
    int64_t matches = letters_matches(st, &r->selection, &e);
    int64_t most = r->most ? r->most : r->all || r->json ? INT64_MAX : LIST_LIMIT;
    if (matches < 0)
        return failed(&e);
    if (!r->json && matches > 0)
        print_table_head(stdout, r->selection.redriven);
    int64_t shown = walk(st, r, true, most, list_row, r, &e);
    if (shown < 0)
        return failed(&e);
    if (!r->json && matches == 0)
        fputs("no dead letters match\n", stderr);
    if (!r->json && matches > shown)
        printf("... and %" PRId64 " older ones (--limit N, --all)\n", matches - shown);
    return DONE;
}

static bool show_one(void *ctx, const struct letter *l, struct err *e)
{
    const struct request *r = ctx;
    (void)e;
    if (r->raw)
        fwrite(l->record.value.at ? l->record.value.at : "", 1, l->record.value.n, stdout);
    else if (r->json)
        print_json(l, stdout);
    else {
        print_whole(l, SHOW_BYTES, stdout);
        fputc('\n', stdout);
    }
    return true;
}

static int show(struct letters *st, struct request *r)
{
    struct err e;
    if (!is_filtered(r) && !r->all)
        return wrong("show needs an ID, a filter or --all", STR_ABSENT);
    if (!r->state.at)
        r->selection.redriven = true;
    int64_t shown = walk(st, r, true, r->most ? r->most : INT64_MAX, show_one, r, &e);
    if (shown < 0)
        return failed(&e);
    if (shown == 0)
        fputs("no dead letters match\n", stderr);
    return shown ? DONE : FAILED;
}

/* ---- redrive ---- */

struct redrive {
    const struct command_env *env;
    const struct request *request;
    int64_t total, sent, refused;
};

static bool publish_again(const struct command_env *env, const struct letter *l, struct err *e)
{
    char *owner = str_dup(l->owner), *topic = topic_name(env->prefix, TOPIC_REDRIVE, owner);
    struct moved m;
    trail_move(&m, &l->record, topic, (const char *const[]){ NULL });
    bool ok = env->publish(env, &m.record, e);
    trail_free(&m);
    free(topic);
    free(owner);
    return ok;
}

/* The note for the dead-letter topic: everyone who keeps a list of dead letters learns it, not only this file. */
static bool publish_note(const struct command_env *env, const struct letter *l, struct err *e)
{
    char last[CLOCK_TEXT], *owner = str_dup(l->owner);
    char *topic = topic_name(env->prefix, TOPIC_DEAD_LETTER, NULL);
    clock_text(l->last_ms, last);
    struct moved m;
    trail_move(&m, &l->record, topic,
               (const char *const[]){ TRAIL_SINK, owner, TRAIL_STATE, "redriven", TRAIL_LAST, l->last_ms ? last : NULL,
                                      NULL });
    m.record.value = STR_ABSENT;
    bool ok = env->publish(env, &m.record, e);
    trail_free(&m);
    free(topic);
    free(owner);
    return ok;
}

static const char *why_not(const struct redrive *d, const struct letter *l)
{
    if (l->of_source)
        return "never reached a sink; it is of the source";
    if (l->owner.n == 0)
        return "does not say which sink gave up";
    if (l->redriven && !d->request->again)
        return "was redriven before (--again)";
    return NULL;
}

static void say(const char *verb, const struct letter *l)
{
    printf("%-9s ", verb);
    print_clean(l->owner.n ? l->owner : STR("?"), 0, stdout);
    fputc(' ', stdout);
    print_clean(l->type.at ? l->type : STR("(no event)"), 0, stdout);
    fputc(' ', stdout);
    if (l->id.at)
        print_clean(l->id, 0, stdout);
    else
        print_clean(l->topic, 0, stdout), printf("/%" PRId64 "/%" PRId64, l->partition, l->offset);
}

static bool redrive_one(void *ctx, const struct letter *l, struct err *e)
{
    struct redrive *d = ctx;
    const char *why = why_not(d, l);
    if (why) {
        say("refused", l);
        printf(": %s\n", why);
        d->refused++;
        return true;
    }
    if (!d->request->dry_run) {
        if (!publish_again(d->env, l, e))
            return false;
        if (!publish_note(d->env, l, e))
            return err_prefix(e,
                              "the last event was redriven, but that could not be noted; it is still listed as dead");
    }
    say(d->request->dry_run ? "would" : "redriven", l);
    fputc('\n', stdout);
    if (++d->sent % PROGRESS_EVERY == 0 && !isatty(STDOUT_FILENO))
        fprintf(stderr, "%" PRId64 " of %" PRId64 "\n", d->sent + d->refused, d->total);
    return true;
}

/* Nothing was selected: was it only because it is redriven already? */
static int nothing_to_redrive(struct letters *st, struct request *r)
{
    r->selection.redriven = true;
    int64_t before = letters_matches(st, &r->selection, NULL);
    if (before > 0)
        fprintf(stderr, "nothing to redrive: %" PRId64 " that match were redriven before (--again)\n", before);
    else
        fputs("no dead letters match\n", stderr);
    return FAILED;
}

static int redrive(struct letters *st, struct request *r, const struct command_env *env)
{
    struct err e;
    if (!is_filtered(r) && !r->all)
        return wrong("redrive needs an ID, a filter or --all", STR_ABSENT);
    struct redrive d = { .env = env, .request = r, .total = letters_matches(st, &r->selection, &e) };
    if (d.total < 0)
        return failed(&e);
    if (d.total == 0)
        return nothing_to_redrive(st, r);
    int64_t most = r->most && r->most < d.total ? r->most : d.total; /* what dies again meanwhile is not taken twice */
    int64_t seen = walk(st, r, false, most, redrive_one, &d, &e);
    printf("%s %" PRId64 ", refused %" PRId64 ", of %" PRId64 "\n", r->dry_run ? "would redrive" : "redriven", d.sent,
           d.refused, most);
    if (seen < 0)
        return failed(&e);
    return d.refused ? FAILED : DONE;
}

/* ---- the command ---- */

/* The configured dead_letter sink whose file is meant; NULL after saying why not. */
static const struct dead_letter *choose(const struct command_env *env, struct str from)
{
    const struct dead_letter *found = NULL;
    for (size_t i = 0; i < env->sink_count; i++)
        if (!from.at || str_eq(from, str_of(env->sinks[i]->id)))
            found = (const struct dead_letter *)env->sinks[i];
    if (!found && from.at)
        fprintf(stderr, "aqueduct dead: the configuration has no dead_letter sink named %.*s\n", STR_ARG(from));
    else if (!found)
        fputs("aqueduct dead: the configuration has no sink of type dead_letter, so nothing files dead letters\n",
              stderr);
    if (!from.at && env->sink_count > 1) {
        fputs("aqueduct dead: there are several dead_letter sinks; choose one by --from\n", stderr);
        return NULL;
    }
    return found;
}

static int dead_run(const struct command_env *env, int argc, char **argv)
{
    struct request r = { 0 };
    const char *verb = argc ? argv[0] : "";
    bool is_list = !strcmp(verb, "list"), is_show = !strcmp(verb, "show"), is_redrive = !strcmp(verb, "redrive");
    if (!is_list && !is_show && !is_redrive)
        return wrong("list, show or redrive", argc ? str_of(verb) : STR_ABSENT);
    int code = parse(argc - 1, argv + 1, &r);
    if (code)
        return code;
    const struct dead_letter *sink = choose(env, r.from);
    if (!sink)
        return FAILED;
    struct err e;
    struct letters *st = letters_open(sink->path, false, &e);
    if (!st)
        return failed(&e);
    code = is_list ? list(st, &r) : is_show ? show(st, &r) : redrive(st, &r, env);
    letters_close(st);
    return code;
}

extern const struct command dead_command;
const struct command dead_command = {
    .name = "dead",
    .doc = "List, show and redrive the events that sinks gave up.",
    .usage = usage,
    .sink_type = "dead_letter",
    .run = dead_run,
};
