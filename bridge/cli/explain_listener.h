/* SPDX-License-Identifier: MIT */
/* Why a live listener got a stored event, or did not: by what the running daemon says of its subscriptions (`listeners` of
 * struct sink_ops), and by where the event is stored. */
#pragma once
#include "bridge/config/config.h"
#include "bridge/event/event.h"

struct explained { /* all borrowed */
    const struct config *config;
    const struct event *event;
    const struct record *record;
    int64_t connection;
};

/* Prints a verdict for each of its subscriptions; an exit code. With *e: the daemon could not be asked. */
int explain_listener(const struct explained *x, bool json, struct err *e);
