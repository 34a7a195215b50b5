/* SPDX-License-Identifier: MIT */
/* A login as a request for a token. */
#include "connectors/webhook/login.h"

#include <jansson.h>
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/jpointer.h"
#include "bridge/lib/mem.h"

#define LOGIN_URL      "login.url"
#define LOGIN_NAME     "{{username}}"
#define LOGIN_PASSWORD "{{password}}"

const struct option login_rows[] = {
    OPTION(struct login, url, .doc = "Where one logs in; what begins with / is at the receiver's own host."),
    OPTION(
        struct login, body,
        .doc =
            "What is posted there as JSON: a mapping, in which {{username}} and {{password}} stand for the options of these names."),
    OPTION(
        struct login, token, .fallback = "/access_token",
        .doc =
            "Where the answer has the token: a JSON pointer. It is used until expires_in beside it, or the end that it names itself (JWT), or a 401."),
    OPTION(struct login, success, .fallback = "[2xx]", .min = 1, .max = STATUS_END,
           .doc = "Statuses (201) and classes of them (2xx) of an answer that has a token."),
    { 0 }
};

bool login_is_used(const struct login_user *user)
{
    return user->password && *user->password;
}

/* ---- the body ---- */

/* What stands for a text of the body; NULL with *e. */
static json_t *login_text(const struct login_user *user, const char *text, struct err *e)
{
    bool name = strcmp(text, LOGIN_NAME) == 0, password = strcmp(text, LOGIN_PASSWORD) == 0;
    const char *value = name ? user->name : password ? user->password : text;
    if (name && login_is_used(user) && !(value && *value)) {
        err_set(e, "username: is missing");
        return NULL;
    }
    if (!name && !password && strstr(text, "{{")) {
        err_set(e, "login.body: \"%.64s\": a value is " LOGIN_NAME ", " LOGIN_PASSWORD " or has no expression", text);
        return NULL;
    }
    json_t *json = json_string(value ? value : "");
    if (!json)
        err_set(e, "%s: is not UTF-8", name ? "username" : "password");
    return json;
}

/* The same with user name and password in it; the caller's reference, NULL with *e. */
static json_t *login_filled(const struct login_user *user, json_t *json, struct err *e)
{
    void *next;
    const char *name;
    json_t *value;
    bool ok = true;
    if (json_is_string(json))
        return login_text(user, json_string_value(json), e);
    json_object_foreach_safe(json, next, name, value)
        ok = ok && json_object_set_new(json, name, login_filled(user, value, e)) == 0;
    for (size_t i = 0; ok && i < json_array_size(json); i++)
        ok = json_array_set_new(json, i, login_filled(user, json_array_get(json, i), e)) == 0;
    return ok ? json_incref(json) : NULL;
}

static bool login_body(const struct login *l, const struct login_user *user, struct buf *out, struct err *e)
{
    json_t *json = l->body.json ? json_loads(l->body.json, JSON_DECODE_ANY, NULL) : NULL;
    bool mapping = json_is_object(json) || err_set(e, "login.body: %s", json ? "is no mapping" : "is missing");
    json_t *filled = mapping ? login_filled(user, json, e) : NULL;
    char *text = filled ? json_dumps(filled, JSON_COMPACT) : NULL;
    *out = buf_new(text ? strlen(text) : 0);
    if (text) {
        buf_add_c(out, text);
        crypto_wipe(text, strlen(text));
    }
    free(text);
    json_decref(filled);
    json_decref(json);
    return out->n > 0;
}

/* ---- the grant ---- */

/* The URL in full, by that of the receiver; NULL with *e. */
static char *login_where(const struct login *l, const struct login_user *user, struct err *e)
{
    char *found = NULL, *where = NULL;
    CURLU *url = curl_url_dup(user->receiver->url);
    CHECK(url);
    CURLUcode code = curl_url_set(url, CURLUPART_URL, l->url, CURLU_DISALLOW_USER);
    if (code == CURLUE_OK)
        code = curl_url_get(url, CURLUPART_URL, &found, 0);
    if (code == CURLUE_OK)
        where = str_dup(str_of(found));
    else
        err_set(e, LOGIN_URL ": %s", curl_url_strerror(code));
    curl_free(found);
    curl_url_cleanup(url);
    return where;
}

/* Is the URL one to go to? */
static bool login_check_url(const char *url, const struct address_rules *rules, struct err *e)
{
    struct transfer_target to = { 0 };
    bool ok = target_set_url(&to, LOGIN_URL, url, e) && target_check_address(&to, LOGIN_URL, rules, e);
    target_free_url(&to);
    return ok;
}

static bool login_check_token(const char *pointer, struct err *e)
{
    struct jpointers *probe = jpointers_new();
    bool ok = *pointer ? jpointers_add(probe, str_of(pointer), e) >= 0 : err_set(e, "is empty");
    jpointers_free(probe);
    return ok || err_prefix(e, "login.token");
}

/* As it is, and as it stands in the request. */
static void login_hide(const char *password, struct grant *g)
{
    struct buf escaped = buf_new(6 * strlen(password) + 1);
    hide_word(&g->hidden, password);
    jscan_add_escaped(&escaped, str_of(password));
    hide_word(&g->hidden, buf_c(&escaped));
    crypto_wipe_buf(&escaped);
}

/* Makes the grant, or says what is wrong with the options. */
static bool login_make(const struct login *l, const struct login_user *user, struct grant *g, struct err *e)
{
    struct buf body;
    *g = (struct grant){ .url = login_where(l, user, e), .life_s = GRANT_MOST_S };
    if (!g->url || !login_check_token(l->token, e))
        return false;
    if (!statuses_load(&g->statuses, &l->success, &(struct strings){ 0 }, e))
        return err_prefix(e, "login");
    if (!login_body(l, user, &body, e))
        return false;
    g->member = str_dup(str_of(l->token));
    grant_set_request(g, body, "Content-Type: application/json");
    if (login_is_used(user))
        login_hide(user->password, g);
    return true;
}

bool login_check(const struct login *l, const struct login_user *user, const struct address_rules *rules, struct err *e)
{
    struct grant probe;
    bool named = user->name && *user->name;
    if (named && !login_is_used(user))
        return err_set(e, "password: is missing (it goes with username)");
    if (!l->url)
        return !login_is_used(user)
               || err_set(e, LOGIN_URL ": is missing: where do username and password give a token?");
    bool ok = login_make(l, user, &probe, e) && login_check_url(probe.url, rules, e);
    grant_free(&probe);
    return ok;
}

void login_grant(const struct login *l, const struct login_user *user, struct grant *g)
{
    struct err e;
    CHECK(login_make(l, user, g, &e));
}
