/* SPDX-License-Identifier: MIT */
/* Parses answers. */
#include "connectors/webhook/reply.h"

#include <string.h>

enum { REPLY_STATUS_LINE = 12 }; /* "HTTP/1.1 204" */

void reply_begin(struct reply *w, reply_body_fn *body, void *ctx)
{
    struct buf line = w->line;
    buf_reset(&line);
    line.max = REPLY_LINE;
    *w = (struct reply){ .body = body, .ctx = ctx, .state = REPLY_STATUS, .line = line };
}

void reply_free(struct reply *w)
{
    buf_free(&w->line);
}

static bool reply_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum reply_result reply_take_status(struct reply *w, struct str line)
{
    const char *c = line.at;
    if (line.n < REPLY_STATUS_LINE || memcmp(c, "HTTP/1.", 7) != 0 || (c[7] != '0' && c[7] != '1') || c[8] != ' '
        || !reply_is_digit(c[9]) || !reply_is_digit(c[10]) || !reply_is_digit(c[11])
        || (line.n > REPLY_STATUS_LINE && c[12] != ' '))
        return REPLY_GARBAGE;
    int status = (c[9] - '0') * 100 + (c[10] - '0') * 10 + c[11] - '0';
    if (status < 100 || status == 101) /* nobody asked for another protocol */
        return REPLY_GARBAGE;
    w->final = status >= 200;
    w->status = w->final ? status : 0;
    w->keep_open = c[7] == '1';
    w->state = REPLY_HEADER;
    return REPLY_MORE;
}

static void reply_keep(char out[REPLY_VALUE], struct str value)
{
    size_t n = value.n < REPLY_VALUE - 1 ? value.n : REPLY_VALUE - 1;
    memcpy(out, value.at, n);
    out[n] = '\0';
}

/* Has a list such as "keep-alive, close" this word? */
static bool reply_has_word(struct str list, struct str word)
{
    struct str one;
    while (str_cut(&list, ',', &one))
        if (str_eq_nocase(str_trim(one), word))
            return true;
    return false;
}

static enum reply_result reply_take_length(struct reply *w, struct str value)
{
    uint64_t n;
    if (!str_to_u64(value, &n) || (w->sized && n != w->left))
        return REPLY_GARBAGE;
    w->sized = true;
    w->left = n;
    return REPLY_MORE;
}

static enum reply_result reply_take_header(struct reply *w, struct str line)
{
    struct str value = line, name;
    if (!w->final || line.at[0] == ' ' || line.at[0] == '\t' || !str_cut(&value, ':', &name) || !value.at)
        return REPLY_MORE;
    value = str_trim(value);
    if (str_eq_nocase(name, STR("content-length")))
        return reply_take_length(w, value);
    if (str_eq_nocase(name, STR("transfer-encoding"))) {
        w->chunked = reply_has_word(value, STR("chunked"));
        w->keep_open = w->keep_open && w->chunked;
    } else if (str_eq_nocase(name, STR("connection"))) {
        w->keep_open = w->keep_open && !reply_has_word(value, STR("close"));
    } else if (str_eq_nocase(name, STR("retry-after"))) {
        reply_keep(w->retry_after, value);
    } else if (str_eq_nocase(name, STR("webhook-delivery"))) {
        reply_keep(w->delivery, value);
    }
    return REPLY_MORE;
}

/* The empty line behind the headers: what follows? */
static enum reply_result reply_end_head(struct reply *w)
{
    w->state = REPLY_STATUS;
    if (!w->final)
        return REPLY_MORE;
    if (w->status == 204 && (w->chunked || (w->sized && w->left))) /* it must have no body, and one may follow */
        w->keep_open = false;
    if (w->status == 204 || w->status == 304)
        return REPLY_WHOLE;
    if (w->chunked && w->sized) /* whoever stands between us may see another end */
        w->keep_open = false;
    w->state = w->chunked ? REPLY_CHUNK_SIZE : w->sized ? REPLY_SIZED : REPLY_TO_END;
    if (w->state == REPLY_TO_END)
        w->keep_open = false;
    return w->state == REPLY_SIZED && w->left == 0 ? REPLY_WHOLE : REPLY_MORE;
}

