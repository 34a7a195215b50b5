/* SPDX-License-Identifier: MIT */
/* One request to the running daemon. */
#include "bridge/admin/control_client.h"
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/admin/wire.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "bridge/verify/listener.h"
#include "bridge/verify/show.h"

enum {
    CONTROL_WAIT_MS = 30000,
    CONTROL_READY_MS = 5000,
    SHOWN_BYTES = 4096,
};

static size_t control_keep(char *data, size_t size, size_t n, void *ctx)
{
    buf_add(ctx, data, size * n);
    return size * n;
}

/* Posts the body to the socket; *status is the answer's, its body goes to *reply. */
static CURLcode control_post(const char *socket_path, const char *path, const char *body, long *status,
                             struct buf *reply)
{
    CURL *curl = curl_easy_init();
    char *url = str_join("http://localhost", path, "");
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)CONTROL_WAIT_MS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, control_keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    curl_easy_cleanup(curl);
    free(url);
    return code;
}

/* What became of it, with *e unless it was done; `body` is freed. */
static enum outcome control_order(const struct config *config, const char *path, char *body, bool *nobody,
                                  struct err *e)
{
    char socket[WIRE_PATH];
    long status = 0;
    *nobody = true;
    if (!wire_path(config, socket)) {
        free(body);
        err_set(e, "no control socket for this broker");
        return OUTCOME_UNAVAILABLE;
    }
    struct buf reply = buf_new(sizeof e->text / 2);
    CURLcode code = control_post(socket + sizeof "unix:" - 1, path, body, &status, &reply);
    *nobody = code == CURLE_COULDNT_CONNECT;
    if (code != CURLE_OK)
        err_set(e, "the running daemon does not answer on %s: %s", socket, curl_easy_strerror(code));
    else if (status != 200)
        err_set(e, "the running daemon did not do it: %.*s", STR_ARG(buf_str(&reply)));
    buf_free(&reply);
    free(body);
    return code == CURLE_OK && status == 200 ? OUTCOME_STORED : status == 422 ? OUTCOME_INVALID : OUTCOME_UNAVAILABLE;
}

enum outcome control_publish(const struct config *config, const struct record *records, size_t count, bool *nobody,
                             struct err *e)
{
    return control_order(config, "/publish", wire_write(records, count), nobody, e);
}

bool control_forget(const struct config *config, const char *group, const char *topic, bool *nobody, struct err *e)
{
    return control_order(config, "/forget", wire_write_owed(group, topic), nobody, e) == OUTCOME_STORED;
}

/* ---- the account ---- */

static void control_to_socket(CURL *curl, const char *path)
{
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, path);
}

/* Where to ask for what `listen` serves: every address becomes the loopback's. */
static void control_url(const struct admin_config *admin, const char *path, struct buf *url)
{
    struct str listen = str_of(admin->listen);
    bool socket = str_starts(listen, STR("unix:"));
    buf_add_c(url, admin->tls_certificate && admin->tls_certificate[0] ? "https://" : "http://");
    if (socket)
        buf_add_c(url, "localhost");
    else if (str_starts(listen, STR("0.0.0.0:")))
        buf_printf(url, "127.0.0.1:%s", admin->listen + sizeof "0.0.0.0:" - 1);
    else if (str_starts(listen, STR("[::]:")))
        buf_printf(url, "[::1]:%s", admin->listen + sizeof "[::]:" - 1);
    else
        buf_add_str(url, listen);
    buf_add_c(url, path);
}

/* Its certificate is known, so nothing else needs to be: the name in it is rarely that of the loopback. */
static void control_trust(CURL *curl, const struct admin_config *admin)
{
    if (!admin->tls_certificate || !admin->tls_certificate[0])
        return;
    curl_easy_setopt(curl, CURLOPT_CAINFO, admin->tls_certificate);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    const struct tls_options tls = admin_tls(admin);
    if (!tls_demands(&tls))
        return;
    curl_easy_setopt(curl, CURLOPT_SSLCERT, admin->tls_certificate); /* its own, if tls_client_ca takes it */
    curl_easy_setopt(curl, CURLOPT_SSLKEY, admin->tls_key);
}

