/* SPDX-License-Identifier: MIT */
/* What people ask of the roster: to add, change, pause, test and remove endpoints, and to see them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/delivery/knock.h"
#include "bridge/delivery/roster_private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/json.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"

enum { TESTS = 4, ROSTER_BYTES = 64 << 10 };
#define OVERLAP_MOST_MS (90 * INT64_C(86400000))

struct doing { /* an order, while it is done */
    struct roster *r;
    const struct roster_order *o;
    struct roster_answer *a;
    const struct served *to;
    struct place *p; /* NULL: there never was one */
    struct seal_keys *keys;
    char secret[REVISE_SECRET]; /* to be shown once; "": none */
};

/* ---- refusals ---- */

static bool doing_refuse(struct doing *d, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bool doing_refuse(struct doing *d, int status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(d->a->why, sizeof d->a->why, fmt, args);
    va_end(args);
    d->a->status = status;
    return false;
}

/* All that is wrong with the options. */
static bool doing_refuse_options(struct doing *d, struct problems *problems)
{
    struct buf all = buf_new(ROSTER_WHY);
    for (size_t i = 0; i < problems->count; i++)
        buf_printf(&all, "%s%s", i ? "\n" : "", problems->at[i].text);
    doing_refuse(d, 400, "%.*s", STR_ARG(buf_str(&all)));
    buf_free(&all);
    problems_free(problems);
    return false;
}

/* ---- what is there ---- */

/* Finds sink and keys. */
static bool doing_begin(struct doing *d)
{
    struct err e;
    const char *sink = d->o->sink;
    d->to = roster_served(d->r, sink);
    if (!d->to)
        return doing_refuse(
            d, 404,
            "there is no sink %s that can have endpoints made at run time: it needs `endpoints:` in the configuration, which may be empty (endpoints: {})",
            sink);
    d->p = roster_find(d->r, sink, d->o->name);
    d->keys = roster_keys(d->r, &e);
    return !e.text[0] || doing_refuse(d, 503, "%s", e.text);
}

/* The endpoint is one of ours, can be read, and is what whoever asks takes it for. */
static bool doing_find(struct doing *d)
{
    const char *name = d->o->name;
    char at[MADE_WHERE];
    if (!doing_begin(d))
        return false;
    bool there = d->p && !d->p->is.removed;
    if (roster_is_ours(d->to->s, name) && !(there && d->o->what == ROSTER_REMOVE))
        return doing_refuse(d, 409, "endpoint %s is of the configuration (%s) and can only be changed there", name,
                            made_where(d->to->s, name, at));
    if (!there)
        return doing_refuse(d, 404, "sink %s has no endpoint %s", d->o->sink, name);
    if (d->o->version && d->o->version != d->p->is.version)
        return doing_refuse(d, 412,
                            "endpoint %s was changed meanwhile: it has version %" PRId64 ", not %" PRId64
                            "; look at it again",
                            name, d->p->is.version, d->o->version);
    if (!d->p->is.own && d->o->what != ROSTER_REMOVE)
        return doing_refuse(d, 409, "endpoint %s: %s", name, d->p->why);
    return true;
}

/* A copy to be changed. */
static struct placed doing_copy(const struct place *p)
{
    return (struct placed){ .version = p->is.version + 1,
                            .made_ms = p->is.made_ms,
                            .changed_ms = clock_wall_ms(),
                            .paused = p->is.paused,
                            .core = json_deep_copy(p->is.core),
                            .own = json_deep_copy(p->is.own) };
}

/* ---- to the state ---- */

/* Secrets are stored sealed or not at all. */
static bool doing_may_store(struct doing *d, const struct placed *is)
{
    size_t secrets = 0;
    if (d->keys || is->removed)
        return true;
    json_decref(revise_shown(d->to->s, is, false, &secrets));
    return secrets == 0
           || doing_refuse(
               d, 409,
               "endpoint %s has secrets, which are stored under a key alone: make a file (openssl rand -base64 32 > endpoints.key; chmod 600 endpoints.key), name it in admin.key_file and start again; or say unsigned: true, without headers and passwords",
               d->o->name);
}

static void doing_doubt(struct roster *r)
{
    atomic_store(&r->doubt, true);
    wake_up(r->wake_fd);
}

/* Stores it as the next version, and brings it to the sink. Takes `is` over. */
static bool doing_store(struct doing *d, struct placed *is)
{
    struct err e = { "" };
    char thing[256];
    struct buf text = buf_new(PLACED_BYTES);
    snprintf(thing, sizeof thing, "%s/%s", d->o->sink, d->o->name);
    bool fine = doing_may_store(d, is);
    if (fine)
        placed_write(is, thing, d->keys, &text);
    if (fine && (text.failed || text.n > ROSTER_BYTES))
        fine = doing_refuse(d, 400, "endpoint %s is too large: more than %d KiB", d->o->name, ROSTER_BYTES >> 10);
    struct vote vote = { .thing = str_of(thing), .version = is->version, .value = buf_str(&text) }, before = { 0 };
    if (fine && d->p) {
        before = (struct vote){ .thing = vote.thing, .version = d->p->is.version };
        memcpy(before.word, d->p->word, sizeof before.word);
    }
    enum ballot_end end = fine ? ballot_put(d->r->broker, d->r->shared, &vote, d->p ? &before : NULL, &d->r->stop, &e)
                               : BALLOT_LOST;
    if (fine && end != BALLOT_WON) {
        fine = end == BALLOT_LOST
                   ? doing_refuse(d, d->o->what == ROSTER_ADD ? 409 : 412, "endpoint %s: %s; look at it again",
                                  d->o->name, e.text)
                   : doing_refuse(d, 503, "endpoint %s: %s; look at it again, it may be stored", d->o->name, e.text);
        doing_doubt(d->r);
    }
    if (fine)
        roster_set(d->r, &d->p, &vote, is);
    placed_free(is);
    crypto_wipe_buf(&text);
    if (fine && !roster_apply(d->r, d->p))
        doing_doubt(d->r); /* it is stored; the roster's thread goes on to bring it there */
    return fine;
}

/* ---- what is shown ---- */

struct doing_metric {
    const char *sink, *name;
    int64_t value;
};

static void doing_take_metric(void *ctx, const char *const *values, int64_t value)
{
    struct doing_metric *m = ctx;
    if (values[1] && strcmp(values[0], m->sink) == 0 && strcmp(values[1], m->name) == 0)
        m->value = value;
}

/* 0 also when there is none. */
static int64_t doing_metric(const struct metric_family *f, const char *sink, const char *name)
{
    struct doing_metric m = { sink, name, 0 };
    metric_each(f, doing_take_metric, &m);
    return m.value;
}

struct doing_states { /* which endpoints are paused, and whose circuit is open: their places as keys */
    json_t *paused, *open;
};

static void doing_take_state(void *ctx, const char *const *values, int64_t value)
{
    char place[256];
    snprintf(place, sizeof place, "%s/%s", values[0], values[1] ? values[1] : "");
    if (value)
        json_object_set_new(ctx, place, json_true());
}

/* One look for many of them. */
static struct doing_states doing_states_new(void)
{
    struct doing_states all = { json_object(), json_object() };
    metric_each(&aqueduct_sink_paused, doing_take_state, all.paused);
    metric_each(&aqueduct_sink_circuit_open, doing_take_state, all.open);
    return all;
}

static void doing_states_free(struct doing_states *all)
{
    json_decref(all->paused);
    json_decref(all->open);
}

static const char *doing_state(const struct doing_states *all, const struct place *p, const char *sink,
                               const char *name)
{
    char place[256];
    if (p && (p->held || p->ceded || p->why[0]))
        return "disabled";
    snprintf(place, sizeof place, "%s/%s", sink, name);
    if (json_object_get(all->paused, place))
        return "paused";
    return json_object_get(all->open, place) ? "open" : "active";
}

static void doing_add_options(json_t *out, json_t *options)
{
    json_t *types = json_object_get(options, "types"), *filter = json_object_get(options, "filter");
    json_object_set_new(out, "url", json_string(json_text(options, "url")));
    if (types)
        json_object_set(out, "types", types);
    if (filter)
        json_object_set(out, "filter", filter);
    json_object_set_new(out, "options", options);
}

static json_t *doing_show_place(const struct doing_states *all, const struct sink_config *s, const struct place *p,
                                bool veil)
{
    size_t secrets;
    json_t *out = json_pack("{s:s,s:s,s:s,s:s,s:b,s:I,s:o,s:o,s:b}", "sink", p->sink, "name", p->name, "state",
                            doing_state(all, p, p->sink, p->name), "origin", "api", "read_only", 0, "version",
                            (json_int_t)p->is.version, "since", json_of_moment(p->is.changed_ms), "made",
                            json_of_moment(p->is.made_ms), "paused", (int)p->is.paused);
    const struct placed closed = { .core = p->is.core, .own = p->is.own ? p->is.own : json_object() };
    doing_add_options(out, revise_shown(s, &closed, veil, &secrets));
    if (!p->is.own)
        json_decref(closed.own);
    json_object_set_new(out, "problem", p->why[0] ? json_string(p->why) : json_null());
    return out;
}

static json_t *doing_show_ours(const struct doing_states *all, const struct sink_config *s, const char *name, bool veil)
{
    size_t secrets;
    char at[MADE_WHERE];
    struct placed said = { .core = json_object(), .own = made_said(s, name) };
    if (!json_is_object(said.own)) { /* nothing is written there */
        json_decref(said.own);
        said.own = json_object();
    }
    json_t *out = json_pack("{s:s,s:s,s:s,s:s,s:b,s:i,s:s,s:n,s:n}", "sink", s->sink->id, "name", name, "state",
                            doing_state(all, NULL, s->sink->id, name), "origin", "yaml", "read_only", 1, "version", 0,
                            "at", made_where(s, name, at), "since", "problem");
    doing_add_options(out, revise_shown(s, &said, veil, &secrets));
    placed_free(&said);
    return out;
}

/* The answer to who made or changed it: with the secret, which is never shown again. */
static void doing_answer(struct doing *d, int status)
{
    d->a->status = status;
    d->a->version = d->p->is.version;
    struct doing_states all = doing_states_new();
    d->a->json = doing_show_place(&all, d->to->s, d->p, false);
    doing_states_free(&all);
    if (d->secret[0])
        json_object_set_new(d->a->json, "secret", json_string(d->secret));
}

/* ---- orders ---- */

static size_t doing_count(const struct roster *r, const char *sink)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        n += strcmp(r->places[i]->sink, sink) == 0 && !r->places[i]->is.removed;
    return n;
}

