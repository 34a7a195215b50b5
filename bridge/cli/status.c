/* SPDX-License-Identifier: MIT */
/* `aqueduct status`: what became of the events, of all sinks. */
#include <stdlib.h>
#include "bridge/admin/control_client.h"
#include "bridge/cli/commands.h"
#include "bridge/cli/status_event.h"
#include "bridge/cli/status_event_print.h"
#include "bridge/cli/status_log.h"
#include "bridge/cli/status_print.h"
#include "bridge/cli/usage.h"
#include "bridge/config/config.h"
#include "bridge/delivery/account.h"
#include "bridge/delivery/find_event.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/query.h"

enum { STATUS_BYTES = 64 << 20, STATUS_READY_BYTES = 4096 };

struct status_flags {
    bool json, ready;
    struct str sink, list, event, since;
    int64_t limit;
};

static const struct flag status_flags[] = {
    FLAG(struct status_flags, json, .name = "--json", .doc = "one JSON object, for programs"),
    FLAG(struct status_flags, ready, .name = "--ready",
         .doc = "instead: is the running daemon ready? Exit code 1, with the reason: it is not, or none runs"),
    FLAG(struct status_flags, sink, .name = "--sink", .value = "NAME", .doc = "this sink alone"),
    FLAG(
        struct status_flags, list, .name = "--list", .value = "WHICH", .choices = "pending|waiting|listeners",
        .doc =
            "also the events: those in the daemon's memory and in the waiting topics, or only those that wait; or who listens live, and where"),
    FLAG(struct status_flags, limit, .name = "--limit", .value = "N", .min = 1, .max = ACCOUNT_EVENTS,
         .doc = "with --list: at most so many of each sink, oldest first (20)"),
    FLAG(struct status_flags, event, .name = "--event", .value = "ID", .group = "",
         .doc = "instead: what became of the event with this id at every destination"),
    FLAG(struct status_flags, since, .name = "--since", .value = "TIME",
         .doc = "with --event: stored at or after (2026-11-20T10:00:00Z, or 90s 15m 2h 3d ago)"),
    { 0 },
};

static bool status_lists_listeners(const struct status_flags *flags)
{
    return str_eq(flags->list, STR("listeners"));
}

static bool status_knows_sink(const struct command_call *call, struct str name)
{
    for (size_t i = 0; i < call->sink_count; i++)
        if (str_eq(name, str_of(call->sinks[i]->id)))
            return true;
    return !name.at;
}

static int status_unknown_sink(const struct command_call *call, struct str name)
{
    const char **names = mem_alloc((call->sink_count + 1) * sizeof *names);
    for (size_t i = 0; i < call->sink_count; i++)
        names[i] = call->sinks[i]->id;
    char *word = str_dup(name);
    int code = usage_unknown("--sink: there is no sink", word, names);
    free(word);
    free(names);
    return code;
}

static int status_by_time(const void *a, const void *b)
{
    const char *x = json_string_value(json_object_get(*(json_t *const *)a, "time")),
               *y = json_string_value(json_object_get(*(json_t *const *)b, "time"));
    return strcmp(x ? x : "", y ? y : "");
}

/* Sorts them, the oldest first. */
static void status_sort(json_t *events)
{
    size_t count = json_array_size(events);
    json_t **all = mem_alloc((count + 1) * sizeof(json_t *));
    for (size_t i = 0; i < count; i++)
        all[i] = json_incref(json_array_get(events, i));
    qsort(all, count, sizeof(json_t *), status_by_time);
    json_array_clear(events);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(events, all[i]);
    free(all);
}

