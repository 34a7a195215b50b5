/* SPDX-License-Identifier: MIT */
/* Metrics, health and the control socket. */
#include "bridge/admin/admin.h"
#include <curl/curl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/metrics.h"
#include "bridge/net/http/http.h"

enum { PAGE_BYTES = 16 << 20, CONTROL_BYTES = 128 << 20, CONTROL_WAIT_MS = 30000, CONNECTIONS = 64 };

struct admin {
    struct http_server *pages, *control;
    struct broker *broker;
    bool (*ready)(void *ctx, struct err *why);
    void *ctx;
    int stored_fd; /* woken when a control publication is done */
    struct mailbox stored;
};

static void answer(struct http_server *s, const struct http_request *r, int status, const char *type, struct str body)
{
    const struct header headers[] = { { STR("Content-Type"), str_of(type) },
                                      { STR("Cache-Control"), STR("no-store") } };
    http_server_reply(s, r->id, status, headers, 2, body);
}

/* ---- pages ---- */

static void page_metrics(struct admin *a, const struct http_request *r)
{
    struct buf page = buf_new(PAGE_BYTES);
    descriptors_measure();
    metrics_write(&page);
    answer(a->pages, r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&page));
    buf_free(&page);
}

static void page_ready(struct admin *a, const struct http_request *r)
{
    struct err why = { "" };
    bool ready = a->ready(a->ctx, &why);
    char text[sizeof why.text + 16];
    snprintf(text, sizeof text, "%s%s\n", ready ? "ready" : "not ready: ", ready ? "" : why.text);
    answer(a->pages, r, ready ? 200 : 503, "text/plain; charset=utf-8", str_of(text));
}

static void on_page(void *ctx, const struct http_request *r)
{
    struct admin *a = ctx;
    if (!str_eq(r->method, STR("GET")) && !str_eq(r->method, STR("HEAD")))
        answer(a->pages, r, 405, "text/plain", STR("only GET\n"));
    else if (str_eq(r->path, STR("/metrics")))
        page_metrics(a, r);
    else if (str_eq(r->path, STR("/readyz")))
        page_ready(a, r);
    else if (str_eq(r->path, STR("/healthz")))
        answer(a->pages, r, 200, "text/plain; charset=utf-8", STR("ok\n"));
    else
        answer(a->pages, r, 404, "text/plain", STR("there are /metrics, /healthz and /readyz\n"));
}

/* ---- control: a record as JSON, bytes in base64 ---- */

static json_t *json_bytes(struct str s)
{
    if (!s.at)
        return json_null();
    struct buf text = buf_new(CONTROL_BYTES);
    base64_add(&text, s);
    json_t *j = json_stringn(text.at ? text.at : "", text.n);
    buf_free(&text);
    return j;
}

static char *record_to_json(const struct record *r)
{
    json_t *headers = json_array();
    for (size_t i = 0; i < r->header_count; i++)
        json_array_append_new(headers,
                              json_pack("[o,o]", json_bytes(r->headers[i].name), json_bytes(r->headers[i].value)));
    json_t *j = json_pack("{s:s%,s:I,s:o,s:o,s:o}", "topic", r->topic.at, r->topic.n, "timestamp",
                          (json_int_t)r->timestamp_ms, "key", json_bytes(r->key), "value", json_bytes(r->value),
                          "headers", headers);
    char *text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    return text;
}

/* Appends the decoded bytes to `into`, which never moves (it was reserved); false when it is neither null nor base64. */
static bool bytes_of(const json_t *j, struct buf *into, struct str *out)
{
    *out = STR_ABSENT;
    if (json_is_null(j))
        return true;
    size_t start = into->n;
    if (!json_is_string(j) || !base64_decode(into, (struct str){ json_string_value(j), json_string_length(j) }))
        return false;
    *out = (struct str){ into->at + start, into->n - start };
    return true;
}

static void on_stored(void *ctx, uint64_t tag, enum outcome o, const char *why)
{
    struct admin *a = ctx;
    mailbox_put(&a->stored, tag, (int32_t)o, why);
}

static bool control_record(struct admin *a, uint64_t id, const json_t *j, struct buf *bytes)
{
    const json_t *list = json_object_get(j, "headers");
    struct record r = { .partition = -1,
                        .topic = str_of(json_string_value(json_object_get(j, "topic"))),
                        .timestamp_ms = json_integer_value(json_object_get(j, "timestamp")),
                        .header_count = json_array_size(list) };
    if (!r.topic.at || r.header_count > 1000)
        return false;
    struct header *headers = mem_alloc((r.header_count + 1) * sizeof *headers);
    bool ok = bytes_of(json_object_get(j, "key"), bytes, &r.key)
              && bytes_of(json_object_get(j, "value"), bytes, &r.value);
    for (size_t i = 0; ok && i < r.header_count; i++) {
        const json_t *pair = json_array_get(list, i);
        ok = bytes_of(json_array_get(pair, 0), bytes, &headers[i].name)
             && bytes_of(json_array_get(pair, 1), bytes, &headers[i].value);
    }
    r.headers = headers;
    if (ok)
        broker_publish(a->broker, &(struct publication){
                                      .records = &r, .record_count = 1, .done = on_stored, .ctx = a, .tag = id });
    free(headers);
    return ok;
}

