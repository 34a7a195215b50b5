/* SPDX-License-Identifier: MIT */
/* The configuration that the environment says: AQUEDUCT__SECTION__KEY=value for any key, and a small set of plain names
 * that is a whole configuration where there is no file. */
#include <stdlib.h>
#include <strings.h>
#include "bridge/config/environment.h"
#include "bridge/config/private.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/expand.h"

extern char **environ;

enum { ENVIRONMENT_YAML = 2048, ENVIRONMENT_NAME = 128, ENVIRONMENT_SUFFIX = 5 /* _FILE */ };

#define TOPIC "\"${AQUEDUCT_TOPIC:-events}\""

/* @ in their YAML is the variable's value. */
const struct environment_variable environment_variables[] = {
    { .name = "AQUEDUCT_SQLITE_PATH",
      .yaml = "sources: {app: {type: sqlite, path: '@', preset: \"${AQUEDUCT_SQLITE_PRESET:-anythingllm}\"}}",
      .begins = true,
      .doc = "the database of an application, which is watched" },
    { .name = "AQUEDUCT_SQLITE_PRESET", .doc = "which application's it is (anythingllm)" },
    { .name = "AQUEDUCT_SQLITE_START",
      .yaml = "sources: {app: {start: '@'}}",
      .doc = "now, or snapshot: what is there, too" },
    { .name = "AQUEDUCT_SQLITE_CONTENT",
      .yaml = "sources: {app: {content: '@'}}",
      .doc = "of what people write: full, or none" },
    { .name = "AQUEDUCT_HTTP_TOKEN",
      .yaml =
          "sources: {http: {type: http, listen: \"${AQUEDUCT_HTTP_LISTEN:-0.0.0.0:8080}\", paths: [{path: /v1/events, ce_source: any, "
          "verify: {scheme: bearer, secrets: ['@']}}]}}",
      .begins = true,
      .secret = true,
      .doc = "a bearer token with which CloudEvents are posted to /v1/events" },
    { .name = "AQUEDUCT_HTTP_LISTEN", .doc = "where (0.0.0.0:8080)" },
    { .name = "AQUEDUCT_KAFKA_BOOTSTRAP",
      .yaml = "broker: {type: kafka, servers: '@'}",
      .doc = "the brokers of a Kafka; without, events lie in a log of the bridge's own" },
    { .name = "AQUEDUCT_KAFKA_SECURITY_PROTOCOL",
      .yaml = "broker: {properties: {security.protocol: '@'}}",
      .doc = "ssl, sasl_ssl, ..." },
    { .name = "AQUEDUCT_KAFKA_SASL_MECHANISM",
      .yaml = "broker: {properties: {sasl.mechanism: '@'}}",
      .doc = "PLAIN, SCRAM-SHA-512, ..." },
    { .name = "AQUEDUCT_KAFKA_SASL_USERNAME",
      .yaml = "broker: {properties: {sasl.username: '@'}}",
      .doc = "who logs in" },
    { .name = "AQUEDUCT_KAFKA_SASL_PASSWORD",
      .yaml = "broker: {properties: {sasl.password: '@'}}",
      .secret = true,
      .doc = "and his password" },
    { .name = "AQUEDUCT_WEBHOOK_URL",
      .yaml = "sinks: {webhook: {type: webhook, topics: [" TOPIC
              "], url: '@'}, failed: {type: dead_letter, path: \"${AQUEDUCT_DATA:-.}/dead-letters.db\"}}",
      .begins = true,
      .secret = true,
      .doc = "who gets the events; what is given up is a dead letter" },
    { .name = "AQUEDUCT_WEBHOOK_SECRET",
      .yaml = "sinks: {webhook: {secrets: ['@']}}",
      .secret = true,
      .doc = "what signs them (whsec_ and base64); needed, unless AQUEDUCT_WEBHOOK_FOR names who takes them unsigned" },
    { .name = "AQUEDUCT_WEBHOOK_FOR",
      .yaml = "sinks: {webhook: {for: '@'}}",
      .doc = "slack, discord, teams, n8n, ..." },
    { .name = "AQUEDUCT_LIVE_LISTEN",
      .yaml = "sinks: {live: {type: websocket, listen: '@', topics: [" TOPIC "]}}",
      .begins = true,
      .doc = "a live stream of the events (WebSocket, SSE), where" },
    { .name = "AQUEDUCT_LIVE_TOKEN",
      .yaml = "sinks: {live: {tokens: ['@']}}",
      .secret = true,
      .doc = "a token that listeners show; needed where others than this machine can reach it" },
    { .name = "AQUEDUCT_TOPIC", .doc = "the topic of all events (events)" },
    { .name = "AQUEDUCT_DATA", .doc = "the folder of the log (data) and of dead letters (.)" },
    { .name = "AQUEDUCT_ADMIN_LISTEN", .yaml = "admin: {listen: '@'}", .doc = "metrics and health (127.0.0.1:9464)" },
    { .name = "AQUEDUCT_LOG_LEVEL", .yaml = "log: {level: '@'}", .doc = "debug, info, warn, error" },
    { .name = "AQUEDUCT_LOG_FORMAT", .yaml = "log: {format: '@'}", .doc = "logfmt or json" },
    { 0 },
};

