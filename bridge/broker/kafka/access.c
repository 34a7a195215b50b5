/* SPDX-License-Identifier: MIT */
/* What keeps us from the cluster: connections that fail, logins that are refused, rights that are denied.
 *
 * librdkafka tells why a connection failed only to its error callback; who asks the cluster and waits hears no more than
 * that it timed out. So the last cause is kept here until the cluster answers. A denied right is kept until it is seen
 * to be granted, or has not been denied again for a while: nobody may be left who tries. (Of a group librdkafka tells one
 * denial, however often it tries: that one is kept until there is an assignment, or the consumer leaves.) */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum {
    ACCESS_CAUSE_MS = 10000,  /* a cause that says less replaces an older one after this */
    ACCESS_KNOWN_MS = 60000,  /* a cluster that answered speaks our protocol for so long */
    ACCESS_DENIED_MS = 30000, /* a denial that nobody met again is over after this */
    ACCESS_SAY_MS = 60000,    /* a denial that lasts is logged again after this */
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
    const char *label, *text;     /* of the metric, and for a person: "user x may not ... y" */
    const char *kind, *operation; /* as kafka-acls.sh has them */
    bool optional;                /* we do without it */
} access_rights[KAFKA_RIGHTS] = {
    [KAFKA_WRITE] = { "write", "write to topic", "topic", "Write", false },
    [KAFKA_READ] = { "read", "read topic", "topic", "Read", false },
    [KAFKA_GROUP] = { "group", "read in group", "group", "Read", false },
    [KAFKA_PRODUCE] = { "produce",
                        "write to any topic (before Kafka 3.0 it needs IdempotentWrite on the cluster as well)",
                        "topic", "Write", false },
    [KAFKA_TRANSACT] = { "transact", "write transactions as transactional id", "transactional-id", "Write", false },
    [KAFKA_DELETE] = { "delete", "delete what is finished from topic", "topic", "Delete", true },
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

/* What librdkafka says before what token.c told it. */
static const char access_no_token[] = "Failed to acquire SASL OAUTHBEARER token: ";

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

/* A connection that ends before it is used may mean another protocol, or that a node died just then. */
static void access_keep(struct kafka *b, enum access_kind kind, const char *text)
{
    struct kafka_access *a = &b->access;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&a->lock);
    if (kind == ACCESS_PROTOCOL && a->answered_ms && now - a->answered_ms < ACCESS_KNOWN_MS) {
        kind = ACCESS_SILENT;
        text = "Disconnected";
    }
    if (!a->cause[0] || (int)kind >= a->kind || now - a->cause_ms > ACCESS_CAUSE_MS) {
        a->kind = (int)kind;
        a->cause_ms = now;
        snprintf(a->cause, sizeof a->cause, "%.*s", STR_ARG(access_cause(text)));
    }
    pthread_mutex_unlock(&a->lock);
}

void kafka_access_error(struct kafka *b, int code, const char *text)
{
    if (!kafka_conf_is_close(text) && !b->outside)
        kafka_log(4, rd_kafka_err2name(code), text);
    if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && code != RD_KAFKA_RESP_ERR__FATAL)
        access_keep(b, access_kind(code, text), text);
}

void kafka_access_up(struct kafka *b)
{
    bool again = atomic_exchange(&b->down, false);
    pthread_mutex_lock(&b->access.lock);
    b->access.answered_ms = clock_mono_ms();
    if (again) {
        b->access.cause[0] = '\0';
        b->access.kind = ACCESS_SILENT;
    }
    pthread_mutex_unlock(&b->access.lock);
}

static bool access_has(const char *cause, const char *words)
{
    return strstr(cause, words) != NULL;
}

/* Kafka 4 (and 3.7.2, 3.8.1) compares what librdkafka before 2.6.1 gets wrong, and calls that invalid credentials. */
static const char *access_login_hint(const struct kafka *b, const char *cause)
{
    if (access_has(cause, "Request not valid in current SASL state"))
        return "; that port wants no login: say no sasl, or another port";
    if (kafka_login_scram_fails(b->config) && !access_has(cause, "mechanism handshake failed"))
        return "; a right password is refused too by Kafka 4 when librdkafka is older than 2.6.1: use PLAIN over TLS, or a newer librdkafka";
    return "";
}

static const char *access_tls_hint(const struct kafka *b, const char *cause)
{
    bool stranger = access_has(cause, "unexpected eof") || access_has(cause, "wrong version number")
                    || access_has(cause, "No further error");
    bool alert = access_has(cause, "alert bad certificate") || access_has(cause, "alert certificate")
                 || access_has(cause, "alert unknown ca") || access_has(cause, "alert handshake failure");
    if (alert && !kafka_login_shows_certificate(b->config))
        return "; it wants a certificate of ours: tls.cert_file";
    return alert
               ? "; it does not take our certificate (tls.cert_file): is it signed by an authority that the server knows, and valid?"
           : stranger ? "; does that port speak TLS?"
                      : "";
}

