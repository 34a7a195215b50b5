/* SPDX-License-Identifier: MIT */
/* A Kafka that wants a login and denies rights: what is said of it at start and at run time, that /readyz knows, and that
 * it goes on by itself. Run through tests/kafka/rig run --secure. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/file.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/watch.h"
#include "tests/support/metric.h"
#include "tests/support/stderr.h"
#include "tests/support/test.h"

enum { PATIENCE_MS = 60000 };

static char prefix[64], names[4][96], ca[256];
static struct map_entry properties[8];
static struct broker_config config;
static rd_kafka_t *admin; /* may do all: no login, the plain listener */

/* ---- configurations ---- */

static void property(const char *key, const char *value)
{
    properties[config.properties.count++] = (struct map_entry){ .key = (char *)(uintptr_t)key,
                                                                .value = (char *)(uintptr_t)value };
}

static void at(const char *servers)
{
    config = (struct broker_config){ .type = BROKER_KAFKA,
                                     .servers = getenv(servers),
                                     .create_topics = true,
                                     .replication = -1,
                                     .prefix = prefix,
                                     .group_prefix = prefix,
                                     .instance = "",
                                     .session_timeout = { 2000 },
                                     .properties = { properties, 0 } };
}

/* A file of the rig's. */
static char *rig_file(const char *name)
{
    static char paths[8][512];
    static size_t next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", getenv("AQUEDUCT_TEST_KAFKA_DIR"), name);
    return path;
}

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* By the sections `tls` and `sasl`. */
static void login(const char *listener, enum sasl_mechanism mechanism, const char *password, const char *ca_file)
{
    at(listener);
    property("message.timeout.ms", "3000");
    config.tls.ca_file = ca_file ? rig_file(ca_file) : NULL;
    config.sasl.mechanism = mechanism;
    if (!mechanism)
        return;
    config.sasl.username = text("alice");
    config.sasl.password.text = text(password);
}

static void certificate(const char *name)
{
    char file[64];
    snprintf(file, sizeof file, "%s.pem", name);
    config.tls.cert_file = rig_file(file);
    snprintf(file, sizeof file, "%s-key.pem", name);
    config.tls.key_file = rig_file(file);
}

static void tokens(const char *secret)
{
    at("AQUEDUCT_TEST_KAFKA_SASL");
    property("message.timeout.ms", "3000");
    config.sasl = (struct broker_sasl){ .mechanism = SASL_OAUTHBEARER,
                                        .token_url = getenv("AQUEDUCT_TEST_KAFKA_TOKENS"),
                                        .client_id = text("bridge-client"),
                                        .client_secret.text = text(secret) };
}

/* As alice, who may nothing unless a test allows it. */
static void as_alice(const char *mechanism, const char *password)
{
    at("AQUEDUCT_TEST_KAFKA_SASL");
    property("security.protocol", "sasl_plaintext");
    property("sasl.mechanism", mechanism);
    property("sasl.username", "alice");
    property("sasl.password", password);
    property("message.timeout.ms", "3000");
}

static struct broker *open_broker(void)
{
    struct err e = { "" };
    struct broker *b = broker_open(&config, &e);
    if (!b)
        fail_msg("broker_open: %s", e.text);
    return b;
}

static const char *fresh(size_t i)
{
    static int count;
    snprintf(names[i], sizeof names[i], "%s%d", prefix, ++count);
    return names[i];
}

/* ---- rights ---- */

static void wait_for_admin(rd_kafka_queue_t *q)
{
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, PATIENCE_MS);
    assert_non_null(ev);
    if (rd_kafka_event_error(ev))
        fail_msg("%s", rd_kafka_event_error_string(ev));
    rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
}

static const char *whose = "User:alice";

static rd_kafka_AclBinding_t *acl(rd_kafka_ResourceType_t type, const char *name, rd_kafka_AclOperation_t op,
                                  bool filter)
{
    char text[256];
    rd_kafka_ResourcePatternType_t literal = RD_KAFKA_RESOURCE_PATTERN_LITERAL;
    rd_kafka_AclBinding_t *a = filter ? rd_kafka_AclBindingFilter_new(type, name, literal, whose, "*", op,
                                                                      RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, text,
                                                                      sizeof text)
                                      : rd_kafka_AclBinding_new(type, name, literal, whose, "*", op,
                                                                RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, text, sizeof text);
    assert_non_null(a);
    return a;
}

static void allow(rd_kafka_ResourceType_t type, const char *name, rd_kafka_AclOperation_t op)
{
    rd_kafka_queue_t *q = rd_kafka_queue_new(admin);
    rd_kafka_AclBinding_t *a = acl(type, name, op, false);
    rd_kafka_CreateAcls(admin, &a, 1, NULL, q);
    wait_for_admin(q);
    rd_kafka_AclBinding_destroy(a);
}

static void forbid(rd_kafka_ResourceType_t type, const char *name, rd_kafka_AclOperation_t op)
{
    rd_kafka_queue_t *q = rd_kafka_queue_new(admin);
    rd_kafka_AclBinding_t *a = acl(type, name, op, true);
    rd_kafka_DeleteAcls(admin, &a, 1, NULL, q);
    wait_for_admin(q);
    rd_kafka_AclBinding_destroy(a);
}

