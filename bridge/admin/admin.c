/* SPDX-License-Identifier: MIT */
/* The pages' listener, and the control socket's side of the daemon. */
#include "bridge/admin/admin.h"
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/admin/errands.h"
#include "bridge/admin/history.h"
#include "bridge/admin/pages.h"
#include "bridge/admin/wire.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "bridge/verify/listener.h"

enum { CONNECTIONS = 64, /* of each listener */ ACCOUNT_BYTES = 64 << 20 };

struct admin {
    struct pages pages;           /* its server is NULL when there is no `admin.listen` */
    struct verify_options verify; /* of those */
    struct http_server *control;  /* NULL: this broker needs none */
    struct access *access;        /* of the pages, when their listener has the API; else NULL */
    struct api *api;
    const struct config *follow; /* what the API is to be about */
    struct history *history;
    struct errands *errands;
    struct broker *broker;
    int stored_fd; /* woken when a control publication is done */
    struct mailbox stored;
    const struct config *config; /* of the pages */
    unsigned opened;             /* how often they were */
    bool idle;                   /* the main thread waits for something else (admin_idle) */
};

/* ---- control ---- */

static void admin_refuse(struct admin *a, const struct http_request *r, int status, struct str text)
{
    http_server_reply(a->control, r->id, status, &(struct header){ STR("Content-Type"), STR("text/plain") }, 1, text);
}

static void admin_stored(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct admin *a = ctx;
    mailbox_put(&a->stored, tag, (int32_t)o, why);
}

/* Publishes the records in the request; admin_answer_stored answers. */
static void admin_publish(struct admin *a, const struct http_request *r)
{
    struct wire_records w;
    if (wire_read(r->body, &w))
        broker_publish(a->broker,
                       &(struct publication){
                           .records = w.at, .record_count = w.count, .done = admin_stored, .ctx = a, .tag = r->id });
    else
        admin_refuse(a, r, 400, STR("not a record\n"));
    wire_free(&w);
}

/* A group is owed nothing more of a topic. */
static void admin_forget(struct admin *a, const struct http_request *r)
{
    struct wire_owed w;
    struct err e = { "" };
    if (!wire_read_owed(r->body, &w))
        admin_refuse(a, r, 400, STR("not a group and a topic\n"));
    else if (broker_forget(a->broker, w.group, w.topic, &e))
        admin_refuse(a, r, 200, STR(""));
    else
        admin_refuse(a, r, 503, str_of(e.text));
    wire_free_owed(&w);
}

static void admin_control(void *ctx, const struct http_request *r)
{
    struct admin *a = ctx;
    bool post = str_eq(r->method, STR("POST"));
    if (api_takes(a->api, r->path))
        api_request(a->api, a->control, r, true);
    else if (str_eq(r->method, STR("GET")) && str_eq(r->path, STR("/status")))
        pages_status(&a->pages, a->control, r);
    else if (str_eq(r->method, STR("GET")) && str_eq(r->path, STR("/readyz")))
        pages_ready(&a->pages, a->control, r);
    else if (post && str_eq(r->path, STR("/publish")))
        admin_publish(a, r);
    else if (post && str_eq(r->path, STR("/forget")))
        admin_forget(a, r);
    else
        admin_refuse(a, r, 404, STR("there are POST /publish, POST /forget, GET /status and GET /readyz\n"));
}

/* The HTTP status for what became of a publication. */
static int admin_status(enum outcome o)
{
    switch (o) {
    case OUTCOME_STORED: return 200;
    case OUTCOME_INVALID: return 422;
    case OUTCOME_CONFLICT: return 409;
    case OUTCOME_UNAVAILABLE: return 503;
    }
    return 500;
}

static void admin_answer_stored(struct admin *a)
{
    struct notice notices[16];
    wake_clear(a->stored_fd);
    for (size_t n; (n = mailbox_take(&a->stored, notices, 16)) > 0;)
        for (size_t i = 0; i < n; i++)
            http_server_reply(a->control, notices[i].tag, admin_status((enum outcome)notices[i].code), NULL, 0,
                              str_of(notices[i].why));
}

static bool admin_control_head(void *ctx, const struct http_request *r, int64_t *max_body)
{
    struct admin *a = ctx;
    return !api_takes(a->api, r->path) || api_head(a->api, a->control, r, true, max_body);
}

/* ---- the pages, and the API ---- */

