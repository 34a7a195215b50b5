/* SPDX-License-Identifier: MIT */
/* Properties for librdkafka: our defaults, the user's, and those that must be so; and what librdkafka says, in our
 * log. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/file.h"
#include "bridge/lib/log.h"

enum { ALL = KAFKA_PRODUCER | KAFKA_MEMBER | KAFKA_READER, CONSUMERS = KAFKA_MEMBER | KAFKA_READER };

struct setting {
    unsigned roles;
    const char *key, *value;
};

/* The user may overrule these. */
static const struct setting defaults[] = {
    { ALL, "client.id", "aqueduct" },
    { ALL, "reconnect.backoff.ms", "50" },
    { ALL, "reconnect.backoff.max.ms", "1000" }, /* back within a second, not ten, after a restart */
    { ALL, "socket.keepalive.enable", "true" },
    { ALL, "socket.nagle.disable", "true" },
    { ALL, "topic.metadata.refresh.interval.ms", "10000" }, /* new partitions and topics are noticed */
    { KAFKA_PRODUCER, "linger.ms", "5" },                   /* never waited for: the poller flushes each wave */
    { KAFKA_PRODUCER, "message.timeout.ms", "30000" },      /* then UNAVAILABLE: whoever waits hears something */
    { KAFKA_PRODUCER, "partitioner", "murmur2_random" },    /* as Java clients do, so keys meet on the same partition */
    { KAFKA_PRODUCER, "queue.buffering.max.kbytes", "32768" },
    { KAFKA_PRODUCER, "topic.metadata.propagation.max.ms", "10000" },
    { CONSUMERS, "check.crcs", "true" },
    { CONSUMERS, "fetch.error.backoff.ms",
      "100" }, /* before 2.2 it is also the time until a full queue is looked at again */
    { CONSUMERS, "fetch.max.bytes", "1048576" },
    { CONSUMERS, "fetch.wait.max.ms", "250" }, /* a partition that has room again waits for the fetch under way */
    { CONSUMERS, "max.partition.fetch.bytes", "262144" },
    { CONSUMERS, "queued.max.messages.kbytes", "1024" }, /* per partition: each has its own queue */
    { CONSUMERS, "queued.min.messages", "1000" },
    { KAFKA_READER, "queued.min.messages", "100000" }, /* small records: a full queue costs it a backoff each time */
};

/* As defaults, where librdkafka has them. */
static const struct setting newer[] = {
    { CONSUMERS, "fetch.queue.backoff.ms", "100" }, /* since 2.2; its own default is a second */
};

/* The promise rests on these: set after the user's. */
static const struct setting forced[] = {
    { KAFKA_PRODUCER, "enable.idempotence", "true" },
    { KAFKA_PRODUCER, "acks", "all" },
    { KAFKA_PRODUCER, "delivery.report.only.error", "false" },
    { KAFKA_PRODUCER, "isolation.level", "read_uncommitted" }, /* it asks where topics end (kafka_ends) */
    { CONSUMERS, "enable.partition.eof", "true" }, /* what lies between the last record and the end is none (poll.c) */
    { CONSUMERS, "enable.auto.commit", "false" },  /* positions.c commits; librdkafka's commits have no metadata */
    { CONSUMERS, "enable.auto.offset.store", "false" },
    { CONSUMERS, "auto.offset.reset", "error" }, /* we decide where to go on, and say what was lost */
    { CONSUMERS, "isolation.level", "read_committed" },
    { KAFKA_MEMBER, "partition.assignment.strategy", "range,roundrobin" },
    { ALL, "log.queue", "false" },
};

/* Properties the user may not set, or only to the values named. */
static const struct rule {
    const char *key, *allowed, *why;
} rules[] = {
    { "acks", "all|-1", "an event counts as stored only when all replicas in sync have it" },
    { "request.required.acks", "all|-1", "an event counts as stored only when all replicas in sync have it" },
    { "enable.idempotence", "true", "without it a retry inside librdkafka may reorder or repeat events" },
    { "delivery.report.only.error", "false", "an event is acknowledged on its delivery report" },
    { "transactional.id", "", "broker.prefix and the source's name make it, for `delivery: exactly_once`" },
    { "enable.auto.commit", "", "a position moves only when what stands before it is finished" },
    { "auto.commit.enable", "", "a position moves only when what stands before it is finished" },
    { "auto.commit.interval.ms", "", "a position moves only when what stands before it is finished" },
    { "enable.auto.offset.store", "", "a position moves only when what stands before it is finished" },
    { "auto.offset.reset", "", "a sink's `start` says where it begins" },
    { "isolation.level", "read_committed", "records of aborted transactions are not events" },
    { "partition.assignment.strategy", "range|range,roundrobin",
      "a sink with `order: key` reads a partition and its blocked log, which `range` gives to one member; cooperative assignment loses "
      "commits in librdkafka before 2.10" },
    { "bootstrap.servers", "", "use broker.servers" },
    { "metadata.broker.list", "", "use broker.servers" },
    { "group.id", "", "broker.group_prefix and the sink's name make it" },
    { "group.instance.id", "", "use broker.instance" },
    { "session.timeout.ms", "", "use broker.session_timeout" },
    { "test.mock.num.brokers", "", "each client would get a cluster of its own" },
};

