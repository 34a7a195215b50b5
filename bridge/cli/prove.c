/* SPDX-License-Identifier: MIT */
/* `aqueduct prove`: the daemon is killed again and again on this machine and this broker, and its account is drawn up. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/broker.h"
#include "bridge/cli/commands.h"
#include "bridge/cli/prove_private.h"
#include "bridge/cli/usage.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/interrupt.h"
#include "bridge/lib/mem.h"

enum {
    PROVE_ROUNDS = 10,
    PROVE_ROUND_MS = 3000,  /* on average, unless --seconds says */
    PROVE_START_MS = 60000, /* a daemon takes events by then */
    PROVE_EARLY_MS = 500,   /* some are killed so soon after their start */
    PROVE_LOOK_MS = 20,
    PROVE_SETTLE_MS = 120000,
    PROVE_QUIET_MS = 3000, /* when nothing arrives for so long, the log is asked for what is left */
    PROVE_TAIL = 8192,
};

struct prove_flags {
    int64_t rounds, seconds;
    bool json, keep;
};

static const struct flag prove_flags[] = {
    FLAG(struct prove_flags, rounds, .name = "--rounds", .value = "N", .min = 1, .max = 10000,
         .doc = "how often it is killed (10)"),
    FLAG(struct prove_flags, seconds, .name = "--seconds", .value = "S", .min = 1, .max = 1000000,
         .doc = "how long that takes in all, about (3 a round)"),
    FLAG(struct prove_flags, json, .name = "--json", .doc = "one JSON object"),
    FLAG(struct prove_flags, keep, .name = "--keep",
         .doc = "leave its files: configuration, log, on a local broker the events"),
    { 0 },
};

struct prove {
    const struct prove_flags *flags;
    struct prove_books books;
    struct prove_daemon daemon;
    struct prove_senders senders;
    int64_t kills, killed_ms; /* killed_ms: since then nothing was acknowledged; 0: something was */
    int64_t recovery_ms;      /* the longest */
    int64_t began_ms, took_ms;
    bool early; /* the last kill came before anything was sure to be taken */
    bool interrupted;
};

/* ---- waiting ---- */

static int64_t prove_acked_ms(struct prove *p)
{
    return prove_books_acked_ms(&p->books);
}

static int64_t prove_delivered(struct prove *p)
{
    return prove_books_total(&p->books).delivered;
}

/* Waits until the figure is beyond that, looking so often; true also when interrupted. False with *e: the daemon has ended, or
 * what it does not do (`idle`) in time. */
static bool prove_wait(struct prove *p, int64_t (*figure)(struct prove *), int64_t beyond, int look_ms,
                       const char *idle, struct err *e)
{
    int64_t until = clock_mono_ms() + PROVE_START_MS;
    while (figure(p) <= beyond) {
        if (!prove_daemon_runs(&p->daemon))
            return err_set(e, "the daemon ended by itself");
        if (clock_mono_ms() > until)
            return err_set(e, "the daemon %s for %d s", idle, PROVE_START_MS / 1000);
        if (!interrupt_wait(look_ms))
            return true;
    }
    return true;
}

/* Waits until something was acknowledged since then, and notes how long that took. */
static bool prove_recovers(struct prove *p, int64_t since_ms, struct err *e)
{
    if (!prove_wait(p, prove_acked_ms, since_ms, PROVE_LOOK_MS, "took no event", e))
        return false;
    int64_t acked_ms = prove_acked_ms(p);
    if (acked_ms <= since_ms) /* interrupted */
        return true;
    int64_t took = p->killed_ms ? acked_ms - p->killed_ms : 0;
    p->recovery_ms = took > p->recovery_ms ? took : p->recovery_ms;
    p->killed_ms = 0;
    return true;
}

/* Waits until more was delivered than that, so that a kill meets what is under way. Each look adds up all books. */
static bool prove_delivers(struct prove *p, int64_t before, struct err *e)
{
    return prove_wait(p, prove_delivered, before, PROVE_LOOK_MS * 5, "delivered nothing", e);
}

static int64_t prove_draw(int64_t most)
{
    uint32_t random;
    crypto_random(&random, sizeof random);
    return most > 0 ? (int64_t)(random % (uint64_t)most) : 0;
}

/* ---- rounds ---- */

static void prove_say(const struct prove *p, int64_t round, const struct prove_totals *t)
{
    fprintf(stderr, "killed %" PRId64 " of %" PRId64 " times: %" PRId64 " acknowledged, %" PRId64 " delivered\n", round,
            p->flags->rounds, t->acknowledged, t->delivered);
}

