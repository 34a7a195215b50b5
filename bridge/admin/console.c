/* SPDX-License-Identifier: MIT */
/* Answers with the files of the console. */
#include "bridge/admin/console.h"

static const struct {
    const char *end, *type;
} console_types[] = {
    { ".html", "text/html; charset=utf-8" },
    { ".css", "text/css; charset=utf-8" },
    { ".js", "text/javascript; charset=utf-8" },
    { ".svg", "image/svg+xml" },
    { ".json", "application/json" },
};

#define CONSOLE_BASE "/console/"

bool console_takes(struct str path)
{
    return str_eq(path, STR("/")) || str_starts(path, STR(CONSOLE_BASE));
}

/* The file's text; absent: there is none of that name. */
static struct str console_text(struct str path)
{
    struct str name = str_eq(path, STR("/")) ? STR(CONSOLE_BASE "index.html") : path;
    for (const struct console_text *t = console_texts; t->name; t++)
        if (str_ends(str_of(t->name), name))
            return t->text;
    return STR_ABSENT;
}

static const char *console_type(struct str path)
{
    for (size_t i = 0; i < sizeof console_types / sizeof *console_types; i++)
        if (str_ends(path, str_of(console_types[i].end)))
            return console_types[i].type;
    return str_eq(path, STR("/")) ? console_types[0].type : "application/octet-stream";
}

static void console_reply(struct http_server *server, const struct http_request *r, int status, const char *type,
                          struct str body)
{
    static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
                                 "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    const struct header headers[] = {
        { STR("Content-Type"), str_of(type) },
        { STR("Cache-Control"), STR("no-cache") },
        { STR("Content-Security-Policy"), STR(policy) },
        { STR("X-Content-Type-Options"), STR("nosniff") },
        { STR("X-Frame-Options"), STR("DENY") },
        { STR("Referrer-Policy"), STR("no-referrer") },
        { STR("Cross-Origin-Opener-Policy"), STR("same-origin") },
        { STR("Cross-Origin-Resource-Policy"), STR("same-origin") },
        { STR("Allow"), STR("GET, HEAD") },
    };
    http_server_reply(server, r->id, status, headers, sizeof headers / sizeof *headers - (status != 405), body);
}

void console_answer(struct http_server *server, const struct http_request *r)
{
    static const char plain[] = "text/plain; charset=utf-8";
    struct str text = console_text(r->path);
    if (!str_eq(r->method, STR("GET")) && !str_eq(r->method, STR("HEAD")))
        console_reply(server, r, 405, plain, STR("only GET and HEAD\n"));
    else if (!text.at)
        console_reply(server, r, 404, plain, STR("the console has no such file\n"));
    else
        console_reply(server, r, 200, console_type(r->path), text);
}
