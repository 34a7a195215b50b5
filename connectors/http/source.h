/* SPDX-License-Identifier: MIT */
/* What others of this folder see of a configured HTTP source. */
#pragma once
#include "bridge/connector.h"
#include "bridge/net/http/options.h"
#include "connectors/http/path_options.h"

extern const struct source_ops http_source;
/* Its paths, and where it listens; borrowed from the source, whose ops are &http_source. */
const struct path_options *http_source_paths(const struct source *base, size_t *count);
const struct http_server_options *http_source_server(const struct source *base);
