/* SPDX-License-Identifier: MIT */
/* --from: its text, and the position as such a text. */
#include <inttypes.h>
#include <stdlib.h>
#include "bridge/cli/tail_private.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/mem.h"

struct tail_place *tail_from_place(struct tail_from *f, struct str topic, int32_t partition)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->places[i].partition == partition && str_eq(str_of(f->places[i].topic), topic))
            return &f->places[i];
    f->places = mem_grow(f->places, f->count + 1, sizeof *f->places);
    f->places[f->count] = (struct tail_place){ .topic = str_dup(topic), .partition = partition };
    return &f->places[f->count++];
}

void tail_from_free(struct tail_from *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->places[i].topic);
    free(f->places);
    *f = (struct tail_from){ 0 };
}

void tail_from_text(const struct tail_from *f, struct buf *out)
{
    for (size_t i = 0; i < f->count; i++)
        buf_printf(out, "%s%s/%" PRId32 "@%" PRId64, i ? "," : "", f->places[i].topic, f->places[i].partition,
                   f->places[i].next);
}

/* "ai.chats/0@12", and several of them with commas between. */
static bool tail_from_position(struct tail_from *f, struct str text)
{
    struct str one, offset;
    while (str_cut(&text, ',', &one)) {
        const char *slash = memrchr(one.at, '/', one.n);
        struct str topic = { one.at, slash ? (size_t)(slash - one.at) : 0 }, partition;
        uint64_t number, next;
        if (!topic.n)
            return false;
        offset = str_from(one, topic.n + 1);
        str_cut(&offset, '@', &partition);
        if (!str_to_u64(partition, &number) || number > INT32_MAX || !str_to_u64(offset, &next) || next > INT64_MAX)
            return false;
        tail_from_place(f, topic, (int32_t)number)->next = (int64_t)next;
    }
    return true;
}

bool tail_from_parse(struct tail_from *f, struct str text, bool whole, struct err *e)
{
    static const char last[] = "last:";
    *f = (struct tail_from){ .point = whole ? TAIL_EARLIEST : TAIL_LATEST };
    if (!text.at)
        return true;
    if (str_eq(text, STR("latest"))) {
        f->point = TAIL_LATEST;
    } else if (str_eq(text, STR("earliest"))) {
        f->point = TAIL_EARLIEST;
    } else if (str_starts(text, STR(last))) {
        f->point = TAIL_LAST;
        return (str_to_i64(str_from(text, sizeof last - 1), &f->last) && f->last > 0 && f->last <= TAIL_LAST_MOST)
               || err_set(e, "--from: last: takes a number from 1 to %d", TAIL_LAST_MOST);
    } else if (clock_since(text, &f->ms)) {
        f->point = TAIL_TIME;
    } else {
        f->point = TAIL_POSITION;
        return tail_from_position(f, text)
               || err_set(
                   e,
                   "--from: \"%.*s\" is neither earliest, latest, last:N, a moment, a time ago (90s 30m 2h 7d) nor "
                   "a position (ai.events/0@12)",
                   (int)(text.n < 64 ? text.n : 64), text.at);
    }
    return true;
}
