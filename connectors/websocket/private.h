/* SPDX-License-Identifier: MIT */
/* Inside the sink `websocket`:
 *
 *   websocket.c      its options, its life, its turn: events come, cohorts are flushed
 *   accept.c         a request becomes a listener, and a listener goes
 *   refuse.c         a request is answered with a problem
 *   access.c         who may listen; peers.c: how many of one address
 *   subscription.c   what a listener asks for
 *   talk.c           what listeners say (op.c), and what they are answered (protocol.c)
 *   subs.c           several subscriptions of one of them; named.c window.c: those with durable names
 *   rights.c         what the claims of a token allow; ticket.c: that tokens expire
 *   publish.c        events of theirs on their way (message.c: how they are read); inward.c: the source that has them
 *   pull*.c          who comes for events by plain requests
 *   roll.c           the list of them, for people
 *   page.c           a page that shows the events, and the client in JavaScript
 *   wish.c           where it wants to begin, and what is to become of it when it is slow
 *   frames.c told.c   an event, or what it is told besides, as the bytes that listeners get
 *   cohort.c cohorts.c ring.c marks.c   equal subscriptions share one ring of these
 *   pace.c           when they are sent
 *   replay.c chunk.c   who is behind the ring is fed from the log, from chunks that all at the same spot share
 *   places.c position.c   spots in the log, and cursors for them
 *   farewell.c       the end of all
 *
 * One thread; inward.c has the source's own. With `threads` each has a struct of this, the server hands it its connections, and
 * it reads the topics and the log by itself, so that a listener is a matter of one thread from its first byte to its last.
 * What they have in common is in struct sum. */
#pragma once
#include <stdatomic.h>
#include "bridge/connector.h"
#include "bridge/lib/log.h"
#include "bridge/verify/listener.h"
#include "connectors/websocket/cohorts.h"
#include "connectors/websocket/frames.h"
#include "connectors/websocket/peers.h"
#include "connectors/websocket/publish.h"
#include "connectors/websocket/pulls.h"
#include "connectors/websocket/replay.h"
#include "connectors/websocket/subs.h"
#include "connectors/websocket/ticket.h"

struct sum { /* of all threads: the first one's */
    struct peers *peers;
    _Atomic size_t rings; /* bytes */
    struct replay_sum replay;
    _Atomic int64_t nameless; /* listeners that have shown nothing yet */
};

struct websocket_sink {
    struct sink base;
    struct http_server_options server_options;
    char *path;
    struct secrets tokens;
    struct verify_options verify_options;
    bool open, token_in_query, audit, deflate, page;
    char *token_cookie;
    struct claims_options claims;
    int64_t handshake_rate;
    struct strings origins;
    int64_t max_listeners_per_ip, max_listeners_per_user;
    int64_t max_subscriptions, max_subscriptions_per_ip, max_subscriptions_per_user, max_subscriptions_per_listener;
    struct bytes buffer, max_buffered, replay_bytes;
    int64_t max_catching_up;
    struct duration stall;
    /* from here on: not options */
    struct sum *sum;
    int64_t threads;
    struct http_server *server;
    struct verify_options verify; /* by either */
    struct verifier *verifier;    /* NULL: everybody may listen */
    struct cohorts cohorts;
    struct publisher publisher; /* with the options of publish */
    struct ticket *tickets;
    struct talk *talks; /* connections that speak aqueduct.v1 */
    int64_t swept_ms;
    struct pull pull;
    struct frames frames;
    struct places places;
    struct names names; /* of subscriptions */
    struct replay replay;
    struct buf cursor; /* while an event is sent */
    int64_t second_ms; /* when what is done every second was */
    struct log_limit log_limit;
    int64_t listeners[2]; /* WebSocket, event streams */
    struct metric *connected[2], *events, *bytes, *too_long, *gone, *slow, *stalled, *drained;
    bool draining;
    bool by_browser_alone; /* nobody shows who it is: only a browser's rules keep others' sites from a local address */
};

/* ---- accept.c ---- */

/* What the server of the sink calls (ctx: the sink). */
struct http_events accept_events(struct websocket_sink *s);

/* ---- farewell.c ---- */

/* When one of so many listeners is to come back. */
uint32_t farewell_time(int64_t listeners);
/* Takes leave of all listeners: each is told when to come back, not all at the same time, and where it stands. */
void farewell_all(struct websocket_sink *s);

/* ---- refuse.c ---- */

enum { REFUSE_BYTES = 4096 };
/* The problem document (RFC 9457) that says so. */
void refuse_text(struct buf *out, int status, const char *detail);
/* Answers with one. */
void refuse_answer(struct websocket_sink *s, const struct http_request *r, int status, const char *detail);
/* Counts one that did not show what it must, and says so. */
void refuse_unverified(struct websocket_sink *s, struct str peer, const struct verified *is, int status);
/* A line about a listener, with option audit: what happened, and more of it, or "". */
void refuse_audit(const struct websocket_sink *s, const struct listener *l, const char *what, const char *more);
/* Both. */
void refuse_request(struct websocket_sink *s, const struct http_request *r, int status, const char *detail);

/* ---- talk.c ---- */

struct talk_form {
    bool nameless, cbor;
    enum ws_window deflate;
    struct str address; /* the client's, in full */
};
/* The listener speaks aqueduct.v1 from now on: it is welcome, and has no subscription yet. */
void talk_begin(struct websocket_sink *s, struct listener *l, const struct talk_form *form);
void talk_end(struct websocket_sink *s, struct listener *l); /* it has gone */
/* Now and then: tokens expire, and who has shown nothing has to go. */
void talk_turn(struct websocket_sink *s);
/* Takes leave of all of them. */
void talk_drain(struct websocket_sink *s);
/* A message of a WebSocket listener. */
void talk_message(struct websocket_sink *s, struct listener *l, bool text, struct str payload);
/* An event by POST, of somebody who was let in; key: whose token it is, or absent. */
void talk_post(struct websocket_sink *s, const struct http_request *r, struct str key, const struct rights *rights);
/* The kernel takes bytes for it again. */
void talk_writable(struct listener *l);
/* Tells listeners what became of their events. */
void talk_answers(struct websocket_sink *s);
/* Goes on with subscriptions that have names. */
void talk_names(struct websocket_sink *s);

/* ---- pull.c: see pulls.h ---- */

void pull_open(struct websocket_sink *s);
/* Is it one of our paths? */
bool pull_is_path(const struct websocket_sink *s, struct str path);
/* A request for one, of a client that was let in; answered now or later. */
void pull_request(struct websocket_sink *s, const struct http_request *r, const struct rights *rights);
/* In work(): goes on with them. Returns in how many ms it is to be called again at the latest; -1: no matter. */
int64_t pull_turn(struct websocket_sink *s);
/* Answers those that wait with what they have. */
void pull_drain(struct websocket_sink *s);
/* The server is gone, and so are their connections. */
void pull_close(struct websocket_sink *s);

/* ---- roll.c: `listeners` of struct sink_ops ---- */

void roll_write(struct sink *base, const struct listener_question *question, struct buf *out);

/* ---- page.c ---- */

/* Is the request for the page, or what belongs to it? Then it is answered. */
bool page_answer(const struct websocket_sink *s, const struct http_request *r);
