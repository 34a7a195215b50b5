/* SPDX-License-Identifier: MIT */
/* The configuration that `aqueduct init` writes. */
#include <stdlib.h>
#include "bridge/cli/init_text.h"
#include "bridge/lib/yaml.h"

/* ---- receivers ---- */

static bool init_has(struct str text, const char *part)
{
    return memmem(text.at, text.n, part, strlen(part)) != NULL;
}

const char *init_receiver(const char *url)
{
    static const struct {
        const char *host_ends, *path_has, *receiver;
    } known[] = {
        { "hooks.slack.com", "/", "slack" },
        { "discord.com", "/api/webhooks/", "discord" },
        { "discordapp.com", "/api/webhooks/", "discord" },
        { "webhook.office.com", "/", "teams" },
        { "logic.azure.com", "/workflows/", "teams" },
        { "api.powerplatform.com", "/workflows/", "teams" },
        { "hooks.zapier.com", "/hooks/", "zapier" },
        { "make.com", "/", "zapier" },
        { "", "/api/v1/prediction/", "flowise" },
        { "", "/webhook/", "n8n" },
        { "", "/webhook-test/", "n8n" },
        { "", "/dagRuns", "airflow" },
    };
    const char *begin = strstr(url, "://");
    if (!begin)
        return NULL;
    struct str rest = str_of(begin + 3), host, port;
    str_cut(&rest, '/', &host);
    str_cut(&host, ':', &port);
    struct str path = rest.at ? (struct str){ rest.at - 1, rest.n + 1 } : STR("/");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_ends(port, str_of(known[i].host_ends)) && init_has(path, known[i].path_has))
            return known[i].receiver;
    return NULL;
}

/* ---- secrets ---- */

bool init_wants(const struct init_plan *p, enum init_secret which)
{
    switch (which) {
    case INIT_TOKEN: return p->http != NULL;
    case INIT_WEBHOOK: return p->url && !p->receiver;
    case INIT_URL: return p->url && p->receiver; /* whoever knows it can post */
    case INIT_CONTENT: return strcmp(p->content, "hash") == 0;
    case INIT_SECRETS: break;
    }
    return false;
}

char *init_secret_file(const struct init_plan *p, enum init_secret which)
{
    static const char *const ends[] = { ".token", ".webhook-secret", ".webhook-url", ".content-key" };
    return str_join(p->stem, ends[which], "");
}

static void init_add_secret(const struct init_plan *p, enum init_secret which, struct buf *out)
{
    char *file = init_secret_file(p, which);
    buf_printf(out, "\"${file:%s}\"", file);
    free(file);
}

/* ---- sections ---- */

/* The name of a file that the daemon makes. */
static void init_add_file(const struct init_plan *p, const char *name, struct buf *out)
{
    char *file = str_join(*p->data ? p->data : "./", name, "");
    if (*p->data)
        yaml_add_text(out, file);
    else
        buf_add_c(out, file);
    free(file);
}

static void init_write_broker(const struct init_plan *p, struct buf *out)
{
    buf_add_c(out, "broker:\n");
    if (p->kafka) {
        buf_add_c(out, "  type: kafka\n  servers: ");
        yaml_add_text(out, p->kafka);
        buf_add_c(out, "\n  # properties: {security.protocol: sasl_ssl, ...}   # any of librdkafka's\n\n");
        return;
    }
    buf_add_c(out,
              "  type: local                   # the topics are a file here; `kafka` with `servers:` for a cluster\n"
              "  path: ");
    init_add_file(p, "data", out);
    buf_add_c(out, "\n\n");
}

