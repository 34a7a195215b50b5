/* SPDX-License-Identifier: MIT */
/* A request by libcurl. */
#include "connectors/http/post.h"
#include <curl/curl.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { POST_SECONDS = 120 };

static size_t post_take(char *bytes, size_t size, size_t n, void *ctx)
{
    struct buf *answer = ctx;
    size_t room = answer->max - answer->n;
    buf_add(answer, bytes, size * n < room ? size * n : room);
    return size * n;
}

static struct curl_slist *post_lines(const struct strings *headers)
{
    struct curl_slist *lines = curl_slist_append(NULL, "Expect:");
    for (size_t i = 0; lines && i < headers->count; i++)
        lines = curl_slist_append(lines, headers->at[i]);
    CHECK(lines);
    return lines;
}

long post_send(const struct post *p, struct buf *answer, struct err *e)
{
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    char why[CURL_ERROR_SIZE] = "";
    CURL *c = curl_easy_init();
    CHECK(c);
    struct curl_slist *lines = post_lines(&p->headers);
    curl_easy_setopt(c, CURLOPT_URL, p->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, lines);
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, p->body.n ? p->body.at : "");
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)p->body.n);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, post_take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)POST_SECONDS);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
    if (p->socket)
        curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, p->socket);
    if (p->ca_file)
        curl_easy_setopt(c, CURLOPT_CAINFO, p->ca_file);
    if (p->certificate) {
        curl_easy_setopt(c, CURLOPT_CAINFO, p->certificate);
        curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
        curl_easy_setopt(c, CURLOPT_PROXY, "");
    }
    long status = 0;
    CURLcode code = curl_easy_perform(c);
    if (code == CURLE_OK)
        curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    else
        err_set(e, "%s: %s", p->url, why[0] ? why : curl_easy_strerror(code));
    curl_slist_free_all(lines);
    curl_easy_cleanup(c);
    curl_global_cleanup();
    return status;
}