#define TOPIC   RD_KAFKA_RESOURCE_TOPIC
#define GROUP   RD_KAFKA_RESOURCE_GROUP
#define MAY(op) RD_KAFKA_ACL_OPERATION_##op

/* A topic that is there already, as an administrator makes it. */
static const char *make_topic(size_t i)
{
    char text[256];
    rd_kafka_queue_t *q = rd_kafka_queue_new(admin);
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(fresh(i), 1, 1, text, sizeof text);
    rd_kafka_CreateTopics(admin, &t, 1, NULL, q);
    wait_for_admin(q);
    rd_kafka_NewTopic_destroy(t);
    return names[i];
}

/* ---- what is said ---- */

static void until_not_ready(struct broker *b, const char *words)
{
    struct err why = { "" };
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (broker_ready(b, &why) || !strstr(why.text, words)) {
        if (clock_mono_ms() > until)
            fail_msg("wanted \"%s\", last said: %s", words, why.text);
        poll(NULL, 0, 20);
    }
}

static void until_ready(struct broker *b)
{
    struct err why = { "" };
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (!broker_ready(b, &why)) {
        if (clock_mono_ms() > until)
            fail_msg("not ready: %s", why.text);
        poll(NULL, 0, 20);
    }
}

static void topic_refused(struct broker *b, const char *topic, const char *words)
{
    struct err e = { "" };
    struct topic_config t = { .name = (char *)(uintptr_t)topic, .partitions = 1 };
    assert_false(broker_topic(b, &t, &e));
    assert_says(e.text, topic);
    assert_says(e.text, words);
}

static void topic_there(struct broker *b, const char *topic)
{
    struct err e = { "" };
    struct topic_config t = { .name = (char *)(uintptr_t)topic, .partitions = 1 };
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (!broker_topic(b, &t, &e))
        if (clock_mono_ms() > until)
            fail_msg("%s", e.text);
}

static _Atomic int outcome;
static char last_why[WHY_BYTES];

static void on_done(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    (void)ctx, (void)tag;
    why_copy(last_why, why);
    atomic_store(&outcome, (int)o);
}

static enum outcome publish(struct broker *b, const char *topic)
{
    struct record r = { .topic = str_of(topic), .partition = 0, .key = STR("k"), .value = STR("x") };
    atomic_store(&outcome, 0);
    broker_publish(b, &(struct publication){ .records = &r, .record_count = 1, .done = on_done });
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (!atomic_load(&outcome) && clock_mono_ms() < until)
        poll(NULL, 0, 5);
    return (enum outcome)atomic_load(&outcome);
}

static void until_stored(struct broker *b, const char *topic)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (publish(b, topic) != OUTCOME_STORED)
        if (clock_mono_ms() > until)
            fail_msg("not stored: %s", last_why);
}

static void until_not_stored(struct broker *b, const char *topic, const char *words)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (publish(b, topic) == OUTCOME_STORED)
        if (clock_mono_ms() > until)
            fail_msg("still stored");
    assert_says(last_why, words);
}

static struct consumer *join(struct broker *b, const char *group, const char *topic)
{
    struct err e = { "" };
    struct consumer *c = consumer_open(b,
                                       &(struct consumer_options){ .group = group,
                                                                   .topics = &topic,
                                                                   .topic_count = 1,
                                                                   .from_start = true,
                                                                   .wake_fd = -1 },
                                       &e);
    if (!c)
        fail_msg("consumer_open: %s", e.text);
    return c;
}

/* Polls until a record comes; what the last error said goes to e. */
static void until_record(struct consumer *c, struct err *e)
{
    struct record *out[8];
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    int n = 0;
    while (n <= 0 && clock_mono_ms() < until) {
        n = consumer_poll(c, out, 8, e);
        if (n <= 0)
            poll(NULL, 0, 20);
    }
    for (int i = 0; i < n; i++)
        record_free(out[i]);
    if (n <= 0)
        fail_msg("nothing came: %s", e->text);
}

static void until_poll_fails(struct consumer *c, const char *words)
{
    struct record *out[8];
    struct err e = { "" };
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    for (int n = 0; n >= 0 || !strstr(e.text, words); poll(NULL, 0, 20)) {
        n = consumer_poll(c, out, 8, &e);
        for (int i = 0; i < n; i++)
            record_free(out[i]);
        if (clock_mono_ms() > until)
            fail_msg("wanted \"%s\", last said: %s", words, e.text);
    }
}

static void until_not_ready_polled(struct broker *b, struct consumer *c, const char *words)
{
    until_poll_fails(c, words);
    until_not_ready(b, words);
}

/* Denied `times` more, while it is polled: nobody takes silence for a right. */
static void until_denied_again(struct consumer *c, const char *right, int64_t times)
{
    struct record *out[8];
    struct err e = { "" };
    struct metric *count = metric_get(&aqueduct_kafka_denials_total, LABELS(right));
    int64_t until = clock_mono_ms() + PATIENCE_MS, wanted = metric_value(count) + times;
    while (metric_value(count) < wanted) {
        assert_true(consumer_poll(c, out, 8, &e) <= 0);
        poll(NULL, 0, 20);
        if (clock_mono_ms() > until)
            fail_msg("%s was not denied again", right);
    }
}