static void init_write_sources(const struct init_plan *p, struct buf *out)
{
    buf_add_c(out, "sources:\n");
    if (p->database) {
        buf_printf(out, "  %s:\n    type: sqlite\n    path: ", p->app);
        yaml_add_text(out, p->database);
        buf_printf(
            out,
            "\n    preset: %-18s # what becomes events, and of which type: aqueduct help %s\n"
            "    start: now                 # what happens from the first start on; snapshot: also what is there\n"
            "    content: %-17s # what people wrote: full (as it is), hash, none\n",
            p->app, p->app, p->content);
    }
    if (init_wants(p, INIT_CONTENT)) {
        buf_add_c(out, "    content_key: ");
        init_add_secret(p, INIT_CONTENT, out);
        buf_add_char(out, '\n');
    }
    if (p->http) {
        buf_add_c(
            out,
            "  hooks:                        # what others post: aqueduct help http\n    type: http\n    listen: ");
        yaml_add_text(out, p->http);
        buf_add_c(
            out,
            "\n    paths:\n      - path: /v1/events        # try it: aqueduct send /v1/events --type test.greeting "
            "--data '{\"hello\": \"world\"}'\n        verify: {scheme: bearer, secrets: [");
        init_add_secret(p, INIT_TOKEN, out);
        buf_add_c(out, "]}\n");
    }
    buf_add_c(out, "\nroutes:\n  - topic: ai.events            # without a filter: every event\n\n");
}

static void init_write_webhook(const struct init_plan *p, struct buf *out)
{
    buf_add_c(out, "  hook:                         # posts each event: aqueduct help webhook\n    type: webhook\n"
                   "    topics: [ai.events]\n    url: ");
    if (init_wants(p, INIT_URL))
        init_add_secret(p, INIT_URL, out);
    else
        yaml_add_text(out, p->url);
    if (p->receiver)
        buf_printf(out, "\n    for: %-21s # a body as that takes it\n", p->receiver);
    if (init_wants(p, INIT_WEBHOOK)) {
        buf_add_c(out, "\n    secrets: [");
        init_add_secret(p, INIT_WEBHOOK, out);
        buf_add_c(out, "]   # signs (Standard Webhooks); the receiver verifies with it\n");
    }
    if (p->receiver && strcmp(p->receiver, "airflow") == 0)
        buf_add_c(out,
                  "    # username and password, or headers: {Authorization: \"Bearer ...\"}: aqueduct help airflow\n");
    buf_add_c(out, p->database
                       ? "    # filter: {exact: {type: chat.response.generated}}   # not all: aqueduct help filter\n"
                       : "    # filter: {prefix: {type: test.}}   # not all: aqueduct help filter\n");
}

void init_write(const struct init_plan *p, struct buf *out)
{
    buf_add_c(
        out,
        "# Written by `aqueduct init`. What a key means: aqueduct help KEY; what events come: aqueduct help events.\n"
        "# After a change: aqueduct check, then: aqueduct reload. How it goes: aqueduct status, or /status and /metrics at\n"
        "# http://127.0.0.1:9464/; with the console in a browser there: admin: {console: true}.\n");
    buf_add_c(out, p->kafka && !p->served
                       ? "# With Kafka, reload needs a socket: admin: {control: /run/aqueduct/control}.\n\n"
                       : "\n");
    init_write_broker(p, out);
    init_write_sources(p, out);
    buf_add_c(out, "sinks:\n");
    if (p->url)
        init_write_webhook(p, out);
    buf_add_c(out,
              "  live:                         # streams (WebSocket, SSE) of this machine: aqueduct help websocket\n"
              "    type: websocket\n    listen: ");
    yaml_add_text(out, p->live);
    buf_add_c(
        out, "\n    page: true                  # shows them to a browser that opens the address\n"
             "    topics: [ai.events]\n  failed:                       # what cannot be delivered: aqueduct dead list\n"
             "    type: dead_letter\n    path: ");
    init_add_file(p, "dead-letters.db", out);
    buf_add_c(out, "\n\nadmin:\n  listen: ");
    yaml_add_text(out, p->admin);
    buf_add_c(out, "       # /metrics, /healthz, /readyz\n");
    if (p->kafka && p->served)
        buf_add_c(out, "  control: /run/aqueduct/control       # where `systemctl reload aqueduct` asks\n");
}
