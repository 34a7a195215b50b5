/* SPDX-License-Identifier: MIT */
/* The dead-letter sink's options, shared with its command, and how a record of the dead-letter topic is read. */
#pragma once
#include "bridge/connector.h"
#include "connectors/dead_letter/letters.h"

struct dead_letter {
    struct sink base;
    char *path;
    int64_t keep;
    struct duration max_age;

    struct letters *letters;
    struct message *waiting; /* sent by the core, not yet filed */
    size_t waiting_count, waiting_cap;
    struct metric *filed, *dropped;
};

/* What a record of the dead-letter topic says; everything is borrowed from m. True when it is the note of a redrive
 * instead. */
bool letter_read(const struct message *m, struct letter *out);