/* ---- connections ---- */

static void expect_down(const char *words)
{
    struct broker *b = open_broker();
    topic_refused(b, "t", words);
    until_not_ready(b, words);
    assert_int_equal(publish(b, "t"), OUTCOME_UNAVAILABLE);
    broker_close(b);
}

/* The same of readiness alone, which knows at once. */
static void expect_unready(const char *words)
{
    struct broker *b = open_broker();
    until_not_ready(b, words);
    broker_close(b);
}

TEST(a_login_that_is_refused_is_called_so)
{
    login("AQUEDUCT_TEST_KAFKA_SASL", SASL_PLAIN, "wrong", NULL);
    expect_down("refuses the login: SASL authentication error: Authentication failed: Invalid username or password");
    as_alice("SCRAM-SHA-512", "alice-secret");
    config.servers = getenv("AQUEDUCT_TEST_KAFKA_PLAIN_ONLY");
    expect_down("refuses the login: SASL SCRAM-SHA-512 mechanism handshake failed");
}

TEST(another_protocol_is_called_so)
{
    login("AQUEDUCT_TEST_KAFKA_SASL", SASL_NONE, NULL, NULL);
    expect_unready("broker might require SASL authentication; that port may want a login: say sasl");
    login("AQUEDUCT_TEST_KAFKA_SASL_TLS", SASL_PLAIN, "alice-secret", NULL);
    expect_unready("that port may want TLS: say tls");
    login("AQUEDUCT_TEST_KAFKA", SASL_PLAIN, "alice-secret", NULL);
    expect_unready("that port wants no login: say no sasl");
}

TEST(a_certificate_that_is_not_good_is_called_so)
{
    login("AQUEDUCT_TEST_KAFKA_TLS", SASL_NONE, NULL, "stranger.pem");
    expect_unready("its certificate (CN=127.0.0.1) was signed by an authority that we do not know: tls.ca_file");
    login("AQUEDUCT_TEST_KAFKA_ELSEWHERE", SASL_NONE, NULL, "tls.pem");
    expect_unready("its certificate (CN=elsewhere.example) is for another host");
    login("AQUEDUCT_TEST_KAFKA_EXPIRED", SASL_NONE, NULL, "tls.pem");
    expect_unready("its certificate (CN=127.0.0.1) has expired");
    login("AQUEDUCT_TEST_KAFKA_MTLS", SASL_NONE, NULL, "tls.pem");
    expect_unready("it wants a certificate of ours: tls.cert_file");
    certificate("stranger");
    expect_unready("it does not take our certificate (tls.cert_file)");
}

TEST(a_token_that_nobody_gives_is_called_so)
{
    tokens("another secret");
    expect_unready(": 127.0.0.1: it answered with status 401 (invalid_client: the client is not known)");
    config.sasl.token_url = text("http://127.0.0.1:9/token");
    expect_unready("there is no token for the login to Kafka at ");
    expect_unready(": 127.0.0.1: Failed to connect to 127.0.0.1 port 9");
    at("AQUEDUCT_TEST_KAFKA_SASL");
    property("message.timeout.ms", "3000");
    config.sasl = (struct broker_sasl){ .mechanism = SASL_OAUTHBEARER, .token.text = text("not.a.token") };
    expect_unready("refuses the login: ");
}

TEST(tls_that_fails_is_called_so)
{
    at("AQUEDUCT_TEST_KAFKA_TLS");
    property("security.protocol", "ssl");
    property("message.timeout.ms", "3000");
    expect_down("was signed by an authority that we do not know");
    at("AQUEDUCT_TEST_KAFKA");
    property("security.protocol", "ssl");
    property("message.timeout.ms", "3000");
    expect_down("does that port speak TLS?");
    at("AQUEDUCT_TEST_KAFKA_TLS");
    property("security.protocol", "ssl");
    property("ssl.ca.location", ca);
    struct broker *b = open_broker();
    topic_there(b, fresh(0)); /* who comes without a certificate is nobody, who may do all */
    broker_close(b);
}

TEST(a_server_that_is_not_there_is_called_so)
{
    at("AQUEDUCT_TEST_KAFKA");
    config.servers = "no-such-host.invalid:9092";
    property("message.timeout.ms", "3000");
    expect_down("Kafka at no-such-host.invalid:9092 is not found: Failed to resolve");
    config.servers = "127.0.0.1:9";
    expect_down(
        "Kafka at 127.0.0.1:9: connection refused, nothing listens on 127.0.0.1:9; start it there, or mend broker.servers");
}

/* librdkafka before 2.6.1 logs in wrongly, Kafka 4 notices. */
TEST(scram_works_or_says_why_it_cannot)
{
    as_alice("SCRAM-SHA-256", "alice-secret");
    if (rd_kafka_version() < 0x020601ff) {
        expect_down("older than 2.6.1");
        return;
    }
    make_topic(0);
    allow(TOPIC, names[0], MAY(WRITE));
    struct broker *b = open_broker();
    topic_there(b, names[0]);
    until_stored(b, names[0]);
    broker_close(b);
}

