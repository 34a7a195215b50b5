/* SPDX-License-Identifier: MIT */
/* Makes a sink's account on its own thread, and hands it over. */
#include <stdlib.h>
#include <string.h>
#include "bridge/delivery/private.h"
#include "bridge/event/trail.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/thread.h"

METRIC_GAUGE(aqueduct_sink_lag_records,
             "Records of its topics that the sink has not finished, as it saw their ends last.", "sink");
METRIC_GAUGE(aqueduct_sink_oldest_timestamp_seconds,
             "When the oldest event was stored that the sink has in memory and has not finished; 0: it has none.",
             "sink");

enum { ACCOUNT_LISTENERS_BYTES = 32 << 20 };

struct account {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t made;
    struct account_question question;
    char *id;
    char *text; /* NULL: not made yet */
    atomic_bool asked;
};

struct account *account_new(void)
{
    struct account *a = mem_alloc(sizeof *a);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->made, NULL);
    return a;
}

void account_free(struct account *a)
{
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->made);
    free(a->text);
    free(a->id);
    free(a);
}

/* ---- values ---- */

static json_t *account_known(int64_t n)
{
    return n < 0 ? json_null() : json_integer(n);
}

/* null: it is not. */
static json_t *account_held(const struct destination *to)
{
    int64_t wait = to->again_ms - clock_mono_ms();
    if (to->held_ms == 0)
        return json_null();
    return json_pack("{s:o,s:s,s:o}", "since", json_of_moment(to->held_ms), "reason", to->held_why, "next",
                     json_of_moment(wait > 0 ? clock_wall_ms() + wait : 0));
}

static int64_t account_wake(const struct entry *en)
{
    return en->state == ENTRY_WAITING ? clock_wall_ms() + en->wake_ms - clock_mono_ms() : 0;
}

/* ---- topics ---- */

struct account_topics {
    struct delivery *d;
    json_t *list;
};

/* Events that are not finished: in a blocked log are also notes and marks. -1: not known. */
static int64_t account_pending(struct delivery *d, const struct standing *s)
{
    int64_t records = standing_pending(s);
    return records > 0 && blocked_is_log(d, str_of(s->topic)) ? blocked_pending(d, s) : records;
}

static void account_partition(void *ctx, const struct standing *s)
{
    const struct account_topics *topics = ctx;
    int64_t beyond = 0;
    for (size_t i = 0; i < s->beyond->count; i++)
        beyond += s->beyond->at[i].to - s->beyond->at[i].from;
    json_array_append_new(topics->list,
                          json_pack("{s:s,s:i,s:o,s:o,s:o,s:I,s:o}", "topic", s->topic, "partition", (int)s->partition,
                                    "position", account_known(s->position), "start", account_known(s->start), "end",
                                    account_known(s->end), "finished_beyond", (json_int_t)beyond, "pending",
                                    account_known(account_pending(topics->d, s))));
}

/* ---- destinations ---- */

static json_t *account_failing(const struct destination *to)
{
    if (!to->failing)
        return json_null();
    return json_pack("{s:o,s:o,s:o}", "since", json_of_moment(to->failing_ms), "status",
                     account_known(to->failure.status ? to->failure.status : -1), "reason",
                     json_of_text(str_of(to->failure.why)));
}

/* null: it never opens. */
static json_t *account_circuit(const struct circuit *c)
{
    if (!circuit_is_used(c))
        return json_null();
    int64_t wait = c->open && !c->probing ? c->probe_ms - clock_mono_ms() : 0;
    return json_pack("{s:s,s:o,s:o}", "state",
                     c->probing ? "half_open"
                     : c->open  ? "open"
                                : "closed",
                     "since", json_of_moment(c->open ? c->since_ms : 0), "next_probe",
                     json_of_moment(wait > 0 ? clock_wall_ms() + wait : 0));
}