static bool conf_among(const char *value, const char *choices)
{
    size_t n = strlen(value);
    for (const char *at = choices; *at;) {
        const char *bar = strchrnul(at, '|');
        if ((size_t)(bar - at) == n && strncasecmp(at, value, n) == 0)
            return true;
        at = *bar ? bar + 1 : bar;
    }
    return false;
}

static bool conf_permitted(const struct map_entry *p, struct err *e)
{
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (strcmp(rules[i].key, p->key) == 0 && !conf_among(p->value, rules[i].allowed))
            return err_set(e, "broker.properties.%s: \"%s\" is refused: %s", p->key, p->value, rules[i].why);
    return true;
}

/* librdkafka's text for a bad value repeats the value, which of these must not be seen. */
static bool conf_is_secret(const char *key)
{
    return strstr(key, "password") || strstr(key, "secret") || strstr(key, "pem") || strstr(key, "jaas")
           || strstr(key, "oauthbearer");
}

static bool conf_set_user(rd_kafka_conf_t *conf, const struct broker_config *config, const struct map_entry *p,
                          struct err *e)
{
    char text[KAFKA_ERRSTR];
    if (!conf_permitted(p, e) || !kafka_login_permits(config, p->key, e))
        return false;
    rd_kafka_conf_res_t rc = rd_kafka_conf_set(conf, p->key, p->value, text, sizeof text);
    if (rc == RD_KAFKA_CONF_UNKNOWN)
        return err_set(e, "broker.properties.%s: librdkafka has no such property", p->key);
    if (rc != RD_KAFKA_CONF_OK)
        return err_set(e, "broker.properties.%s: %s", p->key,
                       conf_is_secret(p->key) ? "the value is not accepted" : text);
    return true;
}

static bool conf_set(rd_kafka_conf_t *conf, const char *key, const char *value, struct err *e)
{
    char text[KAFKA_ERRSTR];
    if (rd_kafka_conf_set(conf, key, value, text, sizeof text) != RD_KAFKA_CONF_OK)
        return err_set(e, "broker: librdkafka does not accept %s=%s: %s", key, value, text);
    return true;
}

static bool conf_set_all(rd_kafka_conf_t *conf, const struct setting *list, size_t count, enum kafka_role role,
                         struct err *e)
{
    for (size_t i = 0; i < count; i++)
        if ((list[i].roles & role) && !conf_set(conf, list[i].key, list[i].value, e))
            return false;
    return true;
}

/* The property of its name overrules it. */
static bool conf_set_compression(rd_kafka_conf_t *conf, const struct broker_config *config, enum kafka_role role,
                                 struct err *e)
{
    static const char *const names[] = { [COMPRESSION_LZ4] = "lz4",
                                         [COMPRESSION_NONE] = "none",
                                         [COMPRESSION_GZIP] = "gzip",
                                         [COMPRESSION_SNAPPY] = "snappy",
                                         [COMPRESSION_ZSTD] = "zstd" };
    return role != KAFKA_PRODUCER || conf_set(conf, "compression.type", names[config->compression], e);
}

static bool conf_set_number(rd_kafka_conf_t *conf, const char *key, int64_t n, struct err *e)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)n);
    return conf_set(conf, key, text, e);
}

static bool conf_set_group(rd_kafka_conf_t *conf, const struct broker_config *config, const char *group, struct err *e)
{
    int64_t session = config->session_timeout.ms > 0 ? config->session_timeout.ms : 6000;
    return !group
           || (conf_set(conf, "group.id", group, e) && conf_set_number(conf, "session.timeout.ms", session, e)
               && conf_set_number(conf, "heartbeat.interval.ms", session / 3 < 3000 ? session / 3 : 3000, e));
}

