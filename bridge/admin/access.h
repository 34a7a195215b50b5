/* SPDX-License-Identifier: MIT */
/* Who is it that asks the API or the console, and may it?
 *
 *   by              who                                              role
 *   ------------------------------------------------------------------------------------------------
 *   token           a line of `admin.token_file`                     its own
 *                   `admin.tokens`, `admin.verify`                   operator, when admin.operators names it; else viewer
 *   cookie          a session, begun with a token or a login link    that of the token, or of who made the link;
 *                                                                    of one that is over: none, wherever it comes from
 *   loopback        a client of this machine, when none of these     `admin.loopback`
 *                   is set; never through a proxy
 *   socket          the control socket, or a unix socket of ours     operator: its mode is 0600
 *
 * Whoever it is, the Host of a request must be an address, localhost or one of `admin.hosts` (DNS rebinding), and a browser
 * may ask only on the word of our own page: an Origin must be ours, Sec-Fetch-Site must not be another site's, and with a
 * cookie a changing request must have an Origin. Sessions and login codes are kept in memory, as digests. One thread. */
#pragma once
#include "bridge/auth/token_file.h"
#include "bridge/config/config.h"
#include "bridge/net/http/http.h"
#include "bridge/verify/verify.h"

enum { ACCESS_TOKEN = 44 }; /* room for a session's or a code's text */

struct who {
    struct token_owner is; /* ROLE_NONE: nobody that is known */
    const char *via; /* "token", "cookie", "loopback", "socket"; "none"; of nobody "cookie": its session is over */
};

struct access_refusal {
    int status;
    const char *reason; /* for the metric: "host", "origin", "token" */
    struct header more; /* of the answer; name.n 0: none */
    char text[160];
};

struct access;
/* `verifier` (of `tokens` or `verify`) may be NULL; it and `how` are borrowed. NULL with *e: the token file is not good. */
struct access *access_new(const struct admin_config *how, struct verifier *verifier,
                          const struct verify_options *verify, struct err *e);
void access_free(struct access *a); /* accepts NULL */
void access_turn(struct access *a); /* now and then: follows the token file */
/* Finds who asks on admin.listen. False with *no: the request is refused whoever asks, or what it shows is wrong. Who
 * shows nothing is nobody (ROLE_NONE) and true. */
bool access_who(struct access *a, const struct http_request *r, struct who *out, struct access_refusal *no);
/* For the pages that a viewer may see: is there a token file, so that they ask; does the request show a token of it, or a
 * session? */
bool access_asks(const struct access *a);
bool access_shows(struct access *a, const struct http_request *r);
struct who access_of_socket(void);
/* Is the name by which the listener was reached one of its own? For what holds nothing that is anybody's (the console's
 * files): another site may link to that. False with *no. */
bool access_host(const struct access *a, const struct http_request *r, struct access_refusal *no);
/* Would a request like this be let in with the token alone? For a session. */
bool access_knows(struct access *a, struct str token, struct who *out);
/* Is this parameter of a query where somebody shows a secret? */
bool access_reads_query(const struct access *a, struct str name);

/* A session of who for `admin.session`; the text is for its cookie. When there are too many one of theirs gives way. */
void access_begin(struct access *a, const struct who *who, char out[ACCESS_TOKEN]);
void access_end(struct access *a, const struct http_request *r); /* the one of the request's cookie */
/* A code that begins a session, once, within a few minutes: of its maker, an operator; of nobody by name when that one is
 * known by the place alone. Who is taken out of the token file takes such codes and sessions along. */
void access_code(struct access *a, const struct who *maker, char out[ACCESS_TOKEN]);
bool access_use_code(struct access *a, struct str code, struct who *out);
/* A Set-Cookie value of that session; "" ends it. The cookie is named after the listener's port, since browsers send those
 * of one host to every port of it. */
void access_cookie(const struct access *a, const char *session, struct buf *out);
void access_listens(struct access *a, int port);
/* Where a browser on this machine finds the listener, "http://127.0.0.1:9464"; nothing for a unix socket. */
void access_url(const struct access *a, struct buf *out);
