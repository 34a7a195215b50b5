/* SPDX-License-Identifier: MIT */
/* The SQLite source as the core sees it: options, restore, open; read = wait for a change, then one slice of a pass. */
#include "bridge/lib/crypto.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/sqlite.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

enum {
    BUSY_WAIT_MS = 32, /* longest wait before trying a locked file again, when no commit is noticed */
    REST_FACTOR = 9,   /* rest so many times as long as a pass held the file: at most a tenth of the time is ours */
    REST_MS = 1000,
};

extern const struct source_ops sqlite_source;

/* What a preset file holds. */
struct preset_file {
    char *about;
    struct list capture;
};
static const struct option preset_rows[] = { OPTION(struct preset_file, about, .doc = "One sentence about the preset."),
                                             OPTION(struct preset_file, capture, .required = true, .of = rule_rows,
                                                    .of_size = sizeof(struct rule_options), .min = 1, .max = RULES,
                                                    .doc = "Its capture rules."),
                                             { 0 } };

static const struct option_value source_starts[] = { { START_NOW, "now" }, { START_SNAPSHOT, "snapshot" }, { 0 } };

static const struct option options[] = {
    OPTION(struct sqlite_source, path, .required = true,
           .doc = "The application's database file; its folder must be reachable too. Only ever read."),
    OPTION(struct sqlite_source, preset, .of = preset_rows, .of_size = sizeof(struct preset_file),
           .doc = "Ready-made capture rules for an application (anythingllm), or the path of a preset file."),
    OPTION(struct sqlite_source, capture, .of = rule_rows, .of_size = sizeof(struct rule_options), .max = RULES,
           .doc = "Capture rules of your own, besides or instead of a preset."),
    OPTION(
        struct sqlite_source, start, .fallback = "now", .values = source_starts,
        .doc =
            "A rule's first start: report only what changes from now on, or also everything that is there (with the attribute snapshot: true)."),
    OPTION(
        struct sqlite_source, poll, .fallback = "250ms", .min = 10, .max = 3600000,
        .doc =
            "How often to look when no notice of a change comes (network and container mounts); changes are otherwise noticed at once."),
    OPTION(struct sqlite_source, hold, .fallback = "5ms", .min = 1, .max = 1000,
           .doc = "Longest time that one read may keep the application from writing; a longer one is done in pieces."),
    OPTION(struct sqlite_source, batch, .fallback = "256", .min = 1, .max = 10000, .doc = "Rows per statement."),
    OPTION(
        struct sqlite_source, max_event, .fallback = "900KiB", .min = 1024, .max = 32 << 20,
        .doc =
            "Largest data of an event; from a larger row the largest columns are left out and named in the attribute truncated. The default fits, with its attributes, into the 1 MB of a Kafka record."),
    OPTION(struct sqlite_source, source,
           .doc = "The events' source attribute; default: /<preset, or sqlite>/<name of the source>."),
    { 0 }
};

/* ---- state and set-up ---- */

static struct rule *rule_of(struct sqlite_source *s, struct str name)
{
    for (size_t i = 0; i < s->rule_count; i++)
        if (str_eq(str_of(s->rules[i]->name), name))
            return s->rules[i];
    s->rules = mem_grow(s->rules, s->rule_count + 1, sizeof(struct rule *));
    return s->rules[s->rule_count++] = rule_new(name);
}

static bool sqlite_restore(struct source *base, struct str key, struct str value, bool ahead, struct err *e)
{
    struct sqlite_source *s = (struct sqlite_source *)base;
    struct str what = key, name;
    bool good;
    if (str_eq(key, STR("identity"))) {
        good = value.n == UUID_TEXT - 1;
        if (good)
            snprintf(s->identity, sizeof s->identity, "%.*s", STR_ARG(value));
    } else if (str_eq(key, STR("versions"))) {
        uint64_t versions = 0;
        good = str_to_u64(value, &versions);
        s->versions = versions > s->versions ? versions : s->versions;
    } else {
        good = str_cut(&what, '/', &name) && what.at && rule_restore(rule_of(s, name), what, value, ahead);
        struct str version;
        uint64_t number;
        if (good && str_starts(what, STR("row/")) && str_cut(&value, ' ', &version) && str_to_u64(version, &number)
            && number > s->versions)
            s->versions = number;
    }
    return good || err_set(e, "its stored state \"%.*s\" cannot be read", key.n > 200 ? 200 : (int)key.n, key.at);
}

