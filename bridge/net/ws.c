/* SPDX-License-Identifier: MIT */
/* WebSocket frames: a parser that keeps its place between packets, and what is needed to build frames. */
#include "bridge/net/ws.h"
#include <openssl/evp.h>
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"

enum { FRAME_HEAD = 14, CONTROL_MAX = 125 };
enum { PROTOCOL_ERROR = 1002, NOT_UTF8 = 1007, TOO_BIG = 1009 };

/* A UTF-8 check that may pause at any byte: how many bytes the character still needs, and the range of the next one. */
struct utf8 {
    uint8_t left, low, high;
};

struct ws_parser {
    size_t max_message;
    struct ws_inflater *inflater; /* NULL: no message may be deflated */
    struct buf message;           /* as it comes */
    int message_opcode;           /* 0: no message has begun */
    bool deflated;                /* the message is */
    struct utf8 utf8;
    unsigned char head[FRAME_HEAD];
    uint8_t head_n, opcode, masked_at; /* masked_at: which mask byte is next */
    bool in_payload, final, taken;     /* taken: the last event's payload may go now */
    uint64_t left;
    unsigned char mask[4];
    uint8_t control_n;
    unsigned char control[CONTROL_MAX];
};

static uint64_t ws_big_endian(const unsigned char *at, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | at[i];
    return value;
}

/* ---- what goes out ---- */

size_t ws_head(unsigned char out[WS_HEAD], int opcode, uint64_t payload)
{
    out[0] = (unsigned char)(0x80 | opcode);
    if (payload < 126) {
        out[1] = (unsigned char)payload;
        return 2;
    }
    size_t bytes = payload <= UINT16_MAX ? 2 : 8;
    out[1] = bytes == 2 ? 126 : 127;
    for (size_t i = 0; i < bytes; i++)
        out[2 + i] = (unsigned char)(payload >> 8 * (bytes - 1 - i));
    return 2 + bytes;
}

void ws_accept(struct str key, char out[29])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct buf text = buf_new(256), coded = buf_new(64);
    buf_add_str(&text, key);
    buf_add_c(&text, guid);
    CHECK(!text.failed && EVP_Digest(text.at, text.n, digest, NULL, EVP_sha1(), NULL) == 1);
    base64_add(&coded, (struct str){ (const char *)digest, 20 });
    CHECK(coded.n == 28);
    memcpy(out, coded.at, 28);
    out[28] = 0;
    buf_free(&text);
    buf_free(&coded);
}

/* ---- where the output stands ---- */

bool ws_at_boundary(const struct ws_walk *w)
{
    return w->left == 0 && w->head_n == 0;
}

/* The payload's length when the head so far says it, else -1. */
static int64_t ws_payload_of(const struct ws_walk *w)
{
    if (w->head_n < 2)
        return -1;
    size_t extended = w->head[1] == 127 ? 8 : w->head[1] == 126 ? 2 : 0;
    if (w->head_n < 2 + extended)
        return -1;
    return extended ? (int64_t)(ws_big_endian(w->head + 2, extended) & INT64_MAX) : w->head[1];
}

size_t ws_walk(struct ws_walk *w, const char *bytes, size_t n, bool stop)
{
    size_t at = 0;
    while (at < n) {
        if (w->left) {
            size_t step = n - at < w->left ? n - at : (size_t)w->left;
            at += step;
            w->left -= step;
        } else {
            w->head[w->head_n++] = (unsigned char)bytes[at++];
            int64_t payload = ws_payload_of(w);
            if (payload >= 0)
                *w = (struct ws_walk){ .left = (uint64_t)payload };
        }
        if (stop && ws_at_boundary(w))
            break;
    }
    return at;
}

/* ---- what comes in ---- */

struct ws_parser *ws_parser_new(size_t max_message)
{
    struct ws_parser *p = mem_alloc(sizeof *p);
    p->max_message = max_message;
    return p;
}

void ws_parser_free(struct ws_parser *p)
{
    if (p)
        buf_free(&p->message);
    free(p);
}

void ws_parser_begin(struct ws_parser *p, struct ws_inflater *inflater)
{
    p->inflater = inflater;
    p->utf8 = (struct utf8){ 0 }; /* the last message may have ended in the middle of a character */
}

