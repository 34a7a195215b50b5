/* SPDX-License-Identifier: MIT */
/* The sections of the configuration: their rows, and how the mappings by name (topics, sources, sinks) are filled. */
#include "bridge/config/private.h"
#include "bridge/event/trail.h"
#include "bridge/lib/mem.h"

enum { DAY_MS = 86400000, HOUR_MS = 3600000, THREADS_MOST = 64 };

static const struct option_value order_values[] = { { ORDER_NONE, "none" }, { ORDER_KEY, "key" }, { 0 } };
static const struct option_value start_values[] = { { START_EARLIEST, "earliest" }, { START_LATEST, "latest" }, { 0 } };
static const struct option_value attempts_values[] = { { ATTEMPTS_FAILURES, "failures" },
                                                       { ATTEMPTS_SAMPLE, "sample" },
                                                       { ATTEMPTS_ALL, "all" },
                                                       { ATTEMPTS_NONE, "none" },
                                                       { 0 } };
static const struct option_value timestamp_values[] = { { TIMESTAMP_EVENT, "event" },
                                                        { TIMESTAMP_STORED, "stored" },
                                                        { 0 } };
static const struct option_value empty_data_values[] = {
    { EMPTY_DATA_NULL, "null_value" }, { EMPTY_DATA_EMPTY, "empty_value" }, { EMPTY_DATA_JSON, "json_null" }, { 0 }
};
static const struct option_value delivery_values[] = { { AT_LEAST_ONCE, "at_least_once" },
                                                       { EXACTLY_ONCE, "exactly_once" },
                                                       { 0 } };
static const struct option_value unrouted_values[] = { { UNROUTED_ERROR, "error" }, { UNROUTED_DROP, "drop" }, { 0 } };
static const struct option_value reload_values[] = { { RELOAD_ON_REQUEST, "on_request" },
                                                     { RELOAD_ON_CHANGE, "on_change" },
                                                     { 0 } };
static const struct option_value level_values[] = {
    { LOG_DEBUG, "debug" }, { LOG_INFO, "info" }, { LOG_WARN, "warn" }, { LOG_ERROR, "error" }, { 0 }
};
static const struct option_value format_values[] = { { LOG_LOGFMT, "logfmt" }, { LOG_JSON, "json" }, { 0 } };

const struct option_value route_encodings[] = { { ENCODING_BINARY, "binary" },
                                                { ENCODING_STRUCTURED, "structured" },
                                                { ENCODING_AVRO, "avro" },
                                                { ENCODING_AVRO_COLUMNS, "avro-columns" },
                                                { ENCODING_JSON_SCHEMA, "json-schema" },
                                                { 0 } };

const struct option source_options[] = {
    OPTION(struct source_config, in_flight, .fallback = "1024", .min = 1, .max = 65536,
           .doc = "Most events taken from the source that are not stored yet."),
    OPTION(
        struct source_config, in_flight_bytes, .fallback = "16MiB", .min = 1024, .max = (int64_t)1 << 34,
        .doc =
            "Most memory of such events, attributes and all; one more event may go beyond. A source that is read in order (sqlite) has one batch instead."),
    OPTION(
        struct source_config, dedupe_size, .fallback = "100000", .min = 0, .max = 10000000,
        .doc =
            "Most event ids that are remembered, so that a repeat is not published twice (sources that can repeat; some 50 bytes each); beyond, the oldest of the path that has most is forgotten, and if it is inside dedupe_window the log and aqueduct_source_ids_forgotten_total say so."),
    OPTION(
        struct source_config, dedupe_window, .fallback = "7d", .max = (int64_t)365 * DAY_MS,
        .doc =
            "How long an event's id is remembered after it was stored, restarts included; later it counts as new. 0: as long as dedupe_size allows."),
    OPTION(
        struct source_config, threads, .fallback = "1", .min = 1, .max = THREADS_MOST,
        .doc =
            "How many threads serve the source. They share its address, the ids that it remembers and its limits; in_flight and in_flight_bytes are divided among them."),
    OPTION(
        struct source_config, delivery, .fallback = "at_least_once", .values = delivery_values,
        .doc =
            "exactly_once (sqlite): events and the source's position go into the topics as one transaction, so that consumers that read what is committed (isolation.level=read_committed) see each event once, whatever dies meanwhile; a second daemon with this source stops the first. kafka: costs some ms a transaction. local: it always is."),
    OPTION(
        struct source_config, transaction, .fallback = "1000", .min = 1, .max = 10000,
        .doc =
            "With delivery: exactly_once, most events in one transaction. It takes those that are there; one alone does not wait for more."),
    { 0 },
};

