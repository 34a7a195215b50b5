/* SPDX-License-Identifier: MIT */
/* Inside `aqueduct prove`:
 *
 *   prove.c         its flags, the rounds, the verdict
 *   prove_daemon.c  the daemon that is killed: its configuration, its folder, its topics
 *   prove_sender.c  threads that send events to it until they are acknowledged
 *   prove_books.c   what was acknowledged, and what came at the receiver: a thread with a server; what the log says
 *
 * An event's number is its place in the books. An event that gets no answer, or is refused, is sent again until it is
 * acknowledged, so that at the end those that are not are at most one of each sender. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include "bridge/config/config.h"
#include "bridge/lib/buf.h"

enum { PROVE_SENDERS = 4, PROVE_EVENTS = 4 << 20, PROVE_DOOMED = 97, PROVE_MOODY = 31, PROVE_RUN = 9 };

/* ---- prove_books.c ---- */

struct prove_event {
    bool acknowledged, dead, pending, changed;
    uint16_t tries;   /* how often the receiver said "later" */
    uint32_t arrived; /* how often it was taken */
};

struct prove_totals {
    int64_t sent, acknowledged, delivered, dead, pending, lost, repeats, changed;
};

struct prove_books {
    pthread_mutex_t lock; /* guards what follows, up to acked_ms */
    struct prove_event *at;
    size_t count, cap;
    int64_t arrivals;
    int64_t acked_ms; /* clock_mono_ms of the last acknowledgement */
    struct http_server *server;
    pthread_t thread;
    bool running;
    atomic_bool stop;
    int wake_fd, port;
    char *socket; /* of the daemon's source */
    char token[40];
};

bool prove_books_open(struct prove_books *b, struct err *e);
void prove_books_close(struct prove_books *b);
/* The next event to send; -1: there are enough. Any thread, as those below. */
int64_t prove_books_next(struct prove_books *b);
void prove_books_acknowledged(struct prove_books *b, int64_t n);
int64_t prove_books_acked_ms(struct prove_books *b);
/* Looks at the log of the broker: which are dead, which are not finished. */
bool prove_books_look(struct prove_books *b, const struct config *c, struct err *e);
struct prove_totals prove_books_total(struct prove_books *b);
bool prove_books_doomed(int64_t n); /* the receiver refuses it for good */

/* ---- prove_sender.c ---- */

struct prove_senders {
    struct prove_books *books;
    pthread_t threads[PROVE_SENDERS];
    size_t count;
    atomic_bool stop;
};
void prove_senders_start(struct prove_senders *s);
void prove_senders_stop(struct prove_senders *s);

/* ---- prove_daemon.c ---- */

struct prove_daemon {
    const struct config *config; /* the user's */
    struct config own;           /* of which the broker section and the topics are its own: for looks */
    struct topic_config listed;
    char run[PROVE_RUN];
    char *sockets, *file, *log; /* a folder, and in it the configuration and the log; NULL: not made */
    char *path;                 /* local: of its log */
    char *topic, *prefix, *group_prefix;
    char *all; /* begins the names of all of its topics */
    pid_t pid; /* 0: it does not run */
    bool started;
};

bool prove_daemon_open(struct prove_daemon *d, const struct config *config, struct prove_books *books, struct err *e);
bool prove_daemon_start(struct prove_daemon *d, struct err *e);
bool prove_daemon_runs(struct prove_daemon *d); /* false: it has ended */
void prove_daemon_kill(struct prove_daemon *d);
void prove_daemon_stop(struct prove_daemon *d); /* as SIGTERM does, within a bound */
/* Removes its topics, groups and files; `keep`: not its folder. False with *e: something is left. */
bool prove_daemon_close(struct prove_daemon *d, bool keep, struct err *e);
