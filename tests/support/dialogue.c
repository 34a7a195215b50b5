/* SPDX-License-Identifier: MIT */
/* The server's user, and the words of the dialogue. */
#include "tests/support/dialogue.h"
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include "tests/support/loopback.h"

enum { START_MS = 1000000, MOST = 64 << 20, PATIENCE_S = 20 };

struct http_server *server, *twin;
struct user user;
char dialogue_folder[FOLDER_BYTES];
struct client nobody = { .fd = -1 };

/* ---- the user ---- */

/* Whose event it is. */
static struct http_server *dialogue_server(void *ctx)
{
    return ctx == &twin ? twin : server;
}

static bool dialogue_on_head(void *ctx, const struct http_request *r, int64_t *max_body)
{
    user.heads++;
    assert_null(r->body.at);
    if (user.max_body)
        *max_body = user.max_body;
    if (!user.refuse)
        return true;
    http_server_reply(dialogue_server(ctx), r->id, user.refuse, NULL, 0, STR("no\n"));
    return false;
}

void dialogue_on_request(void *ctx, const struct http_request *r)
{
    struct http_server *s = dialogue_server(ctx);
    buf_add_str(&user.paths, r->path);
    buf_add_char(&user.paths, ' ');
    if (user.upgrade) {
        user.stream = http_server_upgrade(s, r, STR_ABSENT, user.deflate ? http_request_deflate(r) : WS_WINDOW_NONE,
                                          &user);
    } else if (user.endless) {
        const struct header type = { STR("Content-Type"), STR("text/event-stream") };
        user.stream = http_server_stream(s, r, 200, &type, 1, &user);
    } else if (user.later) {
        user.ids[user.asked] = r->id;
        user.at[user.asked] = s;
    } else {
        http_server_reply(s, r->id, 200, NULL, 0, user.body.at ? user.body : r->body);
    }
    user.asked++;
}

static void dialogue_on_message(void *ctx, struct http_stream *st, bool text, struct str payload)
{
    (void)ctx;
    assert_true(user.many || st == user.stream);
    buf_printf(&user.messages, "%s:%.*s|", text ? "text" : "binary", STR_ARG(payload));
}

static void dialogue_on_writable(void *ctx, struct http_stream *st)
{
    (void)ctx;
    (void)st;
    user.writable++;
}

static void dialogue_on_closed(void *ctx, struct http_stream *st)
{
    (void)ctx;
    assert_ptr_equal(http_stream_user(st), &user);
    user.stream = NULL;
    user.closed++;
}

void answer_next(struct str body)
{
    size_t i = user.answered++;
    http_server_reply(user.at[i], user.ids[i], 202, NULL, 0, body);
}

/* ---- the server ---- */

static void dialogue_open(struct http_server **out, struct http_server_options o)
{
    struct http_events events = { .head = dialogue_on_head,
                                  .request = dialogue_on_request,
                                  .message = dialogue_on_message,
                                  .writable = dialogue_on_writable,
                                  .closed = dialogue_on_closed,
                                  .ctx = out };
    struct err e = { "" };
    char any_port[] = "127.0.0.1:0";
    if (!o.listen)
        o.listen = any_port;
    *out = http_server_new(&o, &events, &e);
    if (!*out)
        fail_msg("%s", e.text);
}

void dialogue_start(struct http_server_options o)
{
    dialogue_open(&server, o);
}

void dialogue_start_twin(struct http_server_options o)
{
    o.first = server;
    dialogue_open(&twin, o);
}

int dialogue_begin(void **state)
{
    (void)state;
    clock_fake(START_MS, 1700000000000);
    user = (struct user){ .paths = buf_new(1 << 20), .messages = buf_new(1 << 20) };
    folder_make(dialogue_folder);
    return 0;
}

int dialogue_end(void **state)
{
    (void)state;
    http_server_free(twin);
    http_server_free(server);
    server = twin = NULL;
    buf_free(&user.paths);
    buf_free(&user.messages);
    clock_real();
    folder_remove(dialogue_folder);
    return 0;
}

void rounds(int count)
{
    for (int i = 0; i < count; i++)
        http_server_run(server, -1, 1), twin ? http_server_run(twin, -1, 0) : (void)0;
}

/* ---- clients ---- */

struct client client_new(void)
{
    return client_on(loopback_connect(http_server_port(server)));
}

struct client client_from(const char *own)
{
    return client_on(loopback_connect_from(own, http_server_port(server)));
}

void say(struct client *c, struct str text)
{
    while (text.n) {
        ssize_t n = send(c->fd, text.at, text.n, MSG_NOSIGNAL);
        if (n > 0) {
            text.at += n;
            text.n -= (size_t)n;
        } else if (errno != EAGAIN) {
            return;
        }
        http_server_run(server, -1, 1), twin ? http_server_run(twin, -1, 0) : (void)0;
    }
    rounds(2);
}

bool said(const struct client *c, const char *text)
{
    return c->in.n && memmem(c->in.at, c->in.n, text, strlen(text));
}

size_t times(const struct client *c, const char *text)
{
    size_t n = 0;
    const char *at = c->in.at, *stop = c->in.at + c->in.n;
    while (at && (at = memmem(at, (size_t)(stop - at), text, strlen(text)))) {
        n++;
        at++;
    }
    return n;
}

void expect(struct client *c, const char *text)
{
    UNTIL(c, said(c, text));
}

void expect_end(struct client *c)
{
    UNTIL(c, c->ended);
}

void forget(struct client *c)
{
    buf_reset(&c->in);
}

struct buf big_body(size_t n)
{
    struct buf b = buf_new(MOST);
    char *at = buf_room(&b, n);
    for (size_t i = 0; i < n; i++)
        at[i] = (char)('a' + i * i % 26);
    b.n = n;
    return b;
}

bool got_body(struct client *c, const struct buf *body)
{
    return c->in.n > body->n && memcmp(c->in.at + c->in.n - body->n, body->at, body->n) == 0;
}

/* ---- patience ---- */

static struct timespec patience_since;

void patience_begin(void)
{
    clock_gettime(CLOCK_MONOTONIC, &patience_since);
}

bool patience_left(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec - patience_since.tv_sec < PATIENCE_S;
}