static bool doing_check_order(struct doing *d, const struct placed *is)
{
    bool now = strcmp(json_text(is->core, "order"), "key") == 0,
         was = d->p && !d->p->is.removed && strcmp(json_text(d->p->is.core, "order"), "key") == 0;
    if (now && !was && !delivery_takes_order(d->to->s))
        return doing_refuse(
            d, 409,
            "order: key needs the blocked logs that sink %s has if the configuration says order: key beside its endpoints: (or of one of them)",
            d->o->sink);
    if (d->p && !d->p->is.removed && now != was)
        return doing_refuse(d, 409, "order cannot change while it runs: remove endpoint %s and add it again",
                            d->o->name);
    return true;
}

static void doing_add(struct doing *d)
{
    char at[MADE_WHERE];
    struct problems problems = { 0 };
    const char *name = d->o->name, *sink = d->o->sink;
    if (!doing_begin(d))
        return;
    if (roster_is_ours(d->to->s, name)) {
        doing_refuse(d, 409, "sink %s has an endpoint %s in the configuration (%s): take another name", sink, name,
                     made_where(d->to->s, name, at));
        return;
    }
    if (d->p && !d->p->is.removed) {
        doing_refuse(d, 409, "sink %s has an endpoint %s: change it, or take another name", sink, name);
        return;
    }
    if (doing_count(d->r, sink) >= ROSTER_MOST) {
        doing_refuse(d, 409, "sink %s has %d endpoints that were made at run time, which is the most", sink,
                     ROSTER_MOST);
        return;
    }
    int64_t now = clock_wall_ms();
    struct placed is = { .version = d->p ? d->p->is.version + 1 : 1, .made_ms = now, .changed_ms = now };
    if (!revise_merge(d->to->s, name, &is, d->o->body, d->secret, &problems))
        doing_refuse_options(d, &problems);
    else if (doing_check_order(d, &is) && doing_store(d, &is))
        doing_answer(d, 201);
    placed_free(&is);
}