static void free_rules(struct sqlite_source *s)
{
    for (size_t i = 0; i < s->rule_count; i++)
        rule_free(s->rules[i]);
    free(s->rules);
    s->rules = NULL;
    s->rule_count = 0;
}

static bool add_rules(struct sqlite_source *s, struct list capture, struct rule **into, size_t *count, struct err *e)
{
    const struct rule_options *o = capture.at;
    for (size_t i = 0; i < capture.count; i++) {
        if (!rule_check(&o[i], e))
            return false;
        struct rule *r = rule_of(s, str_of(o[i].name));
        if (r->o)
            return err_set(e, "capture: there are two rules named %s", o[i].name);
        if (*count == RULES)
            return err_set(e, "capture: more than %d rules", RULES);
        rule_attach(r, &o[i]);
        into[(*count)++] = r;
    }
    return true;
}

/* Rules in the order written; what was restored for rules that are not written any more is let go. */
static bool make_rules(struct sqlite_source *s, struct err *e)
{
    const struct preset_file *preset = s->preset.content;
    struct list ready = preset ? preset->capture : (struct list){ 0 };
    if (!ready.count && !s->capture.count)
        return err_set(e, "nothing to capture: give a preset or capture rules");
    struct rule **order = mem_alloc(RULES * sizeof *order);
    size_t count = 0;
    if (!add_rules(s, ready, order, &count, e) || !add_rules(s, s->capture, order, &count, e)) {
        free(order);
        return false;
    }
    for (size_t i = 0; i < s->rule_count; i++)
        if (!s->rules[i]->o)
            rule_free(s->rules[i]);
    free(s->rules);
    s->rules = order;
    s->rule_count = count;
    return true;
}

static void make_origin(struct sqlite_source *s)
{
    struct buf text = buf_new(1024);
    if (s->source && *s->source) {
        buf_add_c(&text, s->source);
    } else {
        const char *preset = s->preset.name && *s->preset.name ? s->preset.name : "sqlite",
                   *slash = strrchr(preset, '/');
        struct str kind = str_of(slash ? slash + 1 : preset);
        if (str_ends(kind, STR(".yaml")))
            kind.n -= strlen(".yaml");
        buf_printf(&text, "/%.*s/%s", kind.n > 100 ? 100 : (int)kind.n, kind.at, s->base.id);
    }
    s->origin = str_dup(buf_str(&text));
    buf_free(&text);
}

static void make_metrics(struct sqlite_source *s)
{
    const char *const *labels = LABELS("source", s->base.id);
    s->rows_read = metric_counter("aqueduct_sqlite_rows_read_total", "Rows read from the application's database.",
                                  labels);
    s->busy = metric_counter("aqueduct_sqlite_busy_total", "Reads put off because the application was writing.",
                             labels);
    s->events = metric_counter("aqueduct_sqlite_events_total", "Events captured.", labels);
    s->refused = metric_counter("aqueduct_sqlite_refused_total", "Rows that could not be made into an event.", labels);
    s->truncated = metric_counter("aqueduct_sqlite_truncated_total",
                                  "Events with columns left out because of max_event.", labels);
    s->repaired = metric_counter("aqueduct_sqlite_repaired_total",
                                 "Rows with text that is no UTF-8; the bad bytes became U+FFFD.", labels);
    s->restarts = metric_counter("aqueduct_sqlite_restarts_total", "Times that the ids of a table started again.",
                                 labels);
    s->reopened = metric_counter("aqueduct_sqlite_reopened_total", "Times that the file was replaced and opened anew.",
                                 labels);
    s->unusable = metric_gauge("aqueduct_sqlite_rules_unusable", "Capture rules that do not fit the database's tables.",
                               labels);
    s->ack = metric_histogram("aqueduct_sqlite_ack_seconds",
                              "From noticing a change to its acknowledgement by the broker.", labels);
}

/* Would open() find its rules good? */
static bool sqlite_check(const struct source *base, struct err *e)
{
    struct sqlite_source copy = *(const struct sqlite_source *)base;
    copy.rules = NULL;
    copy.rule_count = 0;
    bool good = make_rules(&copy, e);
    free_rules(&copy);
    return good;
}