/* Read elsewhere. */
static const char *const environment_others[] = { "AQUEDUCT_CONFIG", "AQUEDUCT_PRESETS", "AQUEDUCT_TOKEN", NULL };
/* Of tests, of a cluster that tells a container of a service called aqueduct, of builds. */
static const char *const environment_foreign[] = { "AQUEDUCT_CRASH_AT", "AQUEDUCT_WRONG",       "AQUEDUCT_TEST_",
                                                   "AQUEDUCT_SERVICE_", "AQUEDUCT_PORT",        "AQUEDUCT_BIN",
                                                   "AQUEDUCT_LONG",     "AQUEDUCT_KAFKA_BUILD", NULL };

struct environment { /* one reading */
    struct arena *arena;
    struct node *root;
    struct problems *out;
    bool part;
};

/* ---- the small set ---- */

static const struct environment_variable *environment_find(struct str name);

/* In a tree of the small set's YAML every node is the variable's, and the one that says @ has its value. What nobody wrote
 * is shown as it is in effect: only of a secret, and of what another variable says, the variable's name. */
static void environment_own(struct environment *env, struct node *n, const char *name, const char *value, bool file)
{
    n->file = arena_text(env->arena, str_of(name));
    n->line = n->column = 0;
    bool is_value = n->kind == NODE_SCALAR && str_eq(n->written, STR("@"));
    if (is_value) {
        struct buf text = buf_new(CONFIG_FILE_BYTES);
        buf_printf(&text, file ? "${file:%s}" : "%s", value);
        tree_text(env->arena, n, name, buf_str(&text), env->part, env->out);
        buf_free(&text);
    }
    const struct environment_variable *v = environment_find(str_of(name));
    if (n->kind == NODE_SCALAR && n->text.at && !n->broken && !(is_value && ((v && v->secret) || strstr(value, "${"))))
        n->written = n->text;
    for (size_t i = 0; i < n->count; i++) {
        if (n->at[i].key)
            environment_own(env, n->at[i].key, name, value, file);
        environment_own(env, n->at[i].value, name, value, file);
    }
}

static void environment_merge(struct environment *env, const char *yaml, const char *name, const char *value, bool file)
{
    struct node *n = (env->part ? tree_load_part : tree_load)(env->arena, name, str_of(yaml), env->out);
    if (!n)
        return;
    environment_own(env, n, name, value, file);
    tree_merge(env->arena, env->root, n, env->out);
}

/* Its value, or (*file) the path in NAME_FILE, in which case *name is that; NULL: neither says anything. */
static const char *environment_value(const struct environment_variable *v, char name[ENVIRONMENT_NAME], bool *file)
{
    snprintf(name, ENVIRONMENT_NAME, "%s", v->name);
    const char *value = getenv(name);
    *file = false;
    if ((value && *value) || !v->secret)
        return value && *value ? value : NULL;
    snprintf(name, ENVIRONMENT_NAME, "%s_FILE", v->name);
    value = getenv(name);
    *file = true;
    return value && *value ? value : NULL;
}

static bool environment_begins(void)
{
    char name[ENVIRONMENT_NAME];
    bool file, begins = false;
    for (const struct environment_variable *v = environment_variables; v->name; v++)
        begins = begins || (v->begins && environment_value(v, name, &file));
    return begins;
}

/* Who says what the variable would: nobody who has not set it is blamed by its name. */
static const char *environment_says(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? name : "the environment";
}

