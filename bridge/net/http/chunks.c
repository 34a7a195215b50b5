/* SPDX-License-Identifier: MIT */
/* The chunked coding (RFC 9112 section 7.1): a state for every place where a packet may end. */
#include "bridge/net/http/h1.h"

enum { TRAILER_BYTES = 8 * 1024, BAD = -400, TOO_BIG = -413 };

/*  SIZE_FIRST -> SIZE -> (extensions: SPACE ... QUOTED_END) -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE_FIRST ...
 *                                                   | size 0
 *                                                   v
 *                        TRAILER_START -> TRAILER_NAME -> TRAILER_VALUE -> TRAILER_LF -> TRAILER_START -> END_LF -> DONE */
enum chunks_state {
    SIZE_FIRST,
    SIZE,
    SPACE, /* before ';' */
    NAME_START,
    NAME,
    NAME_SPACE, /* before '=' or ';' */
    VALUE_START,
    VALUE, /* a token */
    QUOTED,
    QUOTED_PAIR, /* behind a backslash */
    QUOTED_END,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    DONE,
};

static int chunks_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool chunks_is_text(char c)
{
    return c == '\t' || ((unsigned char)c >= 0x20 && c != 0x7f);
}

static bool chunks_is_token(char c)
{
    char lower = (char)(c | 0x20);
    return (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'z') || (c != 0 && strchr("!#$%&'*+-.^_`|~", c));
}

static bool chunks_is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The next state for the byte behind a size, name or value, or BAD. */
static int chunks_part_end(char byte)
{
    return byte == ';' ? NAME_START : byte == '\r' ? SIZE_LF : chunks_is_space(byte) ? SPACE : BAD;
}

static int chunks_extension_name(int state, char byte)
{
    if (chunks_is_space(byte))
        return state == NAME ? NAME_SPACE : state;
    if (byte == '=' && state != NAME_START)
        return VALUE_START;
    if (state == NAME_SPACE)
        return byte == ';' ? NAME_START : BAD;
    if (chunks_is_token(byte))
        return NAME;
    return state == NAME ? chunks_part_end(byte) : BAD;
}

static int chunks_extension_value(int state, char byte)
{
    switch (state) {
    case VALUE_START:
        if (chunks_is_space(byte))
            return VALUE_START;
        return byte == '"' ? QUOTED : chunks_is_token(byte) ? VALUE : BAD;
    case VALUE: return chunks_is_token(byte) ? VALUE : chunks_part_end(byte);
    case QUOTED:
        if (byte == '"' || byte == '\\')
            return byte == '"' ? QUOTED_END : QUOTED_PAIR;
        return chunks_is_text(byte) ? QUOTED : BAD;
    case QUOTED_PAIR: return chunks_is_text(byte) ? QUOTED : BAD;
    default: return chunks_part_end(byte);
    }
}

/* The next state for a byte of a chunk-size line, or BAD. */
static int chunks_size_line(struct http1_chunks *c, char byte)
{
    int digit = c->state <= SIZE ? chunks_hex_value(byte) : -1;
    if (digit >= 0) {
        if (c->left > INT64_MAX >> 4)
            return BAD;
        c->left = c->left << 4 | (unsigned)digit;
        return SIZE;
    }
    if (c->state == SIZE_FIRST)
        return BAD;
    if (c->state == SIZE)
        return chunks_part_end(byte);
    if (c->state == SPACE)
        return chunks_is_space(byte) ? SPACE : byte == ';' ? NAME_START : BAD;
    return c->state <= NAME_SPACE ? chunks_extension_name(c->state, byte) : chunks_extension_value(c->state, byte);
}

/* The next state for a byte of the trailers, or BAD. */
static int chunks_trailer(const struct http1_chunks *c, char byte)
{
    if (c->state == TRAILER_START && byte == '\r')
        return END_LF;
    if (c->state == TRAILER_VALUE)
        return byte == '\r' ? TRAILER_LF : chunks_is_text(byte) ? TRAILER_VALUE : BAD;
    if (c->state == TRAILER_NAME && byte == ':')
        return TRAILER_VALUE;
    return chunks_is_token(byte) ? TRAILER_NAME : BAD;
}

/* The size line is whole: what comes next, or TOO_BIG. */
static int chunks_size_known(struct http1_chunks *c, int64_t max_body)
{
    c->line = 0;
    if (c->left == 0)
        return TRAILER_START;
    if (max_body < 0 || c->left > (uint64_t)max_body || c->total > (uint64_t)max_body - c->left)
        return TOO_BIG;
    c->total += c->left;
    return DATA;
}

/* One byte that is not data: the next state or an error. */
static int chunks_framing_byte(struct http1_chunks *c, char byte, int64_t max_body)
{
    if (c->state < SIZE_LF)
        return ++c->line > HTTP1_CHUNK_LINE ? BAD : chunks_size_line(c, byte);
    switch (c->state) {
    case SIZE_LF: return byte == '\n' ? chunks_size_known(c, max_body) : BAD;
    case DATA_CR: return byte == '\r' ? DATA_LF : BAD;
    case DATA_LF: return byte == '\n' ? SIZE_FIRST : BAD;
    case TRAILER_START:
    case TRAILER_NAME:
    case TRAILER_VALUE: return ++c->line > TRAILER_BYTES ? BAD : chunks_trailer(c, byte);
    case TRAILER_LF: return byte == '\n' ? TRAILER_START : BAD;
    case END_LF: return byte == '\n' ? DONE : BAD;
    default: return BAD;
    }
}

/* Moves data bytes from *in to out. */
static void chunks_take_data(struct http1_chunks *c, struct str *in, struct buf *out)
{
    size_t n = in->n < c->left ? in->n : (size_t)c->left;
    buf_add(out, in->at, n);
    in->at += n;
    in->n -= n;
    c->left -= n;
    if (c->left == 0)
        c->state = DATA_CR;
}

int http1_chunks(struct http1_chunks *c, struct str *in, struct buf *out, int64_t max_body)
{
    while (in->n && c->state != DONE) {
        if (c->state == DATA) {
            chunks_take_data(c, in, out);
            continue;
        }
        int next = chunks_framing_byte(c, *in->at, max_body);
        if (next < 0)
            return next;
        c->state = next;
        in->at++;
        in->n--;
    }
    if (out->failed)
        return TOO_BIG;
    return c->state == DONE;
}