bool ws_parser_rest(struct ws_parser *p)
{
    if (p->taken)
        buf_free(&p->message);
    p->taken = false;
    return p->head_n == 0 && !p->in_payload && p->message_opcode == 0;
}

/* The first byte of a character. False: it cannot be one. */
static bool ws_utf8_first(struct utf8 *u, unsigned char c)
{
    if (c < 0x80)
        return true;
    if (c < 0xc2 || c > 0xf4)
        return false;
    u->left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    /* Overlong forms, surrogates and what is above U+10FFFF show in the second byte. */
    u->low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    u->high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    return true;
}

/* Checks n more bytes of the text; eight at a time while they are ASCII. */
static bool ws_utf8_more(struct utf8 *u, const char *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t word;
        while (u->left == 0 && n - i >= sizeof word) {
            memcpy(&word, at + i, sizeof word);
            if (word & 0x8080808080808080u)
                break;
            i += sizeof word;
        }
        if (i == n)
            return true;
        unsigned char c = (unsigned char)at[i];
        if (u->left == 0) {
            if (!ws_utf8_first(u, c))
                return false;
            continue;
        }
        if (c < u->low || c > u->high)
            return false;
        u->left--;
        u->low = 0x80;
        u->high = 0xbf;
    }
    return true;
}

/* Unmasks n bytes, eight at a time; the mask goes on where it stopped. */
static void ws_unmask(struct ws_parser *p, char *out, const char *in, size_t n)
{
    unsigned char mask[8];
    for (size_t i = 0; i < 8; i++)
        mask[i] = p->mask[(p->masked_at + i) % 4];
    uint64_t mask_word, word;
    memcpy(&mask_word, mask, sizeof mask_word);
    size_t i = 0;
    for (; n - i >= sizeof word; i += sizeof word) {
        memcpy(&word, in + i, sizeof word);
        word ^= mask_word;
        memcpy(out + i, &word, sizeof word);
    }
    for (; i < n; i++)
        out[i] = (char)((unsigned char)in[i] ^ mask[i % 8]);
    p->masked_at = (uint8_t)((p->masked_at + n) % 4);
}

static int ws_fail(int *code, int why)
{
    *code = why;
    return -1;
}

static bool ws_is_control(int opcode)
{
    return opcode >= WS_CLOSE;
}

/* The first two bytes of a frame. 0 or -1. */
static int ws_check_start(const struct ws_parser *p, int *code)
{
    int first = p->head[0], opcode = first & 0x0f, length = p->head[1] & 0x7f;
    bool final = first & 0x80, masked = p->head[1] & 0x80;
    bool known = opcode <= WS_BINARY || (opcode >= WS_CLOSE && opcode <= WS_PONG);
    bool deflated = first & WS_DEFLATED, may_be = p->inflater && (opcode == WS_TEXT || opcode == WS_BINARY);
    if (first & 0x30 || (deflated && !may_be) || !known || !masked)
        return ws_fail(code, PROTOCOL_ERROR);
    if (ws_is_control(opcode))
        return final && length <= CONTROL_MAX ? 0 : ws_fail(code, PROTOCOL_ERROR);
    /* A message begins only when none is open, and continues only when one is. */
    return (opcode == WS_CONTINUATION) == (p->message_opcode != 0) ? 0 : ws_fail(code, PROTOCOL_ERROR);
}

static size_t ws_head_length(const struct ws_parser *p)
{
    int length = p->head[1] & 0x7f;
    return 2 + (length == 127 ? 8 : length == 126 ? 2 : 0) + 4;
}

/* The head is whole: what it says. 0 or -1. */
static int ws_start_frame(struct ws_parser *p, int *code)
{
    size_t n = ws_head_length(p), extended = n - 6;
    p->left = extended ? ws_big_endian(p->head + 2, extended) : p->head[1] & 0x7f;
    uint64_t least = extended == 8 ? UINT16_MAX + 1 : extended == 2 ? 126 : 0;
    if (p->left < least || p->left > INT64_MAX)
        return ws_fail(code, PROTOCOL_ERROR);
    memcpy(p->mask, p->head + n - 4, 4);
    p->opcode = p->head[0] & 0x0f;
    p->final = p->head[0] & 0x80;
    p->in_payload = true;
    p->masked_at = p->head_n = p->control_n = 0;
    if (ws_is_control(p->opcode))
        return 0;
    if (p->opcode != WS_CONTINUATION) {
        p->message_opcode = p->opcode;
        p->deflated = p->head[0] & WS_DEFLATED;
        p->message = buf_new(p->deflated ? ws_deflate_most(p->max_message) : p->max_message);
    }
    return p->left > p->message.max - p->message.n ? ws_fail(code, TOO_BIG) : 0;
}

