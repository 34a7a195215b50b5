/* SPDX-License-Identifier: MIT */
/* What a file of `aqueduct test` says: cases, each an event, a request or rows that change, and what is expected of it. */
#pragma once
#include <jansson.h>
#include "bridge/lib/option.h"

struct case_request { /* to a path of an HTTP source */
    char *path;       /* NULL: the case has none */
    struct map headers;
    struct tree body;
    char *text;
    bool signed_; /* with what proves its sender */
};

struct case_change { /* of rows that a source reads */
    char *source, *schema;
    struct tree before, after;
};

struct case_delivery { /* a request that a receiver is to get */
    char *to, *method, *url, *text;
    struct map headers;
    struct tree body;
    char *signed_by;
};

struct test_case {
    char *name;
    struct tree event;
    struct case_request request;
    struct case_change rows;
    int64_t status; /* 0: not said */
    struct tree events;
    struct strings topics, sinks, not ;
    struct map keys;
    struct list requests; /* of struct case_delivery */
};

struct case_file {
    struct list cases; /* of struct test_case */
};
extern const struct option case_file_rows[];

json_t *case_json(const struct tree *tree); /* NULL: the case does not say it; the caller's */
/* The event with specversion, id and source where it has none; the caller's. */
json_t *case_whole_event(const json_t *given);