/* That of Standard Webhooks; and doubling up to an hour, half a day in all. */
static const struct option_word retry_words[] = {
    { "standard", "[5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h]" },
    { "exponential",
      "[1s, 2s, 4s, 8s, 16s, 32s, 64s, 128s, 256s, 512s, 1024s, 2048s, 1h, 1h, 1h, 1h, 1h, 1h, 1h, 1h]" },
    { 0 }
};

#define RETRY_DOC                                                                                                       \
    "The waits between attempts; after the last one the event becomes a dead letter. []: no second attempt. standard: " \
    "5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h; exponential: 1s, 2s, 4s and so on up to 1h, 20 of them."
#define RETRY_JITTER_DOC                                                                                               \
    "Per cent: each wait, that of Retry-After as well, is longer by a random part of it, up to so much."
#define RETRY_FOR_DOC                                                                                                  \
    "Longest time from the first attempt to the last: an event that would be tried again later than that becomes a "   \
    "dead letter, whatever else says how long it waits. 0: no limit."
#define RETRY_ROWS(T)                                                                                                  \
    OPTION(T, retry, .fallback = "[1s, 5s, 30s, 2m, 10m, 1h]", .max = 20, .words = retry_words, .doc = RETRY_DOC),     \
        OPTION(T, retry_jitter, .fallback = "0", .max = 100, .doc = RETRY_JITTER_DOC),                                 \
        OPTION(T, retry_for, .fallback = "0", .max = (int64_t)90 * DAY_MS, .doc = RETRY_FOR_DOC)
#define RETRY_MEMORY_DOC                                                                                               \
    "Waits up to this stay in memory (in at most half of the window), longer ones happen on the broker."
#define ORDER_DOC "key: events with the same record key are delivered one after the other."

#define CIRCUIT_DOC                                                                                                    \
    "When the receiver is evidently down, it gets one attempt now and then; what is due waits, without its attempts."
#define RATE_MOST 1000000

static const struct option circuit_options[] = {
    OPTION(struct circuit_config, failures, .fallback = "0", .max = 10000,
           .doc = "So many failed attempts in a row open the circuit; 0: none do."),
    OPTION(struct circuit_config, share, .fallback = "0", .max = 100,
           .doc = "So many per cent of the last 64 attempts that failed open the circuit; 0: none do."),
    OPTION(struct circuit_config, probe, .fallback = "30s", .min = 10, .max = HOUR_MS,
           .doc = "How long it is from one attempt to the next while the circuit is open, or as long as a longer "
                  "Retry-After says, 10 min at most."),
    { 0 },
};

const struct option sink_options[] = {
    OPTION(struct sink_config, topics, .max = 1000, .doc = "The topics whose events the sink gets."),
    OPTION(struct sink_config, filter,
           .doc = "Which of those events: exact, prefix, suffix, all, any, not. Without it: every one."),
    RETRY_ROWS(struct sink_config),
    OPTION(struct sink_config, retry_memory, .fallback = "30s", .max = 10 * 60000, .doc = RETRY_MEMORY_DOC),
    OPTION(struct sink_config, window, .fallback = "1024", .min = 1, .max = 65536,
           .doc = "Most events on their way at the same time."),
    OPTION(
        struct sink_config, rate, .fallback = "0", .max = RATE_MOST,
        .doc =
            "Most attempts in a second (0.5: one every two seconds; at least 0.00002), to all of its receivers together; 0: no limit. What exceeds it waits."),
    OPTION_GROUP(struct sink_config, circuit, circuit_options, .doc = CIRCUIT_DOC),
    OPTION(struct sink_config, paused, .fallback = "false",
           .doc = "Takes nothing from its topics and sends nothing; it goes on where it stands."),
    OPTION(struct sink_config, order, .fallback = "none", .values = order_values, .doc = ORDER_DOC),
    OPTION(
        struct sink_config, start, .fallback = "earliest", .values = start_values,
        .doc =
            "Where a sink begins that has no position yet: at the oldest event stored, or with what comes from now on."),
    OPTION(
        struct sink_config, attempts, .fallback = "failures", .values = attempts_values,
        .doc =
            "Which attempts the delivery log gets (aqueduct log): the failed ones, those and one success in 100 (sample), all, or none."),
    OPTION(
        struct sink_config, formerly, .max = 20,
        .doc =
            "Earlier names of a sink that was renamed: it goes on where they stood, and takes over what waits for them, in blocked logs (order: key) too."),
    OPTION(
        struct sink_config, threads, .fallback = "1", .min = 1, .max = THREADS_MOST,
        .doc =
            "How many threads serve the sink's listeners. They share its address and its limits; each reads the topics by itself."),
    { 0 },
};