/* ---- rights at start ---- */

TEST(a_topic_that_may_not_be_made)
{
    as_alice("PLAIN", "alice-secret");
    struct broker *b = open_broker();
    const char *topic = fresh(0);
    topic_refused(b, topic, "Kafka denies access: user alice may neither create nor describe it");
    until_not_ready(b, "user alice may neither create nor describe it");
    allow(TOPIC, topic, MAY(DESCRIBE));
    topic_refused(b, topic, "it does not exist, and user alice may not create it");
    allow(TOPIC, topic, MAY(CREATE));
    topic_there(b, topic);
    broker_close(b);
}

TEST(a_topic_that_may_not_be_described)
{
    as_alice("PLAIN", "alice-secret");
    config.create_topics = false;
    const char *topic = make_topic(0);
    struct broker *b = open_broker();
    topic_refused(b, topic, "Kafka denies access: user alice may not describe it");
    allow(TOPIC, topic, MAY(DESCRIBE));
    topic_there(b, topic);
    broker_close(b);
}

/* Who may write to any topic is no denied producer, so these come before alice may. */
TEST(successors_that_may_not_write_do_not_spin)
{
    as_alice("PLAIN", "alice-secret");
    const char *topic = make_topic(0);
    allow(TOPIC, topic, MAY(DESCRIBE));
    int64_t began = clock_mono_ms(), until = began + PATIENCE_MS, count = 0;
    struct broker *b = open_broker();
    topic_there(b, topic);
    struct metric *reborn = ((struct kafka *)b)->reborn;
    int64_t before = metric_value(reborn);
    while ((count = metric_value(reborn) - before) < 4 && clock_mono_ms() < until)
        poll(NULL, 0, 10);
    assert_true(count >= 4); /* it goes on trying, */
    assert_true(count
                <= 2 + (clock_mono_ms() - began) / 1000); /* and never spins: the first at once, then 1, 2, 4, 8 s */
    until_not_ready(b, "may not write to any topic");
    allow(TOPIC, topic, MAY(WRITE));
    until_stored(b, topic);
    until_ready(b);
    broker_close(b);
    forbid(TOPIC, topic, MAY(WRITE));
}

TEST(a_client_that_may_write_nothing)
{
    char line[sizeof prefix + 64];
    as_alice("PLAIN", "alice-secret");
    const char *topic = make_topic(0);
    allow(TOPIC, topic, MAY(DESCRIBE));
    struct broker *b = open_broker();
    topic_there(b, topic);
    until_not_ready(b, "Kafka denies access: user alice may not write to any topic");
    snprintf(line, sizeof line, "--operation Write --topic %s --resource-pattern-type prefixed", prefix);
    until_not_ready(b, line);
    until_not_stored(b, topic, "user alice may not write to any topic");
    allow(TOPIC, topic, MAY(WRITE));
    until_stored(b, topic);
    until_ready(b);
    broker_close(b);
}

/* ---- rights at run time ---- */

TEST(writing_is_denied_and_granted_again)
{
    as_alice("PLAIN", "alice-secret");
    const char *topic = make_topic(0), *other = make_topic(1);
    allow(TOPIC, topic, MAY(WRITE));
    allow(TOPIC, other, MAY(WRITE));
    struct broker *b = open_broker();
    topic_there(b, topic);
    until_stored(b, topic);
    until_ready(b);
    forbid(TOPIC, topic, MAY(WRITE));
    allow(TOPIC, topic, MAY(DESCRIBE));
    until_not_stored(b, topic, "user alice may not write to topic ");
    until_not_ready(b, "user alice may not write to topic ");
    until_stored(b, other);
    until_not_ready(b, topic);
    allow(TOPIC, topic, MAY(WRITE));
    until_stored(b, topic);
    until_ready(b);
    broker_close(b);
}

TEST(a_topic_that_may_not_be_described_any_more)
{
    as_alice("PLAIN", "alice-secret");
    const char *topic = make_topic(0);
    allow(TOPIC, topic, MAY(WRITE));
    struct broker *b = open_broker();
    topic_there(b, topic);
    until_ready(b);
    forbid(TOPIC, topic, MAY(WRITE));
    until_not_ready(b, "user alice may neither create nor describe it");
    allow(TOPIC, topic, MAY(DESCRIBE));
    until_ready(b);
    broker_close(b);
}

static void give_partitions(const char *name, size_t count)
{
    char text[256];
    rd_kafka_queue_t *q = rd_kafka_queue_new(admin);
    rd_kafka_NewPartitions_t *p = rd_kafka_NewPartitions_new(name, count, text, sizeof text);
    rd_kafka_CreatePartitions(admin, &p, 1, NULL, q);
    wait_for_admin(q);
    rd_kafka_NewPartitions_destroy(p);
}

