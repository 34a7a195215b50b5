/* SPDX-License-Identifier: MIT */
/* A small strict server of HTTP/1.1 and HTTP/2 (RFC 9110, 9112, 9113) for one thread: HTTP source, WebSocket/SSE sink, admin.
 *
 * It owns a loop, a listener and its connections; the user calls http_server_run and gets whole requests by callback.
 * An answer may come later (http_server_reply with the request's id): the next request of that connection waits for it.
 * Smuggling cases get 400 and the connection closed. Every size and time is bounded by the options.
 * With HTTP/2 (option http2_streams) a connection has many requests at a time, answered in any order; to the user there is no
 * other difference. Streams are of HTTP/1.1 only: who takes connections over leaves http2_streams 0.
 *
 *                 head()            request()          http_server_reply
 *   [reading head] -----> [reading body] -----> [waiting for the answer] -----> [writing] --> [reading head]
 *                                                     | http_server_upgrade / http_server_stream
 *                                                     v
 *                                               [taken: stream] -- http_stream_write, message(), closed()
 *
 * Several servers, each with a thread of its own, may listen at one address (option `first`). All of them are made before the
 * first one runs, and freed after the last one has. */
#pragma once
#include "bridge/lib/clock.h"
#include "bridge/lib/header.h"
#include "bridge/net/http/options.h"
#include "bridge/net/loop.h"
#include "bridge/net/ws_deflate.h"

enum { HTTP_STREAM_HELD = 64 << 10 }; /* most bytes of messages that wait for a boundary or for the peer to read */

struct http_server;
struct x509_st;
struct http_stream; /* a connection that was taken over: WebSocket or a response without end (SSE) */

struct http_request {
    uint64_t id;                  /* names it in http_server_reply; never used twice */
    struct str method, target;    /* as received */
    struct str path, query;       /* target split at '?', path not decoded; query absent when there is no '?' */
    const struct header *headers; /* names as received; values trimmed */
    size_t header_count;
    struct str body;                   /* de-chunked; in head(): absent */
    struct str peer;                   /* "127.0.0.1:5000"; of a client behind a trusted proxy perhaps "127.0.0.1" */
    struct str network;                /* who that is for limits: "127.0.0.1", "2001:db8:1:2::/64", "unix" */
    const struct x509_st *certificate; /* the client's, verified (bridge/net/certificate.h); NULL: it showed none */
};

struct http_events {
    /* The head is there, the body not yet: a chance to refuse at once (http_server_reply, return false) before a
     * byte of the body is read and before 100-continue is sent. NULL: all are taken. Also sets the body limit of
     * this request if it lowers *max_body. */
    bool (*head)(void *ctx, const struct http_request *r, int64_t *max_body);
    /* A whole request; borrowed for the call. Answer now or later, or take the connection over. */
    void (*request)(void *ctx, const struct http_request *r);
    /* Streams only: one whole WebSocket message, UTF-8 checked; the kernel takes bytes again after a short write; the
     * stream is gone, and its pointer dies with this call. */
    void (*message)(void *ctx, struct http_stream *st, bool text, struct str payload);
    void (*writable)(void *ctx, struct http_stream *st);
    void (*closed)(void *ctx, struct http_stream *st);
    void *ctx;
};

/* ---- the server ---- */

/* Do the options go together? Opens no file. */
bool http_server_check(const struct http_server_options *o, struct err *e);

struct http_server *http_server_new(const struct http_server_options *o, const struct http_events *events,
                                    struct err *e);
int http_server_port(const struct http_server *s); /* the bound TCP port */
/* Readable when a client did something, for nesting in a poll; deadlines want http_server_run now and then all the
 * same. */
int http_server_fd(const struct http_server *s);
/* One round: waits at most wait_ms (-1: no limit) for something to do, does it (all callbacks come from here) and
 * returns; also soon after wake_fd is readable. */
void http_server_run(struct http_server *s, int wake_fd, int wait_ms);
/* A round also returns when this is readable, until http_server_free; nobody reads it. */
void http_server_watch(struct http_server *s, int fd);
/* Stops accepting; connections that wait for nothing are closed, the others after their answer. */
void http_server_stop_accepting(struct http_server *s);
void http_server_free(struct http_server *s); /* closed() is called for every stream */
size_t http_server_connections(const struct http_server *s);
/* Bytes that wait for clients to take them: who answers at length holds back while these are many. */
size_t http_server_unsent(const struct http_server *s);

/* ---- requests ---- */

/* The value of a header (name in any case), absent when missing. *count, if not NULL, says how many there are. */
struct str http_header(const struct http_request *r, const char *name, size_t *count);
/* Answers request `id`; ignored when its client is gone. Content-Length, Date and Connection are added. */
void http_server_reply(struct http_server *s, uint64_t id, int status, const struct header *headers, size_t count,
                       struct str body);
const char *http_status_text(int status); /* "Service Unavailable"; "" when it has no name of its own */

/* ---- streams ---- */

/* What the client offers of permessage-deflate, for http_server_upgrade. */
enum ws_window http_request_deflate(const struct http_request *r);
/* Takes the connection of request `id` over, from within request() only. upgrade: checks the WebSocket handshake
 * (RFC 6455 4.2) and answers 101, or 400/426 and gives NULL; deflate: what http_request_deflate said, or
 * WS_WINDOW_NONE; such a message's payload comes inflated, and frames may go deflated (ws_deflate). stream: sends status and headers of a response that
 * ends with the connection. */
struct http_stream *http_server_upgrade(struct http_server *s, const struct http_request *r, struct str subprotocol,
                                        enum ws_window deflate, void *user);
struct http_stream *http_server_stream(struct http_server *s, const struct http_request *r, int status,
                                       const struct header *headers, size_t count, void *user);
void *http_stream_user(const struct http_stream *st);
bool http_stream_is_websocket(const struct http_stream *st);
uint32_t http_stream_number(
    const struct http_stream *st); /* of the process, as people see it; may come again after 2^32 */
int64_t http_stream_since(const struct http_stream *st); /* when it was taken over: ms of the wall clock */
/* Gives wire bytes (whole frames or SSE blocks, or the rest of such) to the kernel; returns how many it took, 0 when
 * it takes none now (writable() will follow), -1 when the stream is gone (closed() will follow). `boundary` says
 * that the byte after `bytes` begins a new frame, so that a waiting control frame (pong, close) may go there. */
long http_stream_write(struct http_stream *st, const char *bytes, size_t n, bool boundary);
struct http_write {
    struct http_stream *stream;
    struct str bytes; /* up to a boundary; they stay for the call */
    long taken;       /* set by the call: what http_stream_write gives */
};
/* The same for many streams of one server, each once; in few system calls where the kernel can (net/sends.h). */
void http_stream_write_all(struct http_write *writes, size_t count);
/* Sends a whole WebSocket message, of text or bytes, at the next boundary. False: so much waits already that it would be beyond
 * HTTP_STREAM_HELD, or the stream is closing. */
bool http_stream_send(struct http_stream *st, bool text, struct str payload);
/* WebSocket: closing handshake, bounded; else: shuts down. */
void http_stream_close(struct http_stream *st, int code, const char *why);