/* Shows what the listener asks for: header lines to the request, parameters to the URL, whose query is there already or not. */
static struct curl_slist *control_show(CURL *curl, const struct admin_config *admin, struct buf *url)
{
    struct verify_options o = listener_verify(&admin->tokens, &admin->verify);
    struct buf lines = buf_new(SHOWN_BYTES), query = buf_new(SHOWN_BYTES);
    struct curl_slist *headers = NULL;
    struct str rest, line;
    if (verify_is_set(&o) && verify_show(&o, clock_wall_ms(), &lines, &query)) {
        rest = buf_str(&lines);
        while (str_cut(&rest, '\n', &line) && line.n) {
            lines.at[line.at + line.n - lines.at] = '\0';
            headers = curl_slist_append(headers, line.at);
        }
        if (query.n)
            buf_printf(url, "%c%.*s", memchr(url->at, '?', url->n) ? '&' : '?', STR_ARG(buf_str(&query)));
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    crypto_wipe_buf(&lines);
    crypto_wipe_buf(&query);
    return headers;
}

/* `at`: the socket's path; NULL: what admin.listen says. */
static bool control_ask(const struct config *config, const char *at, const struct control_call *call, long *status,
                        struct buf *out, bool *nobody, struct err *e)
{
    struct buf url = buf_new(8192);
    char shown[256] = ""; /* the URL without a secret that its query may have */
    char match[48];
    struct curl_slist *headers = NULL;
    CURL *curl = curl_easy_init();
    if (at) {
        control_to_socket(curl, at);
        buf_printf(&url, "http://localhost%s", call->path);
    } else {
        control_url(&config->admin, call->path, &url);
        if (str_starts(str_of(config->admin.listen), STR("unix:")))
            control_to_socket(curl, config->admin.listen + sizeof "unix:" - 1);
        control_trust(curl, &config->admin);
        snprintf(shown, sizeof shown, "%s", buf_c(&url));
        headers = control_show(curl, &config->admin, &url);
    }
    if (call->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body);
        headers = curl_slist_append(headers, "Content-Type: application/json");
    }
    snprintf(match, sizeof match, "If-Match: \"%" PRId64 "\"", call->version);
    if (call->version)
        headers = curl_slist_append(headers, match);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    curl_easy_setopt(curl, CURLOPT_URL, buf_c(&url));
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, call->wait_ms ? (long)call->wait_ms : (long)CONTROL_WAIT_MS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, control_keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
    *nobody = code == CURLE_COULDNT_CONNECT;
    if (code != CURLE_OK)
        err_set(e, "no answer on %s: %s", at ? at : shown, curl_easy_strerror(code));
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    buf_free(&url);
    return code == CURLE_OK && !out->failed;
}

static bool control_get(const struct config *config, const char *at, const char *query, struct buf *out, bool *nobody,
                        struct err *e)
{
    long status = 0;
    char *path = str_join("/status", query, "");
    bool ok = control_ask(config, at, &(struct control_call){ .method = "GET", .path = path }, &status, out, nobody, e);
    free(path);
    return ok
           && (status == 200
               || err_set(e, "%s answered %ld: %.*s", at ? at : config->admin.listen, status,
                          (int)(out->n < 200 ? out->n : 200), out->at ? out->at : ""));
}

bool control_call(const struct config *config, const struct control_call *call, long *status, struct buf *out,
                  bool *nobody, struct err *e)
{
    char path[WIRE_PATH];
    *nobody = true;
    if (wire_path(config, path))
        return control_ask(config, path + sizeof "unix:" - 1, call, status, out, nobody, e);
    if (admin_has_api(&config->admin))
        return control_ask(config, NULL, call, status, out, nobody, e);
    return err_set(
        e,
        "with this broker the running daemon is asked through its API: say admin.api: true, or name a socket in admin.control");
}

bool control_status(const struct config *config, const char *query, struct buf *out, bool *nobody, struct err *e)
{
    char path[WIRE_PATH];
    *nobody = true;
    if (wire_path(config, path))
        return control_get(config, path + sizeof "unix:" - 1, query, out, nobody, e);
    if (!config->admin.listen[0])
        return err_set(e, "admin.listen is empty");
    return control_get(config, NULL, query, out, nobody, e);
}

bool control_ready(const struct config *config, bool *is, struct buf *out, struct err *e)
{
    const struct control_call call = { .method = "GET", .path = "/readyz", .wait_ms = CONTROL_READY_MS };
    char path[WIRE_PATH];
    long status = 0;
    bool nobody, socket = wire_path(config, path);
    if (!socket && !config->admin.listen[0])
        return err_set(e, "admin.listen is empty, and there is no control socket");
    if (!control_ask(config, socket ? path + sizeof "unix:" - 1 : NULL, &call, &status, out, &nobody, e))
        return false;
    *is = status == 200;
    return *is || status == 503
           || err_set(e, "the daemon answered %ld: %.*s", status, (int)(out->n < 200 ? out->n : 200),
                      out->at ? out->at : "");
}