/* The topic gets more partitions, and its log may not: that is said, with what mends it, and ends as soon as it may. */
TEST(a_log_that_may_not_grow_with_its_topic)
{
    struct err e = { "" };
    char mend[128];
    struct metric *narrow = metric_named("aqueduct_kafka_topics_narrow", NULL);
    as_alice("PLAIN", "alice-secret");
    const char *topic = make_topic(0), *log = make_topic(1);
    allow(TOPIC, topic, MAY(WRITE)); /* and so Describe */
    allow(TOPIC, log, MAY(WRITE));
    struct broker *b = open_broker();
    topic_there(b, topic);
    assert_true(broker_topic(b, &(struct topic_config){ .name = (char *)(uintptr_t)log, .like = topic }, &e));
    stderr_catch();
    give_partitions(topic, 3);
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (metric_value(narrow) == 0 && clock_mono_ms() < until)
        poll(NULL, 0, 20);
    const char *said = stderr_caught();
    assert_int_equal(metric_value(narrow), 1);
    assert_says(said, "a blocked log has fewer partitions than its topic");
    assert_says(said, "user alice may not give it more partitions");
    snprintf(mend, sizeof mend, " --command-config admin.properties --alter --topic %s --partitions 3", log);
    assert_says(said, mend);
    assert_int_equal(kafka_topic_partitions((struct kafka *)b, log), 1);
    until_not_ready(b, "it has 1 partitions, and ");
    allow(TOPIC, log, MAY(ALTER));
    while ((metric_value(narrow) || kafka_topic_partitions((struct kafka *)b, log) < 3) && clock_mono_ms() < until)
        poll(NULL, 0, 20);
    assert_int_equal(kafka_topic_partitions((struct kafka *)b, log), 3);
    assert_int_equal(metric_value(narrow), 0);
    until_ready(b);
    broker_close(b);
}

TEST(reading_is_denied_and_granted_again)
{
    struct err e = { "" };
    as_alice("PLAIN", "alice-secret");
    const char *topic = make_topic(0), *group = fresh(1);
    allow(TOPIC, topic, MAY(WRITE)); /* and so Describe */
    allow(GROUP, group, MAY(READ));
    struct broker *b = open_broker();
    topic_there(b, topic);
    until_stored(b, topic);
    struct consumer *c = join(b, group, topic);
    until_poll_fails(c, "user alice may not read topic ");
    until_not_ready(b, "user alice may not read topic ");
    until_denied_again(c, "read", 3);
    allow(TOPIC, topic, MAY(READ));
    until_record(c, &e);
    until_ready(b);
    forbid(TOPIC, topic, MAY(READ));
    until_stored(b, topic); /* there may be something to read until it is known */
    until_poll_fails(c, "user alice may not read topic ");
    until_not_ready(b, "user alice may not read topic ");
    until_stored(b, topic);
    allow(TOPIC, topic, MAY(READ));
    until_record(c, &e);
    until_ready(b);
    consumer_close(c);
    broker_close(b);
}

TEST(a_group_is_denied_and_granted_again)
{
    struct err e = { "" };
    as_alice("PLAIN", "alice-secret");
    const char *topic = make_topic(0), *group = fresh(1);
    allow(TOPIC, topic, MAY(WRITE));
    allow(TOPIC, topic, MAY(READ));
    struct broker *b = open_broker();
    topic_there(b, topic);
    until_stored(b, topic);
    struct consumer *c = join(b, group, topic);
    until_poll_fails(c, "user alice may not read in group ");
    until_not_ready(b, group);
    allow(GROUP, group, MAY(READ));
    until_record(c, &e);
    until_ready(b);
    forbid(GROUP, group, MAY(READ));
    until_poll_fails(c, "user alice may not read in group ");
    until_not_ready(b, group);
    allow(GROUP, group, MAY(READ));
    until_stored(b, topic);
    until_record(c, &e);
    until_ready(b);
    forbid(GROUP, group, MAY(READ));
    until_not_ready_polled(b, c, group);
    consumer_close(c); /* nobody wants it any more */
    until_ready(b);
    broker_close(b);
}

/* How often the text is there. */
static int count_of(const char *text, const char *what)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, what)); at++)
        count++;
    return count;
}

/* The keeper has logged of a topic that cannot be used at this time of our clock. */
static void until_said(struct broker *b, const char *topic)
{
    struct kafka *k = (struct kafka *)b;
    for (bool said = false; !said; poll(NULL, 0, 5)) {
        pthread_mutex_lock(&k->topics_lock);
        for (size_t i = 0; i < k->topic_count; i++)
            said = said || (strcmp(k->topics[i].name, topic) == 0 && k->topics[i].said_ms == clock_mono_ms());
        pthread_mutex_unlock(&k->topics_lock);
    }
}