static void environment_small_set(struct environment *env)
{
    char name[ENVIRONMENT_NAME];
    bool file;
    for (const struct environment_variable *v = environment_variables; v->name; v++) {
        const char *value = environment_value(v, name, &file);
        if (value && v->yaml)
            environment_merge(env, v->yaml, name, value, file);
    }
    if (!node_get(env->root, "broker") || !node_get(node_get(env->root, "broker"), "type"))
        environment_merge(env, "broker: {type: local, path: \"${AQUEDUCT_DATA:-data}\"}",
                          environment_says("AQUEDUCT_DATA"), "", false);
    environment_merge(env, "routes: [{topic: " TOPIC "}]", environment_says("AQUEDUCT_TOPIC"), "", false);
}

/* ---- any key ---- */

/* AQUEDUCT__SINKS__CRM__URL: each name between two underscores is a key, or the number of a list's entry. */
static void environment_key(struct environment *env, struct str name, const char *value)
{
    const char *file = arena_text(env->arena, name);
    struct str rest = str_from(name, sizeof "AQUEDUCT__" - 1), word = STR_ABSENT;
    struct node *at = env->root, *key = NULL;
    while (at && rest.n) {
        const char *end = memmem(rest.at, rest.n, "__", 2);
        word = end ? (struct str){ rest.at, (size_t)(end - rest.at) } : rest;
        rest = end ? str_from(rest, word.n + 2) : (struct str){ rest.at + rest.n, 0 };
        key = at;
        at = word.n ? tree_below(env->arena, at, file, word) : NULL;
    }
    if (!at && key && key->kind == NODE_LIST && str_to_u64(word, &(uint64_t){ 0 }))
        problem_add(env->out, file, 0, 0, "names entry %.*s of a list that has %zu, so that the next is %zu",
                    SHOWN(word), key->count, key->count);
    else if (!at || !key)
        problem_add(
            env->out, file, 0, 0,
            "names no key: AQUEDUCT__SINKS__CRM__URL is sinks.crm.url, AQUEDUCT__ROUTES__0__TOPIC the topic of the first "
            "route");
    else if (!node_is_null(at) && at->file && strcasecmp(at->file, file) == 0)
        problem_add(env->out, file, 0, 0, "is the same key as %s: leave one of them away", at->file);
    else
        tree_value(env->arena, at, file, str_of(value), env->part, env->out);
}

/* In the order of the alphabet, and numbers, with which entries of a list are named, in theirs. */
static int environment_by_name(const void *a, const void *b)
{
    const char *x = *(const char *const *)a, *y = *(const char *const *)b;
    for (;;) {
        size_t n = strspn(x, "0123456789"), m = strspn(y, "0123456789");
        if (n != m && n && m)
            return n < m ? -1 : 1;
        n = n ? n : 1;
        if (!*x || strncmp(x, y, n) != 0)
            return strcmp(x, y);
        x += n;
        y += n;
    }
}

/* Calls each() with every variable that begins so, sorted. */
static void environment_each(struct environment *env, const char *prefix,
                             void (*each)(struct environment *env, struct str name, const char *value))
{
    size_t count = 0, n = 0;
    for (char **one = environ; one && *one; one++)
        count += str_starts(str_of(*one), str_of(prefix));
    const char **sorted = arena_alloc(env->arena, (count + 1) * sizeof *sorted);
    for (char **one = environ; one && *one && n < count; one++)
        if (str_starts(str_of(*one), str_of(prefix)))
            sorted[n++] = *one;
    qsort(sorted, n, sizeof *sorted, environment_by_name);
    for (size_t i = 0; i < n; i++) {
        struct str rest = str_of(sorted[i]), name;
        if (str_cut(&rest, '=', &name) && rest.at)
            each(env, name, rest.at);
    }
}

bool environment_apply(struct arena *arena, struct node **root, bool part, struct problems *out)
{
    struct environment env = { .arena = arena, .root = *root, .out = out, .part = part };
    if (!env.root) {
        env.root = arena_alloc(arena, sizeof *env.root);
        *env.root = (struct node){ .kind = NODE_MAPPING, .file = "the environment" };
    }
    if (!*root && environment_begins())
        environment_small_set(&env);
    environment_each(&env, "AQUEDUCT__", environment_key);
    if (!*root && env.root->count)
        *root = env.root;
    return *root != NULL;
}

/* ---- what nobody reads ---- */