/* Changes options, and stores them. */
static void doing_change(struct doing *d)
{
    struct problems problems = { 0 };
    if (!doing_find(d))
        return;
    struct placed is = doing_copy(d->p);
    if (!revise_merge(d->to->s, d->o->name, &is, d->o->body, d->secret, &problems))
        doing_refuse_options(d, &problems);
    else if (doing_check_order(d, &is) && doing_store(d, &is))
        doing_answer(d, 200);
    placed_free(&is);
}

static void doing_pause(struct doing *d)
{
    bool paused = d->o->what == ROSTER_PAUSE;
    if (!doing_find(d))
        return;
    struct placed is = doing_copy(d->p);
    is.paused = paused;
    if (d->p->is.paused == paused || doing_store(d, &is))
        doing_answer(d, 200);
    placed_free(&is);
}

static void doing_rotate(struct doing *d)
{
    struct problems problems = { 0 };
    struct duration overlap = { REVISE_OVERLAP_MS };
    const char *secret = json_string_value(json_object_get(d->o->body, "secret")),
               *said = json_string_value(json_object_get(d->o->body, "overlap"));
    if (said && (!made_duration(said, &overlap) || overlap.ms > OVERLAP_MOST_MS)) {
        doing_refuse(d, 400, "overlap: \"%.40s\" is not a duration up to 90d (examples: 0s 2h 7d)", said);
        return;
    }
    if (!doing_find(d))
        return;
    struct placed is = doing_copy(d->p);
    if (!revise_rotate(d->to->s, d->o->name, &is, str_of(secret), overlap, d->secret, &problems))
        doing_refuse_options(d, &problems);
    else if (doing_store(d, &is))
        doing_answer(d, 200);
    placed_free(&is);
}

