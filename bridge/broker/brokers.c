/* SPDX-License-Identifier: MIT */
/* Which brokers there are: one line each; the rows of the `broker:` section. Nothing below this file knows it. */
#include "bridge/broker/broker.h"
#include "bridge/broker/copy.h"
#include <string.h>
#include "bridge/lib/mem.h"

static const struct option_value brokers_types[] = { { BROKER_LOCAL, "local" }, { BROKER_KAFKA, "kafka" }, { 0 } };

static const struct option_value brokers_compressions[] = {
    { COMPRESSION_NONE, "none" }, { COMPRESSION_GZIP, "gzip" }, { COMPRESSION_SNAPPY, "snappy" },
    { COMPRESSION_LZ4, "lz4" },   { COMPRESSION_ZSTD, "zstd" }, { 0 }
};

static const struct option_value brokers_tls_uses[] = { { BROKER_TLS_ON, "true" }, { BROKER_TLS_OFF, "false" }, { 0 } };

static const struct option brokers_tls_options[] = {
    OPTION(struct broker_tls, enabled, .values = brokers_tls_uses,
           .doc = "TLS; implied by the options below. `false` turns it off, whatever they say."),
    OPTION(struct broker_tls, ca_file,
           .doc =
               "PEM file of the authorities that sign the servers' certificates; without it, the system's. Host names "
               "are verified. When this file or one of the next two changes, connections are made anew with it."),
    OPTION(struct broker_tls, cert_file,
           .doc = "PEM file of a certificate of our own, its chain behind it, for servers that ask for one (mTLS)."),
    OPTION(struct broker_tls, key_file, .doc = "PEM file of its key, if that is not in cert_file."),
    { 0 },
};

static const struct option_value brokers_mechanisms[] = {
    { SASL_NONE, "none" },
    { SASL_PLAIN, "PLAIN" },
    { SASL_SCRAM_256, "SCRAM-SHA-256" },
    { SASL_SCRAM_512, "SCRAM-SHA-512" },
    { SASL_OAUTHBEARER, "OAUTHBEARER" },
    { 0 },
};

static const struct option brokers_sasl_options[] = {
    OPTION(struct broker_sasl, mechanism, .fallback = "none", .values = brokers_mechanisms,
           .doc = "How to log in; others, as GSSAPI, by `properties`."),
    OPTION(struct broker_sasl, username, .doc = "PLAIN, SCRAM: who logs in."),
    OPTION(struct broker_sasl, password,
           .doc = "PLAIN, SCRAM: the password. From a file: `${file:/run/secrets/kafka}`; it is read again when it "
                  "changes."),
    OPTION(
        struct broker_sasl, token_url,
        .doc =
            "OAUTHBEARER: the URL that gives tokens for client_id and client_secret (OAuth 2.0, client credentials)."),
    OPTION(struct broker_sasl, client_id, .doc = "OAUTHBEARER: whom the token is for."),
    OPTION(struct broker_sasl, client_secret, .doc = "OAUTHBEARER: its secret; a file is read again for each token."),
    OPTION(struct broker_sasl, scope, .doc = "OAUTHBEARER: the scope that is asked for."),
    OPTION(struct broker_sasl, parameters,
           .doc = "OAUTHBEARER: what else the request of a token says, such as `audience`."),
    OPTION(struct broker_sasl, ca_file,
           .doc = "OAUTHBEARER: PEM file of the authorities that sign the certificate of token_url; without it, the "
                  "system's."),
    OPTION(struct broker_sasl, extensions,
           .doc = "OAUTHBEARER: SASL extensions sent with the token, such as `logicalCluster`."),
    OPTION(struct broker_sasl, token,
           .doc =
               "OAUTHBEARER: a token that somebody else renews, `${file:...}`, instead of token_url; the file is read "
               "again before the token ends."),
    { 0 },
};

static const struct option_value registry_subjects[] = {
    { REGISTRY_TOPIC, "topic" }, { REGISTRY_RECORD, "record" }, { REGISTRY_TOPIC_RECORD, "topic-record" }, { 0 }
};