/* As the user set it; NULL: not at all. The last counts, as it does for librdkafka. */
static const char *conf_property(const struct broker_config *config, const char *key)
{
    const char *value = NULL;
    for (size_t i = 0; i < config->properties.count; i++)
        if (strcmp(config->properties.at[i].key, key) == 0)
            value = config->properties.at[i].value;
    return value;
}

const char *kafka_conf_value(const struct broker_config *config, const char *key)
{
    const char *value = conf_property(config, key);
    return value ? value : "";
}

/* A record that is not stored in time ends its transaction before the cluster does. */
bool kafka_conf_transactional(rd_kafka_conf_t *conf, const struct broker_config *config, const char *id, struct err *e)
{
    enum { TRANSACTION_MS = 30000 }; /* readers of a topic wait so long for what a daemon that died left open */
    int64_t limit = TRANSACTION_MS;
    str_to_i64(str_of(kafka_conf_value(config, "transaction.timeout.ms")), &limit);
    return conf_set(conf, "transactional.id", id, e) && conf_set_number(conf, "transaction.timeout.ms", limit, e)
           && conf_set_number(conf, "message.timeout.ms", limit > 3 ? limit / 3 * 2 : 1, e);
}

bool kafka_conf_instance(rd_kafka_conf_t *conf, const char *instance, const char *group, uint64_t topics, struct err *e)
{
    char member[512];
    snprintf(member, sizeof member, "%s-%s-%08x", instance, group, (unsigned)topics);
    return conf_set(conf, "group.instance.id", member, e);
}

bool kafka_conf_has(const struct broker_config *config, const char *key)
{
    return conf_property(config, key) != NULL;
}

/* Consumers hear a line of librdkafka's log for the topic (doubt.c), beside those that the user asks for. */
static bool conf_set_doubts(rd_kafka_conf_t *conf, const struct broker_config *config, enum kafka_role role,
                            struct err *e)
{
    char value[256];
    if (role != KAFKA_MEMBER)
        return true;
    snprintf(value, sizeof value, "topic");
    for (size_t i = 0; i < config->properties.count; i++)
        if (strcmp(config->properties.at[i].key, "debug") == 0)
            snprintf(value, sizeof value, "%s,topic", config->properties.at[i].value);
    return conf_set(conf, "debug", value, e);
}

void kafka_log(int syslog_level, const char *kind, const char *text)
{
    enum { LINES = 10, WINDOW_MS = 10000 };
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
    static int64_t window;
    static int count;
    pthread_mutex_lock(&lock);
    int64_t now = clock_mono_ms(), dropped = 0;
    if (now - window >= WINDOW_MS || window == 0) {
        dropped = count > LINES ? count - LINES : 0;
        window = now;
        count = 0;
    }
    bool say = ++count <= LINES;
    pthread_mutex_unlock(&lock);
    if (dropped)
        LOG(WARN, "lines about kafka left out", LOG_INT("count", dropped));
    if (!say)
        return;
    if (syslog_level <= 3)
        LOG(ERROR, "kafka", LOG_C("kind", kind), LOG_C("text", text));
    else if (syslog_level == 4)
        LOG(WARN, "kafka", LOG_C("kind", kind), LOG_C("text", text));
    else if (syslog_level <= 6)
        LOG(INFO, "kafka", LOG_C("kind", kind), LOG_C("text", text));
    else
        LOG(DEBUG, "kafka", LOG_C("kind", kind), LOG_C("text", text));
}

/* Brokers close idle connections. (log.connection.close would hide that, and with it the hint that the broker wants
 * another security.protocol.) And a client that ends says of a login under way that it failed. */
bool kafka_conf_is_close(const char *text)
{
    return strstr(text, ": Disconnected (after ") || (strstr(text, ": Local: ") && strstr(text, " in state DOWN"));
}

void kafka_conf_on_log(const rd_kafka_t *rk, int level, const char *kind, const char *text)
{
    (void)rk;
    /* Producers and consumers share the user's properties, so each gets some that are for the other. */
    if (strcmp(kind, "CONFWARN") == 0
        && (strstr(text, "is a producer property") || strstr(text, "is a consumer property")))
        return;
    if (kafka_conf_is_close(text))
        return;
    if (strcmp(kind, "FATAL") == 0 && strstr(text, "authorization failed")) /* of each producer; access.c says it */
        return;
    kafka_log(level, kind, text);
}

