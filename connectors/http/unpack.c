/* SPDX-License-Identifier: MIT */
/* Unpacks bodies with one stream of zlib's, which is reset for each. */
#include "connectors/http/unpack.h"
#include <stdlib.h>
#include <zlib.h>
#include "bridge/lib/mem.h"

enum {
    UNPACK_PIECE = 64 << 10,
    UNPACK_RATIO = 200,    /* bytes of one byte, */
    UNPACK_FREE = 1 << 20, /* beyond so many */
    UNPACK_KEPT = 1 << 20, /* of memory, between two bodies */
    UNPACK_GZIP = 15 + 16,
    UNPACK_ZLIB = 15,
    UNPACK_RAW = -15,
};

struct unpacker {
    z_stream z;
    bool begun;
    struct buf text;
};

struct unpacker *unpacker_new(void)
{
    return mem_alloc(sizeof(struct unpacker));
}

void unpacker_free(struct unpacker *u)
{
    if (!u)
        return;
    if (u->begun)
        inflateEnd(&u->z);
    buf_free(&u->text);
    free(u);
}

static bool unpack_is_gzip(struct str encoding)
{
    return str_eq_nocase(encoding, STR("gzip")) || str_eq_nocase(encoding, STR("x-gzip"));
}

bool unpack_knows(struct str encoding)
{
    return unpack_is_gzip(encoding) || str_eq_nocase(encoding, STR("deflate"));
}

static bool unpack_is_zlib(struct str body) /* RFC 1950 2.2 */
{
    const unsigned char *at = (const unsigned char *)body.at;
    return body.n > 1 && (at[0] & 0x8f) == Z_DEFLATED && (at[0] << 8 | at[1]) % 31 == 0;
}

bool unpack_looks_packed(struct str body)
{
    if (body.n < 2 || str_is_utf8(body))
        return false;
    return str_starts(body, STR("\x1f\x8b")) || unpack_is_zlib(body);
}

/* Senders have always taken deflate for raw deflate (RFC 1951) as well (RFC 9110 8.4.1.2). */
static void unpack_begin(struct unpacker *u, bool gzip, bool raw)
{
    int window = gzip ? UNPACK_GZIP : raw ? UNPACK_RAW : UNPACK_ZLIB;
    CHECK((u->begun ? inflateReset2(&u->z, window) : inflateInit2(&u->z, window)) == Z_OK);
    u->begun = true;
}

/* One round of the stream into the text. */
static int unpack_step(struct unpacker *u)
{
    size_t left = u->text.max - u->text.n, room = left < UNPACK_PIECE ? left : UNPACK_PIECE;
    char *to = buf_room(&u->text, room);
    u->z.next_out = (Bytef *)to;
    u->z.avail_out = (uInt)room;
    int done = inflate(&u->z, Z_NO_FLUSH);
    u->text.n += room - u->z.avail_out;
    return done;
}

/* Does another member of a gzip follow? */
static bool unpack_is_at_member(const z_stream *z)
{
    return z->avail_in > 1 && z->next_in[0] == 0x1f && z->next_in[1] == 0x8b;
}

/* The text has one byte more than it may: then there is more of it. */
static int unpack_all(struct unpacker *u, bool gzip, struct err *e)
{
    for (;;) {
        int done = unpack_step(u);
        if (u->text.n == u->text.max) {
            err_set(e, "the unpacked body is longer than %zu bytes", u->text.max - 1);
            return 413;
        }
        if (done == Z_STREAM_END && u->z.avail_in == 0)
            return 0;
        if (done == Z_STREAM_END && gzip && unpack_is_at_member(&u->z)) {
            CHECK(inflateReset(&u->z) == Z_OK);
            continue;
        }
        if (done == Z_STREAM_END)
            err_set(e, "bytes follow the compressed body");
        else if (done == Z_BUF_ERROR || (done == Z_OK && u->z.avail_in == 0 && u->z.avail_out > 0))
            err_set(e, "the compressed body is cut off");
        else if (done != Z_OK)
            err_set(e, "the body is not what Content-Encoding says: %s", u->z.msg ? u->z.msg : "zlib refuses it");
        else
            continue;
        return 400;
    }
}

int unpack(struct unpacker *u, struct str encoding, struct str packed, bool raw, size_t most, struct str *text,
           struct err *e)
{
    bool gzip = unpack_is_gzip(encoding);
    size_t bound = packed.n > (SIZE_MAX - UNPACK_FREE) / UNPACK_RATIO ? most : UNPACK_FREE + UNPACK_RATIO * packed.n;
    if (u->text.cap > UNPACK_KEPT)
        buf_free(&u->text);
    buf_reset(&u->text);
    u->text.max = (bound < most ? bound : most) + 1;
    unpack_begin(u, gzip, raw && !unpack_is_zlib(packed));
    u->z.next_in = (Bytef *)(uintptr_t)packed.at;
    u->z.avail_in = (uInt)packed.n;
    int status = unpack_all(u, gzip, e);
    *text = buf_str(&u->text);
    return status;
}
