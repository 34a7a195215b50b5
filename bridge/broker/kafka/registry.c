/* SPDX-License-Identifier: MIT */
/* The schema registry: one thread that asks it for the ids of the schemas that are wanted, until it has each; ids never
 * change, so they are kept. Its API is Confluent's, which others speak as well. Each question is asked with the subject, the login
 * and the authorities as the configuration and its files say them by then: where the subject changes, it is asked anew. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/event/avro.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/net/fetch.h"

enum {
    ANSWER_BYTES = 64 << 10,
    SCHEMA_BYTES = 256 << 10,
    LOGIN_BYTES = 16 << 10,
    REQUEST_MS = 10000,
    AGAIN_MS = 1000,
    AGAIN_MOST_MS = 10000,
    WAITS_MS = 10000, /* a record that waits asks again before */
    SAY_MS = 60000
};

METRIC_COUNTER(aqueduct_registry_requests_total, "kafka: what became of questions to the schema registry.", "outcome");

struct registry_entry {
    char *topic;
    enum record_schema schema;
    enum registry_subject subject; /* in which it is to be */
    bool declared, confirmed;      /* the topic has this schema; that was said for the configuration to come */
    int64_t asked_ms;              /* when a record wanted the id in vain last; 0: none does */
    int32_t id;                    /* 0: not known yet */
    int64_t retry_ms;              /* not before */
    int64_t wait_ms, said_ms;
    struct err why; /* "": it was not asked yet */
};

struct kafka_registry {
    struct kafka *b;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows; with wanted */
    pthread_cond_t wanted;
    struct registry_entry *entries;
    size_t count;
    bool declares;            /* topics are declared for another configuration */
    struct buf login, answer; /* the thread's; login: the header Authorization, empty: none */
    struct err unread; /* the thread's: why the files do not say the login, so that the last one is used; "": they do */
};

/* ---- one question ---- */

static struct transport registry_way(const struct registry_config *c)
{
    return (struct transport){ .tls = true,
                               .ca_file = c->ca_file && *c->ca_file ? c->ca_file : NULL,
                               .cert_file = c->cert_file && *c->cert_file ? c->cert_file : NULL,
                               .key_file = c->key_file && *c->key_file ? c->key_file : NULL };
}

static bool registry_goes_on(void *ctx)
{
    const struct kafka_registry *r = ctx;
    return !atomic_load(&r->b->stop);
}

/* The subject's name has characters that stand in a URL. */
static void registry_subject(const struct registry_entry *entry, struct buf *out)
{
    const char *name = event_schema(entry->schema).name;
    if (entry->subject == REGISTRY_TOPIC)
        buf_printf(out, "%s-value", entry->topic);
    else if (entry->subject == REGISTRY_RECORD)
        buf_printf(out, "%s", name);
    else
        buf_printf(out, "%s-%s", entry->topic, name);
}

/* A member of the answer, a text without its quotes; absent when there is none. */
static struct str registry_member(const struct kafka_registry *r, const char *name)
{
    struct jscan_member members[16];
    int count = jscan_object(buf_str(&r->answer), members, 16, NULL);
    for (int i = 0; i < count && i < 16; i++)
        if (str_eq(members[i].name, str_of(name))) {
            struct str raw = members[i].value.raw;
            return members[i].value.type == JSCAN_STRING ? (struct str){ raw.at + 1, raw.n - 2 } : raw;
        }
    return STR_ABSENT;
}

/* Why its subject does not take a schema, and what helps. */
static const char *registry_conflict(enum registry_subject subject)
{
    switch (subject) {
    case REGISTRY_TOPIC:
        return "the topic had another encoding, or is another program's. Set broker.registry.subject: topic-record and "
               "reload, which gives each schema a subject of its own, or give the route another topic";
    case REGISTRY_RECORD:
        return "another program's, or another version's. Set broker.registry.subject: topic-record and reload, which "
               "gives each topic a subject of its own, or have the registry accept it there (compatibility NONE)";
    case REGISTRY_TOPIC_RECORD:
        return "another program's, or another version's. Have the registry accept it there (compatibility NONE), or "
               "give the route another topic";
    }
    return "";
}

