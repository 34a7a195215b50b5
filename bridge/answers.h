/* SPDX-License-Identifier: MIT */
/* What the running bridge answers to those who ask (admin/pages.h): is it ready, what became of the events. Main thread;
 * the sinks' threads give their part between two of their turns. */
#pragma once
#include "bridge/admin/api.h"
#include "bridge/delivery/account.h"
#include "bridge/engines.h"

struct answers { /* everything is borrowed */
    const struct config *config;
    struct broker *broker;
    const struct engines *engines;
    bool started;
    char not_ready[sizeof((struct err *)0)->text]; /* why the start is not through */
    bool waits;                                    /* since it waits for its broker */
    struct err missing; /* what was stopped for a reload and could not be opened again, and why; "": nothing */
    struct {            /* a plan, or (apply) a reload that is wanted: the main loop answers */
        bool is, apply;
        struct api_ticket ticket;
    } asked;
};

/* Of struct admin_questions; ctx: the answers. */
bool answers_ready(void *ctx, struct err *why);
void answers_account(void *ctx, const struct account_question *question, struct buf *out);
void answers_gather(void *ctx);
bool answers_reload(void *ctx, bool apply, const struct api_ticket *t);
