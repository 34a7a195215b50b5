/* SPDX-License-Identifier: MIT */
/* What keeps us from the cluster: connections that fail, logins that are refused, rights that are denied.
 *
 * librdkafka tells why a connection failed only to its error callback; who asks the cluster and waits hears no more than
 * that it timed out. So the last cause is kept here until the cluster answers. A denied right is kept until it is seen
 * to be granted, or has not been denied again for a while: nobody may be left who tries. (Of a group librdkafka tells one
 * denial, however often it tries: that one is kept until there is an assignment, or the consumer leaves.) */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum {
    ACCESS_CAUSE_MS = 10000,  /* a cause that says less replaces an older one after this */
    ACCESS_DENIED_MS = 30000, /* a denial that nobody met again is over after this */
    ACCESS_SAY_MS = 60000,    /* a denial that lasts is logged again after this */
    SCRAM_FIXED = 0x020601ff, /* librdkafka's version */
};

METRIC_GAUGE(aqueduct_kafka_denied, "Rights that the Kafka cluster denies us now.", NULL);
METRIC_COUNTER(aqueduct_kafka_denials_total, "Requests that the Kafka cluster denied, by the right that is missing.",
               "right");

struct kafka_denial {
    struct kafka_denial *next;
    enum kafka_right right;
    char *name;
    int64_t last_ms, said_ms; /* met; logged */
};

static const struct {
    const char *label, *text; /* of the metric, and for a person: "user x may not ... y" */
} access_rights[KAFKA_RIGHTS] = {
    [KAFKA_WRITE] = { "write", "write to topic" },
    [KAFKA_READ] = { "read", "read topic" },
    [KAFKA_GROUP] = { "group", "read in group" },
    [KAFKA_PRODUCE] = { "produce",
                        "write to any topic: it needs Write on the topics, or IdempotentWrite on the cluster" },
    [KAFKA_TRANSACT] = { "transact", "write transactions as transactional id" },
};

void kafka_access_open(struct kafka *b)
{
    pthread_mutex_init(&b->access.lock, NULL);
    b->access.denied_now = metric_get(&aqueduct_kafka_denied, NULL);
}

void kafka_access_close(struct kafka *b)
{
    for (struct kafka_denial *d = b->access.denials, *next; d; d = next) {
        next = d->next;
        free(d->name);
        free(d);
    }
    pthread_mutex_destroy(&b->access.lock);
}

/* ---- connections ---- */

enum access_kind { ACCESS_SILENT, ACCESS_UNKNOWN_HOST, ACCESS_PROTOCOL, ACCESS_TLS, ACCESS_LOGIN };

/* The higher, the more it says. */
static enum access_kind access_kind(int code, const char *text)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM: return ACCESS_LOGIN;
    case RD_KAFKA_RESP_ERR__SSL: return ACCESS_TLS;
    case RD_KAFKA_RESP_ERR__RESOLVE: return ACCESS_UNKNOWN_HOST;
    default:
        return strstr(text, "security.protocol") ? ACCESS_PROTOCOL
               : strstr(text, "SSL routines")    ? ACCESS_TLS
                                                 : ACCESS_SILENT;
    }
}

/* "sasl_plaintext://host:9092/bootstrap: the cause (after 3ms in state AUTH_REQ)" without what stands around the cause. */
static struct str access_cause(const char *text)
{
    const char *after = NULL;
    for (const char *colon; (colon = strstr(text, ": ")) && memchr(text, '/', (size_t)(colon - text));)
        text = colon + 2;
    for (const char *at = text; (at = strstr(at, " (after ")); at++)
        after = at;
    return (struct str){ text, after ? (size_t)(after - text) : strlen(text) };
}

static void access_keep(struct kafka *b, enum access_kind kind, const char *text)
{
    struct kafka_access *a = &b->access;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&a->lock);
    if (!a->cause[0] || (int)kind >= a->kind || now - a->cause_ms > ACCESS_CAUSE_MS) {
        a->kind = (int)kind;
        a->cause_ms = now;
        snprintf(a->cause, sizeof a->cause, "%.*s", STR_ARG(access_cause(text)));
    }
    pthread_mutex_unlock(&a->lock);
}

void kafka_access_error(struct kafka *b, int code, const char *text)
{
    if (!kafka_conf_is_close(text))
        kafka_log(4, rd_kafka_err2name(code), text);
    if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && code != RD_KAFKA_RESP_ERR__FATAL)
        access_keep(b, access_kind(code, text), text);
}

void kafka_access_up(struct kafka *b)
{
    if (!atomic_exchange(&b->down, false))
        return;
    pthread_mutex_lock(&b->access.lock);
    b->access.cause[0] = '\0';
    b->access.kind = ACCESS_SILENT;
    pthread_mutex_unlock(&b->access.lock);
}

static const char *access_property(const struct kafka *b, const char *key)
{
    for (size_t i = 0; i < b->config->properties.count; i++)
        if (strcmp(b->config->properties.at[i].key, key) == 0)
            return b->config->properties.at[i].value;
    return "";
}

/* Kafka 4 (and 3.8.1) compares what librdkafka before 2.6.1 gets wrong, and calls that invalid credentials. */
static const char *access_login_hint(const struct kafka *b)
{
    bool scram = str_starts_nocase(str_of(access_property(b, "sasl.mechanism")), STR("SCRAM"))
                 || str_starts_nocase(str_of(access_property(b, "sasl.mechanisms")), STR("SCRAM"));
    return scram && rd_kafka_version() < SCRAM_FIXED
               ? "; a right password is refused too by Kafka 4 when librdkafka is older than 2.6.1: use PLAIN over TLS, or a newer librdkafka"
               : "";
}

