/* SPDX-License-Identifier: MIT */
/* What goes over the control socket: where it is, and a record as JSON with bytes in base64 (absent ones are null):
 *
 *   {"topic": "t", "timestamp": 1700000000000, "key": null, "value": "e30=", "headers": [["Y2VfaWQ=", "MQ=="]]} */
#pragma once
#include "bridge/config/config.h"

enum { WIRE_BYTES = 128 << 20, WIRE_PATH = 256 };

/* "unix:" and the socket's path, beside the log; false where the log has no folder or the path is too long for a
 * socket. */
bool wire_path(const struct config *config, char out[WIRE_PATH]);

char *wire_write(const struct record *r); /* free() it */

struct wire_record { /* what was read: `record` points into the rest */
    struct record record;
    void *json;
    struct buf bytes;
    struct header *headers;
};
/* False when the text is no record; wire_free in either case. */
bool wire_read(struct str text, struct wire_record *out);
void wire_free(struct wire_record *w);