static const char *access_protocol_hint(const char *cause)
{
    return access_has(cause, "SSL listener") ? "; that port may want TLS: say tls"
           : access_has(cause, "SASL")       ? "; that port may want a login: say sasl"
                                             : "";
}

/* "Connect to ipv4#127.0.0.1:9092 failed: Connection refused": by whom? */
static struct str access_refuser(const char *cause)
{
    const char *at = strchr(cause, '#'), *end = at ? strstr(at, " failed: Connection refused") : NULL;
    return end ? (struct str){ at + 1, (size_t)(end - at - 1) } : STR_ABSENT;
}

bool kafka_access_is_deserted(struct kafka *b)
{
    pthread_mutex_lock(&b->access.lock);
    bool is = access_refuser(b->access.cause).at || b->access.kind == (int)ACCESS_UNKNOWN_HOST;
    pthread_mutex_unlock(&b->access.lock);
    return is;
}

bool kafka_access_is_refused(struct kafka *b)
{
    pthread_mutex_lock(&b->access.lock);
    bool is = b->access.cause[0] && b->access.kind >= (int)ACCESS_PROTOCOL;
    pthread_mutex_unlock(&b->access.lock);
    return is;
}

bool kafka_access_down(struct kafka *b, struct err *why)
{
    char cause[WHY_BYTES], refused[WHY_BYTES];
    const char *servers = b->config->servers;
    pthread_mutex_lock(&b->access.lock);
    enum access_kind kind = (enum access_kind)b->access.kind;
    memcpy(cause, b->access.cause, sizeof cause);
    pthread_mutex_unlock(&b->access.lock);
    if (!cause[0])
        return err_set(why, "Kafka at %s does not answer", servers);
    switch (kind) {
    case ACCESS_LOGIN:
        if (str_starts(str_of(cause), str_of(access_no_token))) /* the cluster was not even asked */
            return err_set(why, "there is no token for the login to Kafka at %s: %s", servers,
                           cause + sizeof access_no_token - 1);
        return err_set(why, "Kafka at %s refuses the login: %s%s", servers, cause, access_login_hint(b, cause));
    case ACCESS_TLS:
        if (access_has(cause, "certificate verify failed") && kafka_login_refused(refused))
            return err_set(why, "there is no TLS connection to Kafka at %s: %s", servers, refused);
        return err_set(why, "there is no TLS connection to Kafka at %s: %s%s", servers, cause,
                       access_tls_hint(b, cause));
    case ACCESS_PROTOCOL:
        return err_set(why, "Kafka at %s ends every connection: %s%s", servers, cause, access_protocol_hint(cause));
    case ACCESS_UNKNOWN_HOST: return err_set(why, "Kafka at %s is not found: %s", servers, cause);
    case ACCESS_SILENT: break;
    }
    struct str by = access_refuser(cause);
    if (by.at)
        return err_set(
            why, "Kafka at %s: connection refused, nothing listens on %.*s; start it there, or mend broker.servers",
            servers, STR_ARG(by));
    return err_set(why, "Kafka at %s does not answer (%s)", servers, cause);
}

/* ---- rights ---- */

bool kafka_access_is_denial(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
           || code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
           || code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
}

static bool access_name(const struct kafka *b, char out[KAFKA_USER])
{
    const struct broker_config *now = kafka_follow_take(b);
    bool known = now->sasl.mechanism == SASL_OAUTHBEARER ? kafka_token_name(out) : kafka_login_name(now, out);
    kafka_follow_give(b, now);
    return known;
}

void kafka_access_user(const struct kafka *b, char out[KAFKA_USER + 8])
{
    char name[KAFKA_USER];
    if (access_name(b, name))
        snprintf(out, KAFKA_USER + 8, "user %s", name);
    else
        snprintf(out, KAFKA_USER + 8, "this client");
}

/* A word of a command line, in quotes when a shell would see more in it. */
static void access_add_word(struct buf *out, struct str word)
{
    bool plain = true;
    for (size_t i = 0; i < word.n && plain; i++)
        plain = isalnum((unsigned char)word.at[i]) || strchr("._-:=,@/+%", word.at[i]);
    if (plain) {
        buf_add_str(out, word);
        return;
    }
    buf_add_char(out, '\'');
    for (size_t i = 0; i < word.n; i++)
        if (word.at[i] == '\'')
            buf_add_c(out, "'\\''");
        else
            buf_add_char(out, word.at[i]);
    buf_add_char(out, '\'');
}

