/* SPDX-License-Identifier: MIT */
/* The process's file descriptors: how many there are, and how many of them a listener may take.
 *
 * Strangers decide how many connections a listener holds, so listeners share only what a reserve leaves. The reserve is
 * for the bridge's own work: sinks, the broker, the admin listener, files. Whoever does such work adds to it when it
 * opens and takes that back when it closes. A listener asks descriptors_share before it keeps one connection more, and
 * gives up another one, or refuses, when it holds that many already.
 *
 * Where descriptors run out all the same, whoever got the error reports it with descriptors_out: that warns at most once
 * a minute and makes /readyz tell until it has been over for some seconds. It is a shortage of this process and never the
 * fault of an event or a receiver.
 *
 * Any thread, but for descriptors_raise. */
#pragma once
#include <stdint.h>
#include "bridge/lib/err.h"

/* Raises the soft limit to the hard one (at most DESCRIPTORS_MAX). Main thread, at start. */
enum { DESCRIPTORS_MAX = 1 << 20 };
void descriptors_raise(void);
int64_t descriptors_limit(void);

/* The bridge's own work may need n descriptors more (n < 0: fewer). */
void descriptors_reserve(int64_t n);
/* n listeners for strangers more (n < 0: fewer) share what is left. */
void descriptors_listen(int n);
/* How many connections one listener may hold now: at least 1. */
int64_t descriptors_share(void);

/* Is `code` an errno that says that descriptors are out? Then that is counted, and warned of. */
bool descriptors_out(int code);
/* Are there descriptors? *why says which limit is reached and how to raise it. */
bool descriptors_ready(struct err *why);
/* Brings the gauge of open descriptors up to date. */
void descriptors_measure(void);
