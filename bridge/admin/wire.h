/* SPDX-License-Identifier: MIT */
/* What goes over the control socket: where it is, and records as JSON with bytes in base64 (absent ones are null):
 *
 *   [{"topic": "t", "timestamp": 1700000000000, "key": null, "value": "e30=", "headers": [["Y2VfaWQ=", "MQ=="]]}]
 *
 * and what a group is no longer owed: {"group": "aqueduct.old", "topic": "t"}. */
#pragma once
#include "bridge/config/config.h"

enum { WIRE_BYTES = 128 << 20, WIRE_PATH = 256 };

/* "unix:" and the socket's path: admin.control, else beside the log; false where there is neither, or the path is too long
 * for a socket. */
bool wire_path(const struct config *config, char out[WIRE_PATH]);

char *wire_write(const struct record *records, size_t count); /* free() it */

struct wire_records { /* what was read: `at` points into the rest */
    struct record *at;
    size_t count;
    void *json;
    struct buf bytes;
    struct header *headers;
};
/* Reads the records, or a single one that is in no list. False when the text is no such thing, or none; wire_free in
 * either case. */
bool wire_read(struct str text, struct wire_records *out);
void wire_free(struct wire_records *w);

struct wire_owed {
    const char *group, *topic;
    void *json;
};
char *wire_write_owed(const char *group, const char *topic); /* free() it */
bool wire_read_owed(struct str text, struct wire_owed *out); /* false: it is none; wire_free_owed in either case */
void wire_free_owed(struct wire_owed *w);
