/* SPDX-License-Identifier: MIT */
/* What `aqueduct check` says beyond the configuration's own contradictions: what starting would stumble over on this
 * machine (problems), and what is allowed and probably not meant (warnings). Changes nothing. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/auth/seal.h"
#include "bridge/config/private.h"
#include "bridge/lib/mem.h"
#include "bridge/net/listen.h"
#include "bridge/net/networks.h"
#include "bridge/net/tls.h"
#include "bridge/verify/listener.h"

struct review {
    const struct config *c;
    const struct node *root;
    struct problems *out;
    const struct config_trial *trial; /* NULL: none */
};

struct subject { /* a source, a sink or the admin listener */
    const struct option *rows;
    const void *options;
    const struct node *n; /* NULL: not written */
    const struct where *at;
};

static const char *review_text(const struct subject *s, const char *key)
{
    const struct option *row = option_find(s->rows, key, OPT_STR);
    char *text = NULL;
    if (row)
        memcpy(&text, (const char *)s->options + row->offset, sizeof text);
    return text && *text ? text : NULL;
}

static const struct node *review_node(const struct review *v, const struct subject *s, const char *key)
{
    const struct node *n = node_get(s->n, key);
    return n ? n : s->n ? s->n : v->root;
}

/* ---- files and folders ---- */

