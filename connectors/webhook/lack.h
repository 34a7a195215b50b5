/* SPDX-License-Identifier: MIT */
/* Tells what our own machine lacked from what the receiver did.
 *
 * A transfer that ended for want of a descriptor, memory, a port or a thread says nothing of its receiver, so it is no
 * attempt. libcurl hides most of these causes behind "could not connect" and "could not resolve"; the clues are the errno
 * of our own socket(), that of connect(), libcurl's text, and a look at the machine right after. */
#pragma once
#include "connectors/webhook/multi.h"

struct lack_clues {
    CURLcode code;
    int os_errno;                      /* of a failed connect(); 0 unknown */
    bool sent;                         /* the request, or a part of it, had left */
    const char *text;                  /* libcurl's own words; "" when it had none */
    const char *ca_file;               /* NULL: the system's */
    const struct multi_opened *opened; /* the transfer's sockets */
};

/* The errno of what was lacking; 0: nothing of ours, so it was an attempt. */
int lack_find(const struct lack_clues *c);
const char *lack_text(int error); /* for a person */