static void doing_remove(struct doing *d)
{
    if (!doing_find(d))
        return;
    int64_t pending = doing_metric(&aqueduct_sink_pending, d->o->sink, d->o->name);
    struct placed is = { .version = d->p->is.version + 1, .changed_ms = clock_wall_ms(), .removed = true };
    if (doing_store(d, &is)) {
        d->a->status = 200;
        d->a->json = json_pack("{s:b,s:I}", "removed", 1, "pending", (json_int_t)pending);
    }
    placed_free(&is);
}

/* All that were sealed, anew: by the first key. */
static void doing_reseal(struct doing *d)
{
    struct err e;
    int64_t done = 0;
    d->keys = roster_keys(d->r, &e);
    if (!d->keys) {
        doing_refuse(d, e.text[0] ? 503 : 409, "%s",
                     e.text[0] ? e.text : "admin.key_file names no file with the key to seal with");
        return;
    }
    for (size_t i = 0; i < d->r->count; i++) {
        struct place *p = d->r->places[i];
        const struct roster_order one = { .what = ROSTER_CHANGE, .sink = p->sink, .name = p->name };
        struct doing inner = {
            .r = d->r, .o = &one, .a = d->a, .to = roster_served(d->r, p->sink), .p = p, .keys = d->keys
        };
        if (p->is.removed || !p->is.own || !inner.to)
            continue;
        struct placed is = doing_copy(p);
        bool fine = doing_store(&inner, &is);
        placed_free(&is);
        if (!fine)
            return;
        done++;
    }
    d->a->status = 200;
    d->a->json = json_pack("{s:I,s:s}", "sealed", (json_int_t)done, "key", seal_id(d->keys));
}

/* ---- tests ---- */

/* Beside the turn: it may take long, and others go on. */
static struct made *doing_test_made(struct doing *d)
{
    struct problems problems = { 0 };
    if (!doing_begin(d))
        return NULL;
    if (roster_is_ours(d->to->s, d->o->name))
        return made_again(d->to->s, d->o->name);
    if (!d->p || d->p->is.removed) {
        doing_refuse(d, 404, "sink %s has no endpoint %s", d->o->sink, d->o->name);
        return NULL;
    }
    if (!d->p->is.own) {
        doing_refuse(d, 409, "endpoint %s: %s", d->o->name, d->p->why);
        return NULL;
    }
    struct made *made = revise_make(d->to->s, d->o->name, &d->p->is, &problems);
    if (!made)
        doing_refuse_options(d, &problems);
    return made;
}