/* The folder that holds a path. */
static void review_folder_of(const char *path, char folder[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t n = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    snprintf(folder, PATH_MAX, "%.*s", n ? (int)n : 1, n ? path : ".");
}

/* Can this user make files in it? */
static bool review_folder(const char *folder, struct err *e)
{
    struct stat st;
    if (stat(folder, &st) != 0)
        return err_set(e, "the folder \"%s\": %s", folder, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return err_set(e, "\"%s\" is not a folder", folder);
    return access(folder, W_OK | X_OK) == 0
           || err_set(e, "the folder \"%s\" cannot be written by this user: %s", folder, strerror(errno));
}

static struct str review_plain(const char *path)
{
    struct str s = str_of(path);
    while (str_starts(s, STR("./")))
        s = (struct str){ s.at + 2, s.n - 2 };
    while (s.n > 1 && s.at[s.n - 1] == '/')
        s.n--;
    return s;
}

/* Can this user write the file, or make it? `made`: a folder that is there by then; may be NULL. */
static bool review_own_file(const char *path, const char *made, struct err *e)
{
    struct stat st;
    char folder[PATH_MAX];
    review_folder_of(path, folder);
    if (made && access(folder, F_OK) != 0 && str_eq(review_plain(folder), review_plain(made)))
        return true;
    if (!review_folder(folder, e))
        return false;
    if (lstat(path, &st) != 0)
        return true;
    if (!S_ISREG(st.st_mode))
        return err_set(e, "\"%s\" is not a regular file", path);
    return access(path, R_OK | W_OK) == 0
           || err_set(e, "\"%s\" cannot be written by this user: %s", path, strerror(errno));
}

/* What the broker says about its section begins with the option: "broker.path: ...". */
static void review_broker(const struct review *v)
{
    struct err e;
    const struct node *n = node_get(v->root, "broker");
    bool wrong = !broker_check(&v->c->broker, &e) || !broker_stayed(&v->c->broker, &e);
    if (!wrong && broker_advise(&v->c->broker, &e))
        return;
    const struct node *at = n ? n : v->root;
    const char *option = strchr(e.text, '.');
    for (const struct node *below = n; option && *option == '.' && below;) { /* as far as it is written */
        char key[64];
        size_t length = strcspn(++option, ".:[ ");
        snprintf(key, sizeof key, "%.*s", (int)length, option);
        option += length;
        below = node_get(below, key);
        at = below ? below : at;
    }
    if (wrong)
        problem_at(v->out, at, NULL, "%s", e.text);
    else
        problem_warn(v->out, at, NULL, "%s", e.text);
}

/* ---- listeners ---- */

static void review_tls(const struct review *v, const struct subject *s)
{
    struct err e;
    struct tls_options tls = { .certificate = review_text(s, "tls_certificate"),
                               .key = review_text(s, "tls_key"),
                               .client_ca = review_text(s, "tls_client_ca"),
                               .client_crl = review_text(s, "tls_client_crl") };
    const struct option *client = option_find(s->rows, "tls_client", OPT_ENUM);
    if (client)
        memcpy(&tls.client, (const char *)s->options + client->offset, sizeof tls.client);
    if (tls_check(&tls, &e))
        return;
    char key[64]; /* what it says begins with the option */
    snprintf(key, sizeof key, "%.*s", (int)strcspn(e.text, ": "), e.text);
    problem_at(v->out, review_node(v, s, key), s->at, "%s", e.text);
}

static void review_proxies(const struct review *v, const struct subject *s)
{
    const struct option *row = option_find(s->rows, "trusted_proxies", OPT_STRINGS);
    struct strings proxies = { 0 };
    struct err e;
    if (row)
        memcpy(&proxies, (const char *)s->options + row->offset, sizeof proxies);
    for (size_t i = 0; i < proxies.count; i++)
        if (network_is_doubtful(proxies.at[i], &e))
            problem_warn(v->out, review_node(v, s, "trusted_proxies"),
                         &(struct where){ s->at, STR("trusted_proxies"), 0 }, "%s", e.text);
}

static void review_listener(const struct review *v, const struct subject *s)
{
    struct err e;
    char folder[PATH_MAX];
    const char *listen = review_text(s, "listen");
    struct where at = { .up = s->at, .key = STR("listen") };
    if (!listen)
        return;
    review_tls(v, s);
    review_proxies(v, s);
    if (!listen_is_possible(listen, &e))
        problem_at(v->out, review_node(v, s, "listen"), &at, "%s", e.text);
    if (str_starts(str_of(listen), STR("unix:"))) {
        review_folder_of(listen + strlen("unix:"), folder);
        if (!review_folder(folder, &e))
            problem_at(v->out, review_node(v, s, "listen"), &at, "%s", e.text);
    }
}

/* ---- connectors ---- */

static void review_source(const struct review *v, const struct source *source)
{
    struct where top = { .key = STR("sources") }, at = { .up = &top, .key = str_of(source->id) };
    struct subject s = { source->ops->options, source, node_get(node_get(v->root, "sources"), source->id), &at };
    const char *path = review_text(&s, "path");
    struct faults faults = { v->out, s.n, &at, 0 };
    review_listener(v, &s);
    if (trial_source(v->c, v->trial, source, &faults))
        return;
    if (path && access(path, F_OK) != 0)
        problem_warn(v->out, review_node(v, &s, "path"), &(struct where){ &at, STR("path"), 0 },
                     "\"%s\" is not there (%s): the source waits until it is", path, strerror(errno));
    else if (source->ops->review)
        source->ops->review(source, fault_say, fault_warn, &faults);
}

static void review_sink(const struct review *v, const struct sink *sink)
{
    struct err e;
    struct where top = { .key = STR("sinks") }, at = { .up = &top, .key = str_of(sink->id) };
    struct subject s = { sink->ops->options, sink, node_get(node_get(v->root, "sinks"), sink->id), &at };
    review_listener(v, &s);
    const char *path = sink->ops->dead_letters ? review_text(&s, "path") : NULL;
    if (path && !review_own_file(path, broker_facts(&v->c->broker).own_folder, &e))
        problem_at(v->out, review_node(v, &s, "path"), &(struct where){ &at, STR("path"), 0 }, "%s", e.text);
    else if (sink->ops->review)
        sink->ops->review(sink, fault_say, fault_warn, &(struct faults){ v->out, s.n, &at, 0 });
}

static void review_endpoints(const struct review *v, const struct sink_config *c)
{
    const struct sink *s = c->sink;
    const struct node *n = node_get(node_get(v->root, "sinks"), s->id);
    struct where top = { .key = STR("sinks") }, at = { .up = &top, .key = str_of(s->id) },
                 below = { .up = &at, .key = STR("endpoints") };
    if (!s->ops->endpoints || !s->ops->endpoints->review)
        return;
    if (s->endpoint)
        s->ops->endpoints->review(s, s->endpoint, fault_say, fault_warn, &(struct faults){ v->out, n, &at, 0 });
    for (size_t i = 0; i < c->endpoint_count; i++) {
        const struct endpoint *ep = c->endpoints[i].endpoint;
        struct where one = { .up = &below, .key = str_of(ep->name) };
        struct faults f = { v->out, node_get(node_get(n, "endpoints"), ep->name), &one, 0 };
        s->ops->endpoints->review(s, ep, fault_say, fault_warn, &f);
    }
}

/* How many records of the topic the sink begins with that its group, or that of an earlier name, has no position for. */
static int64_t review_backlog(const struct review *v, const struct sink_config *s, const char *topic)
{
    int64_t least = INT64_MAX;
    for (size_t i = 0; i <= s->formerly.count && least; i++) {
        char *group = str_join(v->c->broker.group_prefix, i ? s->formerly.at[i - 1] : s->sink->id, "");
        int64_t records = broker_backlog(&v->c->broker, group, topic);
        least = records < least ? records : least;
        free(group);
    }
    return least;
}

/* Does a sink that is new begin with what was stored long before it? */
static void review_start(const struct review *v, const struct sink_config *s)
{
    struct where top = { .key = STR("sinks") }, at = { .up = &top, .key = str_of(s->sink->id) };
    const struct node *n = node_get(node_get(v->root, "sinks"), s->sink->id), *start = node_get(n, "start");
    if (s->start != START_EARLIEST || s->sink->ops->broadcast || s->sink->ops->dead_letters)
        return;
    int64_t records = 0;
    for (size_t i = 0; i < s->topics.count; i++)
        records += review_backlog(v, s, s->topics.at[i]);
    if (records)
        problem_warn(v->out, start ? start : n, &(struct where){ &at, STR("start"), 0 },
                     "the sink is new and begins with the %" PRId64
                     " records that its topics hold; start: latest would begin with what comes from now on",
                     records);
}

static void review_dead_letters(const struct review *v)
{
    size_t give_up = 0, keep = 0;
    for (size_t i = 0; i < v->c->sink_count; i++) {
        keep += v->c->sinks[i].sink->ops->dead_letters;
        give_up += !v->c->sinks[i].sink->ops->dead_letters && !v->c->sinks[i].sink->ops->broadcast;
    }
    if (give_up && !keep)
        problem_warn(
            v->out, node_get(v->root, "sinks"), &(struct where){ .key = STR("sinks") },
            "none of type dead_letter: what cannot be delivered stays on the dead-letter topic, where `aqueduct "
            "dead` does not see it");
}

static void review_doubt(void *ctx, const char *text)
{
    fault_warn(ctx, "", text);
}

static void review_token_file(const struct review *v, const struct subject *s, const struct where *at)
{
    struct err e;
    const char *path = v->c->admin.token_file;
    struct token_file *file = path && *path ? token_file_open(path, &e) : NULL;
    if (path && *path && !file)
        problem_at(v->out, review_node(v, s, "token_file"), &(struct where){ at, STR("token_file"), 0 }, "%s", e.text);
    token_file_close(file);
}

/* Without it the bridge runs: what is made at run time has no secrets, or is held. */
static void review_key_file(const struct review *v, const struct subject *s, const struct where *at)
{
    struct err e;
    const char *path = v->c->admin.key_file;
    struct seal_keys *keys = path && *path ? seal_read(path, &e) : NULL;
    if (path && *path && !keys)
        problem_warn(v->out, review_node(v, s, "key_file"), &(struct where){ at, STR("key_file"), 0 }, "%s", e.text);
    seal_free(keys);
}

static void review_admin(const struct review *v)
{
    const struct option *rows = option_find(config_options, "admin", OPT_GROUP)->of;
    const struct admin_config *a = &v->c->admin;
    struct where at = { .key = STR("admin") };
    struct subject s = { rows, a, node_get(v->root, "admin"), &at };
    const char *address = review_text(&s, "listen");
    review_listener(v, &s);
    struct verify_options verify = listener_verify(&a->tokens, &a->verify);
    const struct tls_options tls = admin_tls(a);
    bool asks = (verify_is_set(&verify) && verify_asks(&verify) != ASKS_NOTHING) || tls_demands(&tls)
                || (a->token_file && *a->token_file);
    if (address && !listen_is_private(address) && !asks)
        problem_warn(v->out, review_node(v, &s, "listen"), &(struct where){ &at, STR("listen"), 0 },
                     "others reach %s, and without tokens whoever connects sees metrics and names", address);
    listener_doubts(&a->tokens, &a->verify, clock_wall_ms(), review_doubt, &(struct faults){ v->out, s.n, &at, 0 });
    review_token_file(v, &s, &at);
    review_key_file(v, &s, &at);
}

void config_review(const struct config *c, const struct node *root, const struct config_trial *trial,
                   struct problems *out)
{
    struct review v = { c, root, out, trial };
    if (trial && !trial_check(c, trial, out))
        return;
    review_broker(&v);
    for (size_t i = 0; i < c->source_count; i++)
        review_source(&v, c->sources[i].source);
    for (size_t i = 0; i < c->sink_count; i++) {
        review_sink(&v, c->sinks[i].sink);
        review_endpoints(&v, &c->sinks[i]);
        review_start(&v, &c->sinks[i]);
    }
    review_dead_letters(&v);
    review_admin(&v);
    emitted_review(c, root, out);
}