const struct option endpoint_options[] = {
    OPTION(struct endpoint_config, filter, .own = true,
           .doc = "Which of the sink's events the endpoint gets. Without it: every one."),
    RETRY_ROWS(struct endpoint_config),
    OPTION(struct endpoint_config, retry_memory, .fallback = "30s", .max = 10 * 60000, .doc = RETRY_MEMORY_DOC),
    OPTION(
        struct endpoint_config, window, .own = true, .fallback = "64", .min = 1, .max = 65536,
        .doc =
            "How many of its events may take room in the sink's window while others need it; what is above waits on the broker."),
    OPTION(
        struct endpoint_config, rate, .own = true, .fallback = "0", .max = RATE_MOST,
        .doc =
            "Most attempts in a second to this endpoint (0.5: one every two seconds; at least 0.00002); 0: no limit."),
    OPTION_GROUP(struct endpoint_config, circuit, circuit_options, .doc = CIRCUIT_DOC),
    OPTION(struct endpoint_config, paused, .own = true, .fallback = "false",
           .doc = "Gets nothing; its events wait, without attempts."),
    OPTION(struct endpoint_config, order, .fallback = "none", .values = order_values, .doc = ORDER_DOC),
    { 0 },
};

const struct option route_options[] = {
    OPTION(struct route_config, filter,
           .doc = "Which events: exact, prefix, suffix, all, any, not. Without it: every one."),
    OPTION(struct route_config, topic, .required = true, .doc = "The topic that the events go to."),
    OPTION(struct route_config, key,
           .doc = "The attribute whose value becomes the record key. Without it: partitionkey, else the subject."),
    OPTION(
        struct route_config, encoding, .fallback = "binary", .values = route_encodings,
        .doc =
            "binary: attributes as ce_ headers and the data untouched. structured: one JSON object. The others are Confluent's wire format, by a schema in the schema registry (broker.registry). avro-columns: typed columns for the attributes and each path of the vocabulary, beside the data, for SQL and warehouses. avro, json-schema: CloudEvents' own schemas, a map of attributes and the data."),
    OPTION(
        struct route_config, timestamp, .fallback = "event", .values = timestamp_values,
        .doc =
            "kafka: the timestamp of a record, by which stream processors put it in a window. event: the event's time, unless it is in the future or older than half of what the topic keeps (retention.ms): the cluster would delete it too soon. stored: when it was stored."),
    OPTION(
        struct route_config, empty_data, .fallback = "null_value", .values = empty_data_values,
        .doc =
            "binary: the value of a record whose event has no data. null_value: none, as CloudEvents has it; a compacted topic forgets its key, and a consumer must expect it. empty_value: one of zero bytes. json_null: the text null."),
    OPTION(
        struct route_config, tombstones, .max = 100,
        .doc =
            "Types of events after which a compacted topic is to forget the key, such as user.deleted: where they have a key they are stored with a null value, their attributes as ce_ headers, whatever the encoding; what data they have is not stored there."),
    OPTION(struct route_config, also,
           .doc = "Let the events go on to later routes too; otherwise the first match ends the search."),
    { 0 },
};

const struct option topic_options[] = {
    OPTION(
        struct topic_config, partitions, .min = 1, .max = 1024,
        .doc =
            "How many partitions; records of one key stay in one. Without it: one on the local log, on Kafka as the cluster says (num.partitions)."),
    OPTION(
        struct topic_config, retention, .max = INT64_C(36500) * DAY_MS,
        .doc =
            "How long records are kept; 0: for ever. Without it: 7d on the local log, on Kafka as the cluster says."),
    OPTION(struct topic_config, retention_bytes, .doc = "How much of a partition is kept; 0: no limit."),
    OPTION(struct topic_config, retention_strict,
           .doc = "local: remove even what a sink has not finished; what is lost is counted and logged."),
    { 0 },
};