static bool sqlite_open(struct source *base, struct err *e)
{
    struct sqlite_source *s = (struct sqlite_source *)base;
    if (!make_rules(s, e)) {
        free_rules(s);
        return false;
    }
    s->introduced = s->identity[0] != '\0';
    if (!s->introduced)
        uuid_random(s->identity);
    make_origin(s);
    make_metrics(s);
    const char *slash = strrchr(s->path, '/');
    s->name = str_dup(str_of(slash ? slash + 1 : s->path));
    s->inotify = -1;
    s->found.text = buf_new(SIZE_MAX / 2);
    s->cells = buf_new((size_t)s->max_event.n * 4 + (64 << 10));
    s->data = buf_new((size_t)s->max_event.n * 2 + (64 << 10));
    s->small = buf_new(64 << 10);
    return true;
}

/* ---- waiting ---- */

/* Empties the folder's notices; did any speak of our file, its -wal or its -journal? (A journal that goes away is a
 * commit.) */
static bool noticed(struct sqlite_source *s)
{
    _Alignas(struct inotify_event) char space[8192];
    ssize_t n;
    bool ours = false;
    s->committed = false;
    while ((n = read(s->inotify, space, sizeof space)) > 0)
        for (char *at = space; at < space + n;) {
            const struct inotify_event *ev = (const struct inotify_event *)(void *)at;
            bool mine = (ev->mask & IN_Q_OVERFLOW) || (ev->len && strncmp(ev->name, s->name, strlen(s->name)) == 0);
            ours = ours || mine;
            s->committed = s->committed || (mine && ev->mask & (IN_DELETE | IN_Q_OVERFLOW));
            at += sizeof *ev + ev->len;
        }
    return ours;
}

enum wait { WAIT_WOKEN, WAIT_OVER, WAIT_NOTICED };

static enum wait wait_for(struct sqlite_source *s, int wake_fd, int64_t ms, bool notices)
{
    struct pollfd fds[2] = { { .fd = wake_fd, .events = POLLIN }, { .fd = s->inotify, .events = POLLIN } };
    int n = poll(fds, notices && s->inotify >= 0 ? 2 : 1, ms < 0 ? 0 : ms > INT_MAX ? INT_MAX : (int)ms);
    if (n > 0 && fds[0].revents)
        return WAIT_WOKEN;
    return n > 0 && noticed(s) ? WAIT_NOTICED : WAIT_OVER;
}

static int64_t next_abort_ms(const struct sqlite_source *s)
{
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < s->rule_count; i++) {
        int64_t mine = append_due(s->rules[i]);
        due = mine < due ? mine : due;
    }
    return due;
}

static void back_off(struct sqlite_source *s)
{
    s->wait_ms = s->wait_ms ? s->wait_ms * 2 : 1;
    if (s->wait_ms > BUSY_WAIT_MS)
        s->wait_ms = BUSY_WAIT_MS;
}

/* The file is locked: until the writer commits, or wait_ms. */
static enum wait wait_unlocked(struct sqlite_source *s, int wake_fd)
{
    int64_t end = clock_mono_ms() + s->wait_ms;
    for (;;) {
        enum wait waited = wait_for(s, wake_fd, end - clock_mono_ms(), true);
        if (waited == WAIT_WOKEN || clock_mono_ms() >= end || (waited == WAIT_NOTICED && s->committed))
            return waited;
    }
}

/* ---- failing ---- */

static int fail(struct sqlite_source *s, const struct err *why, struct err *e)
{
    if (s->db)
        database_close(s);
    s->trouble = *why;
    s->failed.text[0] = '\0';
    err_set(e, "%s", s->trouble.text);
    return -1;
}

/* Opens the file. Once that has failed it waits here, trying again at each notice, so that the file's coming is seen
 * at once and the same failure is told once. */
static int attempt_open(struct sqlite_source *s, int wake_fd, struct err *e)
{
    for (;;) {
        if (s->wait_ms && wait_unlocked(s, wake_fd) == WAIT_WOKEN)
            return 0;
        if (s->trouble.text[0] && wait_for(s, wake_fd, s->poll.ms, true) == WAIT_WOKEN)
            return 0;
        struct err why = { 0 };
        if (database_open(s, &why)) {
            s->wait_ms = 0;
            return 0;
        }
        if (!why.text[0])
            back_off(s); /* locked just now */
        else if (s->wait_ms = 0, strcmp(s->trouble.text, why.text) != 0)
            return fail(s, &why, e);
    }
}