static void on_control(void *ctx, const struct http_request *r)
{
    struct admin *a = ctx;
    if (!str_eq(r->method, STR("POST")) || !str_eq(r->path, STR("/publish"))) {
        answer(a->control, r, 404, "text/plain", STR("there is POST /publish\n"));
        return;
    }
    struct buf bytes = buf_new(r->body.n + 1);
    bool room = buf_room(&bytes, r->body.n)
                != NULL; /* decoded bytes are fewer than encoded ones: it never grows, so spans stay */
    json_t *j = json_loadb(r->body.at, r->body.n, 0, NULL);
    if (!j || !room || !control_record(a, r->id, j, &bytes))
        answer(a->control, r, 400, "text/plain", STR("not a record\n"));
    json_decref(j);
    buf_free(&bytes);
}

static void answer_stored(struct admin *a)
{
    struct notice notices[16];
    wake_clear(a->stored_fd);
    for (size_t n; (n = mailbox_take(&a->stored, notices, 16)) > 0;)
        for (size_t i = 0; i < n; i++)
            http_server_reply(a->control, notices[i].tag, notices[i].code == OUTCOME_STORED ? 200 : 503, NULL, 0,
                              str_of(notices[i].why));
}

/* ---- both ---- */

static struct http_server_options server_options(const char *listen, int64_t max_body)
{
    return (struct http_server_options){ .listen = (char *)(uintptr_t)listen,
                                         .max_head = { 16 << 10 },
                                         .max_body = { max_body },
                                         .max_message = { 1024 },
                                         .max_connections = CONNECTIONS };
}

/* The socket's path, beside the log; false where the log has no folder or the path is too long for a socket. */
static bool control_path(const struct config *config, char *out, size_t room)
{
    const char *folder = broker_facts(&config->broker).own_folder;
    if (!folder)
        return false;
    int n = snprintf(out, room, "unix:%s/control", folder);
    return n > 0 && (size_t)n < room && (size_t)n - 5 < sizeof((struct sockaddr_un *)0)->sun_path;
}

struct admin *admin_new(const struct config *config, struct broker *broker, bool (*ready)(void *ctx, struct err *why),
                        void *ctx, struct err *e)
{
    struct admin *a = mem_alloc(sizeof *a);
    char path[256];
    a->broker = broker;
    a->ready = ready;
    a->ctx = ctx;
    a->stored_fd = wake_new();
    descriptors_reserve(2 * (CONNECTIONS + 1));
    mailbox_open(&a->stored, a->stored_fd);
    if (config->admin.listen[0]) {
        struct http_server_options o = server_options(config->admin.listen, 0);
        a->pages = http_server_new(&o, &(struct http_events){ .request = on_page, .ctx = a }, e);
        if (!a->pages) {
            err_prefix(e, "admin.listen");
            goto fail;
        }
        LOG(INFO, "admin listens", LOG_C("listen", config->admin.listen), LOG_INT("port", http_server_port(a->pages)));
    }
    if (control_path(config, path, sizeof path)) {
        struct http_server_options o = server_options(path, CONTROL_BYTES);
        a->control = http_server_new(&o, &(struct http_events){ .request = on_control, .ctx = a }, e);
        if (!a->control)
            goto fail;
    }
    return a;
fail:
    admin_free(a);
    return NULL;
}

void admin_run(struct admin *a, int wake_fd, int wait_ms)
{
    struct pollfd fds[4] = { { .fd = wake_fd, .events = POLLIN },
                             { .fd = a->stored_fd, .events = POLLIN },
                             { .fd = a->pages ? http_server_fd(a->pages) : -1, .events = POLLIN },
                             { .fd = a->control ? http_server_fd(a->control) : -1, .events = POLLIN } };
    poll(fds, 4, wait_ms);
    if (a->pages)
        http_server_run(a->pages, -1, 0);
    if (a->control)
        http_server_run(a->control, -1, 0);
    if (fds[1].revents)
        answer_stored(a);
}

void admin_free(struct admin *a)
{
    if (!a)
        return;
    descriptors_reserve(-2 * (CONNECTIONS + 1));
    http_server_free(a->pages);
    http_server_free(a->control);
    mailbox_close(&a->stored);
    close(a->stored_fd);
    free(a);
}

/* ---- the other side ---- */

static size_t keep_reply(char *data, size_t size, size_t n, void *ctx)
{
    buf_add(ctx, data, size * n);
    return size * n;
}

bool control_publish(const struct config *config, const struct record *r, bool *nobody, struct err *e)
{
    char path[256];
    *nobody = true;
    if (!control_path(config, path, sizeof path))
        return err_set(e, "no control socket for this broker");
    char *body = record_to_json(r);
    struct buf reply = buf_new(sizeof e->text / 2);
    CURL *curl = curl_easy_init();
    long status = 0;
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, path + sizeof "unix:" - 1);
    curl_easy_setopt(curl, CURLOPT_URL, "http://localhost/publish");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)CONTROL_WAIT_MS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_reply);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    *nobody = code == CURLE_COULDNT_CONNECT;
    bool ok = code == CURLE_OK && status == 200;
    if (!ok && code != CURLE_OK)
        err_set(e, "the running daemon does not answer on %s: %s", path, curl_easy_strerror(code));
    else if (!ok)
        err_set(e, "the running daemon did not store it: %.*s", STR_ARG(buf_str(&reply)));
    curl_easy_cleanup(curl);
    buf_free(&reply);
    free(body);
    return ok;
}
