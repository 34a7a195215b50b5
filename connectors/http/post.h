/* SPDX-License-Identifier: MIT */
/* One request by POST, and what is answered: for commands, which may wait. Main thread. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"
#include "bridge/lib/option.h"

struct post {
    const char *url;    /* http:// or https:// */
    const char *socket; /* a unix socket that is connected to instead; NULL: none */
    /* PEM file with the one certificate that is trusted, whatever its name; NULL: the system's */
    const char *certificate;
    const char *ca_file;    /* PEM file of authorities in the place of the system's; NULL: none */
    struct strings headers; /* lines "name: value" */
    struct str body;
};
/* Returns the status, and the answer's body, cut where `answer` is full; 0 with *e: there was none. */
long post_send(const struct post *p, struct buf *answer, struct err *e);
