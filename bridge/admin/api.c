/* SPDX-License-Identifier: MIT */
/* From a request to its row, and from an answer to HTTP. */
#include "bridge/admin/api.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/admin/audit.h"
#include "bridge/admin/console.h"
#include "bridge/admin/errands.h"
#include "bridge/admin/paged.h"
#include "bridge/admin/private.h"
#include "bridge/admin/tails.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/query.h"

METRIC_COUNTER(aqueduct_api_requests_total, "Requests for the JSON API, by operation and status.", "operation",
               "status");
METRIC_COUNTER(aqueduct_api_refused_total, "Requests for the JSON API that were refused for who asked, by reason.",
               "reason");

#define API_BASE "/api/v1"
enum {
    API_ANSWER = 64 << 20,
    API_SEGMENTS = 12,
    API_SEGMENT = 1024,
    API_METHODS = 128,
    API_DETAIL = 600,
    API_COOKIE = 256
};

struct api {
    struct api_home home;
    struct api_works *works;
    struct tails *tails;
    struct paged *paged;
};

/* ---- answers ---- */

enum { API_HEADERS = 6, API_MORE = 4 };

/* What changes something, or was to, is told with who did it. */
static void api_audit(const struct api_ticket *t, int status)
{
    const struct api_row *row = t->row;
    if (t->untold || !row || row->role != ROLE_OPERATOR || row->harmless || strcmp(row->method, "GET") == 0)
        return;
    audit_note(t->api->home.config, t->api->home.broker,
               &(struct audit){ .operation = row->name,
                                .who = t->who.is.name,
                                .role = role_name(t->who.is.role),
                                .via = t->who.via,
                                .address = t->address,
                                .object = t->object,
                                .result = t->result,
                                .status = status });
}

void api_tell(struct api_ticket *t, int status, const json_t *result)
{
    t->result = result;
    api_audit(t, status);
    t->result = NULL;
}

/* Fills the headers of an answer; returns how many. */
static size_t api_headers(struct header out[API_HEADERS + API_MORE], const char *media, const struct header *more,
                          size_t count)
{
    const struct header guards[API_HEADERS] = {
        { STR("Cache-Control"), STR("no-store") },
        { STR("X-Content-Type-Options"), STR("nosniff") },
        { STR("Content-Security-Policy"), STR("default-src 'none'; frame-ancestors 'none'") },
        { STR("Referrer-Policy"), STR("no-referrer") },
        { STR("Cross-Origin-Resource-Policy"), STR("same-origin") },
        { STR("Content-Type"), str_of(media) },
    };
    size_t n = media ? API_HEADERS : API_HEADERS - 1;
    CHECK(count <= API_MORE);
    memcpy(out, guards, sizeof guards);
    if (count)
        memcpy(out + n, more, count * sizeof *more);
    return n + count;
}

/* Counts the answer, and tells of what it changed. */
static void api_note(const struct api_ticket *t, int status)
{
    char number[16];
    snprintf(number, sizeof number, "%d", status);
    metric_add(metric_get(&aqueduct_api_requests_total, LABELS(t->row ? t->row->name : "none", number)), 1);
    api_audit(t, status);
}

static void api_reply(const struct api_ticket *t, int status, const char *media, const struct header *more,
                      size_t count, struct str body)
{
    struct header headers[API_HEADERS + API_MORE];
    size_t n = api_headers(headers, media, more, count);
    api_note(t, status);
    http_server_reply(t->server, t->id, status, headers, n, body);
}

struct http_stream *api_stream(const struct api_ticket *t, const struct http_request *r, const char *media, void *user)
{
    struct header headers[API_HEADERS + API_MORE];
    size_t n = api_headers(headers, media, NULL, 0);
    api_note(t, 200);
    return http_server_stream(t->server, r, 200, headers, n, user);
}

