/* SPDX-License-Identifier: MIT */
/* The tests' client of HTTP/2. */
#include "tests/support/h2_client.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { FIELDS = 40, BODY_MOST = 64 << 20, FRAME_HEAD = 9 };

/* ---- callbacks ---- */

static struct h2c_stream *h2c_at(struct h2c *t, int32_t id)
{
    assert_true(id / 2 < H2C_STREAMS);
    return &t->streams[id / 2];
}

int32_t h2c_id(const struct h2c *t, const struct h2c_stream *st)
{
    return (int32_t)(st - t->streams) * 2 + 1;
}

static int h2c_on_field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
                        const uint8_t *value, size_t value_n, uint8_t flags, void *ctx)
{
    struct h2c_stream *st = h2c_at(ctx, frame->hd.stream_id);
    (void)session;
    (void)flags;
    if (!str_eq((struct str){ (const char *)name, name_n }, STR(":status")))
        return 0;
    assert_int_equal(value_n, 3);
    st->informed += st->status / 100 == 1;
    st->status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
    return 0;
}

static int h2c_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *at, size_t n, void *ctx)
{
    (void)session;
    (void)flags;
    buf_add(&h2c_at(ctx, id)->body, at, n);
    return 0;
}

static int h2c_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    struct h2c *t = ctx;
    (void)session;
    if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)
        && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        h2c_at(t, frame->hd.stream_id)->answered = true;
    if (frame->hd.type != NGHTTP2_GOAWAY)
        return 0;
    t->goaway = true;
    t->why = frame->goaway.error_code;
    t->last = frame->goaway.last_stream_id;
    return 0;
}

static int h2c_on_closed(nghttp2_session *session, int32_t id, uint32_t why, void *ctx)
{
    struct h2c_stream *st = h2c_at(ctx, id);
    (void)session;
    st->closed = true;
    st->why = why;
    return 0;
}