static const struct option_value role_values[] = {
    { ROLE_NONE, "none" }, { ROLE_VIEWER, "viewer" }, { ROLE_OPERATOR, "operator" }, { 0 }
};

static const struct option admin_options[] = {
    OPTION(struct admin_config, listen, .fallback = "127.0.0.1:9464",
           .doc = "Address of /metrics, /status, /healthz and /readyz; \"\": none."),
    OPTION(
        struct admin_config, control, .fallback = "",
        .doc =
            "Path of the control socket, for this user alone; without it `control` in the folder of the local log, and none with Kafka."),
    OPTION(struct admin_config, tokens, .of = named_secret_rows,
           .doc = "Bearer tokens of who may see these pages, except /healthz; without these and `verify`: everybody."),
    OPTION_GROUP(struct admin_config, verify, verify_head_rows,
                 .doc = "Who may see these pages, by other schemes than tokens, or by several of them."),
    OPTION(
        struct admin_config, hosts,
        .doc =
            "Names by which clients reach the listener, besides its address and localhost; the API, and the pages where nobody shows who it is, refuse other names: any site can make a name of its own point here."),
    OPTION(struct admin_config, api, .fallback = "false",
           .doc = "The JSON API at /api/v1, described by /api/v1/openapi.json."),
    OPTION(struct admin_config, audit, .fallback = "false",
           .doc =
               "Each change through the API, and each that was refused, becomes an event on the topic <prefix>audit, "
               "kept for 400 days; a line of the log it is always."),
    OPTION(struct admin_config, console, .fallback = "false", .doc = "The console in the browser at /, with its API."),
    OPTION(
        struct admin_config, token_file,
        .doc =
            "File with tokens for the listener, a line each: viewer NAME TOKEN, or operator NAME TOKEN. It is read again when it changes."),
    OPTION(
        struct admin_config, operators, .max = 1000,
        .doc =
            "Names of those let in by `tokens` or `verify` who may change things through the API; the others may see."),
    OPTION(
        struct admin_config, loopback, .fallback = "viewer", .values = role_values,
        .doc =
            "What clients of this machine may do in the API while there are neither tokens nor `verify`: none, viewer (see), operator (change). `aqueduct console` prints a link with which its user is an operator."),
    OPTION(struct admin_config, session, .fallback = "12h", .min = 60000, .max = 30 * (int64_t)DAY_MS,
           .doc = "How long a login of a browser lasts."),
    OPTION(
        struct admin_config, key_file,
        .doc =
            "File with the key under which the secrets of endpoints that are made at run time are stored (openssl rand -base64 32); of several lines the first one seals, all of them open. Without it such endpoints have no secrets."),
    OPTION(struct admin_config, tls_certificate, .doc = "PEM file with the certificate chain; with tls_key: HTTPS."),
    OPTION(struct admin_config, tls_key, .doc = "PEM file with the certificate's key."),
    OPTION(struct admin_config, tls_client, .values = http_tls_clients, .doc = HTTP_TLS_CLIENT_DOC),
    OPTION(struct admin_config, tls_client_ca, .doc = HTTP_TLS_CA_DOC),
    OPTION(struct admin_config, tls_client_crl, .doc = HTTP_TLS_CRL_DOC),
    { 0 },
};

static const struct option log_options[] = {
    OPTION(struct log_config, level, .fallback = "info", .values = level_values,
           .doc = "The least important lines to write."),
    OPTION(struct log_config, format, .fallback = "logfmt", .values = format_values, .doc = "How a line is written."),
    { 0 },
};

static const struct option traces_options[] = {
    OPTION(
        struct traces_config, endpoint,
        .doc =
            "Where spans go: OTLP over HTTP in JSON, such as https://collector:4318/v1/traces; without it there are none."),
    OPTION(struct traces_config, headers, .doc = "More headers for each request, such as Authorization."),
    OPTION(
        struct traces_config, sample, .fallback = "0.1", .max = 1,
        .doc =
            "Share of the traces that are told of, by their ids, so that all daemons choose the same; an event whose traceparent says whether it is sampled goes by that."),
    OPTION(struct traces_config, service, .fallback = "aqueduct", .doc = "The resource's service.name."),
    OPTION(struct traces_config, ca_file,
           .doc = "PEM file of the authorities that the collector is checked against, instead of the system's."),
    OPTION(struct traces_config, cert_file, .doc = "PEM file of a certificate of our own; its chain behind it."),
    OPTION(struct traces_config, key_file,
           .doc = "PEM file of its key, without a password; default: it stands in cert_file, too."),
    { 0 },
};