static const struct event *doing_test_event(struct doing *d, struct err *e)
{
    char id[UUID_TEXT], source[256], time[CLOCK_TEXT];
    const char *type = json_string_value(json_object_get(d->o->body, "type"));
    json_t *said = json_object_get(d->o->body, "data");
    char *data = said ? json_dumps(said, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    uuid_random(id);
    clock_text(clock_wall_ms(), time);
    snprintf(source, sizeof source, "/aqueduct/endpoints/%s/%s", d->o->sink, d->o->name);
    struct event ev = {
        .id = str_of(id),
        .source = str_of(source),
        .type = str_of(type ? type : "aqueduct.test"),
        .time = str_of(time),
        .datacontenttype = STR("application/json"),
        .data = data ? str_of(data)
                     : STR("{\"test\":true,\"message\":\"A test of this endpoint. Nothing has happened.\"}")
    };
    const struct event *made = event_new(&ev, e);
    free(data);
    return made;
}

static void doing_tell_test(struct doing *d, const struct event *ev, const struct knock *k)
{
    static const char *const verdicts[] = { [VERDICT_DELIVERED] = "delivered",
                                            [VERDICT_RETRY] = "retry",
                                            [VERDICT_REJECT] = "reject",
                                            [VERDICT_UNTRIED] = "untried" };
    struct str rest = buf_str(&k->sent), line;
    json_t *headers = json_array();
    while (str_cut(&rest, '\n', &line) && line.n)
        json_array_append_new(headers, json_of_text(line));
    d->a->status = 200;
    d->a->json = json_pack("{s:o,s:s,s:i,s:I,s:s,s:o,s:o,s:o}", "event", json_of_text(ev->id), "verdict",
                           verdicts[k->result.verdict], "status", k->result.status, "ms", (json_int_t)k->result.took.ms,
                           "reason", k->result.why, "excerpt", json_of_text(k->result.answer), "headers", headers,
                           "body", json_of_text(rest));
}

static bool doing_begin_test(struct roster *r, bool begin)
{
    pthread_mutex_lock(&r->lock);
    bool fine = !begin || (!r->ended && r->tests < TESTS);
    if (fine)
        r->tests += begin ? 1 : (size_t)-1;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return fine;
}

static void doing_test(struct doing *d)
{
    struct err e = { "" };
    struct knock k = { 0 };
    if (!doing_begin_test(d->r, true)) {
        doing_refuse(d, 503, "%d tests are under way: try again in some seconds", TESTS);
        return;
    }
    bool turn = roster_take_turn(d->r);
    struct made *made = turn ? doing_test_made(d) : NULL;
    const struct sink_config *s = made ? d->to->s : NULL;
    if (turn)
        roster_give_turn(d->r);
    const struct event *ev = made ? doing_test_event(d, &e) : NULL;
    if (made && ev && knock(made, s, ev, &d->r->stop, &k, &e))
        doing_tell_test(d, ev, &k);
    else if (made)
        doing_refuse(d, 400, "endpoint %s: %s", d->o->name, e.text);
    knock_free(&k);
    event_unref(ev);
    made_free(made);
    doing_begin_test(d->r, false);
}

/* ---- the whole ---- */

static void doing_with_turn(struct doing *d)
{
    if (!roster_take_turn(d->r)) {
        doing_refuse(d, 503, "the bridge is stopping");
        return;
    }
    switch (d->o->what) {
    case ROSTER_ADD: doing_add(d); break;
    case ROSTER_CHANGE: doing_change(d); break;
    case ROSTER_PAUSE:
    case ROSTER_RESUME: doing_pause(d); break;
    case ROSTER_ROTATE: doing_rotate(d); break;
    case ROSTER_REMOVE: doing_remove(d); break;
    case ROSTER_RESEAL: doing_reseal(d); break;
    case ROSTER_TEST: break; /* needs none for long */
    }
    roster_give_turn(d->r);
}

void roster_do(struct roster *r, const struct roster_order *o, struct roster_answer *a)
{
    *a = (struct roster_answer){ 0 };
    struct doing d = { .r = r, .o = o, .a = a };
    if (o->what == ROSTER_TEST)
        doing_test(&d);
    else
        doing_with_turn(&d);
    seal_free(d.keys);
    crypto_wipe(d.secret, sizeof d.secret);
}

json_t *roster_list(struct roster *r, const char *sink, bool veil)
{
    json_t *list = json_array();
    struct doing_states all = doing_states_new();
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->served_count; i++) {
        const struct sink_config *s = r->served[i].s;
        if (sink && strcmp(s->sink->id, sink) != 0)
            continue;
        for (size_t k = 0; k < s->endpoint_count; k++)
            json_array_append_new(list, doing_show_ours(&all, s, s->endpoints[k].endpoint->name, veil));
        for (size_t k = 0; k < r->count; k++)
            if (!r->places[k]->is.removed && strcmp(r->places[k]->sink, s->sink->id) == 0)
                json_array_append_new(list, doing_show_place(&all, s, r->places[k], veil));
    }
    pthread_mutex_unlock(&r->lock);
    doing_states_free(&all);
    return list;
}

json_t *roster_get(struct roster *r, const char *sink, const char *name, bool veil, int64_t *version)
{
    json_t *found = NULL;
    struct doing_states all = doing_states_new();
    *version = 0;
    pthread_mutex_lock(&r->lock);
    const struct served *to = roster_served(r, sink);
    const struct place *p = roster_find(r, sink, name);
    if (to && roster_is_ours(to->s, name))
        found = doing_show_ours(&all, to->s, name, veil);
    else if (to && p && !p->is.removed) {
        found = doing_show_place(&all, to->s, p, veil);
        *version = p->is.version;
    }
    pthread_mutex_unlock(&r->lock);
    doing_states_free(&all);
    return found;
}
