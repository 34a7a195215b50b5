/* SPDX-License-Identifier: MIT */
/* Answers with the page and what belongs to it. */
#include "connectors/websocket/access.h"
#include "connectors/websocket/page.h"
#include "connectors/websocket/private.h"

static const struct {
    const char *path, *file, *type; /* behind the listener's path */
} page_files[] = {
    { "", "/page.html", "text/html; charset=utf-8" },
    { "/page.css", "/page.css", "text/css; charset=utf-8" },
    { "/page.js", "/page.js", "text/javascript; charset=utf-8" },
    { "/aqueduct.js", "/aqueduct.js", "text/javascript; charset=utf-8" },
};

static struct str page_text(const char *file)
{
    const struct page_text *p = page_texts;
    while (p->name && !str_ends(str_of(p->name), str_of(file)))
        p++;
    return p->text;
}

/* The listener's path without a slash at its end. */
static struct str page_base(const struct websocket_sink *s)
{
    struct str base = str_of(s->path);
    base.n -= base.n > 0 && base.at[base.n - 1] == '/';
    return base;
}

/* The text with the path in the place of each @base@, in `out`. */
static void page_fill(struct str text, struct str base, struct buf *out)
{
    static const char mark[] = "@base@";
    const char *found;
    while ((found = memmem(text.at, text.n, mark, sizeof mark - 1))) {
        buf_add(out, text.at, (size_t)(found - text.at));
        for (size_t i = 0; i < base.n; i++)
            buf_printf(out, strchr("\"<>&", base.at[i]) ? "&#%d;" : "%c", base.at[i]);
        text = str_from(text, (size_t)(found - text.at) + sizeof mark - 1);
    }
    buf_add_str(out, text);
}

static void page_reply(const struct websocket_sink *s, const struct http_request *r, const char *type, struct str body)
{
    static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
                                 "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    const struct header headers[] = {
        { STR("Content-Type"), str_of(type) },           { STR("Cache-Control"), STR("no-cache") },
        { STR("Content-Security-Policy"), STR(policy) }, { STR("X-Content-Type-Options"), STR("nosniff") },
        { STR("Referrer-Policy"), STR("no-referrer") },
    };
    http_server_reply(s->server, r->id, 200, headers, sizeof headers / sizeof *headers, body);
}

bool page_answer(const struct websocket_sink *s, const struct http_request *r)
{
    struct str base = page_base(s);
    if (!s->page || !str_starts(r->path, base) || !(str_eq(r->method, STR("GET")) || str_eq(r->method, STR("HEAD"))))
        return false;
    struct str rest = str_from(r->path, base.n);
    bool whole = str_eq(r->path, str_of(s->path));
    if (whole && !access_header_has(r, "Accept", STR("text/html")))
        return false;
    for (size_t i = 0; i < sizeof page_files / sizeof *page_files; i++) {
        if (whole ? i != 0 : i == 0 || !str_eq(rest, str_of(page_files[i].path)))
            continue;
        struct buf body = buf_new(1 << 20);
        page_fill(page_text(page_files[i].file), base, &body);
        page_reply(s, r, page_files[i].type, buf_str(&body));
        buf_free(&body);
        return true;
    }
    return false;
}