TEST(what_is_denied_is_logged_once_a_minute)
{
    enum { MINUTES = 4 };
    as_alice("PLAIN", "alice-secret");
    const char *topic = make_topic(0), *other = make_topic(2), *group = fresh(1);
    allow(TOPIC, topic, MAY(WRITE));
    allow(TOPIC, topic, MAY(READ));
    allow(TOPIC, other, MAY(WRITE));
    struct broker *b = open_broker();
    topic_there(b, topic);
    topic_there(b, other);
    struct consumer *c = join(b, group, topic);
    until_not_ready_polled(b, c, group);
    forbid(TOPIC, other, MAY(WRITE));
    until_not_ready(b, "may neither create nor describe it");
    clock_fake(clock_mono_ms(), clock_wall_ms());
    stderr_catch();
    for (int i = 0; i < MINUTES; i++) {
        clock_fake_advance(60000);
        until_said(b, other);
    }
    const char *said = stderr_caught();
    clock_real();
    assert_int_equal(count_of(said, "a topic cannot be used"), MINUTES);
    int again = count_of(said, "access is still denied"); /* a moment later, when the next minute may have come */
    assert_true(again >= 1 && again <= MINUTES);
    consumer_close(c);
    broker_close(b);
}

/* A client that may write nothing dies of it, and so do those that follow. */
TEST(state_that_may_not_be_read_is_named)
{
    struct err e = { "" };
    as_alice("PLAIN", "alice-secret");
    snprintf(names[0], sizeof names[0], "%sstate", prefix);
    allow(TOPIC, names[0], MAY(CREATE));
    allow(TOPIC, names[0], MAY(WRITE));
    struct broker *b = open_broker();
    topic_there(b, names[0]);
    until_stored(b, names[0]);
    assert_false(broker_state(b, "source", NULL, NULL, &e));
    assert_says(e.text, "user alice may not read topic ");
    broker_close(b);
}

/* ---- a login that changes ---- */

static char here[64]; /* a folder of our own */

static char *own_file(const char *name)
{
    static char paths[8][96];
    char path[sizeof paths[0]];
    size_t i = 0;
    snprintf(path, sizeof path, "%s/%s", here, name);
    while (paths[i][0] && strcmp(paths[i], path) != 0)
        i++;
    return paths[i][0] ? paths[i] : memcpy(paths[i], path, sizeof path); /* the broker's threads read it */
}

static void put(const char *name, struct str content)
{
    struct err e = { "" };
    if (!file_put(own_file(name), content, 0600, true, &e))
        fail_msg("%s", e.text);
}

/* As one that renews certificates does: another file of that name. */
static void put_copy(const char *name, const char *of)
{
    struct buf b = buf_new(1 << 16);
    assert_true(file_read(rig_file(of), (1 << 16) - 1, &b));
    put(name, buf_str(&b));
    buf_free(&b);
}

static void until_version(struct broker *b, unsigned version)
{
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (kafka_follow_version((struct kafka *)b) < version) {
        assert_true(clock_mono_ms() < until);
        poll(NULL, 0, 20);
    }
}

/* Ready; and what it says beside that. */
static void until_note(struct broker *b, const char *words)
{
    struct err why = { "" };
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    while (!broker_ready(b, &why) || !(*words ? strstr(why.text, words) != NULL : !why.text[0])) {
        if (clock_mono_ms() > until)
            fail_msg("wanted \"%s\", last said: %s", words, why.text);
        poll(NULL, 0, 20);
    }
}

/* Takes and commits records until as many have come, each once and in order. */
static void until_count(struct consumer *c, int64_t *count, int64_t wanted)
{
    struct record *out[8];
    struct err e = { "" };
    for (int64_t until = clock_mono_ms() + PATIENCE_MS; *count < wanted;) {
        int n = consumer_poll(c, out, 8, &e);
        for (int i = 0; i < n; i++) {
            assert_int_equal(out[i]->offset, (*count)++);
            consumer_commit(c, (struct topic_partition){ names[0], 0 }, *count, NULL);
            record_free(out[i]);
        }
        if (clock_mono_ms() > until)
            fail_msg("%lld of %lld came: %s", (long long)*count, (long long)wanted, e.text);
        if (n <= 0)
            poll(NULL, 0, 20);
    }
}

/* The group that a consumer without one says. */
static const char *without_group(void)
{
    static char name[96];
    snprintf(name, sizeof name, "%sbroadcast", prefix);
    return name;
}

/* The log is read back up to there, each record once. */
static void until_read_back(struct log *l, struct log_reader *r, int64_t wanted)
{
    struct record *out[8];
    struct err e = { "" };
    for (int64_t until = clock_mono_ms() + PATIENCE_MS; r->next < wanted; poll(NULL, 0, 20)) {
        int64_t from = r->next;
        int n = l->ops->read(l, r, wanted, out, 8, 1 << 20, &e);
        for (int i = 0; i < n; i++) {
            assert_int_equal(out[i]->offset, from + i);
            record_free(out[i]);
        }
        if (clock_mono_ms() > until)
            fail_msg("the log is not read back: %s", e.text);
    }
}

static void allow_all(const char *principal, const char *topic, const char *group)
{
    whose = principal;
    allow(TOPIC, topic, MAY(WRITE));
    allow(TOPIC, topic, MAY(READ));
    allow(GROUP, group, MAY(READ));
    allow(GROUP, without_group(), MAY(READ));
}

