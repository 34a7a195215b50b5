/* SPDX-License-Identifier: MIT */
/* What a receiver's answer must not show: some repeat the request that they got, with the user's headers and the URL in
 * it, and answers reach logs and the delivery log. One thread. */
#pragma once
#include <curl/curl.h>
#include "bridge/lib/option.h"

struct hidden { /* the secrets of one receiver; zeroed: none */
    char **at;
    size_t count;
};

/* Collects the values of the headers, and what of the URL can be a token: long parts of the path, values of the query. */
void hide_open(struct hidden *h, CURLU *url, const struct map *headers);
void hide_word(struct hidden *h, const char *secret); /* adds one, however short */
/* Adds the user name and password of a proxy's URL. */
void hide_proxy(struct hidden *h, const char *proxy);
/* And those of the path and the query that are added to it; the path may be NULL. */
void hide_more(struct hidden *h, const char *path, const struct map *query);
/* Puts a * in the place of each byte of a secret in the text, also of one that the text's end cuts. */
void hide_in(const struct hidden *h, char *text, size_t n);
/* The same for the words of a header line, "Authorization: Bearer TOKEN". */
void hide_line(const char *line, char *text, size_t n);
void hide_close(struct hidden *h);
