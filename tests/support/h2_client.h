/* SPDX-License-Identifier: MIT */
/* A client of HTTP/2 for tests: nghttp2's, on a connection to the server of a dialogue (dialogue.h); and frames as bytes, for
 * what no client would send. */
#pragma once
#include <nghttp2/nghttp2.h>
#include "tests/support/dialogue.h"

enum { H2C_STREAMS = 512 };

struct h2c_stream {
    int status, informed; /* of the answer; how many 1xx came before */
    struct buf body;      /* of the answer */
    struct str sends;     /* of the request's body: not sent yet */
    bool open;            /* that is not all of it */
    bool answered;        /* to the end */
    bool closed;
    uint32_t why;
};

struct h2c {
    struct client c;
    nghttp2_session *session;
    struct h2c_stream streams[H2C_STREAMS]; /* by id / 2 */
    bool goaway;
    uint32_t why;
    int32_t last; /* that the server takes */
    bool deaf;    /* reads nothing */
};

struct h2c *h2c_new(void);
void h2c_close(struct h2c *t);
/* A request; extra: fields, "name: value" each, NULL at the end. Returns its stream. open: its body does not end yet. */
struct h2c_stream *h2c_ask(struct h2c *t, const char *method, const char *path, struct str body, bool open,
                           const char *const *extra);
struct h2c_stream *h2c_post(struct h2c *t, const char *path, struct str body);
int32_t h2c_id(const struct h2c *t, const struct h2c_stream *st);
void h2c_send(struct h2c *t, struct h2c_stream *st, struct str more, bool open); /* more of its body */
void h2c_turn(struct h2c *t); /* sends, lets the server work, receives */

#define H2C_UNTIL(t, condition)                                                                                        \
    do {                                                                                                               \
        patience_begin();                                                                                              \
        while (!(condition) && patience_left())                                                                        \
            h2c_turn(t);                                                                                               \
        assert_true(condition);                                                                                        \
    } while (0)

/* ---- frames ---- */

#define H2C_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

/* A connection that began, by the preface and empty SETTINGS. */
struct client h2c_raw(void);
void h2c_add_frame(struct buf *out, int type, int flags, uint32_t id, struct str payload);
void h2c_frame(struct client *c, int type, int flags, uint32_t id, struct str payload);
/* Is there a frame of that kind, of that stream, whose payload ends with `code` (GOAWAY without text, RST_STREAM)? */
bool h2c_got(const struct client *c, int type, uint32_t id, uint32_t code);
