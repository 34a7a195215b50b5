/* SPDX-License-Identifier: MIT */
/* For `aqueduct init`: databases of known applications in the usual places. Main thread. */
#pragma once
#include "bridge/connector.h"

struct init_found { /* a database of a known application */
    char *path;
    const struct known_app *app;
};

/* All there are, each file once, at most `room`; free_found them. */
size_t init_find(const struct connectors *connectors, struct init_found *out, size_t room);
void init_free_found(struct init_found *found, size_t count);
/* Whose file it is; NULL with *e, as source_ops.recognise. */
const struct known_app *init_recognise(const struct connectors *connectors, const char *path, struct err *e);
/* The names of their presets: "anythingllm, open-webui, ...". */
void init_add_apps(const struct connectors *connectors, struct buf *out);