/* `topics`, `sources` and `sinks` are mappings by name and are read by code below. */
const struct option config_options[] = {
    OPTION_GROUP(struct config, broker, broker_options, .doc = "The durable log behind the topics."),
    OPTION(struct config, routes, .of = route_options, .of_size = sizeof(struct route_config),
           .doc = "Which events go to which topics; the first match wins."),
    OPTION(struct config, unrouted, .fallback = "error", .values = unrouted_values,
           .doc = "What happens to an event that no route takes: refused as an error, or counted and dropped."),
    OPTION_GROUP(
        struct config, admin, admin_options,
        .doc =
            "The listener for metrics, status and health, and, if asked for, the JSON API, the console and the audit of changes."),
    OPTION_GROUP(struct config, log, log_options, .doc = "The log on standard error."),
    OPTION_GROUP(struct config, traces, traces_options, .doc = "Traces of what happens to events, for OpenTelemetry."),
    OPTION(struct config, drain, .fallback = "10s", .max = HOUR_MS,
           .doc = "How long a graceful stop may take, and at a reload that of what goes or begins anew."),
    OPTION(struct config, reload, .fallback = "on_request", .values = reload_values,
           .doc = "When the configuration is read again: at SIGHUP and aqueduct reload (on_request), or also when its "
                  "files, or those of ${file:...}, change (on_change)."),
    { 0 },
};

/* ---- connectors ---- */

static bool sections_source_type(const struct connectors *connectors, size_t i, struct connector_type *out)
{
    const struct source_ops *ops = connectors->sources[i];
    if (!ops)
        return false;
    CHECK(ops->size >= sizeof(struct source));
    *out = (struct connector_type){ .type = ops->type,
                                    .doc = ops->doc,
                                    .size = ops->size,
                                    .options = ops->options,
                                    .copies = ops->copies,
                                    .ordered = ops->ordered };
    return true;
}

static bool sections_sink_type(const struct connectors *connectors, size_t i, struct connector_type *out)
{
    const struct sink_ops *ops = connectors->sinks[i];
    if (!ops)
        return false;
    CHECK(ops->size >= sizeof(struct sink));
    *out = (struct connector_type){ .type = ops->type,
                                    .doc = ops->doc,
                                    .size = ops->size,
                                    .options = ops->options,
                                    .broadcast = ops->broadcast,
                                    .copies = ops->copies,
                                    .dead_letters = ops->dead_letters,
                                    .endpoints = ops->endpoints };
    return true;
}

const char *sections_no_use(const struct connector_type *t, const char *key)
{
    static const char *const of_broadcast[] = { "topics", "filter", NULL };
    if (strcmp(key, "threads") == 0)
        return t->copies ? NULL : "has one thread";
    if (strcmp(key, "delivery") == 0 || strcmp(key, "transaction") == 0)
        return t->ordered
                   ? NULL
                   : "has no position of its own: who sends to it repeats what was not answered, and dedupe_window makes "
                     "a repeat no second event";
    if (t->dead_letters && strcmp(key, "topics") == 0)
        return "gets the dead letters";
    if (t->dead_letters && strcmp(key, "attempts") == 0)
        return "has no receiver";
    if (t->dead_letters && (strcmp(key, "rate") == 0 || strcmp(key, "circuit") == 0 || strcmp(key, "paused") == 0))
        return "files them as they come";
    if (t->dead_letters && strncmp(key, "retry", 5) == 0)
        return "tries until each is filed";
    for (size_t i = 0; of_broadcast[i]; i++)
        if (strcmp(key, of_broadcast[i]) == 0)
            return NULL;
    return t->broadcast ? "shows what comes and never tries again" : NULL;
}

const struct connector_kind connector_kinds[CONNECTOR_KINDS] = {
    [KIND_SOURCE] = { "source", "sources", source_options, sections_source_type },
    [KIND_SINK] = { "sink", "sinks", sink_options, sections_sink_type },
};

