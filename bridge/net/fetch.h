/* SPDX-License-Identifier: MIT */
/* Fetches small documents by HTTP GET, such as the keys of an issuer of tokens.
 *
 *   fetch_new -> fetch_get ... -> fetch_free      one thread, which waits as long as it takes
 *   fetch_stop                                    any thread: the one at hand ends soon, and no other begins
 *
 * No redirect is followed; an address is judged right before a connection to it is opened (address.h). Errors hold the
 * host, and nothing else of the URL or the answer. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/net/address.h"
#include "bridge/net/transport.h"

struct fetch;
/* Borrows both. */
struct fetch *fetch_new(const struct transport *way, const struct address_rules *rules);
void fetch_free(struct fetch *f); /* accepts NULL */
/* Is it a URL that could be fetched? Begins with https://, or http:// if that may be; no address that is blocked. */
bool fetch_check_url(const char *url, bool plain, const struct address_rules *rules, struct err *e);
/* Appends the body of a 200; it fails when there is more than the buffer takes. *max_age_s: how long it is fresh, as
 * Cache-Control says; -1: it does not. */
bool fetch_get(struct fetch *f, const char *url, struct buf *out, int64_t *max_age_s, struct err *e);
void fetch_stop(struct fetch *f);
char *fetch_host(const char *url); /* for messages; free() it */