static const struct option registry_options[] = {
    OPTION(struct registry_config, url, .doc = "Address of the registry (Confluent's API), https:// or http://."),
    OPTION(
        struct registry_config, subject, .fallback = "topic", .values = registry_subjects,
        .doc =
            "The subject under which a schema stands. topic: <topic>-value. record: the schema's name, io.cloudevents.CloudEvent or io.cloudevents.JsonCloudEvent. topic-record: <topic>-<name>, so that a topic may change its encoding."),
    OPTION(struct registry_config, registers, .fallback = "true",
           .doc = "Registers the schema where the subject does not have it; false: it has to be there."),
    OPTION(struct registry_config, username, .doc = "Logs in with this name and the password."),
    OPTION(struct registry_config, password, .doc = "The password; a file is read again for each question."),
    OPTION(struct registry_config, token, .doc = "Or a bearer token; a file is read again for each question."),
    OPTION(
        struct registry_config, ca_file,
        .doc =
            "PEM file of the authorities that the registry's certificate may be of; without it the system's. It is read "
            "again for each question, as the next two are."),
    OPTION(struct registry_config, cert_file,
           .doc =
               "PEM file of a certificate of our own, its chain behind it, for a registry that asks for one (mTLS)."),
    OPTION(struct registry_config, key_file, .doc = "PEM file of its key, if that is not in cert_file."),
    { 0 },
};

const struct option broker_options[] = {
    OPTION(struct broker_config, type, .fallback = "local", .values = brokers_types,
           .doc = "Where topics live: `local`, an embedded durable log, or `kafka`, a cluster."),
    OPTION(struct broker_config, path, .fallback = "./data",
           .doc = "local: folder of the log; `:memory:` keeps everything in memory and forgets it at exit."),
    OPTION(struct broker_config, max_size, .fallback = "0B",
           .doc = "local: events are refused while the log is larger than this; 0 leaves it to the disk."),
    OPTION(struct broker_config, servers, .doc = "kafka: bootstrap servers, host:port separated by commas."),
    OPTION_GROUP(struct broker_config, tls, brokers_tls_options, .doc = "kafka: TLS to the servers."),
    OPTION_GROUP(struct broker_config, sasl, brokers_sasl_options, .doc = "kafka: the login (SASL)."),
    OPTION(
        struct broker_config, properties,
        .doc =
            "kafka: any librdkafka property, for the producer and the consumers. One that changes, or whose file does, "
            "is taken without a restart."),
    OPTION(struct broker_config, compression, .fallback = "lz4", .values = brokers_compressions,
           .doc = "kafka: of what is produced. zstd makes it smallest, lz4 costs least."),
    OPTION(struct broker_config, create_topics, .fallback = "true",
           .doc = "kafka: create topics that are listed or used and do not exist."),
    OPTION(struct broker_config, replication, .fallback = "-1", .min = -1, .max = 32767,
           .doc = "kafka: replication factor of topics that are created; -1 is the cluster's default."),
    OPTION(struct broker_config, prefix, .fallback = "aqueduct.",
           .doc = "Begins the names of the bridge's own topics."),
    OPTION(struct broker_config, group_prefix, .fallback = "aqueduct.", .doc = "Begins the names of consumer groups."),
    OPTION(struct broker_config, instance, .fallback = "auto",
           .doc =
               "kafka: name of this daemon for static group membership, so that it has its partitions at once after a "
               "restart; `auto`: the machine's name, where that lasts (none in a container with a name for its "
               "lifetime); empty for none."),
    OPTION(struct broker_config, prefetch, .fallback = "64MiB", .min = 1 << 20,
           .doc = "kafka: memory for records read ahead, divided among all sinks and their partitions; `queued.*` and "
                  "`fetch.*` among the properties overrule it."),
    OPTION_GROUP(struct broker_config, registry, registry_options,
                 .doc =
                     "kafka: the schema registry, for routes with `encoding: avro-columns`, `avro` or `json-schema`."),
    OPTION(struct broker_config, session_timeout, .fallback = "6s", .min = 1000, .max = 300000,
           .doc = "kafka: after this long without a sign of life a daemon's partitions move to another."),
    { 0 },
};