static ssize_t h2c_give(nghttp2_session *session, int32_t id, uint8_t *out, size_t room, uint32_t *flags,
                        nghttp2_data_source *source, void *ctx)
{
    struct h2c_stream *st = h2c_at(ctx, id);
    size_t n = st->sends.n < room ? st->sends.n : room;
    (void)session;
    (void)source;
    if (n == 0 && st->open)
        return NGHTTP2_ERR_DEFERRED;
    if (n)
        memcpy(out, st->sends.at, n);
    st->sends = str_from(st->sends, n);
    if (st->sends.n == 0 && !st->open)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* ---- the client ---- */

struct h2c *h2c_new(void)
{
    struct h2c *t = mem_alloc(sizeof *t);
    nghttp2_session_callbacks *on;
    assert_int_equal(nghttp2_session_callbacks_new(&on), 0);
    nghttp2_session_callbacks_set_on_header_callback(on, h2c_on_field);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(on, h2c_on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(on, h2c_on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(on, h2c_on_closed);
    t->c = client_new();
    for (size_t i = 0; i < H2C_STREAMS; i++)
        t->streams[i].body = buf_new(BODY_MOST);
    assert_int_equal(nghttp2_session_client_new(&t->session, on, t), 0);
    nghttp2_session_callbacks_del(on);
    assert_int_equal(nghttp2_submit_settings(t->session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
    h2c_turn(t);
    return t;
}

void h2c_close(struct h2c *t)
{
    nghttp2_session_del(t->session);
    client_close(&t->c);
    for (size_t i = 0; i < H2C_STREAMS; i++)
        buf_free(&t->streams[i].body);
    free(t);
}

static nghttp2_nv h2c_field(struct str name, struct str value)
{
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name.at, (uint8_t *)(uintptr_t)value.at, name.n, value.n, 0 };
}

struct h2c_stream *h2c_ask(struct h2c *t, const char *method, const char *path, struct str body, bool open,
                           const char *const *extra)
{
    nghttp2_nv fields[FIELDS] = { h2c_field(STR(":method"), str_of(method)), h2c_field(STR(":scheme"), STR("http")),
                                  h2c_field(STR(":authority"), STR("a")), h2c_field(STR(":path"), str_of(path)) };
    size_t n = 4;
    for (; extra && *extra; extra++) {
        struct str rest = { *extra + 1, strlen(*extra) - 1 }, name; /* behind the colon of a pseudo-field */
        str_cut(&rest, ':', &name);
        assert_true(n < FIELDS);
        fields[n++] = h2c_field((struct str){ *extra, name.n + 1 }, str_trim(rest));
    }
    const nghttp2_data_provider data = { .read_callback = h2c_give };
    bool has_body = body.n || open;
    int32_t id = nghttp2_submit_request(t->session, NULL, fields, n, has_body ? &data : NULL, NULL);
    assert_true(id > 0);
    struct h2c_stream *st = h2c_at(t, id);
    st->sends = body;
    st->open = open;
    return st;
}

struct h2c_stream *h2c_post(struct h2c *t, const char *path, struct str body)
{
    return h2c_ask(t, "POST", path, body, false, NULL);
}

void h2c_send(struct h2c *t, struct h2c_stream *st, struct str more, bool open)
{
    st->sends = more;
    st->open = open;
    assert_int_equal(nghttp2_session_resume_data(t->session, h2c_id(t, st)), 0);
}

void h2c_turn(struct h2c *t)
{
    struct buf out = buf_new(BODY_MOST);
    const uint8_t *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(t->session, &bytes)) > 0)
        buf_add(&out, bytes, (size_t)n);
    assert_int_equal(n, 0);
    say(&t->c, buf_str(&out));
    buf_free(&out);
    if (t->deaf)
        return;
    client_read(&t->c);
    struct str in = buf_str(&t->c.in);
    assert_true(nghttp2_session_mem_recv(t->session, (const uint8_t *)in.at, in.n) == (ssize_t)in.n);
    buf_reset(&t->c.in);
}

/* ---- frames ---- */

struct client h2c_raw(void)
{
    struct client c = client_new();
    SAY(&c, H2C_PREFACE);
    h2c_frame(&c, NGHTTP2_SETTINGS, 0, 0, STR(""));
    return c;
}

static void h2c_put_u32(char *at, uint32_t n)
{
    for (int i = 0; i < 4; i++)
        at[i] = (char)(n >> (24 - 8 * i));
}

void h2c_add_frame(struct buf *out, int type, int flags, uint32_t id, struct str payload)
{
    char head[FRAME_HEAD];
    h2c_put_u32(head, (uint32_t)payload.n << 8);
    head[3] = (char)type;
    head[4] = (char)flags;
    h2c_put_u32(head + 5, id);
    buf_add(out, head, sizeof head);
    buf_add_str(out, payload);
}

void h2c_frame(struct client *c, int type, int flags, uint32_t id, struct str payload)
{
    struct buf frame = buf_new(FRAME_HEAD + payload.n);
    h2c_add_frame(&frame, type, flags, id, payload);
    say(c, buf_str(&frame));
    buf_free(&frame);
}

static uint32_t h2c_u32(const char *at)
{
    uint32_t n = 0;
    for (int i = 0; i < 4; i++)
        n = n << 8 | (unsigned char)at[i];
    return n;
}

bool h2c_got(const struct client *c, int type, uint32_t id, uint32_t code)
{
    struct str in = buf_str(&c->in);
    while (in.n >= FRAME_HEAD) {
        size_t length = h2c_u32(in.at) >> 8;
        if (in.n < FRAME_HEAD + length)
            return false;
        if (in.at[3] == type && h2c_u32(in.at + 5) == id && length >= 4
            && h2c_u32(in.at + FRAME_HEAD + length - 4) == code)
            return true;
        in = str_from(in, FRAME_HEAD + length);
    }
    return false;
}