/* ---- passes ---- */

/* When to look at the file again without a notice. In WAL mode the notice comes before the commit: the frames are
 * written, then synced, and only then visible, which happens in shared memory and tells nobody. So after a notice,
 * and after a pass that may have swallowed one, soon, then less and less often. */
static void look_again(struct sqlite_source *s, bool soon)
{
    int64_t longer = s->again_ms * 2;
    s->again_ms = soon ? 1 : longer > 0 && longer < s->poll.ms ? longer : s->poll.ms;
    s->next_poll_ms = clock_mono_ms() + s->again_ms;
}

bool slice_full(const struct sqlite_source *s)
{
    const struct batch *b = &s->found;
    return s->handled > 0
           && (b->event_count >= s->room || b->bytes >= BATCH_BYTES || b->change_count >= BATCH_CHANGES
               || clock_mono_us() - s->slice_start_us > s->hold.ms * 1000);
}

enum step step_failed(struct sqlite_source *s, struct rule *r, int rc, struct err *e)
{
    switch (rc & 0xff) {
    case SQLITE_INTERRUPT:
        rule_trouble(s, r, "a read took too long and was stopped; does the key have an index?");
        return STEP_FAILED;
    case SQLITE_ERROR:
    case SQLITE_SCHEMA:
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
    case SQLITE_CONSTRAINT: rule_trouble(s, r, sqlite3_errmsg(s->db)); return STEP_FAILED;
    }
    return database_verdict(s, rc, e) == DB_LATER ? STEP_LATER : STEP_GONE;
}

static void pass_done(struct sqlite_source *s)
{
    int64_t rest = s->busy_us * REST_FACTOR / 1000;
    s->passing = false;
    if (s->seen_version < 0) /* with start: now, what comes from here on is reported */
        LOG(INFO, "watching", LOG_C("source", s->base.id), LOG_C("path", s->path));
    s->seen_version = s->pass_version;
    s->rest_until_ms = clock_mono_ms() + (rest > REST_MS ? REST_MS : rest);
    look_again(s, true);
    s->trouble.text[0] = '\0';
}

/* Rules one after the other until all are done or it is enough for this time. */
static enum step run_rules(struct sqlite_source *s, struct err *e)
{
    while (s->at < s->rule_count) {
        struct rule *r = s->rules[s->at];
        if (r->no_table && !r->ready)
            batch_ready(s, r); /* what its table will hold, once there is one, is all new */
        enum step step = !r->usable ? STEP_DONE : r->o->kind == KIND_DIFF ? diff_step(s, r, e) : append_step(s, r, e);
        if (step == STEP_FULL || step == STEP_LATER || step == STEP_GONE)
            return step;
        r->failed = step == STEP_FAILED;
        r->phase = PHASE_BEGIN;
        s->at++;
    }
    return STEP_DONE;
}

static int slice(struct sqlite_source *s, struct emission *out, size_t room, struct err *e)
{
    uint64_t versions = s->versions;
    struct err why = { 0 };
    s->room = room;
    s->handled = 0;
    enum db begun = database_begin(s, &why);
    enum step step = begun == DB_LATER ? STEP_LATER : begun == DB_GONE ? STEP_GONE : run_rules(s, &why);
    if (begun == DB_OK)
        database_end(s);
    s->busy_us += clock_mono_us() - s->slice_start_us;
    if (s->versions != versions) {
        char text[24];
        snprintf(text, sizeof text, "%" PRIu64, s->versions);
        batch_change(s, NULL, "versions", STR(""), str_of(text), false);
    }
    s->wait_ms = step == STEP_LATER ? s->wait_ms : 0;
    if (step == STEP_LATER)
        back_off(s);
    else if (step == STEP_GONE)
        s->failed = why; /* after what was found so far has been handed out */
    else if (step == STEP_DONE)
        pass_done(s);
    int n = batch_take(s, out, room);
    return n || step != STEP_GONE ? n : fail(s, &s->failed, e);
}

