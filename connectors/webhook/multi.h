/* SPDX-License-Identifier: MIT */
/* libcurl's multi interface on one epoll.
 *
 *   multi_open -> multi_start(m, easy) ... multi_run ... multi_done -> multi_take_out(m, easy) ... multi_close
 *
 * The textbook way calls epoll_ctl for each change that libcurl reports, several times per request on the same socket.
 * Here a change is recorded, and applied before the next wait if it differs from what epoll knows; that saves three or
 * four system calls per request (a fifth of the CPU). An idle connection stays registered until it is readable. One thread. */
#pragma once
#include <curl/curl.h>
#include <sys/socket.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/err.h"
#include "bridge/net/address.h"

/* A descriptor is ready: epoll's events. */
typedef void multi_ready_fn(void *ctx, uint32_t events);

struct multi_socket {            /* indexed by file descriptor */
    uint32_t wanted;             /* epoll events that libcurl wants */
    uint32_t known;              /* epoll events that the kernel watches for us */
    bool ours;                   /* a connection: we are told when it closes, so the kernel's knowledge is known too */
    bool listed;                 /* stands in `changed` */
    struct multi_opened *opened; /* of the transfer that opened it, as long as the serials agree */
    uint64_t serial;
    multi_ready_fn *ready; /* of multi_watch; NULL: it is libcurl's */
    void *ready_ctx;
};

struct multi_ended {
    CURL *easy; /* NULL: it was broken off */
    CURLcode code;
};

struct multi {
    CURLM *curl;
    int epoll, wake_fd; /* wake_fd: -1 until the first run */
    int64_t due_us;     /* when libcurl wants to be called without news; INT64_MAX: never */
    struct multi_socket *sockets;
    size_t socket_count;
    int *changed; /* descriptors whose wish may differ from what epoll knows */
    size_t changed_count, changed_cap;
    uint64_t serial; /* of the newest adoption */
    /* What libcurl said has ended, before multi_done returns it: all at once, because libcurl looks through what it has
     * not said yet whenever a handle is taken out. */
    struct multi_ended *ended;
    size_t ended_at, ended_count, ended_cap;
    size_t ready;         /* what others than libcurl have ended: no waiting */
    int started, running; /* transfers that multi_done has not returned; those of them that libcurl still works on */
};

/* The sockets of one transfer, which libcurl itself says little about. */
struct multi_opened {
    struct multi *m;
    uint64_t serial; /* differs for each handle */
    int error;       /* errno of the last socket() that failed; 0: none did */
    bool keep;       /* the caller sets it: what is connected outlives the transfer (CURLOPT_CONNECT_ONLY), and */
    int fd;          /* is this one, the caller's; -1: none */
    bool opened;     /* a socket */
    bool connected;  /* one that is closed by now was connected */
    const struct address_rules *rules; /* NULL: any address; the caller sets it */
    const char *blocked;               /* what kind of address the last one was that these did not let through */
    struct sockaddr_storage address;
    socklen_t address_n; /* of the last one that was opened, or blocked and none opened; 0: none was */
};

bool multi_open(struct multi *m, struct err *e);
/* Sets the options by which `easy` is known to m; once per handle. *opened outlives the handle. */
void multi_adopt(struct multi *m, CURL *easy, struct multi_opened *opened);
/* Has epoll tell of a descriptor that is not libcurl's, once for each change (edge-triggered), until it is unwatched,
 * right before it is closed. False with errno when the kernel cannot. */
bool multi_watch(struct multi *m, int fd, multi_ready_fn *ready, void *ctx);
void multi_unwatch(struct multi *m, int fd);
void multi_start(struct multi *m, CURL *easy);
void multi_stop(struct multi *m, CURL *easy); /* breaks it off: multi_done does not return it */
/* Moves all transfers on; waits at most `wait` for something to do, not at all when one has ended. True when wake_fd
 * is readable. */
bool multi_run(struct multi *m, int wake_fd, struct duration wait);
/* A transfer that has ended, or NULL. It is still in the multi handle, which has its connection if that is to outlive the
 * transfer (CURLOPT_CONNECT_ONLY). */
CURL *multi_done(struct multi *m, CURLcode *code);
void multi_take_out(struct multi *m, CURL *easy); /* one that has ended */
void multi_close(struct multi *m);                /* the easy handles are gone already; accepts a zeroed struct */
