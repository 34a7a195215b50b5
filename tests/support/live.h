/* SPDX-License-Identifier: MIT */
/* A sink `websocket` with the id "live" on a unix socket, a core that is just the test, and listeners.
 *
 *     live_open("buffer: 64KiB");
 *     struct client c = live_listener("/?topics=ai.chats", UPGRADE, 101);
 *     live_send("ai.chats", "1", "chat.made", NULL, "1");
 *     live_expect(&c, JSON("1", "chat.made", ",\"data\":1"));
 *
 * It has the topics ai.chats and ai.events. Use LIVE(test) in the table of tests: it closes what the test opened. */
#pragma once
#include "bridge/connector.h"
#include "tests/support/client.h"
#include "tests/support/test.h"

extern const struct sink_ops websocket_sink;
extern struct sink *live_sink;     /* NULL: not open */
extern struct sink *live_second;   /* a copy of it, on a thread of its own as it were; NULL: there is none */
extern struct source *live_source; /* of what its listeners publish; NULL: they do not */
extern int64_t live_offset;        /* of the next event in partition 3 */
extern struct log *live_log;       /* what the sink gets as its own; NULL: none (tests/support/live_log.h) */
extern struct bookmarks *live_bookmarks;

void live_open(const char *more);     /* options besides listen */
void live_open_tcp(const char *more); /* on 127.0.0.1 */
/* On a unix socket again, with a copy: connections go to both in turn. */
void live_open_twice(const char *more);
void live_open_tcp_twice(const char *more);
int live_close(void **state);
#define LIVE(test) cmocka_unit_test_teardown(test, live_close)

/* Option verify of JSON Web Tokens, and such a token with these claims (an object); free() it. */
#define LIVE_SECRET "a-secret-of-these-tokens-which-is-long-enough-01"
#define LIVE_VERIFY "verify: {scheme: jwt, jwt: {secrets: [" LIVE_SECRET "], needs_exp: false}}\n"
char *live_token(const char *claims);

void live_turn(void); /* one call of work(), of each copy */
/* Takes what listeners have published, waiting for `count` of it, and settles each with that outcome. */
void live_settle(size_t count, enum outcome o, const char *why);
extern struct emission live_emitted[16]; /* what it took last; the events live until the next call or live_close */
void live_send(const char *topic, const char *id, const char *type, const char *subject, const char *data);
#define JSON(id, type, rest)                                                                                           \
    "{\"specversion\":\"1.0\",\"id\":\"" id "\",\"source\":\"/s\",\"type\":\"" type "\"" rest "}"

#define UPGRADE                                                                                                        \
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"                                       \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define EVENTS "Accept: text/event-stream\r\n"

struct client live_client(void);                                     /* connected */
struct client live_request(const char *target, const char *headers); /* a GET, from Host here:1 */
char *live_head(struct client *c); /* takes the head of the answer away and returns it, free() it */
/* A listener whose request is answered with that status. */
struct client live_listener(const char *target, const char *headers, int status);
/* A request that is answered so, with a problem whose detail contains `detail`. */
void live_refused(const char *target, const char *headers, int status, const char *detail);

/* One frame as it lies in `in`: its opcode, payload and length on the wire; 0: not whole. */
size_t live_frame(struct str in, int *opcode, struct str *payload);
char *live_next(struct client *c, int *opcode);    /* waits for a frame; its payload with a NUL behind it, free() it */
void live_say(struct client *c, const char *text); /* a text message */
void live_expect(struct client *c, const char *json); /* the next frame is this text */
void live_silent(struct client *c);                   /* nothing comes, and it is not closed */