/* One life of the daemon: it ends at a random moment while it takes and delivers, now and then before it takes anything. */
static bool prove_round(struct prove *p, int64_t round, struct err *e)
{
    int64_t average = p->flags->seconds * 1000 / p->flags->rounds, began = clock_mono_ms(),
            delivered = prove_books_total(&p->books).delivered;
    p->early = round > 1 && !p->early && prove_draw(3) == 0;
    if (!prove_daemon_start(&p->daemon, e)
        || (!p->early && (!prove_recovers(p, began - 1, e) || !prove_delivers(p, delivered, e))))
        return false;
    interrupt_wait(prove_draw(p->early ? PROVE_EARLY_MS : 2 * average));
    if (!prove_daemon_runs(&p->daemon))
        return err_set(e, "the daemon ended by itself");
    if (prove_books_acked_ms(&p->books) >= began && p->killed_ms) /* an early one was quick */
        prove_recovers(p, began - 1, e);
    prove_daemon_kill(&p->daemon);
    p->kills++;
    p->killed_ms = p->killed_ms ? p->killed_ms : clock_mono_ms();
    const struct prove_totals t = prove_books_total(&p->books);
    prove_say(p, round, &t);
    return true;
}

/* What was acknowledged arrives, or is dead, or the log has nothing of it any more. */
static bool prove_settle(struct prove *p, struct err *e)
{
    int64_t until = clock_mono_ms() + PROVE_SETTLE_MS, quiet_since = clock_mono_ms(), delivered = -1;
    do {
        const struct prove_totals t = prove_books_total(&p->books);
        int64_t now = clock_mono_ms();
        quiet_since = t.delivered == delivered ? quiet_since : now;
        delivered = t.delivered;
        if (t.acknowledged > t.delivered && now - quiet_since < PROVE_QUIET_MS && now < until)
            continue;
        if (!prove_books_look(&p->books, &p->daemon.own, e))
            return false;
        const struct prove_totals looked = prove_books_total(&p->books);
        if (looked.pending == 0 || now > until)
            return true;
        quiet_since = now;
    } while (interrupt_wait(PROVE_LOOK_MS * 5) && prove_daemon_runs(&p->daemon));
    return interrupt_asked() || err_set(e, "the daemon ended by itself");
}

/* Draws up the account, also of a proof that was interrupted: what is pending then is in the log, and not lost. */
static bool prove_draw_up(struct prove *p, struct err *e)
{
    prove_senders_stop(&p->senders);
    prove_daemon_stop(&p->daemon);
    return prove_books_total(&p->books).acknowledged == 0 || prove_books_look(&p->books, &p->daemon.own, e);
}

static bool prove_run_rounds(struct prove *p, struct err *e)
{
    bool ok = true;
    prove_senders_start(&p->senders);
    for (int64_t i = 1; ok && i <= p->flags->rounds && !interrupt_asked(); i++)
        ok = prove_round(p, i, e);
    int64_t began = clock_mono_ms();
    if (ok && !interrupt_asked())
        ok = prove_daemon_start(&p->daemon, e) && prove_recovers(p, began - 1, e);
    prove_senders_stop(&p->senders);
    if (ok && !interrupt_asked())
        ok = prove_settle(p, e);
    return (ok || interrupt_asked()) && prove_draw_up(p, e);
}

/* ---- the verdict ---- */

static bool prove_is_good(const struct prove *p, const struct prove_totals *t)
{
    return !p->interrupted && t->lost == 0 && t->changed == 0 && t->acknowledged > 0;
}

static const char *prove_verdict(const struct prove *p, const struct prove_totals *t)
{
    return t->lost ? "lost" : t->changed ? "changed" : p->interrupted ? "interrupted" : "nothing lost";
}

static void prove_print_json(const struct prove *p, const struct prove_totals *t)
{
    json_t *j = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "verdict", prove_verdict(p, t), "broker",
                          broker_facts(&p->daemon.config->broker).type, "kills", (json_int_t)p->kills, "ms",
                          (json_int_t)p->took_ms, "acknowledged", (json_int_t)t->acknowledged, "delivered",
                          (json_int_t)t->delivered, "dead", (json_int_t)t->dead, "pending", (json_int_t)t->pending,
                          "lost", (json_int_t)t->lost, "changed", (json_int_t)t->changed, "repeats",
                          (json_int_t)t->repeats, "longest_recovery_ms", (json_int_t)p->recovery_ms);
    json_dumpf(j, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(j);
}