static int reply_hex(char c)
{
    return reply_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum reply_result reply_take_chunk_size(struct reply *w, struct str line)
{
    size_t digits = 0;
    w->left = 0;
    for (int d; digits < line.n && (d = reply_hex(line.at[digits])) >= 0; digits++) {
        if (w->left >> 59)
            return REPLY_BROKEN;
        w->left = w->left * 16 + (unsigned)d;
    }
    if (digits == 0 || (digits < line.n && !memchr("; \t", line.at[digits], 3)))
        return REPLY_BROKEN;
    w->state = w->left ? REPLY_CHUNK : REPLY_TRAILER;
    return REPLY_MORE;
}

static enum reply_result reply_take_line(struct reply *w, struct str line)
{
    if (line.n && line.at[line.n - 1] == '\r')
        line.n--;
    switch (w->state) {
    case REPLY_STATUS: return reply_take_status(w, line);
    case REPLY_HEADER: return line.n ? reply_take_header(w, line) : reply_end_head(w);
    case REPLY_CHUNK_SIZE: return reply_take_chunk_size(w, line);
    case REPLY_CHUNK_END: w->state = REPLY_CHUNK_SIZE; return line.n ? REPLY_BROKEN : REPLY_MORE;
    case REPLY_TRAILER: return line.n ? REPLY_MORE : REPLY_WHOLE;
    case REPLY_SIZED:
    case REPLY_CHUNK:
    case REPLY_TO_END: break;
    }
    return REPLY_BROKEN; /* these have no lines */
}

/* Bytes up to the end of a line, which may have begun before. */
static enum reply_result reply_feed_line(struct reply *w, const char *bytes, size_t n, size_t *taken)
{
    const char *end = memchr(bytes, '\n', n);
    size_t piece = end ? (size_t)(end - bytes) : n;
    *taken = end ? piece + 1 : n;
    if (!end || w->line.n)
        buf_add(&w->line, bytes, piece);
    if (w->line.failed || piece > REPLY_LINE)
        return REPLY_LONG_HEADER;
    bool of_chunk = w->state == REPLY_CHUNK_SIZE || w->state == REPLY_CHUNK_END;
    size_t *sum = of_chunk ? &w->chunk_n : &w->head_n;
    if ((*sum += *taken) > REPLY_HEAD)
        return of_chunk ? REPLY_BROKEN : REPLY_LONG_HEADERS;
    struct str line = w->line.n ? buf_str(&w->line) : (struct str){ bytes, piece };
    if (w->state == REPLY_STATUS && memcmp(line.at, "HTTP/1.", line.n < 7 ? line.n : 7) != 0)
        return REPLY_GARBAGE; /* who speaks another protocol may never end a line */
    if (!end)
        return REPLY_MORE;
    enum reply_result r = reply_take_line(w, line);
    buf_reset(&w->line);
    return r;
}

static enum reply_result reply_feed_body(struct reply *w, const char *bytes, size_t n, size_t *taken)
{
    bool to_end = w->state == REPLY_TO_END;
    *taken = to_end || n < w->left ? n : (size_t)w->left;
    if (!w->body(w->ctx, bytes, *taken))
        return REPLY_ENOUGH;
    if (to_end)
        return REPLY_MORE;
    w->left -= *taken;
    if (w->left)
        return REPLY_MORE;
    if (w->state == REPLY_SIZED)
        return REPLY_WHOLE;
    w->state = REPLY_CHUNK_END;
    return REPLY_MORE;
}

enum reply_result reply_feed(struct reply *w, const char *bytes, size_t n, size_t *taken)
{
    enum reply_result r = REPLY_MORE;
    *taken = 0;
    while (r == REPLY_MORE && *taken < n) {
        bool body = w->state == REPLY_SIZED || w->state == REPLY_CHUNK || w->state == REPLY_TO_END;
        size_t step = 0;
        r = (body ? reply_feed_body : reply_feed_line)(w, bytes + *taken, n - *taken, &step);
        *taken += step;
    }
    return r;
}

bool reply_ends_whole(const struct reply *w)
{
    return w->state == REPLY_TO_END;
}