/* Has it to be answered although the main thread waits for something else? False: it is answered, with 503. */
static bool admin_may_now(struct admin *a, const struct http_request *r)
{
    if (!a->idle || str_eq(r->path, STR("/healthz")))
        return true;
    const struct header headers[] = { { STR("Content-Type"), STR("text/plain; charset=utf-8") },
                                      { STR("Retry-After"), STR("1") } };
    http_server_reply(a->pages.server, r->id, 503, headers, 2,
                      STR("the bridge waits for what it stops: ask again in a moment\n"));
    return false;
}

static bool admin_page_head(void *ctx, const struct http_request *r, int64_t *max_body)
{
    struct admin *a = ctx;
    *max_body = 0;
    if (!admin_may_now(a, r))
        return false;
    return !a->access || !api_takes(a->api, r->path) || api_head(a->api, a->pages.server, r, false, max_body);
}

static void admin_page(void *ctx, const struct http_request *r)
{
    struct admin *a = ctx;
    if (!admin_may_now(a, r))
        return;
    if (a->access && api_takes(a->api, r->path))
        api_request(a->api, a->pages.server, r, false);
    else
        pages_answer(&a->pages, r);
}

/* ---- both listeners ---- */

static struct http_server *admin_listen(const struct admin_config *how, int64_t max_body,
                                        const struct http_events *events, struct err *e)
{
    const struct http_server_options o = { .listen = how->listen,
                                           .tls_certificate = how->tls_certificate,
                                           .tls_key = how->tls_key,
                                           .tls_client_ca = how->tls_client_ca,
                                           .tls_client_crl = how->tls_client_crl,
                                           .tls_client = how->tls_client,
                                           .max_head = { 16 << 10 },
                                           .max_body = { max_body },
                                           .max_message = { 1024 },
                                           .max_connections = CONNECTIONS,
                                           .reserved = true };
    return http_server_new(&o, events, e);
}

static bool admin_open_verifier(struct admin *a, const struct admin_config *how, struct err *e)
{
    a->verify = listener_verify(&how->tokens, &how->verify);
    a->pages.by_tokens = how->tokens.count > 0;
    if (!verify_is_set(&a->verify))
        return true;
    a->pages.verify = &a->verify;
    a->pages.verifier = verifier_new(&a->verify, e);
    if (!a->pages.verifier)
        return err_prefix(e, "admin");
    verifier_start(a->pages.verifier);
    return true;
}

/* Who may use the API; the pages are for those as well. */
static bool admin_open_access(struct admin *a, const struct admin_config *how, struct err *e)
{
    if (!admin_has_api(how) && !(how->token_file && how->token_file[0]))
        return true;
    struct access *access = access_new(how, a->pages.verifier, &a->verify, e);
    a->pages.access = access;
    a->access = admin_has_api(how) ? access : NULL;
    return access;
}

static bool admin_open_pages(struct admin *a, const struct admin_config *how, struct err *e)
{
    const char *listen = how->listen;
    if (!admin_open_verifier(a, how, e))
        return false;
    a->pages.hosts = str_starts(str_of(listen), STR("unix:")) ? NULL : &how->hosts;
    if (!admin_open_access(a, how, e))
        return false;
    const struct http_events events = {
        .head = admin_page_head, .request = admin_page, .writable = api_writable, .closed = api_closed, .ctx = a
    };
    a->pages.server = admin_listen(how, a->access ? API_BODY : 0, &events, e);
    if (!a->pages.server)
        return err_prefix(e, "admin.listen");
    if (a->access)
        access_listens(a->access, http_server_port(a->pages.server));
    LOG(INFO, "admin listens", LOG_C("listen", listen), LOG_INT("port", http_server_port(a->pages.server)));
    return true;
}

struct admin *admin_new(const struct config *config, struct broker *broker, struct roster *roster,
                        const struct admin_questions *ask, struct err *e)
{
    struct admin *a = mem_alloc(sizeof *a);
    char path[WIRE_PATH];
    a->broker = broker;
    a->config = config;
    a->pages.ready = ask->ready;
    a->pages.account = ask->account;
    a->pages.gather = ask->gather;
    a->pages.ctx = ask->ctx;
    a->stored_fd = wake_new();
    mailbox_open(&a->stored, a->stored_fd);
    descriptors_reserve(2 * (CONNECTIONS + 1));
    bool ok = !config->admin.listen[0] || admin_open_pages(a, &config->admin, e);
    if (ok && wire_path(config, path)) {
        const struct http_events events = { .head = admin_control_head,
                                            .request = admin_control,
                                            .writable = api_writable,
                                            .closed = api_closed,
                                            .ctx = a };
        a->control = admin_listen(&(struct admin_config){ .listen = path }, WIRE_BYTES, &events, e);
        ok = a->control != NULL;
    }
    a->history = history_new();
    a->errands = errands_new();
    a->follow = config;
    a->api = api_new(&(struct api_home){ config, broker, *ask, a->access, a->history, roster, a->errands });
    if (ok)
        return a;
    admin_free(a);
    return NULL;
}

