/* SPDX-License-Identifier: MIT */
/* What `aqueduct doctor` looks at itself: this machine, folders, ports and the broker. Each function says what it found, changes
 * nothing that stays, and may run on a thread of its own beside the others. */
#pragma once
#include "bridge/config/config.h"
#include "bridge/connector.h"

void around_machine(const struct config *c, finding_fn *each, void *ctx);
/* Is it writable, with room, and how long does a write take until it is durable? The file that tells so is removed. */
void around_folder(const char *path, finding_fn *each, void *ctx);
/* `runs`: a daemon with this configuration does. */
void around_port(const char *address, bool runs, finding_fn *each, void *ctx);
/* PEM file of a listener: until when is it good? */
void around_certificate(const char *file, finding_fn *each, void *ctx);
/* The collector of traces: its name, the connection and TLS; nothing is sent. */
void around_collector(const struct traces_config *t, struct duration limit, finding_fn *each, void *ctx);
/* The cluster, the sinks' groups and their topics; or whether the pages of a local log are sound. */
void around_broker(const struct config *c, struct duration limit, finding_fn *each, void *ctx);
