/* SPDX-License-Identifier: MIT */
/* permessage-deflate on zlib's raw streams. */
#include "bridge/net/ws_deflate.h"
#include <stdlib.h>
#include <zlib.h>
#include "bridge/lib/mem.h"

enum {
    NOT_DEFLATED = 1007,
    TOO_BIG = 1009,
    LEAST_BITS = 8,
    MOST_BITS = 15,
    LEAST_LIMIT = 64 * 1024, /* a message up to this may be deflated as well as it can be */
    MOST_RATIO = 100,
    KEPT = 64 * 1024, /* of the buffers, between messages */
    TAIL = 4,
    BETWEEN_BLOCKS = 128, /* of zlib's data_type */
};

static const unsigned char deflate_tail[TAIL] = { 0, 0, 0xff, 0xff }; /* of a flushed block; messages go without it */

/* ---- offers ---- */

struct offer {
    bool deflate, declined;
    enum ws_window window;
    unsigned seen; /* parameters, as bits of offer_names */
};

static const char *const offer_names[] = { "server_no_context_takeover", "client_no_context_takeover",
                                           "server_max_window_bits", "client_max_window_bits" };
enum { SERVER_BITS = 2, CLIENT_BITS = 3, NAMES = 4 };

static bool offer_is_token(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
           || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static void offer_skip(struct str *in, const char *chars)
{
    while (in->n && strchr(chars, *in->at) && *in->at)
        *in = str_from(*in, 1);
}

/* Takes a token with the space behind it. False: there is none. */
static bool offer_take_token(struct str *in, struct str *out)
{
    size_t n = 0;
    while (n < in->n && offer_is_token(in->at[n]))
        n++;
    *out = (struct str){ in->at, n };
    *in = str_from(*in, n);
    offer_skip(in, " \t");
    return n > 0;
}

/* Takes the character with the space behind it, if it is next. */
static bool offer_take(struct str *in, char c)
{
    if (in->n == 0 || *in->at != c)
        return false;
    *in = str_from(*in, 1);
    offer_skip(in, " \t");
    return true;
}

/* A token, or one in quotation marks. */
static bool offer_take_value(struct str *in, struct str *out)
{
    if (in->n == 0 || *in->at != '"')
        return offer_take_token(in, out);
    size_t n = 1;
    while (n < in->n && offer_is_token(in->at[n]))
        n++;
    if (n == 1 || n == in->n || in->at[n] != '"')
        return false;
    *out = (struct str){ in->at + 1, n - 1 };
    *in = str_from(*in, n + 1);
    offer_skip(in, " \t");
    return true;
}

/* 8 to 15 without leading zeroes, else 0. */
static int offer_bits(struct str value)
{
    uint64_t bits;
    bool good = value.n <= 2 && str_to_u64(value, &bits) && *value.at != '0' && bits >= LEAST_BITS && bits <= MOST_BITS;
    return good ? (int)bits : 0;
}

/* RFC 7692 7.1: a parameter that is unknown, there twice, or has a value that it must not have, declines the offer. */
static void offer_add(struct offer *o, struct str name, struct str value)
{
    unsigned i = 0;
    while (i < NAMES && !str_eq(name, str_of(offer_names[i])))
        i++;
    bool good = i < NAMES && !(o->seen & 1u << i);
    o->seen |= 1u << i;
    if (good && i < SERVER_BITS)
        good = !value.at;
    else if (good && (value.at || i == SERVER_BITS))
        good = value.at && offer_bits(value);
    o->declined |= !good;
    if (!good || i != SERVER_BITS)
        return;
    /* zlib deflates with 9 bits at least, and two windows are enough for everybody. */
    o->declined |= offer_bits(value) < WS_WINDOW_SMALL;
    o->window = offer_bits(value) < WS_WINDOW_FULL ? WS_WINDOW_SMALL : WS_WINDOW_FULL;
}

bool ws_deflate_choose(struct str offers, enum ws_window *out)
{
    bool chosen = false;
    offer_skip(&offers, " \t,");
    while (offers.n) {
        struct offer o = { .window = WS_WINDOW_FULL };
        struct str name, value;
        if (!offer_take_token(&offers, &name))
            return false;
        o.deflate = str_eq(name, STR("permessage-deflate"));
        while (offer_take(&offers, ';')) {
            value = STR_ABSENT;
            if (!offer_take_token(&offers, &name) || (offer_take(&offers, '=') && !offer_take_value(&offers, &value)))
                return false;
            offer_add(&o, name, value);
        }
        if (offers.n && *offers.at != ',')
            return false;
        offer_skip(&offers, " \t,");
        if (o.deflate && !o.declined && !chosen) {
            chosen = true;
            *out = o.window;
        }
    }
    return true;
}

#define ANSWER "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

struct str ws_deflate_answer(enum ws_window window)
{
    return window == WS_WINDOW_SMALL ? STR(ANSWER "; server_max_window_bits=9") : STR(ANSWER);
}

/* ---- in ---- */

struct ws_inflater {
    z_stream z;
    struct buf out;
    bool ended; /* right behind a block that said that it is the last */
};

size_t ws_deflate_most(size_t max)
{
    return max + max / 8 + 64; /* what cannot be shortened gets a little longer */
}

struct ws_inflater *ws_inflater_new(void)
{
    struct ws_inflater *z = mem_alloc(sizeof *z);
    CHECK(inflateInit2(&z->z, -MOST_BITS) == Z_OK);
    return z;
}

void ws_inflater_free(struct ws_inflater *z)
{
    if (!z)
        return;
    inflateEnd(&z->z);
    buf_free(&z->out);
    free(z);
}

/* Keeps a small buffer from message to message. */
static void deflate_reuse(struct buf *b, size_t max)
{
    if (b->cap > KEPT)
        buf_free(b);
    buf_reset(b);
    b->max = max;
}

/* Room for more output, at most up to the maximum. False: there is none. */
static bool inflate_room(struct ws_inflater *z)
{
    size_t left = z->out.max - z->out.n, more = z->out.n + 1024;
    if (left == 0)
        return false;
    z->z.avail_out = (unsigned)(more < left ? more : left);
    z->z.next_out = (unsigned char *)buf_room(&z->out, z->z.avail_out);
    CHECK(z->z.next_out);
    return true;
}

/* Inflates one part of the message. */
static int inflate_part(struct ws_inflater *z, const void *at, size_t n)
{
    z->z.next_in = (unsigned char *)(uintptr_t)at;
    z->z.avail_in = (unsigned)n;
    for (;;) {
        if (!inflate_room(z))
            return TOO_BIG;
        unsigned room = z->z.avail_out;
        int result = inflate(&z->z, Z_SYNC_FLUSH);
        z->out.n += room - z->z.avail_out;
        /* A block may say that it is the last, and others follow all the same (RFC 7692 7.2.3.4). */
        z->ended = result == Z_STREAM_END;
        if (z->ended)
            CHECK(inflateReset(&z->z) == Z_OK);
        else if (result != Z_OK && result != Z_BUF_ERROR)
            return NOT_DEFLATED;
        if (z->z.avail_in == 0 && z->z.avail_out)
            return 0;
    }
}

int ws_inflate(struct ws_inflater *z, struct str in, size_t max, struct str *out)
{
    size_t most = in.n > LEAST_LIMIT / MOST_RATIO ? in.n * MOST_RATIO : LEAST_LIMIT;
    if (most > max)
        most = max;
    deflate_reuse(&z->out, most + 1); /* one more, which shows that it is too long */
    CHECK(in.n <= UINT32_MAX && inflateReset(&z->z) == Z_OK);
    int code = inflate_part(z, in.at, in.n);
    if (code == 0 && !z->ended) {
        code = inflate_part(z, deflate_tail, TAIL);
        if (code == 0 && !(z->z.data_type & BETWEEN_BLOCKS))
            code = NOT_DEFLATED; /* its end is missing */
    }
    if (code == 0 && z->out.n > most)
        code = TOO_BIG;
    *out = buf_str(&z->out);
    return code;
}

/* ---- out ---- */

struct ws_deflater {
    z_stream z;
    struct buf out;
};

struct ws_deflater *ws_deflater_new(enum ws_window window)
{
    struct ws_deflater *z = mem_alloc(sizeof *z);
    /* With a small window, zlib goes through its whole hash table for every few bytes of input: that should be small, too. */
    int memory = window == WS_WINDOW_SMALL ? 4 : 8;
    CHECK(deflateInit2(&z->z, Z_BEST_SPEED, Z_DEFLATED, -(int)window, memory, Z_DEFAULT_STRATEGY) == Z_OK);
    return z;
}

void ws_deflater_free(struct ws_deflater *z)
{
    if (!z)
        return;
    deflateEnd(&z->z);
    buf_free(&z->out);
    free(z);
}

struct str ws_deflate(struct ws_deflater *z, struct str in)
{
    deflate_reuse(&z->out, SIZE_MAX);
    if (in.n <= TAIL || in.n > UINT32_MAX)
        return STR_ABSENT;
    /* Room for what is shorter than `in` once its tail is gone; what needs more does not fit. */
    size_t room = in.n - 1 + TAIL;
    z->out.max = room;
    z->z.next_in = (unsigned char *)(uintptr_t)in.at;
    z->z.avail_in = (unsigned)in.n;
    z->z.next_out = (unsigned char *)buf_room(&z->out, room);
    z->z.avail_out = (unsigned)room;
    CHECK(z->z.next_out && deflateReset(&z->z) == Z_OK);
    int result = deflate(&z->z, Z_SYNC_FLUSH);
    z->out.n = room - z->z.avail_out;
    /* With no room left, part of the tail may be missing. */
    if (result != Z_OK || z->z.avail_in || z->z.avail_out == 0 || z->out.n < TAIL)
        return STR_ABSENT;
    CHECK(memcmp(z->out.at + z->out.n - TAIL, deflate_tail, TAIL) == 0);
    return (struct str){ z->out.at, z->out.n - TAIL };
}
