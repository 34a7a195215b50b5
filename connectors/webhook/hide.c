/* SPDX-License-Identifier: MIT */
/* Hides the secrets of a request in what comes back. */
#include "connectors/webhook/hide.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum {
    HIDE_LEAST = 8,    /* shorter values are no secrets, and a part of one that is shorter tells little */
    HIDE_SEGMENT = 16, /* shorter parts of a path are words */
};

static void hide_keep(struct hidden *h, struct str secret)
{
    h->at = mem_grow(h->at, h->count + 1, sizeof *h->at);
    h->at[h->count++] = str_dup(secret);
}

static void hide_add(struct hidden *h, struct str secret)
{
    if (secret.n >= HIDE_LEAST)
        hide_keep(h, secret);
}

void hide_word(struct hidden *h, const char *secret)
{
    if (*secret)
        hide_keep(h, str_of(secret));
}

/* "Bearer TOKEN": its words. */
static void hide_add_header(struct hidden *h, struct str value)
{
    struct str word;
    while (str_cut(&value, ' ', &word))
        hide_add(h, word);
}

static void hide_add_path(struct hidden *h, struct str path)
{
    struct str segment;
    while (str_cut(&path, '/', &segment))
        if (segment.n >= HIDE_SEGMENT)
            hide_add(h, segment);
}

static void hide_add_query(struct hidden *h, struct str query)
{
    struct str pair, name;
    while (str_cut(&query, '&', &pair)) {
        str_cut(&pair, '=', &name);
        hide_add(h, pair.at ? pair : name);
    }
}

void hide_open(struct hidden *h, CURLU *url, const struct map *headers)
{
    char *part = NULL;
    *h = (struct hidden){ 0 };
    for (size_t i = 0; i < headers->count; i++)
        hide_add_header(h, str_of(headers->at[i].value));
    if (curl_url_get(url, CURLUPART_PATH, &part, 0) == CURLUE_OK)
        hide_add_path(h, str_of(part));
    curl_free(part);
    part = NULL;
    if (curl_url_get(url, CURLUPART_QUERY, &part, 0) == CURLUE_OK)
        hide_add_query(h, str_of(part));
    curl_free(part);
}

static void hide_add_part(struct hidden *h, CURLU *url, CURLUPart part)
{
    char *text = NULL;
    if (curl_url_get(url, part, &text, CURLU_URLDECODE) == CURLUE_OK)
        hide_add(h, str_of(text));
    curl_free(text);
}

void hide_proxy(struct hidden *h, const char *proxy)
{
    CURLU *url = curl_url();
    CHECK(url);
    if (curl_url_set(url, CURLUPART_URL, proxy, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK) {
        hide_add_part(h, url, CURLUPART_USER);
        hide_add_part(h, url, CURLUPART_PASSWORD);
    }
    curl_url_cleanup(url);
}

void hide_more(struct hidden *h, const char *path, const struct map *query)
{
    hide_add_path(h, str_of(path));
    for (size_t i = 0; i < query->count; i++)
        hide_add(h, str_of(query->at[i].value));
}

static void hide_one(const char *secret, char *text, size_t n)
{
    size_t length = strlen(secret), least = length < HIDE_LEAST ? length : HIDE_LEAST;
    for (size_t i = 0; i + least <= n; i++) {
        size_t most = n - i < length ? n - i : length;
        if (memcmp(text + i, secret, most) == 0)
            memset(text + i, '*', most);
    }
}

void hide_line(const char *line, char *text, size_t n)
{
    const char *last = strrchr(line, ' ');
    if (last && strlen(last + 1) >= HIDE_LEAST)
        hide_one(last + 1, text, n);
}

void hide_in(const struct hidden *h, char *text, size_t n)
{
    for (size_t i = 0; i < h->count; i++)
        hide_one(h->at[i], text, n);
}

void hide_close(struct hidden *h)
{
    for (size_t i = 0; i < h->count; i++)
        free(h->at[i]);
    free(h->at);
    *h = (struct hidden){ 0 };
}