static bool sections_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool sections_is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!sections_is_letter(s.at[i]) && !(i > 0 && (s.at[i] == '-' || s.at[i] == '_')))
            return false;
    return s.n > 0 && s.n <= 63;
}

void name_check(struct fill *f, const struct node *key, const struct where *at)
{
    if (!key->broken && !sections_is_name(key->text))
        problem_at(f->out, key, at,
                   "is not a name: use a-z, 0-9, - and _, beginning with a letter or digit, at most 63 characters");
}

/* Which type of that kind the mapping's `type:` names: its index, or -1 with a problem. */
static int sections_pick_type(const struct connectors *connectors, struct fill *f, const struct connector_kind *kind,
                              const struct node *n, const struct where *at)
{
    enum { TYPES = 64 };
    const char *names[TYPES] = { 0 };
    char hint[HINT_TEXT];
    struct buf list = buf_new(1024);
    struct connector_type t;
    struct where inside = { .up = at, .key = STR("type") };
    const struct node *type = node_get(n, "type");
    int found = -1;
    for (int i = 0; i < TYPES - 1 && kind->type(connectors, (size_t)i, &t); i++) {
        names[i] = t.type;
        buf_printf(&list, "%s%s", i ? ", " : "", t.type);
        if (type && type->kind == NODE_SCALAR && str_eq(type->text, str_of(t.type)))
            found = i;
    }
    if (!type)
        problem_at(f->out, n, &inside, "is missing: one of %.*s", STR_ARG(buf_str(&list)));
    else if (found < 0 && !type->broken)
        problem_at(f->out, type, &inside, "\"%.*s\" is not one of %.*s%s", SHOWN(type->written),
                   STR_ARG(buf_str(&list)), problem_hint(type->text, names, hint));
    buf_free(&list);
    return found;
}

/* Allocates a connector and fills its options, and `core` with the core's own. NULL, with a problem, when its type is
 * not known; *type is the index of its type, *only its only endpoint, if it is of that kind. */
static void *sections_connector(const struct connectors *connectors, struct fill *f, const struct connector_kind *kind,
                                const struct entry *entry, const struct where *up, void *core, int *type,
                                struct endpoint **only)
{
    const char *others[SINK_KEYS];
    struct connector_type t;
    struct where at = { .up = up, .key = entry->key->written };
    name_check(f, entry->key, &at);
    *type = fill_is_mapping(f, entry->value, &at) ? sections_pick_type(connectors, f, kind, entry->value, &at) : -1;
    if (*type < 0)
        return NULL;
    kind->type(connectors, (size_t)*type, &t);
    void *connector = arena_alloc(f->arena, t.size);
    struct fill_target targets[] = { { kind->core, core, NULL }, { t.options, connector, NULL }, { 0 } };
    *only = endpoints_only(f, &t, entry->value, &targets[2]);
    endpoints_keys(&t, entry->value, others);
    fill_mapping(f, entry->value, targets, *only ? 3 : 2, others, &at);
    return connector;
}

static void sections_source(const struct connectors *connectors, struct fill *f, struct config *c,
                            const struct entry *entry, const struct where *up)
{
    int type;
    struct endpoint *none;
    struct source_config *s = &c->sources[c->source_count];
    s->source = sections_connector(connectors, f, &connector_kinds[KIND_SOURCE], entry, up, s, &type, &none);
    if (!s->source)
        return;
    s->source->ops = connectors->sources[type];
    s->source->id = arena_text(f->arena, entry->key->text);
    c->source_count++;
}

static void sections_sink(const struct connectors *connectors, struct fill *f, struct config *c,
                          const struct entry *entry, const struct where *up)
{
    int type;
    struct endpoint *only;
    struct connector_type t;
    struct sink_config *s = &c->sinks[c->sink_count];
    s->sink = sections_connector(connectors, f, &connector_kinds[KIND_SINK], entry, up, s, &type, &only);
    if (!s->sink)
        return;
    s->sink->ops = connectors->sinks[type];
    s->sink->id = arena_text(f->arena, entry->key->text);
    s->sink->endpoint = only;
    s->written = entry->value;
    if (only)
        only->rate = s->rate;
    sections_sink_type(connectors, (size_t)type, &t);
    endpoints_fill(f, &t, s, entry->value, &(struct where){ .up = up, .key = entry->key->written });
    c->sink_count++;
}