void api_answer_with(const struct api_ticket *t, int status, const struct header *more, size_t count, json_t *body)
{
    char *text = body ? json_short(body, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_decref(body);
    api_reply(t, status, text ? "application/json" : NULL, more, count, str_of(text ? text : ""));
    free(text);
}

void api_answer(const struct api_ticket *t, int status, json_t *body)
{
    api_answer_with(t, status, NULL, 0, body);
}

void api_answer_bytes(const struct api_ticket *t, int status, const char *media, struct str body)
{
    api_reply(t, status, media, NULL, 0, body);
}

/* Takes over `members`, which stand beside those of every problem; NULL: none. */
static void api_problem_with(const struct api_ticket *t, int status, const struct header *more, size_t count,
                             json_t *members, const char *detail)
{
    struct str text = str_of(detail);
    json_t *shown = json_stringn(text.at, text.n);
    json_t *problem = json_pack("{s:s,s:s,s:i,s:o}", "type", "about:blank", "title", http_status_text(status), "status",
                                status, "detail", shown ? shown : json_string("?"));
    json_object_update_missing(problem, members);
    json_decref(members);
    char *body = json_short(problem, JSON_COMPACT);
    json_decref(problem);
    api_reply(t, status, "application/problem+json", more, count, str_of(body));
    free(body);
}

void api_problem(const struct api_ticket *t, int status, const char *fmt, ...)
{
    char detail[API_DETAIL];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    str_make_shown(detail);
    api_problem_with(t, status, NULL, 0, NULL, detail);
}

void api_refuse(const struct api_ticket *t, json_t *members, const char *detail)
{
    api_problem_with(t, API_REFUSED, NULL, 0, members, detail);
}

void api_busy(const struct api_ticket *t)
{
    api_problem_with(t, 429, &(struct header){ STR("Retry-After"), STR("1") }, 1, NULL,
                     "as much as may be is under way: try again in a moment");
}

const char *api_query_text(const struct api_call *call, const char *name)
{
    return json_string_value(json_object_get(call->query, name));
}

size_t api_query_limit(const struct api_call *call)
{
    const json_t *limit = json_object_get(call->query, "limit");
    return limit ? (size_t)json_number_value(limit) : API_LIMIT;
}

/* ---- rows ---- */

/* Does the path fit that of a row? Then its parameters, as they came. */
static bool api_fits(const struct api_row *row, struct str path, struct str parameters[API_PARAMETERS])
{
    struct str wanted = str_of(row->path), want, have;
    size_t count = 0;
    while (str_cut(&wanted, '/', &want)) {
        if (!str_cut(&path, '/', &have))
            return false;
        bool parameter = want.n && want.at[0] == '{';
        if (parameter ? have.n == 0 : !str_eq(want, have))
            return false;
        if (parameter) {
            CHECK(count < API_PARAMETERS);
            parameters[count++] = have;
        }
    }
    return !path.at;
}

static bool api_has_method(const struct api_row *row, struct str method)
{
    return str_eq(method, str_of(row->method)) || (str_eq(method, STR("HEAD")) && strcmp(row->method, "GET") == 0);
}

/* Is it, as it stands, the path of a row? Then no parameter stands for a part of it. */
static bool api_is_literal(struct str path)
{
    for (const struct api_row *const *table = api_tables; *table; table++)
        for (const struct api_row *row = *table; row->method; row++)
            if (str_eq(str_of(row->path), path) && !strchr(row->path, '{'))
                return true;
    return false;
}

/* The row of the request. NULL: there is none; then `methods` are those of its path, "" when that is none, either. */
static const struct api_row *api_find(const struct http_request *r, struct str parameters[API_PARAMETERS],
                                      char methods[API_METHODS])
{
    size_t n = 0;
    bool literal = api_is_literal(r->path);
    methods[0] = '\0';
    for (const struct api_row *const *table = api_tables; *table; table++)
        for (const struct api_row *row = *table; row->method; row++) {
            if (literal ? !str_eq(str_of(row->path), r->path) : !api_fits(row, r->path, parameters))
                continue;
            if (api_has_method(row, r->method))
                return row;
            n += (size_t)snprintf(methods + n, API_METHODS - n, "%s%s%s", n ? ", " : "", row->method,
                                  strcmp(row->method, "GET") == 0 ? ", HEAD" : "");
            CHECK(n < API_METHODS);
        }
    return NULL;
}

/* ---- who ---- */

static void api_refused(const char *reason)
{
    metric_add(metric_get(&aqueduct_api_refused_total, LABELS(reason)), 1);
}

/* Nobody that is known asks. A browser is told of its session's end once: the cookie goes. */
static void api_nobody(const struct api_ticket *t)
{
    bool over = strcmp(t->who.via, "cookie") == 0;
    struct buf cookie = buf_new(API_COOKIE);
    if (over)
        access_cookie(t->api->home.access, "", &cookie);
    const struct header more[] = { { STR("WWW-Authenticate"), STR("Bearer") },
                                   { STR("Set-Cookie"), buf_str(&cookie) } };
    api_problem_with(t, 401, more, over ? 2 : 1, NULL,
                     over ? "your session is over: `aqueduct console` prints a link that begins another one"
                          : "who asks is not known: show a token (Authorization: Bearer ...), or log in with the link "
                            "that `aqueduct console` prints");
    buf_free(&cookie);
}

/* May who asks do this? False: it is answered. */
static bool api_may(const struct api_ticket *t)
{
    const struct api_row *row = t->row;
    enum role least = row ? row->role : ROLE_VIEWER;
    if (t->who.is.role >= least)
        return true;
    api_refused(t->who.is.role ? "role" : "nobody");
    if (t->who.is.role)
        api_problem(t, 403, "a %s may not do this: it is for an operator", role_name(t->who.is.role));
    else
        api_nobody(t);
    return false;
}

static struct api_ticket api_ticket(struct api *a, struct http_server *server, const struct http_request *r)
{
    struct api_ticket t = { .api = a, .server = server, .id = r->id, .who = { { ROLE_NONE, "" }, "none" } };
    struct str base = STR(API_BASE);
    struct str object = str_starts(r->path, base) ? str_from(r->path, base.n) : r->path;
    snprintf(t.object, sizeof t.object, "%.*s", (int)(object.n < API_OBJECT ? object.n : API_OBJECT - 1), object.at);
    snprintf(t.address, sizeof t.address, "%.*s", (int)(r->peer.n < API_ADDRESS ? r->peer.n : API_ADDRESS - 1),
             r->peer.at ? r->peer.at : "");
    return t;
}

/* Sets who asks. False: it is answered. */
static bool api_who(struct api *a, struct api_ticket *t, const struct http_request *r, bool control)
{
    struct access_refusal no;
    if (control) {
        t->who = access_of_socket();
        return true;
    }
    if (access_who(a->home.access, r, &t->who, &no))
        return true;
    api_refused(no.reason);
    api_problem_with(t, no.status, &no.more, no.more.name.n ? 1 : 0, NULL, no.text);
    return false;
}

/* ---- what comes in ---- */

static bool api_others(void *ctx, struct str name)
{
    const struct api_home *home = ctx;
    return home->access && access_reads_query(home->access, name);
}

static bool api_read_query(struct api_call *call)
{
    struct err e = { "" };
    struct str query = call->request->query;
    call->query = shape_query(call->ticket.row->query, query, api_others, (void *)(uintptr_t)call->home, &e);
    if (!call->query)
        api_problem(&call->ticket, 400, "%s", e.text);
    return call->query;
}

static bool api_is_media(const struct http_request *r, const char *media)
{
    struct str rest = http_header(r, "Content-Type", NULL), type = STR_ABSENT;
    return str_cut(&rest, ';', &type) && str_eq_nocase(str_trim(type), str_of(media));
}

static bool api_read_json(struct api_call *call)
{
    json_error_t where;
    struct err e = { "" };
    struct str body = call->request->body;
    json_t *json = json_loadb(body.at, body.n, JSON_REJECT_DUPLICATES, &where);
    call->body = json;
    if (!json)
        api_problem(&call->ticket, 400, "the body is no JSON: %s (line %d)", where.text, where.line);
    else if (!shape_check(call->ticket.row->body, json, &e)
             || (call->ticket.row->any_of && !shape_any_of(call->ticket.row->any_of, json, &e)))
        api_problem(&call->ticket, 422, "%s", e.text);
    else
        return true;
    return false;
}

/* False: it is answered. */
static bool api_read_body(struct api_call *call)
{
    const struct api_row *row = call->ticket.row;
    const char *media = row->media ? row->media : "application/json";
    if (!row->body && !row->media) {
        if (call->request->body.n == 0)
            return true;
        api_problem(&call->ticket, 400, "this takes no body");
        return false;
    }
    if (call->request->body.n == 0 && row->bodiless)
        return true;
    if (!api_is_media(call->request, media)) {
        api_problem(&call->ticket, 415, "the body must be said to be %s (Content-Type)", media);
        return false;
    }
    return row->media || api_read_json(call);
}

/* The parameters of the path, decoded one behind the other into `room`, which never moves. */
static bool api_decode(struct api_call *call, struct buf *room)
{
    struct buf one = buf_new(API_SEGMENT);
    bool good = buf_room(room, API_PARAMETERS * API_SEGMENT);
    for (size_t i = 0; i < API_PARAMETERS && call->parameters[i].at && good; i++) {
        good = path_decode(call->parameters[i], &one);
        size_t start = room->n;
        buf_add_str(room, buf_str(&one));
        call->parameters[i] = (struct str){ room->at + start, one.n };
    }
    buf_free(&one);
    if (!good)
        api_problem(&call->ticket, 404,
                    "the path has a part that is no text (UTF-8, percent-encoded, at most %d bytes)", API_SEGMENT);
    return good;
}

static void api_handle(struct api_call *call)
{
    struct buf room = buf_new(API_PARAMETERS * API_SEGMENT);
    if (api_decode(call, &room) && api_read_query(call) && api_read_body(call))
        call->ticket.row->handle(call);
    json_decref((json_t *)(uintptr_t)call->query);
    json_decref((json_t *)(uintptr_t)call->body);
    buf_free(&room);
}

/* ---- the whole ---- */

struct api *api_new(const struct api_home *home)
{
    struct api *a = mem_alloc(sizeof *a);
    a->home = *home;
    a->works = api_works_new();
    a->tails = tails_new(&home->config->broker);
    a->paged = paged_new(api_tell);
    return a;
}

void api_follow(struct api *a, const struct config *config, struct access *access)
{
    a->home.config = config;
    a->home.access = access;
}

const struct config *api_config(const struct api *a)
{
    return a->home.config;
}

bool api_is_busy(const struct api *a)
{
    return errands_any(a->home.errands) || api_works_any(a->works);
}

void api_stop(struct api *a)
{
    api_works_free(a->works);
    a->works = NULL;
    paged_end_left(a->paged, true);
    tails_stop(a->tails);
}

void api_free(struct api *a)
{
    if (!a)
        return;
    api_works_free(a->works);
    tails_free(a->tails);
    paged_free(a->paged);
    free(a);
}

struct api_works *api_works(const struct api *a)
{
    return a->works;
}

struct paged *api_paged(const struct api *a)
{
    return a->paged;
}

void api_idle(struct api *a)
{
    paged_end_left(a->paged, false);
}

struct tails *api_tails(const struct api *a)
{
    return a->tails;
}

void api_fds(const struct api *a, int out[API_FDS])
{
    out[0] = api_works_fd(a->works);
    out[1] = tails_fd(a->tails);
}

void api_turn(struct api *a)
{
    api_works_turn(a->works);
    tails_turn(a->tails);
}

void api_writable(void *ctx, struct http_stream *st)
{
    (void)ctx;
    tails_writable(st);
}

void api_closed(void *ctx, struct http_stream *st)
{
    (void)ctx;
    tails_closed(st);
}

bool api_takes(const struct api *a, struct str path)
{
    return str_starts(path, STR("/api/")) || str_eq(path, STR("/login"))
           || (a->home.config->admin.console && console_takes(path));
}

/* The ticket of the request, with its row. False: it is answered. */
static bool api_open(struct api *a, struct http_server *server, const struct http_request *r, bool control,
                     struct api_call *call)
{
    char methods[API_METHODS];
    *call = (struct api_call){ .home = &a->home, .ticket = api_ticket(a, server, r), .request = r };
    if (!api_who(a, &call->ticket, r, control))
        return false;
    call->ticket.row = api_find(r, call->parameters, methods);
    if (!api_may(&call->ticket))
        return false;
    if (call->ticket.row)
        return true;
    if (methods[0])
        api_problem_with(&call->ticket, 405, &(struct header){ STR("Allow"), str_of(methods) }, 1, NULL,
                         "the path has other methods");
    else
        api_problem(&call->ticket, 404, "there is nothing here: GET /api/v1/openapi.json says what there is");
    return false;
}

static void api_console(struct api *a, struct http_server *server, const struct http_request *r)
{
    struct access_refusal no;
    const struct api_ticket t = api_ticket(a, server, r);
    if (access_host(a->home.access, r, &no)) {
        console_answer(server, r);
        return;
    }
    api_refused(no.reason);
    api_problem_with(&t, no.status, &no.more, no.more.name.n ? 1 : 0, NULL, no.text);
}

bool api_head(struct api *a, struct http_server *server, const struct http_request *r, bool control, int64_t *max_body)
{
    struct api_call call;
    if (!control && console_takes(r->path))
        return true;
    *max_body = API_BODY;
    return api_open(a, server, r, control, &call);
}

void api_request(struct api *a, struct http_server *server, const struct http_request *r, bool control)
{
    struct api_call call;
    if (!control && console_takes(r->path))
        api_console(a, server, r);
    else if (api_open(a, server, r, control, &call))
        api_handle(&call);
}
