/* SPDX-License-Identifier: MIT */
/* Sends the spans of events (event/span.h) to a collector of OpenTelemetry: OTLP over HTTP in JSON, gzip.
 *
 *   traces_new --> a thread: what has come in about a second --POST--> the collector       traces_free: the rest, for 2 s
 *
 * What the collector cannot take now (429, 502 to 504, no answer) is sent again, after its Retry-After or longer each time;
 * what it refuses is counted and dropped. That it takes nothing is logged once, until it does again. Meanwhile spans wait in their bounded buffer. The configured headers are shown nowhere. */
#pragma once
#include "bridge/config/config.h"
#include "bridge/net/transport.h"

struct traces;
/* How one connects to the endpoint; borrows from *c. */
struct transport traces_way(const struct traces_config *c);
/* NULL, when there is no endpoint. False with *e: a file of TLS cannot be read. */
/* Copies what it needs. */
bool traces_new(const struct traces_config *c, struct traces **out, struct err *e);
void traces_free(struct traces *t); /* accepts NULL */