/* What the answer means; the id, or 0 with *e. */
static int32_t registry_judge(struct kafka_registry *r, const struct registry_entry *entry, bool registers, long status,
                              struct err *e)
{
    int64_t id;
    struct str said = registry_member(r, "message");
    int n = (int)(said.n < 160 ? said.n : 160);
    if (status == 200 && str_to_i64(registry_member(r, "id"), &id) && id > 0 && id <= INT32_MAX)
        return (int32_t)id;
    if (status == 200)
        err_set(e, "its answer has no id: it is no schema registry, or its address lacks a path");
    else if (status == 401 || status == 403)
        err_set(e, "it denies access (%ld): see broker.registry.username, password and token%s%s", status,
                r->unread.text[0] ? "; they were read before, since " : "", r->unread.text);
    else if (status == 404 && !registers)
        err_set(e, "it does not have the schema, and broker.registry.registers is off: %.*s", n,
                said.at ? said.at : "");
    else if (status == 409)
        err_set(e, "its subject has another schema than %s, and does not take this one: %s: %.*s",
                event_schema(entry->schema).name, registry_conflict(entry->subject), n, said.at ? said.at : "");
    else
        err_set(e, "status %ld: %.*s", status, n, said.at ? said.at : "");
    return 0;
}

/* As the files say it now, or as they said it last. */
static void registry_log_in(struct kafka_registry *r, const struct registry_config *c)
{
    bool by_name = c->username && *c->username;
    const struct secret *said = by_name ? &c->password : &c->token;
    r->unread.text[0] = '\0';
    char *secret;
    if (!kafka_login_read(said, &secret, &r->unread) && r->login.n)
        return;
    secret = secret || !said->text ? secret : str_dup(str_of(said->text));
    crypto_wipe_buf(&r->login);
    r->login = buf_new(LOGIN_BYTES);
    struct buf pair = buf_new(LOGIN_BYTES / 2);
    if (by_name) {
        buf_printf(&pair, "%s:%s", c->username, secret);
        buf_add_c(&r->login, "Basic ");
        base64_add(&r->login, buf_str(&pair));
    } else if (secret && *secret) {
        buf_printf(&r->login, "Bearer %s", secret);
    }
    crypto_wipe_buf(&pair);
    kafka_login_wipe(secret);
}

/* Registers the schema, or looks it up. */
static int32_t registry_ask(struct kafka_registry *r, const struct registry_entry *entry, const char *subject,
                            struct err *e)
{
    long status;
    const struct registry_config *c = &kafka_follow_wanted(r->b)->registry;
    struct str base = str_of(c->url);
    registry_log_in(r, c);
    while (base.n && base.at[base.n - 1] == '/')
        base.n--;
    struct buf url = buf_new(4096), body = buf_new(SCHEMA_BYTES);
    buf_printf(&url, "%.*s/subjects/%s%s", STR_ARG(base), subject, c->registers ? "/versions" : "");
    const struct event_schema schema = event_schema(entry->schema);
    buf_printf(&body, "{%s\"schema\":", schema.json ? "\"schemaType\":\"JSON\"," : "");
    jscan_add_string(&body, schema.text);
    buf_add_char(&body, '}');
    const struct header headers[] = { { STR("Content-Type"), STR("application/vnd.schemaregistry.v1+json") },
                                      { STR("Accept"),
                                        STR("application/vnd.schemaregistry.v1+json, application/json") },
                                      { STR("Authorization"), buf_str(&r->login) } };
    const struct fetch_question q = { .url = buf_c(&url),
                                      .body = buf_str(&body),
                                      .headers = headers,
                                      .header_count = r->login.n ? 3 : 2,
                                      .limit_ms = REQUEST_MS,
                                      .go_on = registry_goes_on,
                                      .ctx = r };
    struct transport way = registry_way(c);
    struct fetch *fetch = fetch_new(&way, NULL); /* a new one reads the authorities again */
    buf_reset(&r->answer);
    bool answered = fetch_post(fetch, &q, &r->answer, &status, e) || (status && status != 200);
    fetch_free(fetch);
    buf_free(&url);
    buf_free(&body);
    return answered ? registry_judge(r, entry, c->registers, status, e) : 0;
}

/* ---- the thread ---- */

/* With the lock held: does a topic of the configuration, or a record that waits, want its id, which is not known? What is known of
 * another subject than that of now counts no more. */
