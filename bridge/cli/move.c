/* SPDX-License-Identifier: MIT */
/* `aqueduct move`: from the local log to Kafka, with everything that it holds. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include "bridge/cli/commands.h"
#include "bridge/cli/move_private.h"
#include "bridge/cli/usage.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

struct move_flags {
    struct strings to;
    bool dry_run, json;
};

static const struct flag move_flags[] = {
    FLAG(struct move_flags, to, .name = "--to", .value = "FILE",
         .doc = "the configuration with which the daemon will run; several are merged"),
    FLAG(struct move_flags, dry_run, .name = "--dry-run", .doc = "only say what there is, here and there"),
    FLAG(struct move_flags, json, .name = "--json", .doc = "one JSON object"),
    { 0 },
};

/* ---- what is said ---- */

static int64_t move_records_of(const struct move_topic *t)
{
    int64_t n = 0;
    for (int32_t i = 0; i < t->count; i++)
        n += t->parts[i].end - t->parts[i].start;
    return n;
}

static void move_print_json(const struct move *m, const char *result)
{
    json_t *topics = json_array();
    for (size_t i = 0; i < m->topic_count; i++)
        json_array_append_new(topics, json_pack("{s:o,s:i,s:I}", "topic", json_of_text(str_of(m->topics[i].name)),
                                                "partitions", (int)m->topics[i].count, "records",
                                                (json_int_t)move_records_of(&m->topics[i])));
    json_t *j = json_pack("{s:s,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b}", "result", result, "topics", topics,
                          "records", (json_int_t)m->records, "copied", (json_int_t)m->copied, "state",
                          (json_int_t)m->pairs, "groups", (json_int_t)m->groups, "positions", (json_int_t)m->positions,
                          "positions_cut", (json_int_t)m->cut, "removed_there", (json_int_t)m->lost, "keys_elsewhere",
                          (json_int_t)m->elsewhere, "begun_before", (int)m->resumed);
    json_dumpf(j, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
    putchar('\n');
    json_decref(j);
}

static void move_print_topics(const struct move *m)
{
    printf("%-40s %10s %12s\n", "TOPIC", "PARTITIONS", "RECORDS");
    for (size_t i = 0; i < m->topic_count; i++)
        printf("%-40s %10d %12" PRId64 "\n", m->topics[i].name, (int)m->topics[i].count,
               move_records_of(&m->topics[i]));
}

static void move_print_done(const struct move *m)
{
    printf("moved %" PRId64 " records of %zu topics, %" PRId64 " pairs of state and where %" PRId64
           " groups stand; both logs were compared and hold the same\n",
           m->records, m->topic_count, m->pairs, m->groups);
    if (m->lost)
        printf("%" PRId64 " of the records are past their retention over there, and gone\n", m->lost);
    if (m->elsewhere)
        printf(
            "%" PRId64
            " of the records are in another partition than new ones with their key will be (the log is of an "
            "earlier version, or broker.properties.partitioner says so): where order: key matters, let the sinks finish "
            "before new events come\n",
            m->elsewhere);
    if (m->cut)
        printf("%" PRId64 " positions have no room for all that is finished beyond them: some of it comes again\n",
               m->cut);
    printf("no daemon starts with %s any more; start it with the new configuration\n", m->from->broker.path);
}

static void move_print(const struct move *m, const struct move_flags *flags)
{
    const char *result = flags->dry_run   ? "would move"
                         : m->interrupted ? "interrupted"
                         : m->finished    ? "moved before"
                                          : "moved";
    if (flags->json) {
        move_print_json(m, result);
    } else if (flags->dry_run) {
        move_print_topics(m);
        printf("would move %" PRId64 " records of %zu topics%s\n", m->records, m->topic_count,
               m->finished  ? "; all of it was moved before"
               : m->resumed ? "; it was begun before, and would go on"
                            : "");
    } else if (m->finished) {
        printf("all of it was moved before\n");
    } else if (!m->interrupted) {
        move_print_done(m);
    }
    if (m->interrupted)
        fprintf(stderr, "aqueduct move: interrupted; the same command goes on\n");
}

/* ---- the command ---- */

static int move_both(struct move *m, const struct move_flags *flags)
{
    struct err e = { "" };
    bool ok = move_open(m, &e) && (flags->dry_run || move_do(m, &e));
    if (ok)
        move_print(m, flags);
    move_close(m);
    return !ok ? usage_failed("move", &e) : m->interrupted ? COMMAND_FAILED : COMMAND_DONE;
}

static int move_run(struct command_call *call)
{
    const struct move_flags *flags = call->flags;
    struct problems problems = { 0 };
    struct err e = { "" };
    int code = COMMAND_FAILED;
    if (!flags->to.count)
        return usage_wrong(&command_move, "--to is missing: the configuration with Kafka");
    struct config *to = config_load_part(call->connectors, (const char *const *)flags->to.at, flags->to.count, "",
                                         &problems);
    const char *missing = call->config->broker_missing ? call->config->broker_missing : to ? to->broker_missing : NULL;
    if (!to) {
        problems_print(&problems, stderr);
    } else if (missing) {
        err_set(&e, "the broker's configuration is not whole: %s", missing);
        code = usage_failed("move", &e);
    } else {
        struct move m = { .from = call->config, .to = to };
        code = move_both(&m, flags);
    }
    problems_free(&problems);
    config_free(to);
    return code;
}

static const char move_notes[] =

    "For who outgrows one machine: all topics of the local log, the dead letters, waiting events and\n"
    "attempts among them, go to Kafka, each record in its partition and at its offset, with key,\n"
    "headers and time. So do what sources and sinks remember, endpoints made at run time, the bookmarks\n"
    "of named listeners, and where each sink stands. At the end both logs are compared, record by\n"
    "record.\n"
    "\n"
    "No daemon may run here or there meanwhile; none starts there before it is done, nor with the log\n"
    "afterwards. The topics over there must be new or empty, and broker.prefix and\n"
    "broker.group_prefix the same. It may end at any moment: the same command goes on where it was. To\n"
    "keep offsets, what retention removed of a topic is filled with empty records, which are deleted\n"
    "again: Kafka must allow to delete records.\n"
    "\n"
    "Listeners without a name that come back with a position from the local log go on by its time\n"
    "(reset): up to 30 s come again, nothing is left out.\n"
    "\n"
    "New events of a key go into the partition where its old ones are, so order: key holds over the\n"
    "move, unless broker.properties says another partitioner, or the log had topics of several\n"
    "partitions before version 0.2: then the move says how many records that concerns.\n"
    "\n"
    "Examples:\n"
    "  aqueduct move -c bridge.yaml --to kafka.yaml --dry-run\n"
    "  aqueduct move -c bridge.yaml --to kafka.yaml && aqueduct run -c kafka.yaml\n"
    "\n"
    "Keys of --json: result (moved, moved before, would move, interrupted), topics[] (topic,\n"
    "partitions, records), records, copied, state, groups, positions, positions_cut, removed_there,\n"
    "keys_elsewhere, begun_before.\n"
    "Exit codes: 0 done; 1 it cannot be moved, failed, or was interrupted; 2 wrong usage.\n";

const struct command command_move = {
    .name = "move",
    .synopsis = "[-c FILE]... --to FILE [--dry-run] [--json]",
    .doc = "Move the local log to Kafka, with positions, ids and everything in it.",
    .notes = move_notes,
    .flags = move_flags,
    .size = sizeof(struct move_flags),
    .config = true,
    .sinks = "",
    .run = move_run,
};