static bool environment_is_foreign(struct str name)
{
    for (size_t i = 0; environment_foreign[i]; i++)
        if (str_starts(name, str_of(environment_foreign[i])))
            return true;
    for (size_t i = 0; environment_others[i]; i++)
        if (str_eq(name, str_of(environment_others[i])))
            return true;
    return str_starts(name, STR("AQUEDUCT__"));
}

/* Does any scalar say ${NAME? */
static bool environment_is_named(const struct node *n, struct str name)
{
    struct str rest = n->kind == NODE_SCALAR ? n->written : STR_ABSENT;
    for (const char *at; rest.n && (at = memmem(rest.at, rest.n, name.at, name.n));) {
        size_t i = (size_t)(at - rest.at);
        char next = i + name.n < rest.n ? at[name.n] : '\0';
        if (i >= 2 && at[-1] == '{' && at[-2] == '$' && (next == '}' || next == ':'))
            return true;
        rest = str_from(rest, i + 1);
    }
    bool named = false;
    for (size_t i = 0; i < n->count && !named; i++)
        named = environment_is_named(n->at[i].value, name);
    return named;
}

static const struct environment_variable *environment_find(struct str name)
{
    for (const struct environment_variable *v = environment_variables; v->name; v++) {
        struct str known = str_of(v->name);
        bool by_file = v->secret && name.n == known.n + ENVIRONMENT_SUFFIX && str_starts(name, known)
                       && str_eq(str_from(name, known.n), STR("_FILE"));
        if (by_file || str_eq(name, known))
            return v;
    }
    return NULL;
}

/* The first one of its group, which makes the object of which this one is a part; NULL: it is by itself, or that is this one. */
static const struct environment_variable *environment_head(const struct environment_variable *v)
{
    static const char begin[] = "AQUEDUCT_";
    size_t group = sizeof begin + strcspn(v->name + sizeof begin - 1, "_");
    for (const struct environment_variable *o = environment_variables; o != v; o++)
        if (strncmp(o->name, v->name, group) == 0)
            return o->yaml && strstr(o->yaml, "type:") ? o : NULL;
    return NULL;
}

/* What a variable of the small set says, and another one makes useless, or leaves without use. */
static void environment_judge_known(struct environment *env, const struct environment_variable *v,
                                    const struct node *place)
{
    char name[ENVIRONMENT_NAME];
    bool file;
    const struct environment_variable *head = environment_head(v);
    const char *other = strcmp(place->file, v->name) != 0 ? getenv(v->name) : NULL;
    if (other && *other)
        problem_warn(env->out, place, NULL, "has no effect beside %s: leave one of them away", v->name);
    if (env->part && head && !environment_value(head, name, &file))
        problem_warn(env->out, place, NULL, "is of use only with %s: %s", head->name, head->doc);
    if (!env->part && strcmp(v->name, "AQUEDUCT_DATA") != 0)
        problem_warn(env->out, place, NULL,
                     "has no effect beside a configuration file: write ${%s} into the file, or give any key by "
                     "AQUEDUCT__SINKS__CRM__URL",
                     place->file);
}

static void environment_judge(struct environment *env, struct str name, const char *value)
{
    enum { VARIABLES = sizeof environment_variables / sizeof environment_variables[0] };
    const struct environment_variable *v = environment_find(name);
    const char *names[VARIABLES + 4], *file = arena_text(env->arena, name);
    char hint[HINT_TEXT];
    size_t n = 0;
    const struct node place = { .file = file };
    bool ours = v && env->part; /* the small set itself names its variables */
    if (!*value || environment_is_foreign(name) || (!ours && environment_is_named(env->root, name)))
        return;
    if (v) {
        environment_judge_known(env, v, &place);
        return;
    }
    for (const struct environment_variable *one = environment_variables; one->name; one++)
        names[n++] = one->name;
    for (size_t i = 0; environment_others[i]; i++)
        names[n++] = environment_others[i];
    names[n] = NULL;
    problem_warn(env->out, &place, NULL, "is no variable that Aqueduct reads%s", problem_hint(name, names, hint));
}

void environment_review(struct arena *arena, const struct node *root, bool alone, struct problems *out)
{
    struct environment env = { .arena = arena, .root = (struct node *)(uintptr_t)root, .out = out, .part = alone };
    environment_each(&env, "AQUEDUCT_", environment_judge);
}