/* Does the port to which we speak want a login or TLS, of Kafka's own programs as well? */
static bool access_is_secure(const struct broker_config *c)
{
    const char *protocol = kafka_conf_value(c, "security.protocol");
    return c->sasl.mechanism || kafka_login_has_tls(c) || (*protocol && strcasecmp(protocol, "plaintext") != 0);
}

static void access_add_tool(const struct kafka *b, const char *tool, struct buf *out)
{
    struct str servers = str_of(b->config->servers), one;
    str_cut(&servers, ',', &one);
    buf_printf(out, "%s --bootstrap-server ", tool);
    access_add_word(out, str_trim(one));
    if (access_is_secure(b->config))
        buf_add_c(out, " --command-config admin.properties");
}

void kafka_access_tool(const struct kafka *b, char *out, size_t room, const char *tool, const char *words, ...)
{
    struct buf line = buf_new(room);
    access_add_tool(b, tool, &line);
    size_t n = strlen(out);
    n += (size_t)snprintf(out + n, room - n, "%s ", line.failed ? tool : buf_c(&line));
    buf_free(&line);
    va_list args;
    va_start(args, words);
    if (n < room)
        vsnprintf(out + n, room - n, words, args);
    va_end(args);
}

void kafka_access_grant(const struct kafka *b, const char *kind, const char *name, const char *operations, char *out,
                        size_t room)
{
    char user[KAFKA_USER], principal[KAFKA_USER + 8];
    struct str rest = str_of(operations), one;
    struct buf line = buf_new(2 * KAFKA_WHY);
    snprintf(principal, sizeof principal, "User:%s", access_name(b, user) ? user : "NAME");
    buf_add_c(&line, "; to allow it: ");
    access_add_tool(b, "kafka-acls.sh", &line);
    buf_add_c(&line, " --add --allow-principal ");
    access_add_word(&line, str_of(principal));
    while (str_cut(&rest, ' ', &one))
        buf_printf(&line, " --operation %.*s", STR_ARG(one));
    buf_printf(&line, " --%s", kind);
    const char *prefix = strcmp(kind, "group") == 0 ? b->config->group_prefix : b->config->prefix;
    bool own = *name && *prefix && str_starts(str_of(name), str_of(prefix));
    if (*name) {
        buf_add_char(&line, ' ');
        access_add_word(&line, str_of(own ? prefix : name));
    }
    buf_add_c(&line, own ? " --resource-pattern-type prefixed" : "");
    size_t n = strlen(out);
    snprintf(out + n, room - n, "%s", line.failed ? "" : buf_c(&line));
    buf_free(&line);
}

void kafka_access_reason(const struct kafka *b, enum kafka_right right, const char *name, struct err *why)
{
    char user[KAFKA_USER + 8];
    if (!why)
        return;
    kafka_access_user(b, user);
    err_set(why, "Kafka denies access: %s may not %s%s%s", user, access_rights[right].text, *name ? " " : "", name);
    if (right == KAFKA_PRODUCE) /* of any topic: those that are ours need it anyway */
        name = b->state_topic ? b->state_topic : "";
    kafka_access_grant(b, access_rights[right].kind, name, access_rights[right].operation, why->text, sizeof why->text);
}

bool kafka_access_fail(struct kafka *b, rd_kafka_resp_err_t code, const char *topic, const char *group, struct err *e)
{
    struct err why = { "" };
    enum kafka_right right = code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED   ? KAFKA_READ
                             : code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ? KAFKA_GROUP
                                                                                    : KAFKA_RIGHTS;
    const char *name = right == KAFKA_READ ? topic : group;
    if (right != KAFKA_RIGHTS && name) {
        if (!b->outside && right == KAFKA_READ) /* who is in a group, or wants to be, says that of the group */
            kafka_access_denied(b, right, name);
        kafka_access_reason(b, right, name, &why);
        return err_set(e, "%s", why.text);
    }
    switch ((int)code) {
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__WAIT_COORD: return kafka_access_down(b, e);
    default: return err_set(e, "%s", rd_kafka_err2str(code));
    }
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
    kafka_access_reason(b, right, name, &why);
    if (access_rights[right].optional)
        LOG(WARN, "access denied, which can be done without", LOG_C("why", why.text));
    else
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
        if (!lasts || access_rights[d->right].optional || now - d->said_ms < ACCESS_SAY_MS)
            continue;
        d->said_ms = now;
        kafka_access_reason(b, d->right, d->name, &why);
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
        if (!denied && !access_rights[(*at)->right].optional)
            kafka_access_reason(b, (*at)->right, (*at)->name, why);
        denied = denied || !access_rights[(*at)->right].optional;
        at = &(*at)->next;
    }
    pthread_mutex_unlock(&b->access.lock);
    return !denied;
}