/* What of `principal` was allowed goes: from here on only another one can. */
static void forbid_all(const char *principal, const char *topic, const char *group)
{
    whose = principal;
    forbid(TOPIC, topic, MAY(WRITE));
    forbid(TOPIC, topic, MAY(READ));
    forbid(GROUP, group, MAY(READ));
    forbid(GROUP, without_group(), MAY(READ));
    whose = "User:alice";
}

TEST(a_certificate_that_changes_is_taken_by_all_clients)
{
    static const char *const users[] = { "User:CN=bridge,O=Example", "User:CN=next,O=Example" };
    int64_t count = 0, seen = 0, stored = 0;
    login("AQUEDUCT_TEST_KAFKA_MTLS", SASL_NONE, NULL, "tls.pem");
    put_copy("cert.pem", "client.pem");
    put_copy("key.pem", "client-key.pem");
    config.tls.cert_file = own_file("cert.pem");
    config.tls.key_file = own_file("key.pem");
    const char *topic = make_topic(0), *group = fresh(1);
    allow_all(users[0], topic, group);
    struct broker *b = open_broker();
    topic_there(b, topic);
    int64_t reborn = metric_value(((struct kafka *)b)->reborn);
    struct consumer *c = join(b, group, topic), *live = join(b, NULL, topic);
    until_stored(b, topic);
    until_count(c, &count, ++stored);
    until_count(live, &seen, stored);
    struct err e = { "" };
    uint64_t identity;
    int wake_fd = wake_new();
    struct log *l = broker_log(b, &(struct log_options){ .wake_fd = wake_fd }, &e);
    assert_true(l->ops->identity(l, topic, &identity));
    struct log_reader *reader = l->ops->open(l, (struct topic_partition){ topic, 0 }, identity, 0);
    until_read_back(l, reader, stored);

    stderr_catch();
    put_copy("cert.pem", "next.pem"); /* the key is still the old one */
    until_note(b, "broker.tls.key_file: ");
    int64_t until = clock_mono_ms() + 3 * WATCH_LOOK_MS;
    while (clock_mono_ms() < until) { /* all of it goes on, and nothing is said again */
        until_stored(b, topic);
        until_count(c, &count, ++stored);
        until_count(live, &seen, stored);
    }
    assert_int_equal(count_of(stderr_caught(), "files that changed are not good"), 1);
    assert_int_equal(kafka_follow_version((struct kafka *)b), 0);

    allow_all(users[1], topic, group);
    put_copy("key.pem", "next-key.pem");
    until_version(b, 1);
    forbid_all(users[0], topic, group);
    until_stored(b, topic);
    until_count(c, &count, ++stored);
    until_count(live, &seen, stored);
    until_read_back(l, reader, stored);
    until_note(b, "");
    char user[KAFKA_USER + 8];
    kafka_access_user((struct kafka *)b, user);
    assert_string_equal(user, "user CN=next,O=Example");
    assert_int_equal(metric_value(((struct kafka *)b)->reborn), reborn);
    l->ops->close(l, reader);
    broker_log_close(b, l);
    close(wake_fd);
    consumer_close(live);
    consumer_close(c);
    broker_close(b);
    forbid_all(users[1], topic, group);
}

TEST(a_key_with_a_password_has_to_fit_a_certificate_that_changes)
{
    static const char user[] = "User:CN=bridge,O=Example";
    login("AQUEDUCT_TEST_KAFKA_MTLS", SASL_NONE, NULL, "tls.pem");
    property("ssl.key.password", "password of the key");
    put_copy("cert.pem", "client.pem");
    put_copy("key.pem", "client-sealed-key.pem");
    config.tls.cert_file = own_file("cert.pem");
    config.tls.key_file = own_file("key.pem");
    const char *topic = make_topic(0), *group = fresh(1);
    allow_all(user, topic, group);
    struct broker *b = open_broker();
    until_stored(b, topic);
    put_copy("cert.pem", "next.pem");
    until_note(b, "broker: no client can be made of it: ");
    until_stored(b, topic);
    put_copy("cert.pem", "client.pem");
    until_note(b, "");
    until_stored(b, topic);
    assert_int_equal(kafka_follow_version((struct kafka *)b), 0); /* it is what it was */
    broker_close(b);
    forbid_all(user, topic, group);
}

/* They are the properties that say it all. */
TEST(a_certificate_among_the_properties_that_changes_is_taken_by_all_clients)
{
    static const char *const users[] = { "User:CN=bridge,O=Example", "User:CN=next,O=Example" };
    static const struct {
        const char *key, *file, *first, *next;
    } files[] = { { "ssl.ca.location", "ca.pem", "stranger.pem", "tls.pem" },
                  { "ssl.certificate.location", "cert.pem", "client.pem", "next.pem" },
                  { "ssl.key.location", "key.pem", "client-sealed-key.pem", "next-key.pem" } };
    int64_t count = 0, stored = 0;
    at("AQUEDUCT_TEST_KAFKA_MTLS");
    property("security.protocol", "ssl");
    property("message.timeout.ms", "3000");
    property("ssl.key.password", "password of the key");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        put_copy(files[i].file, files[i].first);
        property(files[i].key, own_file(files[i].file));
    }
    const char *topic = make_topic(0), *group = fresh(1);
    allow_all(users[0], topic, group);
    struct broker *b = open_broker();
    struct consumer *c = join(b, group, topic);
    until_not_ready(b, "was signed by an authority that we do not know");
    put_copy("ca.pem", files[0].next);
    until_version(b, 1);
    until_ready(b);
    until_stored(b, topic);
    until_count(c, &count, ++stored);
    put_copy("cert.pem", files[1].next);
    until_note(b, "broker: no client can be made of it: ");
    until_stored(b, topic);
    until_count(c, &count, ++stored);
    allow_all(users[1], topic, group);
    put_copy("key.pem", files[2].next);
    until_version(b, 2);
    forbid_all(users[0], topic, group);
    until_stored(b, topic);
    until_count(c, &count, ++stored);
    until_note(b, "");
    char user[KAFKA_USER + 8];
    kafka_access_user((struct kafka *)b, user);
    assert_string_equal(user, "user CN=next,O=Example");
    consumer_close(c);
    broker_close(b);
    forbid_all(users[1], topic, group);
}