static void ws_skip(struct str *in, size_t n)
{
    in->at += n;
    in->n -= n;
}

/* Collects the head. 1: it is whole; 0: more is needed; -1. */
static int ws_take_head(struct ws_parser *p, struct str *in, int *code)
{
    while (in->n) {
        p->head[p->head_n++] = (unsigned char)*in->at;
        ws_skip(in, 1);
        if (p->head_n == 2 && ws_check_start(p, code) < 0)
            return -1;
        if (p->head_n >= 2 && p->head_n == ws_head_length(p))
            return ws_start_frame(p, code) < 0 ? -1 : 1;
    }
    return 0;
}

/* Takes what is there of the payload. 0 or -1. */
static int ws_take_payload(struct ws_parser *p, struct str *in, int *code)
{
    size_t n = in->n < p->left ? in->n : (size_t)p->left;
    const char *from = in->at;
    ws_skip(in, n);
    p->left -= n;
    if (ws_is_control(p->opcode)) {
        ws_unmask(p, (char *)p->control + p->control_n, from, n);
        p->control_n = (uint8_t)(p->control_n + n);
        return 0;
    }
    if (n == 0)
        return 0;
    char *room = buf_room(&p->message, n);
    CHECK(room); /* ws_start_frame has checked the size */
    ws_unmask(p, room, from, n);
    p->message.n += n;
    if (p->message_opcode == WS_TEXT && !p->deflated && !ws_utf8_more(&p->utf8, room, n))
        return ws_fail(code, NOT_UTF8);
    return 0;
}

/* RFC 6455 7.4 and the IANA registry: what a peer may send. */
static bool ws_close_code_is_good(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

/* What the close frame says. 1 or -1. */
static int ws_close_event(const struct ws_parser *p, struct ws_event *ev, int *code)
{
    ev->close_code = 1005;
    if (p->control_n == 0)
        return 1;
    if (p->control_n == 1)
        return ws_fail(code, PROTOCOL_ERROR);
    ev->close_code = p->control[0] << 8 | p->control[1];
    if (!ws_close_code_is_good(ev->close_code))
        return ws_fail(code, PROTOCOL_ERROR);
    ws_skip(&ev->payload, 2);
    return str_is_utf8(ev->payload) ? 1 : ws_fail(code, NOT_UTF8);
}

/* The message is whole. 1 or -1. */
static int ws_end_message(struct ws_parser *p, struct ws_event *ev, int *code)
{
    ev->opcode = p->message_opcode;
    ev->payload = buf_str(&p->message);
    p->message_opcode = 0;
    p->taken = true;
    if (!p->deflated)
        return p->utf8.left ? ws_fail(code, NOT_UTF8) : 1;
    int bad = ws_inflate(p->inflater, ev->payload, p->max_message, &ev->payload);
    if (bad)
        return ws_fail(code, bad);
    return ev->opcode == WS_TEXT && !str_is_utf8(ev->payload) ? ws_fail(code, NOT_UTF8) : 1;
}

/* The frame is whole. 1: *ev is set; 0: a message goes on; -1. */
static int ws_end_frame(struct ws_parser *p, struct ws_event *ev, int *code)
{
    p->in_payload = false;
    *ev = (struct ws_event){ .opcode = p->opcode };
    if (ws_is_control(p->opcode)) {
        ev->payload = (struct str){ (const char *)p->control, p->control_n };
        return p->opcode == WS_CLOSE ? ws_close_event(p, ev, code) : 1;
    }
    return p->final ? ws_end_message(p, ev, code) : 0;
}

int ws_parse(struct ws_parser *p, struct str *in, struct ws_event *ev, int *code)
{
    ws_parser_rest(p);
    for (;;) {
        if (!p->in_payload) {
            int head = ws_take_head(p, in, code);
            if (head <= 0)
                return head;
        }
        if (ws_take_payload(p, in, code) < 0)
            return -1;
        if (p->left)
            return 0;
        int event = ws_end_frame(p, ev, code);
        if (event)
            return event;
    }
}