/* `lasting`: the configuration that outlives the client. */
static rd_kafka_conf_t *conf_make(const struct broker_config *config, const struct broker_config *lasting,
                                  enum kafka_role role, const char *group, struct err *e)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, kafka_conf_on_log);
    if (!conf_set(conf, "bootstrap.servers", config->servers, e)
        || !conf_set_all(conf, defaults, sizeof defaults / sizeof defaults[0], role, e)
        || !conf_set_compression(conf, config, role, e))
        goto fail;
    for (size_t i = 0; i < sizeof newer / sizeof newer[0]; i++)
        if (newer[i].roles & role)
            rd_kafka_conf_set(conf, newer[i].key, newer[i].value, NULL, 0);
    for (size_t i = 0; i < config->properties.count; i++)
        if (!conf_set_user(conf, config, &config->properties.at[i], e))
            goto fail;
    if (!conf_set_all(conf, forced, sizeof forced / sizeof forced[0], role, e) || !kafka_login_conf(conf, config, e)
        || !kafka_token_conf(conf, lasting) || !conf_set_doubts(conf, config, role, e)
        || !conf_set_group(conf, config, group, e))
        goto fail;
    return conf;
fail:
    rd_kafka_conf_destroy(conf);
    return NULL;
}

rd_kafka_conf_t *kafka_conf(const struct broker_config *config, enum kafka_role role, const char *group, struct err *e)
{
    return conf_make(config, config, role, group, e);
}

/* Who looks from outside is told the cause, in words of ours. */
static void conf_on_log_outside(const rd_kafka_t *rk, int level, const char *kind, const char *text)
{
    (void)rk, (void)level, (void)kind, (void)text;
}

rd_kafka_conf_t *kafka_conf_of(struct kafka *b, enum kafka_role role, const char *group, struct err *e)
{
    const struct broker_config *now = kafka_follow_take(b);
    rd_kafka_conf_t *conf = conf_make(now, b->config, role, group, e);
    if (conf && b->outside && !kafka_conf_has(now, "debug"))
        rd_kafka_conf_set_log_cb(conf, conf_on_log_outside);
    kafka_follow_give(b, now);
    return conf;
}

static bool conf_set_unless_said(rd_kafka_conf_t *conf, const struct broker_config *config, const char *key, int64_t n,
                                 struct err *e)
{
    return kafka_conf_has(config, key) || conf_set_number(conf, key, n, e);
}

/* Every partition has a queue of its own, which librdkafka bounds by bytes and by records (each costs it about half a KiB
 * beside its bytes). One fetch goes beyond that, packed as it is: the rest of the share is for what eight times its size
 * comes out of. A batch comes whole, however large, but only one of all partitions when it is larger than their fetch:
 * then each batch is a question of its own. So a small share is rather for the fetch than for what waits. */
bool kafka_conf_prefetch(rd_kafka_conf_t *conf, const struct broker_config *config, int64_t partitions, struct err *e)
{
    enum {
        SHARE_LEAST = 32 << 10,
        SHARE_MOST = 24 << 20,
        FETCH_MOST = 1 << 20,
        BATCH = 16 << 10,
        RECORD = 800,
        UNPACKED = 8
    };
    int64_t total = config->prefetch.n > 0 ? config->prefetch.n : 64 << 20;
    int64_t share = total / (config->readers > 0 ? config->readers : 1) / (partitions > 0 ? partitions : 1);
    share = share < SHARE_LEAST ? SHARE_LEAST : share > SHARE_MOST ? SHARE_MOST : share;
    int64_t fetch = share / 2 / UNPACKED, whole = share / UNPACKED < BATCH ? share / UNPACKED : BATCH;
    fetch = fetch < whole ? whole : fetch > FETCH_MOST ? FETCH_MOST : fetch;
    int64_t waits = share - fetch * UNPACKED;
    waits = waits < share / 4 ? share / 4 : waits;
    return conf_set_unless_said(conf, config, "queued.max.messages.kbytes", waits >> 10, e)
           && conf_set_unless_said(conf, config, "queued.min.messages", waits / RECORD, e)
           && conf_set_unless_said(conf, config, "max.partition.fetch.bytes", fetch, e);
}

/* ---- check ---- */

/* Properties that name a file, whether it holds a key, and whether librdkafka itself reads it, when a client is made. */
static const struct conf_file {
    const char *key;
    bool is_secret, is_read;
} conf_files[] = {
    { "ssl.ca.location", false, true },      { "ssl.certificate.location", false, true },
    { "ssl.key.location", true, true },      { "ssl.crl.location", false, true },
    { "ssl.keystore.location", true, true }, { "sasl.kerberos.keytab", true, false }, /* kinit does, each time */
};

