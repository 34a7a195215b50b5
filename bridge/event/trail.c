/* SPDX-License-Identifier: MIT */
/* Reads and writes the bridge's own headers. */
#include "bridge/event/trail.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"

char *topic_name(const char *prefix, enum topic_kind kind, const char *id)
{
    static const char *const words[] = {
        [TOPIC_DEAD_LETTER] = "dead-letter", [TOPIC_STATE] = "state",  [TOPIC_WAITING] = "waiting.",
        [TOPIC_ATTEMPTS] = "attempts",       [TOPIC_RETRY] = "retry.", [TOPIC_REDRIVE] = "redrive.",
        [TOPIC_BLOCKED] = "blocked.",        [TOPIC_AUDIT] = "audit",  [TOPIC_REPLAYS] = "replays",
    };
    return str_join(prefix, words[kind], id ? id : "");
}

static bool trail_topic_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_'
           || c == '-';
}

bool topic_name_ok(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!trail_topic_character(name.at[i]))
            return false;
    return name.n > 0 && name.n <= TOPIC_NAME_MAX && !str_eq(name, STR(".")) && !str_eq(name, STR(".."));
}

char *trail_place(const char *sink, const char *endpoint)
{
    return str_join(sink, endpoint ? "/" : "", endpoint ? endpoint : "");
}

struct trail trail_read(const struct record *r)
{
    struct trail t = { .sink = record_header(r, TRAIL_SINK), .endpoint = record_header(r, TRAIL_ENDPOINT) };
    uint64_t n;
    if (str_to_u64(record_header(r, TRAIL_ATTEMPTS), &n) && n < 1000000)
        t.attempts = (unsigned)n;
    if (!clock_parse(record_header(r, TRAIL_FIRST), &t.first_ms))
        t.first_ms = 0;
    if (!clock_parse(record_header(r, TRAIL_LAST), &t.last_ms))
        t.last_ms = 0;
    if (!str_to_i64(record_header(r, TRAIL_DUE), &t.due_ms))
        t.due_ms = 0;
    if (!str_to_i64(record_header(r, TRAIL_UNTIL), &t.until_ms))
        t.until_ms = 0;
    if (!str_to_i64(record_header(r, TRAIL_PUT), &t.put_ms))
        t.put_ms = 0;
    return t;
}

int64_t trail_ahead_ms(const struct trail *t, int64_t wall_ms)
{
    int64_t ahead = (t->last_ms ? t->last_ms : t->put_ms) - wall_ms;
    return ahead > TRAIL_SKEW_MS ? ahead : 0;
}

/* Where a record came from, and what its event is: that stays when it is moved on. */
static bool trail_stays(struct str name)
{
    return str_eq(name, STR(TRAIL_FROM)) || str_eq(name, STR(TRAIL_TYPES)) || str_eq(name, STR(TRAIL_TOPIC))
           || str_eq(name, STR(TRAIL_PARTITION)) || str_eq(name, STR(TRAIL_OFFSET))
           || str_eq(name, STR(TRAIL_TIMESTAMP));
}

void trail_move(struct moved *m, const struct record *r, const char *topic, const char *const *add)
{
    size_t added = 0, n = 0;
    while (add[added])
        added += 2;
    m->headers = mem_alloc((r->header_count + added / 2 + 4) * sizeof *m->headers);
    bool has_origin = record_header(r, TRAIL_TOPIC).at != NULL;
    for (size_t i = 0; i < r->header_count; i++)
        if (!str_starts(r->headers[i].name, STR(TRAIL_PREFIX)) || trail_stays(r->headers[i].name))
            m->headers[n++] = r->headers[i];
    if (!has_origin) {
        snprintf(m->partition, sizeof m->partition, "%" PRId32, r->partition);
        snprintf(m->offset, sizeof m->offset, "%" PRId64, r->offset);
        snprintf(m->timestamp, sizeof m->timestamp, "%" PRId64, r->timestamp_ms);
        m->headers[n++] = (struct header){ STR(TRAIL_TOPIC), r->topic };
        m->headers[n++] = (struct header){ STR(TRAIL_PARTITION), str_of(m->partition) };
        m->headers[n++] = (struct header){ STR(TRAIL_OFFSET), str_of(m->offset) };
        m->headers[n++] = (struct header){ STR(TRAIL_TIMESTAMP), str_of(m->timestamp) };
    }
    for (size_t i = 0; i < added; i += 2)
        if (add[i + 1] && add[i + 1][0])
            m->headers[n++] = (struct header){ str_of(add[i]), str_of(add[i + 1]) };
    m->record = (struct record){ .topic = str_of(topic),
                                 .partition = -1,
                                 .timestamp_ms = r->timestamp_ms,
                                 .key = r->key,
                                 .value = r->value,
                                 .headers = m->headers,
                                 .header_count = n };
}

void trail_resent(struct moved *m, const struct record *r, const char *topic, const char *sink, const char *endpoint)
{
    clock_text(clock_wall_ms(), m->when);
    trail_move(m, r, topic,
               (const char *const[]){ TRAIL_SINK, sink, TRAIL_ENDPOINT, endpoint, TRAIL_STATE, "resent", TRAIL_LAST,
                                      m->when, NULL });
    m->record.value = STR_ABSENT;
}

void trail_free(struct moved *m)
{
    free(m->headers);
}