static const char *access_tls_hint(const char *cause)
{
    bool stranger = strstr(cause, "unexpected eof") || strstr(cause, "wrong version number")
                    || strstr(cause, "No further error");
    return stranger ? "; does that port speak TLS?" : "";
}

bool kafka_access_down(struct kafka *b, struct err *why)
{
    char cause[WHY_BYTES];
    const char *servers = b->config->servers;
    pthread_mutex_lock(&b->access.lock);
    enum access_kind kind = (enum access_kind)b->access.kind;
    memcpy(cause, b->access.cause, sizeof cause);
    pthread_mutex_unlock(&b->access.lock);
    if (!cause[0])
        return err_set(why, "Kafka at %s does not answer", servers);
    switch (kind) {
    case ACCESS_LOGIN: return err_set(why, "Kafka at %s refuses the login: %s%s", servers, cause, access_login_hint(b));
    case ACCESS_TLS:
        return err_set(why, "there is no TLS connection to Kafka at %s: %s%s", servers, cause, access_tls_hint(cause));
    case ACCESS_PROTOCOL: return err_set(why, "Kafka at %s ends every connection: %s", servers, cause);
    case ACCESS_UNKNOWN_HOST: return err_set(why, "Kafka at %s is not found: %s", servers, cause);
    case ACCESS_SILENT: break;
    }
    return err_set(why, "Kafka at %s does not answer (%s)", servers, cause);
}

/* ---- rights ---- */

bool kafka_access_is_denial(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
           || code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
           || code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
}

void kafka_access_user(const struct kafka *b, char out[KAFKA_USER])
{
    const char *name = access_property(b, "sasl.username");
    snprintf(out, KAFKA_USER, *name ? "user %s" : "this client%s", name);
}

static void access_say(const struct kafka *b, enum kafka_right right, const char *name, struct err *why)
{
    char user[KAFKA_USER];
    kafka_access_user(b, user);
    err_set(why, "Kafka denies access: %s may not %s%s%s", user, access_rights[right].text, *name ? " " : "", name);
}

static struct kafka_denial **access_find(struct kafka *b, enum kafka_right right, const char *name)
{
    struct kafka_denial **at = &b->access.denials;
    while (*at && ((*at)->right != right || strcmp((*at)->name, name) != 0))
        at = &(*at)->next;
    return at;
}

static void access_count(struct kafka *b, int by)
{
    atomic_fetch_add(&b->access.denied, by);
    metric_set(b->access.denied_now, atomic_load(&b->access.denied));
}

void kafka_access_denied(struct kafka *b, enum kafka_right right, const char *name)
{
    struct err why;
    pthread_mutex_lock(&b->access.lock);
    struct kafka_denial **at = access_find(b, right, name);
    bool is_new = !*at;
    if (is_new) {
        *at = mem_alloc(sizeof **at);
        (*at)->right = right;
        (*at)->name = str_dup(str_of(name));
        access_count(b, 1);
    }
    (*at)->last_ms = clock_mono_ms();
    if (is_new)
        (*at)->said_ms = (*at)->last_ms;
    pthread_mutex_unlock(&b->access.lock);
    metric_add(metric_get(&aqueduct_kafka_denials_total, LABELS(access_rights[right].label)), 1);
    if (!is_new)
        return;
    access_say(b, right, name, &why);
    LOG(ERROR, "access denied", LOG_C("why", why.text));
}

/* Takes one out of the list; under the lock. */
static void access_drop(struct kafka *b, struct kafka_denial **at)
{
    struct kafka_denial *d = *at;
    *at = d->next;
    access_count(b, -1);
    free(d->name);
    free(d);
}

bool kafka_access_forget(struct kafka *b, enum kafka_right right, const char *name)
{
    if (atomic_load_explicit(&b->access.denied, memory_order_relaxed) == 0)
        return false;
    pthread_mutex_lock(&b->access.lock);
    struct kafka_denial **at = access_find(b, right, name);
    bool was_denied = *at;
    if (was_denied)
        access_drop(b, at);
    pthread_mutex_unlock(&b->access.lock);
    return was_denied;
}

void kafka_access_granted(struct kafka *b, enum kafka_right right, const char *name)
{
    if (kafka_access_forget(b, right, name))
        LOG(INFO, "access granted", LOG_C("right", access_rights[right].label), LOG_C("name", name));
}

void kafka_access_say_again(struct kafka *b)
{
    if (atomic_load_explicit(&b->access.denied, memory_order_relaxed) == 0)
        return;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&b->access.lock);
    for (struct kafka_denial *d = b->access.denials; d; d = d->next) {
        bool lasts = d->right == KAFKA_GROUP || now - d->last_ms <= ACCESS_DENIED_MS;
        struct err why;
        if (!lasts || now - d->said_ms < ACCESS_SAY_MS)
            continue;
        d->said_ms = now;
        access_say(b, d->right, d->name, &why);
        LOG(ERROR, "access is still denied", LOG_C("why", why.text));
    }
    pthread_mutex_unlock(&b->access.lock);
}

bool kafka_access_ready(struct kafka *b, struct err *why)
{
    bool denied = false;
    if (atomic_load_explicit(&b->access.denied, memory_order_relaxed) == 0)
        return true;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&b->access.lock);
    for (struct kafka_denial **at = &b->access.denials; *at;) {
        if ((*at)->right != KAFKA_GROUP && now - (*at)->last_ms > ACCESS_DENIED_MS) {
            access_drop(b, at);
            continue;
        }
        if (!denied)
            access_say(b, (*at)->right, (*at)->name, why);
        denied = true;
        at = &(*at)->next;
    }
    pthread_mutex_unlock(&b->access.lock);
    return !denied;
}
