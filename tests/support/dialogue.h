/* SPDX-License-Identifier: MIT */
/* An HTTP server, its user and its clients in one thread, so that a test reads as a dialogue between them.
 *
 *     START(.max_body = { 1000 });
 *     struct client c = client_new();
 *     SAY(&c, POST("1001") "\r\n");
 *     expect_end(&c);
 *     assert_true(said(&c, "413 Content Too Large"));
 *
 * The clock is a fake and stands still. Use DIALOGUE(test) in the table of tests. */
#pragma once
#include "bridge/net/http/http.h"
#include "tests/support/client.h"
#include "tests/support/folder.h"
#include "tests/support/test.h"

/* ---- the server and its user ---- */

/* What the user saw, and what it shall do. Without wishes it answers 200 with the request's body. */
struct user {
    bool later; /* keep requests, answer by answer_next() */
    uint64_t ids[64];
    struct http_server *at[64]; /* where those came */
    size_t asked, answered, heads;
    int refuse;       /* status that head() answers */
    int64_t max_body; /* what head() lowers the limit to; 0: not */
    struct str body;  /* what to answer; absent: the request's body */
    struct buf paths;
    bool upgrade, endless; /* take every connection over */
    bool deflate;          /* as the client offers */
    bool many;             /* streams, of which `stream` is the last */
    struct http_stream *stream;
    struct buf messages;
    int writable, closed;
};

extern struct http_server *server, *twin; /* twin: NULL, unless START_TWIN made one */
extern struct user user;
extern char dialogue_folder[FOLDER_BYTES]; /* of this test alone */

int dialogue_begin(void **state);
int dialogue_end(void **state);
#define DIALOGUE(test) cmocka_unit_test_setup_teardown(test, dialogue_begin, dialogue_end)

/* What START gives the server; for one that is started by hand. */
void dialogue_on_request(void *ctx, const struct http_request *r);
void dialogue_start(struct http_server_options o);
#define START(...) dialogue_start((struct http_server_options){ .tls_key = NULL, __VA_ARGS__ })

/* One more server at the first one's address (option `first`); user and rounds are of both. */
void dialogue_start_twin(struct http_server_options o);
#define START_TWIN(...) dialogue_start_twin((struct http_server_options){ .tls_key = NULL, __VA_ARGS__ })

void answer_next(struct str body); /* 202 to the oldest request that was kept */
void rounds(int count);            /* of the server, and its twin */

/* ---- clients ---- */

extern struct client nobody;                /* to wait for what no client sees */
struct client client_new(void);             /* on the server's TCP port */
struct client client_from(const char *own); /* from that address: 127.0.0.2 ... */

void say(struct client *c, struct str text); /* sends all, letting the server work */
#define SAY(c, text) say(c, STR(text))
#define GET(path)    "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(length) "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " length "\r\n"

bool said(const struct client *c, const char *text);    /* did the server say it? */
size_t times(const struct client *c, const char *text); /* how often */
void expect(struct client *c, const char *text);        /* waits until the server has said it */
void expect_end(struct client *c);                      /* waits until the server has shut its side */
void forget(struct client *c);                          /* what it said */

/* Lets the server work and the client receive until the condition holds; fails the test after 20 seconds. */
#define UNTIL(c, condition)                                                                                            \
    do {                                                                                                               \
        patience_begin();                                                                                              \
        while (!(condition) && patience_left()) {                                                                      \
            rounds(1);                                                                                                 \
            client_read(c);                                                                                            \
        }                                                                                                              \
        if (!(condition))                                                                                              \
            fail_msg("%s: got \"%.*s\"", #condition, (int)((c)->in.n < 500 ? (c)->in.n : 500),                         \
                     (c)->in.at ? (c)->in.at : "");                                                                    \
    } while (0)
void patience_begin(void);
bool patience_left(void);

struct buf big_body(size_t n); /* bytes that show when one is missing; free it */
bool got_body(struct client *c, const struct buf *body);
