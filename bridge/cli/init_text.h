/* SPDX-License-Identifier: MIT */
/* For `aqueduct init`: what was asked for, as a commented configuration. Main thread. */
#pragma once
#include <stdbool.h>
#include "bridge/lib/buf.h"

struct init_plan {              /* what the configuration is to be; texts are borrowed */
    const char *database, *app; /* NULL: no database; the preset that reads it */
    const char *title;          /* of the application */
    const char *http;           /* where senders' requests are taken; NULL: nowhere */
    const char *url, *receiver; /* of the webhook: NULL: none; the schemas/receivers that it is; NULL: none of these */
    const char *kafka;          /* servers; NULL: the local log */
    const char *content;        /* full, hash or none */
    const char *live, *admin;   /* where listeners, and the pages of the admin, are served */
    bool served;                /* by systemd, as the Debian package has it; else by who wrote it */
    const char *data;           /* before what the daemon writes: "" or "/var/lib/aqueduct/" */
    const char *stem;           /* of the secrets' files: "/etc/aqueduct/bridge" */
};
enum init_secret { INIT_TOKEN, INIT_WEBHOOK, INIT_URL, INIT_CONTENT, INIT_SECRETS };
bool init_wants(const struct init_plan *p, enum init_secret which);
char *init_secret_file(const struct init_plan *p, enum init_secret which); /* free() it */

/* Which of schemas/receivers a URL belongs to, by its host and path; NULL: none. */
const char *init_receiver(const char *url);
void init_write(const struct init_plan *p, struct buf *out);
