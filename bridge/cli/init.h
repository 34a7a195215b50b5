/* SPDX-License-Identifier: MIT */
/* The parts of `aqueduct init`:
 *
 *   init.c        flags and answers to a plan; the files; what is said at the end
 *   init_find.c   databases of known applications in the usual places
 *   init_text.c   the plan as a commented configuration
 *
 * Main thread. */
#pragma once
#include "bridge/connector.h"

struct init_found { /* a database of a known application */
    char *path;
    const struct known_app *app;
};

struct init_plan {              /* what the configuration is to be; texts are borrowed */
    const char *database, *app; /* NULL: no database; the preset that reads it */
    const char *title;          /* of the application */
    const char *http;           /* where senders' requests are taken; NULL: nowhere */
    const char *url, *receiver; /* of the webhook: NULL: none; the schemas/receivers that it is; NULL: none of these */
    const char *kafka;          /* servers; NULL: the local log */
    const char *content;        /* full, hash or none */
    const char *live, *admin;   /* where listeners, and the pages of the admin, are served */
    const char *folder;         /* before every file: "" or "/etc/aqueduct/" */
    const char *stem;           /* of the secrets' files: "/etc/aqueduct/bridge" */
};
enum init_secret { INIT_TOKEN, INIT_WEBHOOK, INIT_URL, INIT_CONTENT, INIT_SECRETS };
bool init_wants(const struct init_plan *p, enum init_secret which);
char *init_secret_file(const struct init_plan *p, enum init_secret which); /* free() it */

/* All there are, each file once, at most `room`; free_found them. */
size_t init_find(const struct connectors *connectors, struct init_found *out, size_t room);
void init_free_found(struct init_found *found, size_t count);
/* Whose file it is; NULL with *e, as source_ops.recognise. */
const struct known_app *init_recognise(const struct connectors *connectors, const char *path, struct err *e);
/* The names of their presets: "anythingllm, open-webui, ...". */
void init_add_apps(const struct connectors *connectors, struct buf *out);

/* Which of schemas/receivers a URL belongs to, by its host and path; NULL: none. */
const char *init_receiver(const char *url);
void init_write(const struct init_plan *p, struct buf *out);