static void prove_print(const struct prove *p, const struct prove_totals *t)
{
    if (p->flags->json) {
        prove_print_json(p, t);
        return;
    }
    printf("%" PRId64 " acknowledged = %" PRId64 " delivered + %" PRId64 " dead + %" PRId64 " pending", t->acknowledged,
           t->delivered, t->dead, t->pending);
    if (t->lost)
        printf(" + %" PRId64 " LOST", t->lost);
    printf("\n%" PRId64 " kills in %" PRId64 " s; %" PRId64 " came more than once; the longest recovery took %" PRId64
           ".%" PRId64 " s (from the kill to the next acknowledged event)\n",
           p->kills, p->took_ms / 1000, t->repeats, p->recovery_ms / 1000, p->recovery_ms / 100 % 10);
    if (t->changed)
        printf("%" PRId64 " arrived with other data than was sent\n", t->changed);
    printf("verdict: %s\n", prove_verdict(p, t));
}

/* What the daemon said last, when it is to blame. */
static void prove_print_log(const struct prove *p)
{
    char text[PROVE_TAIL];
    FILE *log = p->daemon.log ? fopen(p->daemon.log, "r") : NULL;
    if (!log)
        return;
    if (fseek(log, -(long)sizeof text, SEEK_END) != 0)
        rewind(log);
    size_t n = fread(text, 1, sizeof text, log);
    fprintf(stderr, "what it logged last:\n%.*s", (int)n, text);
    fclose(log);
}

static int prove_both(struct prove *p, const struct config *config)
{
    struct err e = { "" }, left = { "" };
    p->books.wake_fd = -1;
    p->senders.books = &p->books;
    p->began_ms = clock_mono_ms();
    interrupt_watch();
    bool ok = prove_books_open(&p->books, &e) && prove_daemon_open(&p->daemon, config, &p->books, &e)
              && prove_run_rounds(p, &e);
    prove_senders_stop(&p->senders);
    p->interrupted = interrupt_asked();
    p->took_ms = clock_mono_ms() - p->began_ms;
    const struct prove_totals t = prove_books_total(&p->books);
    if (!ok)
        usage_failed("prove", &e);
    else
        prove_print(p, &t);
    if (!ok)
        prove_print_log(p);
    if (p->flags->keep && p->daemon.sockets)
        fprintf(stderr, "its files are in %s%s%s\n", p->daemon.sockets, p->daemon.path ? " and " : "",
                p->daemon.path ? p->daemon.path : "");
    bool clean = prove_daemon_close(&p->daemon, p->flags->keep, &left);
    if (!clean)
        usage_failed("prove", &left);
    prove_books_close(&p->books);
    return ok && clean && prove_is_good(p, &t) ? COMMAND_DONE : COMMAND_FAILED;
}

static int prove_run(struct command_call *call)
{
    struct prove_flags *flags = call->flags;
    struct prove p = { .flags = flags };
    struct err e = { "" };
    flags->rounds = flags->rounds ? flags->rounds : PROVE_ROUNDS;
    flags->seconds = flags->seconds ? flags->seconds : flags->rounds * PROVE_ROUND_MS / 1000;
    if (!call->config->broker_missing)
        return prove_both(&p, call->config);
    err_set(&e, "the broker's configuration is not whole: %s", call->config->broker_missing);
    return usage_failed("prove", &e);
}

static const char prove_notes[] =

    "Starts daemons of this program with the configuration's broker, and with topics, groups, a folder\n"
    "and a socket of its own: nothing of yours is touched, and your daemon may run. Four senders post\n"
    "events as fast as they are acknowledged, a receiver takes most, refuses some and lets others wait;\n"
    "the daemon is killed (kill -9) at random moments and started again. At the end every acknowledged\n"
    "event must have been delivered, be a dead letter, or pending, by what arrived and by what the log\n"
    "holds. Then all of it is removed: files, and on Kafka topics and groups.\n"
    "\n"
    "A local log is made beside yours, on the same disk. On Kafka the topics begin with <prefix>prove-;\n"
    "the user must be allowed to make and delete such topics.\n"
    "\n"
    "Examples:\n"
    "  aqueduct prove\n"
    "  aqueduct prove -c bridge.yaml --rounds 100 --seconds 600 --json\n"
    "\n"
    "Keys of --json: verdict (nothing lost, lost, changed, interrupted), broker, kills, ms,\n"
    "acknowledged, delivered, dead, pending, lost, changed, repeats, longest_recovery_ms.\n"
    "Exit codes: 0 nothing lost; 1 lost, or it could not be proved; 2 wrong usage.\n";

const struct command command_prove = {
    .name = "prove",
    .synopsis = "[-c FILE]... [--rounds N] [--seconds S] [--json]",
    .doc = "Kill the daemon again and again on your machine and broker, and count what was lost.",
    .notes = prove_notes,
    .flags = prove_flags,
    .size = sizeof(struct prove_flags),
    .config = true,
    .sinks = "",
    .run = prove_run,
};
