/* SPDX-License-Identifier: MIT */
/* Records in arrays. */
#include "tests/support/live_log.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

struct log_place log_places[LOG_PLACES + 1]; /* the last one: of partitions without records */
uint64_t log_identity_now;
int log_patience;
const char *log_data, *log_type;
int64_t log_reads;
int32_t log_partitions;

static int log_asked;
static uint8_t log_order[LOG_PLACES * LOG_MOST]; /* the places of all records, as they were stored */
static size_t log_stored, log_sent;

static bool log_is_slow(void)
{
    return log_asked++ % (log_patience + 1) != 0;
}

static int log_place_of(struct topic_partition p)
{
    return strcmp(p.topic, "ai.events") == 0 ? 3 : p.partition < 3 ? p.partition : LOG_PLACES;
}

/* ---- the log's table ---- */

static int32_t log_on_partitions(struct log *l, const char *topic)
{
    (void)l;
    return strcmp(topic, "ai.events") == 0 ? 1 : log_partitions;
}

static bool log_on_identity(struct log *l, const char *topic, uint64_t *out)
{
    (void)l;
    *out = log_identity_now + (strcmp(topic, "ai.events") == 0);
    return true;
}

static bool log_on_bounds(struct log *l, struct topic_partition p, struct log_bounds *out)
{
    (void)l;
    const struct log_place *at = &log_places[log_place_of(p)];
    *out = (struct log_bounds){ at->start, at->end };
    return !log_is_slow();
}

static bool log_on_offset_at(struct log *l, struct topic_partition p, int64_t ms, int64_t *out)
{
    (void)l;
    const struct log_place *at = &log_places[log_place_of(p)];
    *out = at->start;
    while (*out < at->end && at->at[*out]->stored_ms < ms)
        ++*out;
    return !log_is_slow();
}

static bool log_on_live(struct log *l, struct topic_partition p, int64_t *out)
{
    (void)l;
    *out = log_places[log_place_of(p)].live;
    return true;
}

static bool log_on_wanted(struct log *l, const struct event *ev)
{
    (void)l;
    return !str_eq(ev->type, STR("unwanted"));
}

struct log_test_reader {
    struct log_reader base;
    int place;
};

static struct log_reader *log_on_open(struct log *l, struct topic_partition p, uint64_t identity, int64_t offset)
{
    uint64_t now;
    struct log_test_reader *r = mem_alloc(sizeof *r);
    log_on_identity(l, p.topic, &now);
    *r = (struct log_test_reader){ { .next = offset, .anew = identity != now }, log_place_of(p) };
    return &r->base;
}

static int log_on_read(struct log *l, struct log_reader *base, int64_t until, struct record **out, size_t room,
                       size_t bytes, struct err *e)
{
    struct log_test_reader *r = (struct log_test_reader *)base;
    const struct log_place *at = &log_places[r->place];
    size_t n = 0;
    (void)l;
    (void)bytes;
    (void)e;
    if (base->anew || log_is_slow())
        return 0;
    if (base->next < at->start) {
        base->lost += at->start - base->next;
        base->next = at->start;
    }
    for (; n < room && base->next < until && base->next < at->end; n++)
        out[n] = record_ref(at->at[base->next++]);
    log_reads += n > 0;
    return (int)n;
}

static void log_on_close(struct log *l, struct log_reader *r)
{
    (void)l;
    free(r);
}

static const struct log_ops log_test_ops = {
    .partitions = log_on_partitions,
    .identity = log_on_identity,
    .bounds = log_on_bounds,
    .offset_at = log_on_offset_at,
    .live = log_on_live,
    .wanted = log_on_wanted,
    .open = log_on_open,
    .read = log_on_read,
    .close = log_on_close,
};

static bool log_on_secret(struct bookmarks *b, unsigned char out[BOOKMARKS_SECRET])
{
    (void)b;
    memset(out, 's', BOOKMARKS_SECRET);
    return true;
}

static size_t log_on_done(struct bookmarks *b, struct bookmark_done *out, size_t room)
{
    (void)b;
    (void)out;
    (void)room;
    return 0;
}

static const struct bookmarks_ops log_bookmarks_ops = { .done = log_on_done, .secret = log_on_secret };

/* ---- records ---- */

struct log_record {
    struct record r;
    struct record_share share;
    struct header type;
};

static void log_release(struct record *r)
{
    free((void *)(uintptr_t)r->value.at);
    free(r);
}

void log_store(int place, int count)
{
    struct log_place *at = &log_places[place];
    for (; count > 0; count--) {
        struct log_record *one = mem_alloc(sizeof *one);
        struct buf json = buf_new(1 << 20);
        buf_printf(
            &json,
            "{\"specversion\":\"1.0\",\"id\":\"%d/%lld\",\"source\":\"/s\",\"type\":\"%s\",\"subject\":\"s/%lld\","
            "\"data\":%s}",
            place, (long long)at->end, log_type, (long long)at->end % 10, log_data);
        one->type = (struct header){ STR("content-type"), STR("application/cloudevents+json") };
        one->r = (struct record){ .topic = place == 3 ? STR("ai.events") : STR("ai.chats"),
                                  .partition = place == 3 ? 0 : place,
                                  .offset = at->end,
                                  .timestamp_ms = clock_wall_ms(),
                                  .stored_ms = clock_wall_ms(),
                                  .value = { str_dup(buf_str(&json)), json.n },
                                  .headers = &one->type,
                                  .header_count = 1,
                                  .share = &one->share,
                                  .release = log_release };
        buf_free(&json);
        assert_true(at->end < LOG_MOST);
        at->at[at->end++] = &one->r;
        log_order[log_stored++] = (uint8_t)place;
    }
}

void log_send(void)
{
    while (log_sent < log_stored) {
        struct log_place *at = &log_places[log_order[log_sent++]];
        struct record *r = at->at[at->live++];
        const struct event *ev = event_of_record(r, NULL);
        assert_non_null(ev);
        if (log_on_wanted(NULL, ev))
            websocket_sink.send(live_sink, &(struct message){ .event = ev, .record = r, .attempt = 1 });
        event_unref(ev);
    }
}

void log_renew(int place)
{
    struct log_place *at = &log_places[place];
    for (int64_t i = 0; i < at->end; i++)
        record_free(at->at[i]);
    at->start = at->end = at->live = 0;
}

void log_pass(int place, int count)
{
    log_store(place, count);
    log_send();
}

/* ---- open and close ---- */

void log_open(void)
{
    static struct log log = { .ops = &log_test_ops };
    static struct bookmarks bookmarks = { .ops = &log_bookmarks_ops };
    live_log = &log;
    live_bookmarks = &bookmarks;
    log_identity_now = 7;
    log_patience = 0;
    log_data = "1";
    log_type = "t";
    log_reads = 0;
    log_partitions = 3;
    log_stored = log_sent = 0;
}

int log_close(void **state)
{
    if (live_sink)
        live_close(state);
    for (int p = 0; p < LOG_PLACES; p++) {
        for (int64_t i = 0; i < log_places[p].end; i++)
            record_free(log_places[p].at[i]);
        log_places[p] = (struct log_place){ 0 };
    }
    live_log = NULL;
    live_bookmarks = NULL;
    return 0;
}