static bool registry_lacks(const struct kafka_registry *r, struct registry_entry *entry)
{
    enum registry_subject subject = kafka_follow_wanted(r->b)->registry.subject;
    if (entry->subject != subject)
        *entry = (struct registry_entry){ .topic = entry->topic,
                                          .schema = entry->schema,
                                          .subject = subject,
                                          .declared = entry->declared,
                                          .confirmed = entry->confirmed,
                                          .asked_ms = entry->asked_ms };
    bool waits = entry->asked_ms && clock_mono_ms() - entry->asked_ms < WAITS_MS;
    return !entry->id && (entry->declared || waits);
}

/* With the lock held: the first that is due, or when the next one is. NULL: none is. */
static struct registry_entry *registry_due(struct kafka_registry *r, int64_t *next_ms)
{
    int64_t now = clock_mono_ms();
    *next_ms = now + REQUEST_MS;
    for (size_t i = 0; i < r->count; i++) {
        struct registry_entry *entry = &r->entries[i];
        if (registry_lacks(r, entry) && entry->retry_ms <= now)
            return entry;
        if (registry_lacks(r, entry) && entry->retry_ms < *next_ms)
            *next_ms = entry->retry_ms;
    }
    return NULL;
}

/* With the lock held. */
static void registry_note(struct kafka_registry *r, struct registry_entry *entry, int32_t id, const char *subject,
                          const struct err *why)
{
    int64_t now = clock_mono_ms();
    metric_add(metric_get(&aqueduct_registry_requests_total, LABELS(id ? "known" : "failed")), 1);
    if (id) {
        LOG(INFO, "the schema registry has the schema", LOG_C("subject", subject), LOG_INT("id", id));
    } else if (!entry->said_ms || now - entry->said_ms > SAY_MS) {
        LOG(ERROR,
            "the schema registry does not give the id of a schema: events wait, and are refused when that takes long",
            LOG_C("subject", subject), LOG_C("reason", why->text));
        entry->said_ms = now;
    }
    entry->id = id;
    entry->why = *why;
    entry->wait_ms = entry->wait_ms ? entry->wait_ms * 2 : AGAIN_MS;
    entry->wait_ms = entry->wait_ms < AGAIN_MOST_MS ? entry->wait_ms : AGAIN_MOST_MS;
    entry->retry_ms = now + entry->wait_ms;
    pthread_mutex_unlock(&r->lock);
    if (id)
        kafka_wave_wake(r->b);
    pthread_mutex_lock(&r->lock);
}

static void *registry_run(void *arg)
{
    struct kafka_registry *r = arg;
    int64_t next_ms;
    pthread_mutex_lock(&r->lock);
    while (!atomic_load(&r->b->stop)) {
        const struct registry_entry *due = registry_due(r, &next_ms);
        if (!due) {
            thread_wait(&r->wanted, &r->lock, thread_until((struct duration){ next_ms - clock_mono_ms() }));
            continue;
        }
        struct registry_entry asked = *due; /* others may be added meanwhile; none goes */
        size_t at = (size_t)(due - r->entries);
        pthread_mutex_unlock(&r->lock);
        struct err e = { "" };
        struct buf subject = buf_new(1024);
        registry_subject(&asked, &subject);
        int32_t id = registry_ask(r, &asked, buf_c(&subject), &e);
        pthread_mutex_lock(&r->lock);
        if (!atomic_load(&r->b->stop) && r->entries[at].subject == asked.subject)
            registry_note(r, &r->entries[at], id, buf_c(&subject), &e);
        buf_free(&subject);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* ---- what others ask ---- */

/* With the lock held: it is made where there is none. */
static struct registry_entry *registry_entry(struct kafka_registry *r, struct str topic, enum record_schema schema)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->entries[i].schema == schema && str_eq(str_of(r->entries[i].topic), topic))
            return &r->entries[i];
    r->entries = mem_grow(r->entries, r->count + 1, sizeof *r->entries);
    r->entries[r->count] = (struct registry_entry){ .topic = str_dup(topic), .schema = schema };
    return &r->entries[r->count++];
}