/* NULL: the property names none. */
static const struct conf_file *conf_file(const char *key, const char *path)
{
    bool probe = strcmp(path, "probe") == 0; /* of ssl.ca.location: look where systems have their certificates */
    for (size_t i = 0; i < sizeof conf_files / sizeof *conf_files && *path && !probe; i++)
        if (strcmp(conf_files[i].key, key) == 0)
            return &conf_files[i];
    return NULL;
}

bool kafka_conf_is_kept(const char *key, const char *value)
{
    struct stat st;
    const struct conf_file *f = conf_file(key, value);
    return f && f->is_read && !(stat(value, &st) == 0 && S_ISDIR(st.st_mode));
}

bool kafka_conf_check_file(const struct map_entry *p, struct err *e)
{
    const struct conf_file *f = conf_file(p->key, p->value);
    if (!f)
        return true;
    if (access(p->value, R_OK) != 0)
        return err_set(e, "broker.properties.%s: %s cannot be read: %s", p->key, p->value, strerror(errno));
    bool ok = !f->is_secret || (file_check_regular_at(p->value, e) && file_check_secret_at(p->value, e));
    return ok || err_prefix(e, "broker.properties.%s", p->key);
}

/* A login needs its name and password: librdkafka would go without, and the broker say that they are wrong. */
static bool conf_check_login(const struct broker_config *config, struct err *e)
{
    const char *mechanism = kafka_login_mechanism(config);
    bool by_password = strcasecmp(mechanism, "PLAIN") == 0 || str_starts_nocase(str_of(mechanism), STR("SCRAM"));
    if (config->sasl.mechanism || !by_password)
        return true;
    if (!*kafka_conf_value(config, "sasl.username"))
        return err_set(e, "broker.properties.sasl.username: is missing, sasl.mechanism %s needs it", mechanism);
    return *kafka_conf_value(config, "sasl.password")
           || err_set(e, "broker.properties.sasl.password: is missing, sasl.mechanism %s needs it", mechanism);
}

/* librdkafka would take what it can of anything else (a port modulo 65536), or say much later that it finds no such host. */
static bool conf_is_server(struct str one)
{
    static const char *const protocols[] = { "plaintext://", "ssl://", "sasl_plaintext://", "sasl_ssl://" };
    size_t host = 0, colons = 0;
    uint64_t port = 0;
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (str_starts_nocase(one, str_of(protocols[i])))
            one = str_from(one, strlen(protocols[i]));
    for (size_t i = 0; i < one.n; i++)
        colons += one.at[i] == ':';
    bool bracket = one.n && one.at[0] == '[', bare = !bracket && colons > 1; /* an address of IPv6 */
    while (host < one.n && (bare || one.at[host] != (bracket ? ']' : ':')))
        host++;
    host += bracket && host < one.n;
    for (size_t i = 0; i < host; i++)
        if (!isalnum((unsigned char)one.at[i]) && !strchr("._-%:[]", one.at[i]))
            return false;
    if (host == 0 || host == one.n)
        return host > 0;
    return one.at[host] == ':' && str_to_u64(str_from(one, host + 1), &port) && port > 0 && port <= 65535;
}

static bool conf_check_servers(const char *servers, struct err *e)
{
    struct str rest = str_of(servers), one;
    while (str_cut(&rest, ',', &one)) {
        one = str_trim(one);
        if (one.n && !conf_is_server(one))
            return err_set(e, "broker.servers: \"%.*s\" is no address of a server: HOST:PORT, several between commas",
                           STR_ARG(one));
    }
    return true;
}

bool kafka_conf_check(const struct broker_config *config, struct err *e)
{
    static const enum kafka_role roles[] = { KAFKA_PRODUCER, KAFKA_MEMBER };
    if (!kafka_registry_check(&config->registry, e))
        return false;
    if (!config->servers || !config->servers[0])
        return err_set(
            e, "broker.servers: type kafka needs the addresses of its servers (host:port, separated by commas)");
    if (!conf_check_servers(config->servers, e))
        return false;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        rd_kafka_conf_t *conf = kafka_conf(config, roles[i], roles[i] == KAFKA_MEMBER ? "check" : NULL, e);
        if (!conf)
            return false;
        rd_kafka_conf_destroy(conf);
    }
    for (size_t i = 0; i < config->properties.count; i++)
        if (!kafka_conf_check_file(&config->properties.at[i], e))
            return false;
    return conf_check_login(config, e) && kafka_login_check(config, e);
}
