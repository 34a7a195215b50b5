/* SPDX-License-Identifier: MIT */
/* The log: one line per thing of interest, logfmt or JSON, to standard error.
 *
 *   LOG(WARN, "delivery failed", LOG_C("sink", s->id), LOG_STR("event", ev->id), LOG_INT("attempt", 3));
 *   level=warn time=2026-11-20T10:00:00.123Z msg="delivery failed" sink=crm event=... attempt=3
 *
 * Any thread; a line is one write(). Values are escaped, cut at 512 bytes; secrets never get here. An error is
 * returned or logged, never both. */
#pragma once
#include <stdatomic.h>
#include "bridge/lib/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };
enum log_kind { LOG_KIND_STR, LOG_KIND_SOME, LOG_KIND_INT };

struct log_field {
    const char *key;
    enum log_kind kind;
    struct str text;
    int64_t number;
};

#define LOG_STR(k, v)                                                                                                  \
    (struct log_field)                                                                                                 \
    {                                                                                                                  \
        .key = (k), .kind = LOG_KIND_STR, .text = (v)                                                                  \
    }
#define LOG_C(k, v)                                                                                                    \
    (struct log_field)                                                                                                 \
    {                                                                                                                  \
        .key = (k), .kind = LOG_KIND_STR, .text = str_of(v)                                                            \
    }
/* Left out when v is NULL. */
#define LOG_SOME(k, v)                                                                                                 \
    (struct log_field)                                                                                                 \
    {                                                                                                                  \
        .key = (k), .kind = LOG_KIND_SOME, .text = str_of(v)                                                           \
    }
#define LOG_INT(k, v)                                                                                                  \
    (struct log_field)                                                                                                 \
    {                                                                                                                  \
        .key = (k), .kind = LOG_KIND_INT, .number = (int64_t)(v)                                                       \
    }
/* At least one field. */
#define LOG(level, msg, ...) log_write(LOG_##level, msg, (const struct log_field[]){ __VA_ARGS__, { 0 } })

/* Fields end with one that has no key. */
void log_write(enum log_level level, const char *msg, const struct log_field *fields);
/* Would a line of this level be written? For what costs something to say. */
bool log_shows(enum log_level level);
/* Any thread, at any time; default: info, logfmt. */
void log_setup(enum log_level least, enum log_format format);

/* For lines that strangers can cause: at most 20 a second. Any thread. */
struct log_limit {
    atomic_int_least64_t second, lines, left_out;
};
/* May one more be written now? *left_out, usually 0, is how many were not in the second before. */
bool log_limit_pass(struct log_limit *l, int64_t *left_out);