int32_t kafka_registry_id(struct kafka *b, struct str topic, enum record_schema schema, struct err *why)
{
    struct kafka_registry *r = b->registry;
    if (!r) {
        err_set(why, "broker.registry.url is not set");
        return 0;
    }
    pthread_mutex_lock(&r->lock);
    struct registry_entry *entry = registry_entry(r, topic, schema);
    bool lacked = registry_lacks(r, entry);
    int32_t id = entry->id;
    entry->asked_ms = id ? 0 : clock_mono_ms();
    if (!id && !lacked)
        pthread_cond_signal(&r->wanted);
    if (!id)
        err_set(why, "the schema registry does not give an id: %s",
                entry->why.text[0] ? entry->why.text : "it did not answer yet");
    pthread_mutex_unlock(&r->lock);
    return id;
}

void kafka_registry_follow(struct kafka *b)
{
    struct kafka_registry *r = b->registry;
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    pthread_cond_signal(&r->wanted);
    pthread_mutex_unlock(&r->lock);
}

void kafka_registry_declare(struct kafka *b, struct str topic, enum record_schema schema)
{
    struct kafka_registry *r = b->registry;
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->declares = true;
    if (schema != SCHEMA_NONE) {
        struct registry_entry *entry = registry_entry(r, topic, schema);
        entry->declared = entry->confirmed = true;
        pthread_cond_signal(&r->wanted);
    }
    pthread_mutex_unlock(&r->lock);
}

void kafka_registry_retain(struct kafka *b)
{
    struct kafka_registry *r = b->registry;
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->count && r->declares; i++) {
        r->entries[i].declared = r->entries[i].confirmed;
        r->entries[i].confirmed = false;
    }
    r->declares = false;
    pthread_mutex_unlock(&r->lock);
}

bool kafka_registry_ready(struct kafka *b, struct err *why)
{
    struct kafka_registry *r = b->registry;
    bool ready = true;
    if (!r)
        return true;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->count && ready; i++)
        if (registry_lacks(r, &r->entries[i]) && r->entries[i].why.text[0])
            ready = err_set(why, "schema registry, topic %s: %s", r->entries[i].topic, r->entries[i].why.text);
    pthread_mutex_unlock(&r->lock);
    return ready;
}

/* ---- start and end ---- */

bool kafka_registry_check(const struct registry_config *c, struct err *e)
{
    bool has_url = c->url && *c->url, login = c->username && *c->username;
    if (!has_url)
        return true;
    if (!str_starts(str_of(c->url), STR("http://")) && !str_starts(str_of(c->url), STR("https://")))
        return err_set(e, "broker.registry.url: is no address that begins with https:// or http://");
    if (strchr(c->url, '@'))
        return err_set(e,
                       "broker.registry.url: has a name or password in it: use broker.registry.username and password");
    if (login != (c->password.text && *c->password.text))
        return err_set(e, "broker.registry.%s: is missing, the other of the two is there",
                       login ? "password" : "username");
    if (login && c->token.text && *c->token.text)
        return err_set(e, "broker.registry.token: there is a username as well; only one can log in");
    struct transport way = registry_way(c);
    struct err inner;
    return transport_check(&way, &inner) || err_set(e, "broker.registry.%s", inner.text);
}

void kafka_registry_start(struct kafka *b)
{
    if (!b->config->registry.url || !*b->config->registry.url)
        return;
    struct kafka_registry *r = mem_alloc(sizeof *r);
    *r = (struct kafka_registry){ .b = b, .login = buf_new(LOGIN_BYTES), .answer = buf_new(ANSWER_BYTES) };
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wanted, NULL);
    b->registry = r;
    CHECK(pthread_create(&r->thread, NULL, registry_run, r) == 0);
}

void kafka_registry_stop(struct kafka *b)
{
    struct kafka_registry *r = b->registry;
    if (!r)
        return;
    kafka_registry_follow(b);
    pthread_join(r->thread, NULL);
}

void kafka_registry_free(struct kafka *b)
{
    struct kafka_registry *r = b->registry;
    if (!r)
        return;
    for (size_t i = 0; i < r->count; i++)
        free(r->entries[i].topic);
    free(r->entries);
    crypto_wipe_buf(&r->login);
    buf_free(&r->answer);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->wanted);
    free(r);
    b->registry = NULL;
}
