/* SPDX-License-Identifier: MIT */
/* A request as its user sees it. */
#include "bridge/net/http/h1.h"
#include "bridge/net/http/private.h"

struct str http_header(const struct http_request *r, const char *name, size_t *count)
{
    struct str wanted = str_of(name), value = STR_ABSENT;
    size_t n = 0;
    for (size_t i = 0; i < r->header_count; i++)
        if (str_eq_nocase(r->headers[i].name, wanted) && n++ == 0)
            value = r->headers[i].value;
    if (count)
        *count = n;
    return value;
}

/* Of the absolute form: the path begins behind the authority, whose Host was checked. */
static struct str view_behind_authority(struct str target)
{
    const char *authority = memchr(target.at, '/', target.n);
    struct str path = { authority + 2, target.n - (size_t)(authority + 2 - target.at) };
    while (path.n && path.at[0] != '/' && path.at[0] != '?') {
        path.at++;
        path.n--;
    }
    return path;
}

void http_view_fill(const struct http_conn *c, uint64_t id, const struct http1_head *head, struct http_request *r)
{
    *r = (struct http_request){
        .id = id,
        .method = head->method,
        .target = head->target,
        .headers = head->headers,
        .header_count = head->header_count,
    };
    http_client_fill(c, r);
    struct str path = head->target;
    if (path.at[0] != '/' && path.at[0] != '*')
        path = view_behind_authority(path);
    const char *question = path.n ? memchr(path.at, '?', path.n) : NULL;
    if (question)
        r->query = (struct str){ question + 1, (size_t)(path.at + path.n - question - 1) };
    r->path = (struct str){ path.at, question ? (size_t)(question - path.at) : path.n };
    if (r->path.n == 0)
        r->path = STR("/");
}

bool http_view_is_for_server(const struct http_request *r)
{
    return str_eq(r->path, STR("*"));
}

bool http_view_ask(struct http_server *s, const struct http_request *r, int64_t *max_body)
{
    if (!s->events.head || http_view_is_for_server(r))
        return true;
    int64_t limit = *max_body;
    bool yes = s->events.head(s->events.ctx, r, &limit);
    if (limit < *max_body)
        *max_body = limit < 0 ? 0 : limit;
    return yes;
}
