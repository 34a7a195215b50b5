/* SPDX-License-Identifier: MIT */
/* Sends events, each until it is acknowledged, whatever becomes of the connection. */
#include <curl/curl.h>
#include <poll.h>
#include <stdio.h>
#include "bridge/cli/prove_private.h"
#include "bridge/lib/mem.h"

enum { SENDER_TEXT = 512, SENDER_WAIT_MS = 10000, SENDER_AGAIN_MS = 10 };

static void sender_write(int64_t n, char out[SENDER_TEXT])
{
    int size = snprintf(out, SENDER_TEXT,
                        "{\"specversion\":\"1.0\",\"id\":\"%lld\",\"source\":\"/prove\",\"type\":\"prove.event\","
                        "\"subject\":\"k%lld\",\"data\":{\"n\":%lld}}",
                        (long long)n, (long long)(n % 16), (long long)n);
    CHECK(size > 0 && size < SENDER_TEXT);
}

static size_t sender_on_answer(char *bytes, size_t size, size_t n, void *ctx)
{
    (void)bytes, (void)ctx;
    return size * n; /* its status says all */
}

static CURL *sender_open(const struct prove_books *b, struct curl_slist *headers)
{
    CURL *curl = curl_easy_init();
    CHECK(curl);
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, b->socket);
    curl_easy_setopt(curl, CURLOPT_URL, "http://prove/prove");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, b->token);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)SENDER_WAIT_MS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, sender_on_answer);
    return curl;
}

/* Was it acknowledged? */
static bool sender_post(CURL *curl, const char *text)
{
    long status = 0;
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return code == CURLE_OK && status / 100 == 2;
}

static void *sender_run(void *arg)
{
    struct prove_senders *s = arg;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/cloudevents+json");
    CURL *curl = sender_open(s->books, headers);
    char text[SENDER_TEXT];
    int64_t n = -1;
    while (!atomic_load(&s->stop)) {
        if (n < 0 && (n = prove_books_next(s->books)) >= 0)
            sender_write(n, text);
        if (n >= 0 && sender_post(curl, text)) {
            prove_books_acknowledged(s->books, n);
            n = -1;
            continue;
        }
        poll(NULL, 0, SENDER_AGAIN_MS);
    }
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    return NULL;
}

void prove_senders_start(struct prove_senders *s)
{
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    while (s->count < PROVE_SENDERS && pthread_create(&s->threads[s->count], NULL, sender_run, s) == 0)
        s->count++;
    CHECK(s->count > 0);
}

void prove_senders_stop(struct prove_senders *s)
{
    atomic_store(&s->stop, true);
    for (size_t i = 0; i < s->count; i++)
        pthread_join(s->threads[i], NULL);
    if (s->count)
        curl_global_cleanup();
    s->count = 0;
}