/* Leaves in the account what was asked for. */
static void status_select(json_t *account, const struct status_flags *flags)
{
    json_t *sinks = json_object_get(account, "sinks");
    bool waiting = str_eq(flags->list, STR("waiting"));
    for (size_t i = json_array_size(sinks); i-- > 0;) {
        json_t *sink = json_array_get(sinks, i), *events = json_object_get(sink, "events");
        const char *name = json_string_value(json_object_get(sink, "sink"));
        if (flags->sink.at && (!name || !str_eq(flags->sink, str_of(name)))) {
            json_array_remove(sinks, i);
            continue;
        }
        for (size_t k = json_array_size(events); k-- > 0;) {
            const char *state = json_string_value(json_object_get(json_array_get(events, k), "state"));
            if (waiting && (!state || strcmp(state, "waiting") != 0))
                json_array_remove(events, k);
        }
        status_sort(events);
        while (json_array_size(events) > (size_t)flags->limit)
            json_array_remove(events, json_array_size(events) - 1);
    }
}

/* The same of what nobody serves. */
static void status_select_unserved(json_t *unserved, struct str sink)
{
    for (size_t i = json_array_size(unserved); sink.at && i-- > 0;) {
        const char *name = json_string_value(json_object_get(json_array_get(unserved, i), "sink"));
        if (!name || !str_eq(sink, str_of(name)))
            json_array_remove(unserved, i);
    }
}

/* The running daemon's account; NULL with *e, *nobody when none runs. */
static json_t *status_ask(const struct config *config, const char *query, bool *nobody, struct err *e)
{
    struct buf text = buf_new(STATUS_BYTES);
    json_error_t where;
    json_t *account = NULL;
    if (control_status(config, query, &text, nobody, e)) {
        account = json_loadb(text.at, text.n, 0, &where);
        if (!account)
            err_set(e, "the daemon's answer is no account: %s", where.text);
    }
    buf_free(&text);
    return account;
}

static const char status_where[] = ". Run this where the daemon's admin.listen can be reached";

/* The account: the running daemon's, or what the log says when none runs. NULL with *e. */
static json_t *status_account(const struct command_call *call, const struct status_flags *flags, struct err *e)
{
    char query[32] = "";
    bool nobody = false;
    if (status_lists_listeners(flags))
        snprintf(query, sizeof query, "?listeners=%lld", (long long)flags->limit);
    else if (flags->list.at)
        snprintf(query, sizeof query, "?events=%d", ACCOUNT_EVENTS);
    json_t *account = status_ask(call->config, query, &nobody, e);
    if (account || !nobody)
        return account;
    struct err why = { "" };
    account = status_of_log(call->config, &why);
    if (!account)
        err_set(e, "no daemon answers, and %s%s", why.text,
                broker_facts(&call->config->broker).own_folder ? "" : status_where);
    return account;
}

/* ---- one event ---- */

/* The daemon's account with what it has in memory of the event; NULL: none runs, or *e. */
static json_t *status_ask_event(const struct config *config, struct str id, struct err *e)
{
    struct buf query = buf_new(8 * (id.n + 8) + 64);
    bool nobody = false;
    buf_printf(&query, "?events=%d", ACCOUNT_EVENTS);
    query_add(&query, "id", id);
    json_t *account = status_ask(config, buf_c(&query), &nobody, e);
    if (nobody)
        *e = (struct err){ "" };
    buf_free(&query);
    return account;
}