/* What of a destination is in memory. */
struct account_open {
    int64_t flying, waiting, oldest_ms, due_ms;
};

/* The rows by number: that of the sink as a whole, its endpoints, those that are gone. */
static size_t account_number(const struct delivery *d, const struct destination *to)
{
    return to == &d->self ? 0 : to->number + 1;
}

/* Numbers those that are gone. One of a name has the counters of its name, so all of one name are one row: that of the
 * endpoint that has it now, or of the first that had it. Returns how many rows the endpoints have. */
static size_t account_number_gone(struct delivery *d)
{
    size_t count = d->destination_count;
    for (struct destination *to = d->gone; to; to = to->after) {
        const struct destination *same = destinations_find(d, str_of(to->name));
        for (const struct destination *o = d->gone; !same; o = o->after)
            same = strcmp(o->name, to->name) == 0 ? o : NULL; /* at the latest itself */
        to->number = same == to ? count++ : same->number;
    }
    return count;
}

/* Of every row, by its number; free() it. */
static struct account_open *account_open(struct delivery *d)
{
    size_t count = account_number_gone(d);
    struct account_open *all = mem_alloc((count + 1) * sizeof *all);
    for (size_t i = 0; i < d->entry_cap; i++) {
        const struct entry *en = d->entries[i];
        if (en->state == ENTRY_FREE)
            continue;
        struct account_open *out = &all[account_number(d, en->to)];
        int64_t due = account_wake(en), since = en->of->record->timestamp_ms;
        out->flying += en->state == ENTRY_FLYING;
        out->waiting += due != 0;
        out->oldest_ms = out->oldest_ms == 0 || since < out->oldest_ms ? since : out->oldest_ms;
        out->due_ms = due && (out->due_ms == 0 || due < out->due_ms) ? due : out->due_ms;
    }
    return all;
}

enum { ACCOUNT_ROWS = 10 };

struct account_row {
    const char *name;
    struct metric *metric;
};

/* The counters of a destination, which add up. */
static void account_rows(const struct destination *to, struct account_row out[ACCOUNT_ROWS])
{
    const struct account_row rows[ACCOUNT_ROWS] = {
        { "pending", to->count.pending },   { "consumed", to->count.consumed }, { "delivered", to->count.delivered },
        { "dead", to->count.dead },         { "filtered", to->count.filtered }, { "moved", to->count.moved },
        { "released", to->count.released }, { "attempts", to->count.attempts }, { "retries", to->count.retries },
        { "untried", to->count.untried }
    };
    memcpy(out, rows, sizeof rows);
}

void account_keep(const struct destination *to)
{
    struct account_row rows[ACCOUNT_ROWS];
    account_rows(to, rows);
    for (size_t i = 0; i < ACCOUNT_ROWS; i++)
        metric_keep(rows[i].metric);
}

static json_t *account_destination(const struct destination *to, const struct account_open *open)
{
    json_t *j = json_pack("{s:o,s:b,s:o,s:b,s:I,s:I,s:o,s:o,s:o,s:o}", "endpoint", json_of_text(str_of(to->name)),
                          "paused", (int)to->paused, "held", account_held(to), "removed", (int)to->gone, "in_flight",
                          (json_int_t)open->flying, "waiting", (json_int_t)open->waiting, "oldest",
                          json_of_moment(open->oldest_ms), "next_due", json_of_moment(open->due_ms), "failing",
                          account_failing(to), "circuit", account_circuit(&to->circuit));
    struct account_row rows[ACCOUNT_ROWS];
    account_rows(to, rows);
    for (size_t i = 0; i < ACCOUNT_ROWS; i++)
        json_object_set_new(j, rows[i].name, json_integer(metric_value(rows[i].metric)));
    return j;
}