/* Waits until there is reason to look, and looks: is the file the same, has anything changed? Starts a pass if so. */
static int look(struct sqlite_source *s, int wake_fd, struct err *e)
{
    int64_t now = clock_mono_ms(), abort_ms = next_abort_ms(s), wait = s->next_poll_ms - now;
    if (s->rest_until_ms > now && wait_for(s, wake_fd, s->rest_until_ms - now, false) == WAIT_WOKEN)
        return 0;
    if (abort_ms != INT64_MAX && abort_ms - clock_wall_ms() < wait)
        wait = abort_ms - clock_wall_ms();
    enum wait waited = s->wait_ms            ? wait_unlocked(s, wake_fd)
                       : s->seen_version < 0 ? WAIT_NOTICED
                                             : wait_for(s, wake_fd, wait, true);
    if (waited == WAIT_WOKEN)
        return 0;
    if (waited == WAIT_OVER && !s->wait_ms && clock_mono_ms() < s->next_poll_ms && clock_wall_ms() < abort_ms)
        return 0; /* somebody else's file in the same folder */
    if (database_replaced(s)) {
        LOG(WARN, "the database file was replaced or is gone; opening it anew", LOG_C("source", s->base.id),
            LOG_C("path", s->path));
        metric_add(s->reopened, 1);
        database_close(s);
        return 0;
    }
    bool changed = false;
    struct err why = { 0 };
    switch (database_changed(s, &changed, &why)) {
    case DB_LATER: back_off(s); return 0;
    case DB_GONE: return fail(s, &why, e);
    case DB_OK: break;
    }
    s->wait_ms = 0;
    look_again(s, waited == WAIT_NOTICED);
    if (changed || clock_wall_ms() >= abort_ms) {
        s->pass_version = changed ? s->pass_version : s->seen_version;
        s->passing = true;
        s->at = 0;
        s->pass++;
        s->busy_us = 0;
        s->begun_us = clock_mono_us();
    }
    return 0;
}

static int introduce(struct sqlite_source *s, struct emission *out, size_t room)
{
    s->introduced = true;
    batch_change(s, NULL, "identity", STR(""), str_of(s->identity), false);
    s->found.alone = true;
    return batch_take(s, out, room);
}

static int sqlite_read(struct source *base, int wake_fd, struct emission *out, size_t room, struct err *e)
{
    struct sqlite_source *s = (struct sqlite_source *)base;
    int n = room ? batch_take(s, out, room) : 0;
    if (n)
        return n;
    if (!room || (s->found.alone && s->settled != s->tag)) {
        wait_for(s, wake_fd, s->poll.ms, false);
        return 0;
    }
    if (s->failed.text[0])
        return fail(s, &s->failed, e);
    batch_reset(s);
    if (!s->introduced)
        return introduce(s, out, room);
    if (!s->db && (n = attempt_open(s, wake_fd, e), n < 0 || !s->db))
        return n;
    if (!s->passing && (n = look(s, wake_fd, e), n < 0 || !s->passing))
        return n;
    if (s->wait_ms && wait_unlocked(s, wake_fd) == WAIT_WOKEN)
        return 0; /* busy in the middle of a pass */
    return slice(s, out, room, e);
}

static void sqlite_settle(struct source *base, uint64_t tag, enum outcome o, const char *why)
{
    struct sqlite_source *s = (struct sqlite_source *)base;
    (void)o; /* the core keeps what no topic takes as a dead letter; our position moves past it */
    (void)why;
    s->settled = tag;
    if (tag == s->tag && s->begun_us)
        metric_observe_us(s->ack, clock_mono_us() - s->begun_us);
}

static void sqlite_close_source(struct source *base)
{
    struct sqlite_source *s = (struct sqlite_source *)base;
    if (s->db)
        database_close(s);
    if (s->inotify >= 0)
        close(s->inotify);
    free_rules(s);
    batch_free(s);
    buf_free(&s->cells);
    buf_free(&s->data);
    buf_free(&s->small);
    free(s->origin);
    free(s->name);
}

const struct source_ops sqlite_source = {
    .type = "sqlite",
    .doc = "Captures what changes in an application's SQLite database, read-only.",
    .size = sizeof(struct sqlite_source),
    .options = options,
    .ordered = true,
    .restore = sqlite_restore,
    .check = sqlite_check,
    .open = sqlite_open,
    .read = sqlite_read,
    .settle = sqlite_settle,
    .close = sqlite_close_source,
};