/* The source of a sink whose receivers bring events. The core's own rows have their defaults. */
static void sections_inward(struct fill *f, struct config *c, struct sink *s, const struct node *n,
                            const struct where *up)
{
    static const struct node nothing = { .kind = NODE_MAPPING };
    struct where at = { .up = up, .key = str_of(s->id) };
    for (size_t i = 0; i < c->source_count; i++)
        if (strcmp(c->sources[i].source->id, s->id) == 0) {
            problem_at(f->out, n, &at, "brings events in, so it needs another name than sources.%s", s->id);
            return;
        }
    struct source_config *in = &c->sources[c->source_count++];
    fill_mapping(f, &nothing, &(struct fill_target){ source_options, in, NULL }, 1, NULL, &at);
    in->source = arena_alloc(f->arena, s->ops->inward->size);
    *in->source = (struct source){ .ops = s->ops->inward, .id = s->id, .sink = s };
    s->inward = in->source;
}

/* ---- topics ---- */

static void sections_topic(struct fill *f, struct config *c, const struct entry *entry, const struct where *up)
{
    struct where at = { .up = up, .key = entry->key->written };
    if (!entry->key->broken && !topic_name_ok(entry->key->text))
        problem_at(f->out, entry->key, &at,
                   "is not a topic name: use letters, digits, . _ and -, at most 249 characters");
    if (!fill_is_mapping(f, entry->value, &at))
        return;
    struct topic_config *topic = (struct topic_config *)c->topics.at + c->topics.count++;
    topic->name = arena_text(f->arena, entry->key->text);
    fill_mapping(f, entry->value, &(struct fill_target){ topic_options, topic, NULL }, 1, NULL, &at);
    if (!node_get(entry->value, "retention"))
        topic->retention.ms = RETENTION_UNSAID;
}

/* ---- the whole ---- */

/* The mapping of a section that is read by name; NULL when it is not there, empty or wrong. */
static const struct node *sections_mapping(struct fill *f, const struct node *root, const char *name, struct where *at)
{
    *at = (struct where){ .key = str_of(name) };
    const struct node *n = node_get(root, name);
    return n && fill_is_mapping(f, n, at) && n->kind == NODE_MAPPING ? n : NULL;
}

static void sections_by_name(const struct connectors *connectors, struct fill *f, struct config *c,
                             const struct node *root)
{
    struct where at;
    const struct node *n = sections_mapping(f, root, "topics", &at);
    c->topics.at = arena_alloc(f->arena, (n ? n->count : 0) * sizeof(struct topic_config));
    for (size_t i = 0; n && i < n->count; i++)
        sections_topic(f, c, &n->at[i], &at);
    const struct node *sinks = sections_mapping(f, root, "sinks", &at);
    n = sections_mapping(f, root, "sources", &at);
    c->sources = arena_alloc(f->arena, ((n ? n->count : 0) + (sinks ? sinks->count : 0)) * sizeof *c->sources);
    for (size_t i = 0; n && i < n->count; i++)
        sections_source(connectors, f, c, &n->at[i], &at);
    n = sections_mapping(f, root, "sinks", &at);
    c->sinks = arena_alloc(f->arena, (n ? n->count : 0) * sizeof *c->sinks);
    for (size_t i = 0; n && i < n->count; i++)
        sections_sink(connectors, f, c, &n->at[i], &at);
    for (size_t i = 0; i < c->sink_count; i++) {
        struct sink *s = c->sinks[i].sink;
        if (s->ops->inward && s->ops->brings(s))
            sections_inward(f, c, s, node_get(n, s->id), &at);
    }
}

/* Keys that begin with x- are the user's own: a place for anchors. */
static void sections_drop_own_keys(struct node *root)
{
    size_t kept = 0;
    for (size_t i = 0; i < root->count; i++)
        if (!str_starts(root->at[i].key->text, STR("x-")))
            root->at[kept++] = root->at[i];
    root->count = kept;
}

void sections_fill(const struct connectors *connectors, struct config *c, struct node *root, struct problems *out)
{
    static const char *const by_name[] = { "topics", "sources", "sinks", NULL };
    struct fill f = { c->arena, out, &c->view };
    sections_drop_own_keys(root);
    fill_mapping(&f, root, &(struct fill_target){ config_options, c, NULL }, 1, by_name, NULL);
    sections_by_name(connectors, &f, c, root);
}
