/* SPDX-License-Identifier: MIT */
/* What lies in a stretch of wire bytes, frame by frame: of which record each is, or of none. So a position in the bytes can
 * be said as a position in the log. One thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct mark { /* one frame */
    uint32_t bytes;
    uint32_t place; /* connectors/websocket/places.h; PLACE_NONE: no record's */
    int64_t offset;
};

struct marks { /* zeroed to start */
    struct mark *at;
    size_t first, count, cap; /* a ring; cap is a power of two */
    uint64_t begin, end;      /* positions of the bytes they stand for */
};

void marks_add(struct marks *m, struct mark one);
void marks_drop(struct marks *m, uint64_t before); /* forgets frames that begin before that position */
void marks_free(struct marks *m);
/* Whoever has the bytes up to `position` has whole frames up to the position that is returned, once the rest of the one it
 * stands in is there, too. Lowers next[place] (NULL: nobody asks), as it is at the end of the bytes, to what comes first
 * behind that. */
uint64_t marks_back(const struct marks *m, uint64_t position, int64_t *next);
/* How many frames of records begin at `position` or later. */
size_t marks_after(const struct marks *m, uint64_t position);
/* Where the first `count` of these have ended, and what is no record's behind them. */
uint64_t marks_limit(const struct marks *m, uint64_t position, size_t count);
