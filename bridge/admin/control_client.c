/* SPDX-License-Identifier: MIT */
/* One request over the control socket. */
#include "bridge/admin/control_client.h"
#include <curl/curl.h>
#include <stdlib.h>
#include "bridge/admin/wire.h"

enum { CONTROL_WAIT_MS = 30000 };

static size_t control_keep(char *data, size_t size, size_t n, void *ctx)
{
    buf_add(ctx, data, size * n);
    return size * n;
}

/* Posts the body to the socket; *status is the answer's, its body goes to *reply. */
static CURLcode control_post(const char *socket_path, const char *body, long *status, struct buf *reply)
{
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket_path);
    curl_easy_setopt(curl, CURLOPT_URL, "http://localhost/publish");
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
    return code;
}

bool control_publish(const struct config *config, const struct record *r, bool *nobody, struct err *e)
{
    char path[WIRE_PATH];
    *nobody = true;
    if (!wire_path(config, path))
        return err_set(e, "no control socket for this broker");
    long status = 0;
    char *body = wire_write(r);
    struct buf reply = buf_new(sizeof e->text / 2);
    CURLcode code = control_post(path + sizeof "unix:" - 1, body, &status, &reply);
    *nobody = code == CURLE_COULDNT_CONNECT;
    bool stored = code == CURLE_OK && status == 200;
    if (code != CURLE_OK)
        err_set(e, "the running daemon does not answer on %s: %s", path, curl_easy_strerror(code));
    else if (!stored)
        err_set(e, "the running daemon did not store it: %.*s", STR_ARG(buf_str(&reply)));
    buf_free(&reply);
    free(body);
    return stored;
}
