/* SPDX-License-Identifier: MIT */
/* The dead-letter sink, as its command sees it too: whose file is meant. */
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
    struct metric *filed, *discarded, *dropped;
};

extern const struct filed_ops dead_letter_filed; /* what the API does with the file (filed.c) */
