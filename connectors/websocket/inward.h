/* SPDX-License-Identifier: MIT */
/* The source of a sink `websocket` whose listeners publish: hands their events to the core, and what became of them back.
 *
 *   sink's thread   inward_hand ---------> mailbox ---> read()    the core's intake
 *                   mailbox of answers <--------------- settle()
 *
 * A struct published belongs to the sink from beginning to end; between inward_hand and its answer the source only reads
 * it. One is answered at most once; not, when the process ends before. */
#pragma once
#include <stdatomic.h>
#include "bridge/connector.h"
#include "bridge/lib/mailbox.h"

struct published { /* a struct of the sink begins with it */
    const struct event *event;
    char *scope; /* whose id it is (struct emission) */
    bool unique;
    struct mailbox *answers; /* gets a notice with its address and its outcome */
};

enum { INWARD_HELD = 64 };
struct inward {
    struct source base;
    int wake_fd;
    struct mailbox box;                  /* of what was handed over: its address is the tag */
    struct published *held[INWARD_HELD]; /* taken out of it, and not read yet */
    size_t first, count;
    atomic_bool closed;
};

/* The sink's thread. False: the source takes nothing more. */
bool inward_hand(struct inward *in, struct published *p);

/* Of struct source_ops. */
bool inward_open(struct source *base, struct err *e);
int inward_read(struct source *base, int wake_fd, struct emission *out, size_t room, struct err *e);
void inward_settle(struct source *base, uint64_t tag, enum outcome o, const char *why);
void inward_close(struct source *base);
