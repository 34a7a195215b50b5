/* SPDX-License-Identifier: MIT */
/* What a path of the HTTP source is called where others see it: in metrics, logs, events and records. A part of it that
 * looks like a secret (a token, a UUID) stands nowhere, since whoever knows it may post. Any thread. */
#pragma once
#include "bridge/lib/buf.h"
#include "connectors/http/path_options.h"

/* In scopes and sources: "/v1/github", "/" and its name, or "/hooks/~3f8a91c2" where a part looks like a secret: the
 * same digest for the same secret, so that two of them stay two. Two paths of one source must differ in it. */
void called_add(const struct path_options *o, struct buf *out);
/* In metrics and logs: "/v1/github", its name, "/hooks/" and a star; a parameter as it is configured, /v1/{event}. */
void called_add_label(const struct path_options *o, struct buf *out);
/* The same of what somebody asked for. */
void called_add_text(struct str path, struct buf *out);
/* The path's own CloudEvents source: the user's, or the default. */
void called_add_source(const struct path_options *o, const char *source_id, struct buf *out);