static void admin_close_pages(struct admin *a)
{
    http_server_free(a->pages.server);
    access_free(a->pages.access);
    verifier_free(a->pages.verifier);
    a->pages.server = NULL;
    a->pages.access = a->access = NULL;
    a->pages.verifier = NULL;
}

static bool admin_reopen_pages(struct admin *a, const struct config *config, struct err *e)
{
    admin_close_pages(a);
    a->config = config;
    a->opened++;
    return !config->admin.listen[0] || admin_open_pages(a, &config->admin, e);
}

bool admin_change(struct admin *a, const struct config *config, struct err *e)
{
    const struct config *before = a->config;
    struct err again = { "" };
    errands_finish(a->errands); /* what was asked of this listener is answered on it */
    if (api_is_busy(a->api))
        return err_set(e, "admin cannot change while the API works (GET /api/v1/jobs): reload when that is through");
    bool ok = admin_reopen_pages(a, config, e);
    if (!ok && !admin_reopen_pages(a, before, &again))
        LOG(ERROR, "the admin listener cannot be opened again", LOG_C("reason", again.text));
    api_follow(a->api, ok ? config : api_config(a->api), a->access);
    return ok;
}

bool admin_uses(const struct admin *a, const struct config *config)
{
    return a->config == config || api_config(a->api) == config;
}

void admin_follow(struct admin *a, const struct config *config)
{
    a->follow = config;
}

/* The API is about the configuration that holds as soon as nobody uses another one. */
static void admin_catch_up(struct admin *a)
{
    if (api_config(a->api) != a->follow && !api_is_busy(a->api))
        api_follow(a->api, a->follow, a->access);
}

unsigned admin_opened(const struct admin *a)
{
    return a->opened;
}

/* A point of the last hour, when it is time. */
static void admin_remember(struct admin *a)
{
    int64_t now = clock_mono_ms();
    if (!a->access || !history_due(a->history, now))
        return;
    struct buf out = buf_new(ACCOUNT_BYTES);
    a->pages.account(a->pages.ctx, &(struct account_question){ 0 }, &out);
    json_t *account = out.failed ? NULL : json_loadb(out.at, out.n, 0, NULL);
    history_take(a->history, account, now, clock_wall_ms());
    json_decref(account);
    buf_free(&out);
}

void admin_idle(struct admin *a)
{
    a->idle = true;
    if (a->pages.server)
        http_server_run(a->pages.server, -1, 0);
    a->idle = false;
}

void admin_run(struct admin *a, int wake_fd, int wait_ms)
{
    struct http_server *pages = a->pages.server;
    int more[API_FDS];
    api_fds(a->api, more);
    struct pollfd fds[] = { { .fd = wake_fd, .events = POLLIN },
                            { .fd = a->stored_fd, .events = POLLIN },
                            { .fd = pages ? http_server_fd(pages) : -1, .events = POLLIN },
                            { .fd = a->control ? http_server_fd(a->control) : -1, .events = POLLIN },
                            { .fd = errands_fd(a->errands), .events = POLLIN },
                            { .fd = more[0], .events = POLLIN },
                            { .fd = more[1], .events = POLLIN } };
    poll(fds, sizeof fds / sizeof *fds, wait_ms);
    if (a->pages.verifier)
        verifier_refresh(a->pages.verifier, "admin");
    if (a->pages.access)
        access_turn(a->pages.access);
    admin_catch_up(a);
    admin_remember(a);
    api_idle(a->api);
    if (pages)
        http_server_run(pages, -1, 0);
    if (a->control)
        http_server_run(a->control, -1, 0);
    if (fds[1].revents)
        admin_answer_stored(a);
    if (fds[4].revents)
        errands_serve(a->errands);
    if (fds[5].revents || fds[6].revents)
        api_turn(a->api);
}

void admin_stop(struct admin *a)
{
    api_stop(a->api);
}

void admin_free(struct admin *a)
{
    if (!a)
        return;
    descriptors_reserve(-2 * (CONNECTIONS + 1));
    errands_free(a->errands);
    admin_close_pages(a);
    http_server_free(a->control);
    api_free(a->api);
    history_free(a->history);
    mailbox_close(&a->stored);
    close(a->stored_fd);
    free(a);
}
