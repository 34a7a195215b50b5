/* SPDX-License-Identifier: MIT */
/* A small program around the HTTP server for conformance suites and benchmarks: it answers and echoes.
 *
 *   echo [PORT] [--tls CERTIFICATE KEY] [--max-message BYTES] [--max-body BYTES] [--http2]
 *
 * GET gets a line, POST its body and content type back, a WebSocket its messages, deflated if it offers that. It prints "listening on
 * 127.0.0.1:PORT" and ends when its standard input does. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"
#include "bridge/net/http/http.h"
#include "bridge/net/ws.h"

struct client {
    struct buf out; /* frames that the kernel did not take yet */
    enum ws_window window;
};

static struct http_server *server;
static struct ws_deflater *deflaters[WS_WINDOW_FULL + 1]; /* by window */

static void flush(struct http_stream *st)
{
    struct client *client = http_stream_user(st);
    while (client->out.n) {
        long n = http_stream_write(st, client->out.at, client->out.n, true);
        if (n <= 0)
            return;
        buf_drop(&client->out, (size_t)n);
    }
    if (client->out.cap > 1 << 20)
        buf_free(&client->out);
}

static void on_message(void *ctx, struct http_stream *st, bool text, struct str payload)
{
    (void)ctx;
    struct client *client = http_stream_user(st);
    unsigned char head[WS_HEAD];
    struct str deflated = client->window ? ws_deflate(deflaters[client->window], payload) : STR_ABSENT;
    int opcode = (text ? WS_TEXT : WS_BINARY) | (deflated.at ? WS_DEFLATED : 0);
    if (deflated.at)
        payload = deflated;
    size_t n = ws_head(head, opcode, payload.n);
    buf_add(&client->out, head, n);
    buf_add_str(&client->out, payload);
    if (client->out.failed)
        http_stream_close(st, 1008, "too slow");
    else
        flush(st);
}

static void on_writable(void *ctx, struct http_stream *st)
{
    (void)ctx;
    flush(st);
}

static void on_closed(void *ctx, struct http_stream *st)
{
    (void)ctx;
    struct client *client = http_stream_user(st);
    buf_free(&client->out);
    free(client);
}

static void on_request(void *ctx, const struct http_request *r)
{
    (void)ctx;
    if (http_header(r, "upgrade", NULL).at) {
        struct client *client = mem_alloc(sizeof *client);
        client->out = buf_new(256 << 20);
        client->window = http_request_deflate(r);
        if (client->window && !deflaters[client->window])
            deflaters[client->window] = ws_deflater_new(client->window);
        if (!http_server_upgrade(server, r, STR_ABSENT, client->window, client))
            free(client);
        return;
    }
    struct header type = { STR("Content-Type"), http_header(r, "content-type", NULL) };
    if (!type.value.at)
        type.value = STR("text/plain");
    bool echoes = str_eq(r->method, STR("POST")) || str_eq(r->method, STR("PUT"));
    http_server_reply(server, r->id, 200, &type, 1, echoes ? r->body : STR("aqueduct echo\n"));
}

static bool stdin_ended(void)
{
    struct pollfd in = { .fd = 0, .events = POLLIN };
    char ignored[64];
    return poll(&in, 1, 0) > 0 && fread(ignored, 1, 1, stdin) == 0;
}

static int64_t number(const char *text)
{
    uint64_t n;
    if (!text || !str_to_u64(str_of(text), &n) || n > INT32_MAX) {
        fprintf(stderr, "echo: \"%s\" is not a number\n", text ? text : "");
        exit(2);
    }
    return (int64_t)n;
}

int main(int argc, char **argv)
{
    char address[64] = "127.0.0.1:0";
    struct http_server_options o = {
        .listen = address, .max_message = { 32 << 20 }, .max_body = { 32 << 20 }, .stream_idle = { 60000 }
    };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--tls") == 0 && i + 2 < argc) {
            o.tls_certificate = argv[++i];
            o.tls_key = argv[++i];
        } else if (strcmp(argv[i], "--http2") == 0) {
            o.http2_streams = 100;
        } else if (strcmp(argv[i], "--max-message") == 0) {
            o.max_message.n = number(argv[++i]);
        } else if (strcmp(argv[i], "--max-body") == 0) {
            o.max_body.n = number(argv[++i]);
        } else {
            snprintf(address, sizeof address, "127.0.0.1:%d", (int)number(argv[i]));
        }
    }
    signal(SIGPIPE, SIG_IGN);
    struct http_events events = {
        .request = on_request, .message = on_message, .writable = on_writable, .closed = on_closed
    };
    struct err e;
    server = http_server_new(&o, &events, &e);
    if (!server) {
        fprintf(stderr, "echo: %s\n", e.text);
        return 1;
    }
    printf("listening on 127.0.0.1:%d\n", http_server_port(server));
    fflush(stdout);
    while (!stdin_ended())
        http_server_run(server, 0, -1);
    http_server_free(server);
    for (size_t i = 0; i < sizeof deflaters / sizeof *deflaters; i++)
        ws_deflater_free(deflaters[i]);
    return 0;
}
