/* SPDX-License-Identifier: MIT */
/* The fields of an HTTP/2 request, written down as a head of HTTP/1, so that one strict parser judges both.
 *
 * nghttp2 has seen to it that names are lower case, that pseudo-fields are known, single and first, that nothing of a
 * connection is there (Connection, Transfer-Encoding ...), and that Content-Length is the body's. */
#include "bridge/lib/mem.h"
#include "bridge/net/http/h2_private.h"

enum { FIELD_COST = 32 }; /* RFC 9113 6.5.2 */

static struct str head_str(nghttp2_rcbuf *b)
{
    if (!b)
        return STR("");
    nghttp2_vec v = nghttp2_rcbuf_get_buf(b);
    return (struct str){ (const char *)v.base, v.len };
}

static void head_keep(nghttp2_rcbuf **at, nghttp2_rcbuf *value)
{
    nghttp2_rcbuf_incref(value);
    *at = value;
}

static void head_add_field(struct h2_head *h, struct str name, struct str value)
{
    buf_add_str(&h->text, name);
    buf_add_str(&h->text, STR(": "));
    buf_add_str(&h->text, value);
    buf_add_str(&h->text, STR("\r\n"));
    h->fields++;
}

/* The pseudo-fields are all there: request line and Host. CONNECT, which has no target, is refused by its name. */
static void head_begin(struct h2_head *h)
{
    struct str target = head_str(h->target);
    h->begun = true;
    buf_add_str(&h->text, head_str(h->method));
    buf_add_char(&h->text, ' ');
    buf_add_str(&h->text, target.n ? target : STR("/"));
    buf_add_str(&h->text, STR(" HTTP/1.1\r\n"));
    if (h->authority)
        head_add_field(h, STR("host"), head_str(h->authority));
}

static void head_add_pseudo(struct h2_head *h, struct str name, nghttp2_rcbuf *value)
{
    if (str_eq(name, STR(":method")))
        head_keep(&h->method, value);
    else if (str_eq(name, STR(":path")))
        head_keep(&h->target, value);
    else if (str_eq(name, STR(":authority")))
        head_keep(&h->authority, value);
    else if (!str_eq(head_str(value), STR("https")) && !str_eq(head_str(value), STR("http")))
        h->status = 400; /* :scheme */
}

static void head_add_regular(struct h2_head *h, struct str name, struct str value)
{
    if (!h->begun)
        head_begin(h);
    if (!h->authority || !str_eq(name, STR("host")))
        head_add_field(h, name, value);
    else if (!str_eq_nocase(value, head_str(h->authority)))
        h->status = 400; /* who reads the one and who reads the other would differ */
}

void h2_head_add(struct h2_head *h, nghttp2_rcbuf *name_buf, nghttp2_rcbuf *value_buf, size_t max_head)
{
    struct str name = head_str(name_buf), value = head_str(value_buf);
    h->size += name.n + value.n + FIELD_COST;
    if (h->size > max_head) {
        h->status = 431;
        buf_free(&h->text);
    }
    if (h->status)
        return;
    if (name.n && name.at[0] == ':')
        head_add_pseudo(h, name, value_buf);
    else
        head_add_regular(h, name, value);
}

int h2_head_end(struct h2_head *h, struct http1_head *out)
{
    if (h->status)
        return h->status;
    if (!h->begun)
        head_begin(h);
    struct buf *text = &h->text;
    buf_add_str(text, STR("\r\n"));
    CHECK(!text->failed);
    long n = http1_head(buf_str(text), text->n + 1, out);
    if (n < 0)
        return (int)-n;
    /* What broke a line would show here. */
    bool as_given = (size_t)n == text->n && out->header_count == h->fields && str_eq(out->method, head_str(h->method));
    return as_given ? 0 : 400;
}

void h2_head_free(struct h2_head *h)
{
    nghttp2_rcbuf **kept[] = { &h->method, &h->target, &h->authority };
    for (size_t i = 0; i < 3; i++) {
        if (*kept[i])
            nghttp2_rcbuf_decref(*kept[i]);
        *kept[i] = NULL;
    }
    buf_free(&h->text);
}