TEST(a_password_that_changes_is_taken_by_clients_as_they_are)
{
    int64_t count = 0, stored = 0;
    char written[128];
    put("password", STR("not the password\n"));
    login("AQUEDUCT_TEST_KAFKA_SASL", SASL_PLAIN, "not the password", NULL);
    property("connections.max.idle.ms", "1000"); /* so that they log in again and again */
    snprintf(written, sizeof written, "${file:%s}", own_file("password"));
    config.sasl.password.written = written;
    const char *topic = make_topic(0), *group = fresh(1);
    allow_all("User:alice", topic, group);
    struct broker *b = open_broker();
    struct consumer *c = join(b, group, topic);
    struct kafka_client *client = ((struct kafka *)b)->client;
    until_not_ready(b, "refuses the login: SASL authentication error");
    put("password", STR("alice-secret\n"));
    until_ready(b);
    until_stored(b, topic);
    until_count(c, &count, ++stored);
    put("password", STR("")); /* is being written */
    until_note(b, "broker.sasl.password: ");
    until_stored(b, topic);
    until_count(c, &count, ++stored);
    put("password", STR("wrong again"));
    until_not_ready(b, "refuses the login: SASL authentication error");
    put("password", STR("alice-secret"));
    until_ready(b);
    until_note(b, "");
    until_stored(b, topic);
    until_count(c, &count, stored + 1);
    assert_ptr_equal(((struct kafka *)b)->client, client);
    consumer_close(c);
    broker_close(b);
    forbid_all("User:alice", topic, group);
}

int main(int argc, char **argv)
{
    if (!getenv("AQUEDUCT_TEST_KAFKA_SASL")) {
        printf("run me through the rig: tests/kafka/rig run --secure -- %s\n", argv[0]);
        return 1;
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    snprintf(prefix, sizeof prefix, "a%d.%lld.", (int)getpid(), (long long)clock_wall_ms());
    snprintf(ca, sizeof ca, "%s/tls.pem", getenv("AQUEDUCT_TEST_KAFKA_DIR"));
    snprintf(here, sizeof here, "/tmp/aqueduct.access.XXXXXX");
    assert_non_null(mkdtemp(here));
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", getenv("AQUEDUCT_TEST_KAFKA"), text, sizeof text);
    admin = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_login_that_is_refused_is_called_so),
        cmocka_unit_test(another_protocol_is_called_so),
        cmocka_unit_test(tls_that_fails_is_called_so),
        cmocka_unit_test(a_certificate_that_is_not_good_is_called_so),
        cmocka_unit_test(a_token_that_nobody_gives_is_called_so),
        cmocka_unit_test(a_server_that_is_not_there_is_called_so),
        cmocka_unit_test(scram_works_or_says_why_it_cannot),
        cmocka_unit_test(a_topic_that_may_not_be_made),
        cmocka_unit_test(a_topic_that_may_not_be_described),
        cmocka_unit_test(successors_that_may_not_write_do_not_spin),
        cmocka_unit_test(a_client_that_may_write_nothing),
        cmocka_unit_test(writing_is_denied_and_granted_again),
        cmocka_unit_test(a_topic_that_may_not_be_described_any_more),
        cmocka_unit_test(a_log_that_may_not_grow_with_its_topic),
        cmocka_unit_test(reading_is_denied_and_granted_again),
        cmocka_unit_test(a_group_is_denied_and_granted_again),
        cmocka_unit_test(what_is_denied_is_logged_once_a_minute),
        cmocka_unit_test(state_that_may_not_be_read_is_named),
        cmocka_unit_test(a_certificate_that_changes_is_taken_by_all_clients),
        cmocka_unit_test(a_key_with_a_password_has_to_fit_a_certificate_that_changes),
        cmocka_unit_test(a_certificate_among_the_properties_that_changes_is_taken_by_all_clients),
        cmocka_unit_test(a_password_that_changes_is_taken_by_clients_as_they_are),
    };
    static const char *const own[] = { "ca.pem", "cert.pem", "key.pem", "password" };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rd_kafka_destroy(admin);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        unlink(own_file(own[i]));
    rmdir(here);
    return failed;
}