/* The sink as a whole, each endpoint, and what is left of those that were removed. */
static json_t *account_destinations(struct delivery *d)
{
    json_t *list = json_array();
    struct account_open *open = account_open(d);
    json_array_append_new(list, account_destination(&d->self, &open[0]));
    for (size_t i = 0; i < d->destination_count; i++)
        json_array_append_new(list, account_destination(d->destinations[i], &open[i + 1]));
    size_t next = d->destination_count;
    for (const struct destination *to = d->gone; to; to = to->after)
        if (to->number == next)
            json_array_append_new(list, account_destination(to, &open[++next]));
    free(open);
    return list;
}

/* ---- events ---- */

/* What it is called; what is held for another one of its key stands behind it. */
static const char *account_state(enum entry_state s)
{
    static const char *const names[] = {
        [ENTRY_READY] = "ready", [ENTRY_FLYING] = "in_flight", [ENTRY_WAITING] = "waiting", [ENTRY_STORING] = "storing"
    };
    const char *name = (size_t)s < sizeof names / sizeof *names ? names[s] : NULL;
    return name ? name : "behind";
}

static int account_by_age(const void *a, const void *b)
{
    const struct record *x = (*(const struct entry *const *)a)->of->record,
                        *y = (*(const struct entry *const *)b)->of->record;
    if (x->timestamp_ms != y->timestamp_ms)
        return x->timestamp_ms < y->timestamp_ms ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static json_t *account_event(const struct entry *en)
{
    const struct record *r = en->of->record;
    bool tried = en->last_ms != 0;
    return json_pack("{s:o,s:o,s:i,s:I,s:o,s:o,s:s,s:i,s:o,s:o,s:o,s:o}", "id",
                     json_of_text(en->of->event ? en->of->event->id : STR_ABSENT), "topic", json_of_text(r->topic),
                     "partition", (int)r->partition, "offset", (json_int_t)r->offset, "time",
                     json_of_moment(r->timestamp_ms), "endpoint", json_of_text(str_of(en->to->name)), "state",
                     account_state(en->state), "attempts", (int)en->attempts, "first", json_of_moment(en->first_ms),
                     "due", json_of_moment(account_wake(en)), "status",
                     account_known(tried && en->last.status ? en->last.status : -1), "reason",
                     json_of_text(tried ? str_of(en->last.why) : STR_ABSENT));
}

static json_t *account_events(const struct delivery *d, const struct account_question *q)
{
    json_t *list = json_array();
    const struct entry **found = mem_alloc((d->entry_cap + 1) * sizeof *found);
    size_t n = 0;
    for (size_t i = 0; i < d->entry_cap; i++) {
        const struct entry *en = d->entries[i];
        if (en->state != ENTRY_FREE && (!q->id.at || (en->of->event && str_eq(en->of->event->id, q->id))))
            found[n++] = en;
    }
    qsort(found, n, sizeof *found, account_by_age);
    for (size_t i = 0; i < n && i < q->events; i++)
        json_array_append_new(list, account_event(found[i]));
    free(found);
    return list;
}

/* ---- the account ---- */

static void account_add_lag(void *ctx, const struct standing *s)
{
    int64_t *lag = ctx, pending = standing_pending(s);
    *lag += pending > 0 ? pending : 0;
}

/* How far the sink is behind; what several threads of it have is the first one's. */
static void account_measure(const struct delivery *d)
{
    int64_t lag = 0, oldest_ms = 0;
    if (d->s->ops->broadcast || d->first)
        return;
    consumer_standing(d->consumer, account_add_lag, &lag);
    for (size_t i = 0; i < d->entry_cap; i++) {
        const struct entry *en = d->entries[i];
        int64_t since = en->state == ENTRY_FREE ? 0 : en->of->record->timestamp_ms;
        oldest_ms = since && (!oldest_ms || since < oldest_ms) ? since : oldest_ms;
    }
    metric_set(metric_get(&aqueduct_sink_lag_records, LABELS(d->s->id)), lag);
    metric_set(metric_get(&aqueduct_sink_oldest_timestamp_seconds, LABELS(d->s->id)), oldest_ms / 1000);
}

/* Keeps the counters of all destinations for the page, and says how far the sink is. */
static char *account_keep_all(const struct delivery *d)
{
    account_measure(d);
    account_keep(&d->self);
    for (size_t i = 0; i < d->destination_count; i++)
        account_keep(d->destinations[i]);
    for (const struct destination *to = d->gone; to; to = to->after)
        account_keep(to);
    return str_dup(STR(""));
}

static void account_listeners(struct delivery *d, const struct account_question *q, json_t *j)
{
    struct buf text = buf_new(ACCOUNT_LISTENERS_BYTES);
    if (q->listeners.most && d->s->ops->listeners)
        d->s->ops->listeners(d->s, &q->listeners, &text);
    json_t *list = text.n && !text.failed ? json_loadb(text.at, text.n, 0, NULL) : NULL;
    if (list)
        json_object_set_new(j, "listeners", list);
    buf_free(&text);
}

static char *account_make(struct delivery *d, const struct account_question *q)
{
    json_t *topics = json_array();
    consumer_standing(d->consumer, account_partition, &(struct account_topics){ d, topics });
    json_t *j = json_pack("{s:s,s:s,s:o,s:b,s:n,s:o,s:o,s:o,s:n,s:n}", "sink", d->s->id, "type", d->s->ops->type,
                          "group", d->s->ops->broadcast ? json_null() : json_string(d->group), "live",
                          (int)d->s->ops->broadcast, "no_account", "topics", topics, "destinations",
                          account_destinations(d), "events", q->events ? account_events(d, q) : json_null(),
                          "waiting_oldest", "waiting_next_due");
    json_object_set_new(j, "waiting",
                        d->s->ops->broadcast ? json_null() : json_integer(metric_value(d->self.count.waiting)));
    json_object_set_new(j, "blocked", d->blocked_events ? json_integer(metric_value(d->blocked_events)) : json_null());
    json_object_set_new(j, "blocked_keys", d->blocked_keys ? json_integer(metric_value(d->blocked_keys)) : json_null());
    account_listeners(d, q, j);
    char *text = json_dumps(j, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(j);
    CHECK(text);
    return text;
}

/* ---- of one that gives none ---- */

static void account_unknown_topic(json_t *list, const char *topic)
{
    json_array_append_new(list, json_pack("{s:s,s:n,s:n,s:n,s:n,s:n,s:n}", "topic", topic, "partition", "position",
                                          "start", "end", "finished_beyond", "pending"));
}

static json_t *account_unknown_topics(const struct sink_config *sink, const struct broker_config *names)
{
    json_t *list = json_array();
    char *dead = topic_name(names->prefix, TOPIC_DEAD_LETTER, NULL);
    if (sink->sink->ops->dead_letters)
        account_unknown_topic(list, dead);
    for (size_t i = 0; i < sink->topics.count && !sink->sink->ops->dead_letters; i++)
        account_unknown_topic(list, sink->topics.at[i]);
    free(dead);
    return list;
}

static json_t *account_unknown_destination(const char *endpoint)
{
    static const struct destination nothing;
    struct account_row rows[ACCOUNT_ROWS];
    account_rows(&nothing, rows);
    json_t *j = json_pack("{s:o,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n}", "endpoint",
                          endpoint ? json_string(endpoint) : json_null(), "paused", "held", "removed", "in_flight",
                          "waiting", "oldest", "next_due", "failing", "circuit");
    for (size_t i = 0; i < ACCOUNT_ROWS; i++)
        json_object_set_new(j, rows[i].name, json_null());
    return j;
}

char *account_unknown(const struct sink_config *sink, const struct broker_config *names, const char *why)
{
    const struct sink_ops *ops = sink->sink->ops;
    char *group = str_join(names->group_prefix, sink->sink->id, "");
    json_t *destinations = json_pack("[o]", account_unknown_destination(NULL));
    for (size_t i = 0; i < sink->endpoint_count; i++)
        json_array_append_new(destinations, account_unknown_destination(sink->endpoints[i].endpoint->name));
    json_t *j = json_pack("{s:s,s:s,s:o,s:b,s:o,s:o,s:o,s:n,s:n,s:n,s:n,s:n,s:n}", "sink", sink->sink->id, "type",
                          ops->type, "group", ops->broadcast ? json_null() : json_string(group), "live",
                          (int)ops->broadcast, "no_account", json_of_text(str_of(why)), "topics",
                          account_unknown_topics(sink, names), "destinations", destinations, "events", "waiting",
                          "waiting_oldest", "waiting_next_due", "blocked", "blocked_keys");
    char *text = json_dumps(j, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(j);
    free(group);
    CHECK(text);
    return text;
}

/* ---- what others ask ---- */

/* What a further thread of the sink adds to the first one's account. */
static char *account_make_more(struct delivery *d, const struct account_question *q)
{
    json_t *j = json_object();
    account_listeners(d, q, j);
    char *text = json_dumps(j, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(j);
    CHECK(text);
    return text;
}

void account_answer(struct delivery *d)
{
    struct account *a = d->account;
    if (!atomic_load_explicit(&a->asked, memory_order_relaxed))
        return;
    pthread_mutex_lock(&a->lock);
    atomic_store(&a->asked, false);
    free(a->text);
    a->text = a->question.counters ? account_keep_all(d)
              : d->first           ? account_make_more(d, &a->question)
                                   : account_make(d, &a->question);
    pthread_cond_signal(&a->made);
    pthread_mutex_unlock(&a->lock);
}

static void account_ask_one(struct delivery *d, const struct account_question *q)
{
    struct account *a = d->account;
    pthread_mutex_lock(&a->lock);
    free(a->text);
    free(a->id);
    a->text = NULL;
    a->id = q->id.at ? str_dup(q->id) : NULL;
    a->question = *q;
    a->question.id = a->id ? str_of(a->id) : STR_ABSENT;
    atomic_store(&a->asked, true);
    pthread_mutex_unlock(&a->lock);
    wake_up(d->wake_fd);
}

void account_ask(struct delivery *d, const struct account_question *q)
{
    if (d->first)
        return; /* with that one, if need be */
    account_ask_one(d, q);
    for (struct delivery *copy = d->copies; copy && q->listeners.most; copy = copy->copies)
        account_ask_one(copy, q);
}

static char *account_take_one(struct delivery *d, struct timespec until)
{
    struct account *a = d->account;
    pthread_mutex_lock(&a->lock);
    while (!a->text && thread_wait(&a->made, &a->lock, until))
        continue;
    char *text = a->text;
    a->text = NULL;
    pthread_mutex_unlock(&a->lock);
    return text;
}

/* Adds the listeners of a further thread to those of the first. */
static void account_add_listeners(json_t *j, const char *text, size_t most)
{
    json_t *more = text ? json_loads(text, 0, NULL) : NULL, *list = json_object_get(j, "listeners");
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(more, "listeners"), i, one) if (json_array_size(list) < most)
        json_array_append(list, (json_t *)(uintptr_t)one);
    json_decref(more);
}

char *account_take(struct delivery *d, struct timespec until)
{
    size_t most = d->account->question.listeners.most;
    char *text = d->first ? NULL : account_take_one(d, until);
    if (!text || !d->copies || !most)
        return text;
    json_t *j = json_loads(text, 0, NULL);
    CHECK(j);
    for (struct delivery *copy = d->copies; copy; copy = copy->copies) {
        char *more = account_take_one(copy, until);
        account_add_listeners(j, more, most);
        free(more);
    }
    free(text);
    text = json_dumps(j, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(j);
    CHECK(text);
    return text;
}