static const struct broker_ops *const brokers_tables[] = {
    [BROKER_LOCAL] = &broker_local, [BROKER_KAFKA] = &broker_kafka
};

struct broker_facts broker_facts(const struct broker_config *config)
{
    struct broker_facts facts = brokers_tables[config->type]->facts(config);
    facts.type = brokers_tables[config->type]->type;
    return facts;
}

const struct copy_ops *broker_copy_ops(const struct broker_config *config)
{
    return brokers_tables[config->type]->copy;
}

bool broker_follows(const char *key)
{
    static const char *const followed[] = { "tls.",
                                            "sasl.",
                                            "properties",
                                            "registry.subject",
                                            "registry.registers",
                                            "registry.username",
                                            "registry.password",
                                            "registry.token",
                                            "registry.ca_file",
                                            "registry.cert_file",
                                            "registry.key_file" };
    bool follows = false;
    for (size_t i = 0; i < sizeof followed / sizeof *followed; i++)
        follows = follows || str_starts(str_of(key), str_of(followed[i]));
    return follows;
}

bool broker_may_follow(const struct broker_config *config, struct err *e)
{
    const struct broker_ops *ops = brokers_tables[config->type];
    return !ops->may_follow || ops->may_follow(config, e);
}

bool broker_remove(const struct broker_config *config, struct err *e)
{
    const struct broker_ops *ops = brokers_tables[config->type];
    CHECK(strstr(config->prefix, "prove-") && strstr(config->group_prefix, "prove-")); /* of nobody else */
    return !ops->remove || ops->remove(config, e);
}

bool broker_check(const struct broker_config *config, struct err *e)
{
    return brokers_tables[config->type]->check(config, e);
}

bool broker_advise(const struct broker_config *config, struct err *e)
{
    const struct broker_ops *ops = brokers_tables[config->type];
    return !ops->advise || ops->advise(config, e);
}

bool broker_stayed(const struct broker_config *config, struct err *e)
{
    const struct broker_ops *ops = brokers_tables[config->type];
    return !ops->stayed || ops->stayed(config, e);
}

int64_t broker_backlog(const struct broker_config *config, const char *group, const char *topic)
{
    const struct broker_ops *ops = brokers_tables[config->type];
    return ops->backlog ? ops->backlog(config, group, topic) : 0;
}

bool broker_is_whole(const struct broker_config *config, struct duration limit, struct err *how)
{
    const struct broker_ops *ops = brokers_tables[config->type];
    how->text[0] = '\0';
    return !ops->is_whole || ops->is_whole(config, limit, how);
}

struct look *look_open(const struct broker_config *config, const struct look_options *o, struct err *e)
{
    const struct broker_ops *ops = brokers_tables[config->type];
    if (ops->look)
        return ops->look(config, o, e);
    err_set(e, "a log of broker.type %s cannot be looked into from outside", ops->type);
    return NULL;
}

bool look_once(const struct broker_config *config, const struct look_options *o,
               bool (*each)(void *ctx, const struct record *r), void *ctx, struct err *e)
{
    struct look *l = look_open(config, o, e);
    bool ok = l && look_on(l, each, ctx, e);
    look_close(l);
    return ok;
}

bool broker_can_make(const struct broker_config *config, const char *topic, struct err *e)
{
    const struct broker_ops *ops = brokers_tables[config->type];
    return !ops->can_make || ops->can_make(config, topic, e);
}

bool broker_standing(const struct broker_config *config, const char *group, const char *topic,
                     void (*each)(void *ctx, const struct standing *s), void *ctx, struct err *e)
{
    return brokers_tables[config->type]->standing(config, group, topic, each, ctx, e);
}

bool broker_groups_outside(const struct broker_config *config, const char *prefix, const struct group_seen *seen,
                           struct err *e)
{
    return brokers_tables[config->type]->groups_outside(config, prefix, seen, e);
}

struct broker *broker_open(const struct broker_config *config, struct err *e)
{
    return brokers_tables[config->type]->open(config, e);
}