static int status_of_event(const struct command_call *call, const struct status_flags *flags)
{
    struct err e = { "" };
    int64_t since = 0;
    if (flags->since.at && !clock_since(flags->since, &since))
        return usage_wrong(&command_status, "--since is neither a moment nor a time ago");
    json_t *account = status_ask_event(call->config, flags->event, &e);
    json_t *event = e.text[0] ? NULL : status_event(call->config, account, call->made, flags->event, since, &e);
    json_decref(account);
    if (!event)
        return usage_failed("status", &e);
    bool found = json_array_size(json_object_get(event, "stored"))
                 || json_array_size(json_object_get(event, "refused"));
    if (flags->json) {
        json_dumpf(event, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        fputc('\n', stdout);
    } else
        status_event_print(event, stdout);
    json_decref(event);
    if (!found)
        fprintf(
            stderr,
            "aqueduct status: the log has no event with this id%s (looked at: the newest million records of each topic"
            ", as far back as --since says)\n",
            find_event_hint(flags->event));
    return found ? COMMAND_DONE : COMMAND_FAILED;
}

/* With Kafka the daemon's own number will do, unless the events are wanted: to read all that waits takes a while there. */
static bool status_reads_waiting(const struct config *config, const struct status_flags *flags, const json_t *account)
{
    const char *from = json_string_value(json_object_get(account, "from"));
    struct broker_facts facts = broker_facts(&config->broker);
    if (!facts.own_folder && !facts.is_shared) /* in memory: nobody but the daemon can read */
        return false;
    return (flags->list.at && !status_lists_listeners(flags)) || facts.own_folder || (from && strcmp(from, "log") == 0);
}

/* For the health check of a container, which has no other program to ask with. */
static int status_ready(const struct config *config)
{
    struct err e = { "" };
    struct buf answer = buf_new(STATUS_READY_BYTES);
    bool ready = false;
    int code = COMMAND_FAILED;
    if (!control_ready(config, &ready, &answer, &e))
        usage_failed("status", &e);
    else {
        fputs(buf_c(&answer), stdout);
        code = ready ? COMMAND_DONE : COMMAND_FAILED;
    }
    buf_free(&answer);
    return code;
}

/* Adds to the account what the broker itself is asked. When that fails, it is as the daemon gave it; false with *e: nobody
 * gave it. */
static bool status_add(const struct command_call *call, const struct status_flags *flags, json_t **account, int *code,
                       struct err *e)
{
    size_t events = flags->list.at && !status_lists_listeners(flags) ? (size_t)flags->limit : 0;
    json_t *given = json_deep_copy(*account);
    bool ok = !status_reads_waiting(call->config, flags, given)
              || status_add_waiting(call->config, *account, events, e);
    if (!ok && strcmp(json_text(given, "from"), "log") != 0) {
        *code = usage_failed("status: what waits is not known", e);
        json_t *failed = *account;
        *account = given;
        given = failed;
        ok = true;
    }
    json_decref(given);
    return ok;
}

static int status_run(struct command_call *call)
{
    struct status_flags *flags = call->flags;
    struct err e = { "" };
    int code = COMMAND_DONE;
    if (flags->ready
        && (flags->json || flags->sink.at || flags->list.at || flags->limit || flags->event.at || flags->since.at))
        return usage_wrong(&command_status, "--ready stands alone");
    if (flags->ready)
        return status_ready(call->config);
    if (!status_knows_sink(call, flags->sink))
        return status_unknown_sink(call, flags->sink);
    if (flags->event.at && (flags->list.at || flags->sink.at || flags->limit))
        return usage_wrong(&command_status, "--event looks at all sinks, and goes with --since and --json alone");
    if (flags->since.at && !flags->event.at)
        return usage_wrong(&command_status, "--since goes with --event");
    if (flags->event.at)
        return status_of_event(call, flags);
    if (flags->limit && !flags->list.at)
        return usage_wrong(&command_status, "--limit goes with --list");
    flags->limit = flags->limit ? flags->limit : 20;
    json_t *account = status_account(call, flags, &e);
    if (!account)
        return usage_failed("status", &e);
    if (!status_add(call, flags, &account, &code, &e)) {
        json_decref(account);
        return usage_failed("status", &e);
    }
    if (flags->sink.at)
        json_object_del(account, "sources");
    status_select(account, flags);
    status_select_unserved(json_object_get(account, "unserved"), flags->sink);
    if (flags->json) {
        json_dumpf(account, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
        fputc('\n', stdout);
    } else
        status_print(account, stdout);
    json_decref(account);
    return code;
}

static const char status_notes[] =
    "Asks the running daemon: over its control socket beside the local log, else on admin.listen (with the first of\n"
    "admin.tokens). When none answers, the log or the cluster itself says how far each sink is.\n"
    "\n"
    "  aqueduct status                      # every sink: what is pending, since when, what fails and why\n"
    "  aqueduct status --sink crm --list waiting --limit 5\n"
    "  aqueduct status --event 5f1c6c1e-0f4b-4d0a-9c1d-2b7f3e8a6a11 --since 2d\n"
    "  aqueduct status --ready              # for health checks: exit code 0 when it is\n"
    "  aqueduct status --json | jq '.sinks[] | select(.destinations[0].failing)'\n"
    "\n"
    "Keys of --json; what is not known or does not apply is null:\n"
    "  from, at, broker, ready, not_ready  who says so (daemon, log), when; is it ready, and why not\n"
    "  sources[]: source, type; since the daemon's start stored, repeats, refused (by reason); ready, not_ready (it sees what it is to watch, or why not); of type http also listen and paths[]: path, "
    "scheme, answers (by status), unverified (by reason)\n"
    "  sinks[]: sink, type, group, live    live: it shows what comes to who listens, and owes nothing\n"
    "    no_account    why the daemon knows no more of it than its configuration: it still waits for its broker, the sink is busy ...\n"
    "    waiting, waiting_oldest, waiting_next_due  events in the waiting topics (of several daemons of a "
    "group, on Kafka: the sum of what they say, or --list waiting, which reads the topics)\n"
    "    blocked, blocked_keys    order: key: events that stepped aside, in the blocked logs, and their keys\n"
    "    topics[]: topic, partition, position, start, end, finished_beyond, pending\n"
    "    destinations[]: endpoint, paused, removed (something of it is left), in_flight, waiting, oldest, next_due; "
    "held (it is to get nothing yet): since, reason, next; failing: since, status, reason; circuit: state (closed, open, "
    "half_open), since, next_probe; and since the daemon's start consumed = delivered + dead + filtered + moved + released + "
    "pending; attempts, retries, untried\n"
    "    events[] (--list): id, topic, partition, offset, time, endpoint, state, attempts, first, due, status, reason\n"
    "    listeners[] (--list listeners): connection, kind, protocol, address, user, since, token_expired, sub, topics (null: all), "
    "filter, slow, state, next (by topic/partition)\n"
    "  unserved[]: sink, topic, records    what nobody serves any more, since the sink, or its topic, is not configured "
    "(topic null: it waits for an attempt); of a running daemon as it saw that last, at most 10 minutes ago, and records of a "
    "blocked log with the bridge's own. aqueduct orphans list reads it all, and ends it\n"
    "\n"
    "--event finds every record of that id in the topics (one that retention removed by its copy that waits, is blocked or\n"
    "dead) and says of each sink that reads it, and each endpoint: finished (it was delivered, as far as the log can tell: it\n"
    "is neither pending nor dead), filtered, pending, paused, in_flight, waiting, dead, discarded, redirected (dead here, and redriven\n"
    "to another place, `to`), redriven or resent (and pending), live; and unserved of a copy that is kept for a sink but that\n"
    "nobody reads any more (aqueduct orphans). So of a sink that does not read it and got it by aqueduct resend or aqueduct\n"
    "dead redrive --to. Its --json: event, stored[]: topic, partition, offset, time, copy (the record itself was not found),\n"
    "type, source, destinations[]: sink, endpoint, state, attempts, due, last, status, class, reason, resent (when it was), to;\n"
    "refused[]: what no topic could take, by source, and whether it was discarded. Exit code 1: no such event.\n"
    "--list reads the broker. When that cannot be, it says so, and what the daemon knows; exit code 1.\n"
    "\n"
    "pending of a topic counts the events that the log holds and the sink has not finished; pending of a destination what of it\n"
    "the daemon has in memory. In a blocked log also notes of the bridge's take offsets, and are not pending: there it is null\n"
    "until the daemon has read them. Dead letters: aqueduct dead list.\n";

const struct command command_status = {
    .name = "status",
    .synopsis =
        "[-c FILE]... [--json] [--sink NAME] [--list pending|waiting|listeners [--limit N]] [--event ID [--since TIME]] [--ready]",
    .doc =
        "Say of each source what came, and of each sink what is delivered, in flight, pending, waiting and dead, and what fails.",
    .notes = status_notes,
    .flags = status_flags,
    .size = sizeof(struct status_flags),
    .config = true,
    .run = status_run,
};
