/* SPDX-License-Identifier: MIT */
/* Sessions of browsers: begun with a token or a login link, ended by their user. */
#include "bridge/admin/api.h"
#include "bridge/lib/crypto.h"

enum { SESSION_COOKIE = 512, SESSION_LINK = 512 };

static const struct shape session_answer[] = {
    { "role", SHAPE_TEXT, .required = true, .values = "viewer|operator", .doc = "What whoever asks may do." },
    { "name", SHAPE_TEXT, .required = true, .doc = "Who that is." },
    { "via", SHAPE_TEXT, .required = true, .values = "token|cookie|loopback|socket", .doc = "How that is known." },
    { 0 },
};

static json_t *session_json(const struct who *who)
{
    return json_pack("{s:s,s:s,s:s}", "role", role_name(who->is.role), "name", who->is.name, "via", who->via);
}

static void session_get(struct api_call *call)
{
    api_answer(&call->ticket, 200, session_json(&call->ticket.who));
}

/* A session is a cookie of the listener: over the control socket there is none. */
static bool session_is_possible(const struct api_call *call)
{
    if (call->home->access)
        return true;
    api_problem(&call->ticket, 409, "the admin listener has no API: set admin.api or admin.console to true");
    return false;
}

static void session_set_cookie(const struct api_call *call, int status, const char *session, const char *place,
                               json_t *body)
{
    struct buf cookie = buf_new(SESSION_COOKIE);
    access_cookie(call->home->access, session, &cookie);
    const struct header more[] = { { STR("Set-Cookie"), buf_str(&cookie) }, { STR("Location"), str_of(place) } };
    api_answer_with(&call->ticket, status, more, place ? 2 : 1, body);
    crypto_wipe_buf(&cookie);
}

static void session_begin(struct api_call *call)
{
    char session[ACCESS_TOKEN];
    struct who who;
    const char *token = json_string_value(json_object_get(call->body, "token"));
    if (!session_is_possible(call))
        return;
    if (!access_knows(call->home->access, str_of(token), &who)) {
        api_problem(&call->ticket, 401, "the token is none that is known here");
        return;
    }
    access_begin(call->home->access, &who, session);
    who.via = "cookie";
    session_set_cookie(call, 200, session, NULL, session_json(&who));
    crypto_wipe(session, sizeof session);
}

static void session_end(struct api_call *call)
{
    if (!session_is_possible(call))
        return;
    access_end(call->home->access, call->request);
    session_set_cookie(call, 204, "", NULL, NULL);
}

static void session_link(struct api_call *call)
{
    char code[ACCESS_TOKEN];
    if (!session_is_possible(call))
        return;
    struct buf url = buf_new(SESSION_LINK);
    access_code(call->home->access, &call->ticket.who, code);
    access_url(call->home->access, &url);
    if (url.n)
        buf_printf(&url, "/login?code=%s", code);
    api_answer(&call->ticket, 201,
               json_pack("{s:s+,s:o}", "path", "/login?code=", code, "url",
                         url.n ? json_stringn(url.at, url.n) : json_null()));
    crypto_wipe(code, sizeof code);
    crypto_wipe_buf(&url);
}

static void session_login(struct api_call *call)
{
    char session[ACCESS_TOKEN];
    struct who who;
    if (!session_is_possible(call))
        return;
    if (str_eq(call->request->method, STR("HEAD"))) { /* of what only looks where a link leads: it stays good */
        api_answer(&call->ticket, 204, NULL);
        return;
    }
    if (!access_use_code(call->home->access, str_of(api_query_text(call, "code")), &who)) {
        api_problem(&call->ticket, 401,
                    "the link was used already, or is too old: `aqueduct console` prints another one");
        return;
    }
    access_begin(call->home->access, &who, session);
    session_set_cookie(call, 303, session, "/", NULL);
    crypto_wipe(session, sizeof session);
}

static const struct shape session_token[] = {
    { "token", SHAPE_TEXT, .required = true, .min = 1, .max = 8192,
      .doc = "A token of admin.token_file, admin.tokens or admin.verify." },
    { 0 },
};
static const struct shape session_code[] = {
    { "code", SHAPE_TEXT, .required = true, .min = 1, .max = 128, .doc = "As the link has it." },
    { 0 },
};
static const struct shape session_path[] = {
    { "path", SHAPE_TEXT, .required = true, .doc = "Path and query of the link, which lasts five minutes." },
    { "url", SHAPE_TEXT, .required = true, .nullable = true, .doc = "The whole link, on this machine." },
    { 0 },
};

const struct api_row api_session_rows[] = {
    { "GET", "/api/v1/session", "getSession", ROLE_VIEWER, "Who asks, and what that one may do.", .done = 200,
      .answer = session_answer, .handle = session_get },
    { "POST", "/api/v1/session", "beginSession", ROLE_NONE, "Logs a browser in: the answer sets a cookie.",
      .body = session_token, .done = 200, .answer = session_answer, .handle = session_begin },
    { "DELETE", "/api/v1/session", "endSession", ROLE_NONE, "Logs the browser out.", .done = 204,
      .handle = session_end },
    { "POST", "/api/v1/login-link", "makeLoginLink", ROLE_OPERATOR,
      "Makes a link that logs one browser in as an operator, once.", .done = 201, .answer = session_path,
      .handle = session_link },
    { "GET", "/login", "login", ROLE_NONE, "Logs a browser in by such a link, and sends it to the console.",
      .query = session_code, .done = 303, .handle = session_login },
    { 0 },
};
