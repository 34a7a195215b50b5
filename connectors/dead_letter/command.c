/* SPDX-License-Identifier: MIT */
/* `aqueduct dead list | show | redrive | discard`. */
#include <inttypes.h>
#include <stdio.h>
#include "bridge/command.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/json.h"
#include "connectors/dead_letter/ending.h"
#include "connectors/dead_letter/filing.h"
#include "connectors/dead_letter/names.h"
#include "connectors/dead_letter/print.h"

enum {
    COMMAND_LIST = 50,
    COMMAND_SHOW_BYTES = 4096,
    COMMAND_DATA = 256 << 20,
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
         "under way and says how many are left; the same command goes on with those. The running daemon does\n"
         "it; what is redriven while none runs is delivered when it starts.\n"
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
         "  aqueduct dead redrive 8f14e45f-ceea-467f-a0e6-2c4f5b1b7f10 --to audit/archive\n"
         "  aqueduct dead discard --class refused --type test. --dry-run\n";

struct request {
    struct str sink, endpoint, class, type, source, id, since, until, state, from, to; /* as written */
    bool json, all, dry_run, raw, again;
    int64_t most, rate; /* 0: not given */
    struct filing filing;
    json_t *which; /* of the flags that select */
};

static const struct flag command_flags[] = {
    FLAG(struct request, sink, .name = "--sink", .value = "NAME", .group = "filter",
         .doc = "the sink that gave up, or SINK/ENDPOINT (or the source, for events that no topic could take)"),
    FLAG(struct request, endpoint, .name = "--endpoint", .value = "NAME",
         .doc = "the one of the sink's endpoints that gave up"),
    FLAG(struct request, class, .name = "--class", .value = "CLASS",
         .choices = "refused|unavailable|configuration|poison|blocked|orphaned|invalid|unrouted",
         .doc = "refused unavailable configuration poison blocked orphaned invalid unrouted"),
    FLAG(struct request, type, .name = "--type", .value = "PREFIX", .doc = "event types that begin like this"),
    FLAG(struct request, source, .name = "--source", .value = "PREFIX", .doc = "event sources that begin like this"),
    FLAG(struct request, id, .name = "--id", .value = "ID",
         .doc = "one event; of what is none, where it stood, as list has it (ai.chats/0@12)"),
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
static int command_split_place(struct request *r)
{
    struct str endpoint = r->sink, sink;
    if (!r->sink.at || !memchr(r->sink.at, '/', r->sink.n))
        return 0;
    str_cut(&endpoint, '/', &sink);
    if (r->endpoint.at && !str_eq(r->endpoint, endpoint))
        return command_wrong("--sink names another endpoint than --endpoint", r->sink);
    r->sink = sink;
    r->endpoint = endpoint;
    return 0;
}

static void command_choose(json_t *which, const char *name, struct str value)
{
    if (value.at)
        json_object_set_new(which, name, json_of_text(value));
}

/* A moment, which stays that from page to page; 0 or the exit code. */
static int command_choose_time(json_t *which, const char *name, struct str value)
{
    int64_t ms;
    if (!value.at)
        return 0;
    if (!clock_since(value, &ms)) {
        fprintf(stderr, "aqueduct dead: --%s is neither a moment nor a time ago: ", name);
        print_clean(value, 0, stderr);
        fputs("; see aqueduct help dead\n", stderr);
        return COMMAND_USAGE;
    }
    json_object_set_new(which, name, json_of_moment(ms));
    return 0;
}

/* Makes the selection of what was written; 0 or the exit code. */
static int command_select(const struct command_call *call, struct request *r)
{
    if (call->word_count == 2 && r->id.at)
        return command_wrong("one ID at a time", str_of(call->words[1]));
    if (call->word_count == 2)
        r->id = str_of(call->words[1]);
    int code = command_split_place(r);
    command_choose(r->which, "sink", r->sink);
    command_choose(r->which, "endpoint", r->endpoint);
    command_choose(r->which, "class", r->class);
    command_choose(r->which, "type", r->type);
    command_choose(r->which, "source", r->source);
    command_choose(r->which, "id", r->id);
    command_choose(r->which, "state", r->state);
    code = code ? code : command_choose_time(r->which, "since", r->since);
    return code ? code : command_choose_time(r->which, "until", r->until);
}

static bool command_is_filtered(const struct request *r)
{
    return r->sink.at || r->endpoint.at || r->class.at || r->type.at || r->source.at || r->id.at || r->since.at
           || r->until.at;
}

/* ---- pages ---- */

typedef bool command_letter_fn(struct request *r, const json_t *letter, void *ctx, struct err *e);

/* Calls each() for the letters, the newest first, at most `most`. How many match; -1 with *e. */
static int64_t command_each(struct request *r, int64_t most, command_letter_fn *each, void *ctx, struct err *e)
{
    int64_t matched = -1, count = 0;
    bool good = true;
    const json_t *letter;
    size_t i;
    char after[32] = "";
    do {
        int64_t room = most - count < FILING_PAGE ? most - count : FILING_PAGE;
        json_object_set_new(r->which, "limit", json_integer(room));
        if (*after)
            json_object_set_new(r->which, "after", json_string(after));
        json_t *page = filing_list(&r->filing, r->which, e);
        good = page != NULL;
        json_array_foreach(json_object_get(page, "items"), i, letter)
        {
            good = good && each(r, letter, ctx, e);
        }
        count += (int64_t)i;
        matched = matched < 0 ? json_integer_value(json_object_get(page, "matched")) : matched;
        snprintf(after, sizeof after, "%s", json_text(page, "next"));
        json_decref(page);
    } while (good && *after && count < most);
    json_object_del(r->which, "after");
    json_object_del(r->which, "limit");
    return good ? matched : -1;
}

/* ---- list, show ---- */

static bool command_fit_letter(struct request *r, const json_t *letter, void *ctx, struct err *e)
{
    struct filing_letter l;
    (void)r, (void)e;
    filing_read(&l, letter);
    print_table_fit(ctx, &l.letter);
    filing_free(&l);
    return true;
}

static bool command_list_letter(struct request *r, const json_t *letter, void *ctx, struct err *e)
{
    struct filing_letter l;
    (void)e;
    filing_read(&l, letter);
    if (r->json)
        print_json(&l.letter, stdout);
    else
        print_table_row(ctx, &l.letter, stdout);
    filing_free(&l);
    return true;
}

static bool command_no_letter(struct request *r, const json_t *letter, void *ctx, struct err *e)
{
    (void)r, (void)letter, (void)ctx, (void)e;
    return true;
}

/* Says how many letters are not listed because they were discarded. */
static int command_say_discarded(struct request *r, struct err *e)
{
    if (r->json || r->state.at)
        return COMMAND_DONE;
    json_object_set_new(r->which, "state", json_string("discarded"));
    int64_t count = command_each(r, 1, command_no_letter, NULL, e);
    if (count < 0)
        return command_fail(e);
    if (count)
        fprintf(stderr, "%" PRId64 " more that match%s discarded (--state discarded)\n", count,
                count == 1 ? "es was" : " were");
    return COMMAND_DONE;
}

static int command_list(struct request *r, const struct command_call *call)
{
    struct err e = { "" };
    struct print_table table = { .with_state = r->state.at && !str_eq(r->state, STR("dead")) };
    (void)call;
    int64_t most = r->most ? r->most : r->all || r->json ? INT64_MAX : COMMAND_LIST;
    int64_t matches = r->json ? 0 : command_each(r, most, command_fit_letter, &table, &e);
    if (matches > 0)
        print_table_head(&table, stdout);
    if (matches < 0 || ((r->json || matches > 0) && command_each(r, most, command_list_letter, &table, &e) < 0))
        return command_fail(&e);
    if (!r->json && matches == 0)
        print_nothing(r->which, stderr);
    if (!r->json && matches > most)
        printf("... and %" PRId64 " older ones (--limit N, --all)\n", matches - most);
    return command_say_discarded(r, &e);
}

static bool command_show_letter(struct request *r, const json_t *listed, void *ctx, struct err *e)
{
    struct filing_letter l;
    struct buf data = buf_new(COMMAND_DATA);
    bool *shown = ctx;
    json_t *letter = r->json ? json_incref((json_t *)(uintptr_t)listed)
                             : filing_show(&r->filing, json_text(listed, "letter"), &data, e);
    if (!letter && !e->text[0])
        return true; /* gone meanwhile */
    if (letter) {
        *shown = true;
        filing_read(&l, letter);
        l.letter.record.value = r->json ? l.letter.record.value : data.n ? buf_str(&data) : STR_ABSENT;
        if (r->raw)
            fwrite(data.n ? data.at : "", 1, data.n, stdout);
        else if (r->json)
            print_json(&l.letter, stdout);
        else {
            print_letter(&l.letter, COMMAND_SHOW_BYTES, stdout);
            fputc('\n', stdout);
        }
        filing_free(&l);
    }
    buf_free(&data);
    json_decref(letter);
    return letter;
}

static int command_show(struct request *r, const struct command_call *call)
{
    struct err e = { "" };
    bool shown = false;
    (void)call;
    if (!command_is_filtered(r) && !r->all)
        return command_wrong("show needs an ID, a filter or --all", STR_ABSENT);
    if (!r->state.at)
        json_object_set_new(r->which, "state", json_string("all"));
    r->json = r->json && !r->raw;
    if (command_each(r, r->most ? r->most : INT64_MAX, command_show_letter, &shown, &e) < 0)
        return command_fail(&e);
    if (!shown)
        print_nothing(r->which, stderr);
    return shown ? COMMAND_DONE : COMMAND_FAILED;
}

/* ---- redrive, discard ---- */

static int command_end(struct request *r, bool discard)
{
    if (!command_is_filtered(r))
        json_object_set_new(r->which, "all", json_true());
    if (r->dry_run)
        json_object_set_new(r->which, "dry_run", json_true());
    struct err e = { "" };
    struct ending en = { .filing = &r->filing,
                         .which = r->which,
                         .discard = discard,
                         .dry_run = r->dry_run,
                         .json = r->json,
                         .to = r->to.at,
                         .most = r->most,
                         .rate = r->rate };
    int code;
    return ending_run(&en, &code, &e) ? code : command_fail(&e);
}

static int command_redrive(struct request *r, const struct command_call *call)
{
    struct err e;
    struct command_place to = { 0 };
    if (!command_is_filtered(r) && !r->all)
        return command_wrong("redrive needs an ID, a filter or --all", STR_ABSENT);
    if (r->to.at && !call->place(call, r->to, &to, &e)) {
        command_fail(&e);
        return COMMAND_USAGE;
    }
    command_choose(r->which, "to", r->to);
    if (r->again)
        json_object_set_new(r->which, "again", json_true());
    return command_end(r, false);
}

static int command_discard(struct request *r, const struct command_call *call)
{
    (void)call;
    if (!command_is_filtered(r) && !r->all)
        return command_wrong("discard needs an ID, a filter or --all", STR_ABSENT);
    if (r->to.at || r->rate || r->again)
        return command_wrong("--to, --rate and --again go with redrive", STR_ABSENT);
    return command_end(r, true);
}

/* ---- the command ---- */

extern const struct command dead_command;
extern const struct sink_ops dead_letter_sink;

/* The configured dead_letter sink whose file is meant; NULL after saying why not. */
static const struct sink *command_sink(const struct command_call *call, struct str from)
{
    const struct sink *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < call->sink_count; i++) {
        const struct sink *s = call->sinks[i];
        if (s->ops != &dead_letter_sink)
            continue;
        count++;
        if (!from.at || str_eq(from, str_of(s->id)))
            found = s;
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
    int (*run)(struct request *r, const struct command_call *call);
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
    r->which = json_object();
    int code = command_select(call, r);
    const struct sink *sink = code ? NULL : command_sink(call, r->from);
    if (sink) {
        r->filing = (struct filing){ .call = call, .sink = sink };
        code = names_known(&r->filing, r->sink, r->endpoint) ? verb->run(r, call) : COMMAND_USAGE;
    } else
        code = code ? code : COMMAND_FAILED;
    json_decref(r->which);
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
