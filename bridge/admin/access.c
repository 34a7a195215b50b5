/* SPDX-License-Identifier: MIT */
/* Tells who a request is from, and keeps the sessions. */
#include "bridge/admin/access.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/auth/token.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "bridge/net/host.h"
#include "bridge/net/networks.h"

enum { SESSIONS = 64, CODES = 16, CODE_MS = 5 * 60000, RANDOM_BYTES = 32, COOKIE_NAME = 24 };

struct access_session { /* or a login code */
    unsigned char digest[SHA256_BYTES];
    struct who who;
    bool of_file;    /* it lasts as long as its owner stands in the token file */
    int64_t ends_ms; /* by clock_elapsed_ms; 0: none */
};

struct access {
    const struct admin_config *how;
    struct verifier *verifier; /* NULL: none */
    const struct verify_options *verify;
    struct token_file *file; /* NULL: none */
    struct networks loopback;
    char cookie[COOKIE_NAME];
    int port;
    struct access_session sessions[SESSIONS], codes[CODES];
};

/* ---- sessions and codes ---- */

static bool access_is_of(const struct access_session *s, const struct who *who)
{
    return s->who.is.role == who->is.role && strcmp(s->who.is.name, who->is.name) == 0;
}

/* A place for a new one of `who`: a free one, else that of their own which ends first, so that nobody crowds others out;
 * else of all the one that ends first. */
static struct access_session *access_place(struct access_session *all, size_t count, const struct who *who)
{
    struct access_session *place = NULL;
    int64_t now_ms = clock_elapsed_ms();
    for (size_t i = 0; i < count; i++) {
        if (all[i].ends_ms <= now_ms)
            return &all[i];
        bool own = access_is_of(&all[i], who), had = place && access_is_of(place, who);
        if (!place || own > had || (own == had && all[i].ends_ms < place->ends_ms))
            place = &all[i];
    }
    return place;
}

static struct access_session *access_find(struct access_session *all, size_t count, struct str text)
{
    unsigned char digest[SHA256_BYTES];
    int64_t now_ms = clock_elapsed_ms();
    sha256_of(text, digest);
    for (size_t i = 0; i < count; i++)
        if (all[i].ends_ms > now_ms && memcmp(all[i].digest, digest, sizeof digest) == 0)
            return &all[i];
    return NULL;
}

static void access_fill(struct access_session *place, const struct who *who, int64_t lasts_ms, char out[ACCESS_TOKEN])
{
    unsigned char random[RANDOM_BYTES];
    struct buf text = buf_new(ACCESS_TOKEN);
    crypto_random(random, sizeof random);
    base64url_add(&text, (struct str){ (const char *)random, sizeof random });
    snprintf(out, ACCESS_TOKEN, "%s", buf_c(&text));
    *place = (struct access_session){ .who = *who, .ends_ms = clock_elapsed_ms() + lasts_ms };
    sha256_of(str_of(out), place->digest);
    crypto_wipe_buf(&text);
}

void access_begin(struct access *a, const struct who *who, char out[ACCESS_TOKEN])
{
    struct access_session *s = access_place(a->sessions, SESSIONS, who);
    access_fill(s, who, a->how->session.ms, out);
    s->who.via = "cookie";
    s->of_file = a->file && token_file_has(a->file, &who->is);
}

/* The session's text in the request's cookie. */
static struct str access_cookie_of(const struct access *a, const struct http_request *r)
{
    struct str rest = http_header(r, "Cookie", NULL), pair, name;
    while (str_cut(&rest, ';', &pair)) {
        struct str value = str_trim(pair);
        if (str_cut(&value, '=', &name) && value.at && str_eq(name, str_of(a->cookie)))
            return value;
    }
    return STR_ABSENT;
}

void access_end(struct access *a, const struct http_request *r)
{
    struct access_session *s = access_find(a->sessions, SESSIONS, access_cookie_of(a, r));
    if (s)
        *s = (struct access_session){ 0 };
}

void access_code(struct access *a, const struct who *maker, char out[ACCESS_TOKEN])
{
    const struct who link = { { ROLE_OPERATOR, "login link" }, "cookie" };
    bool named = strcmp(maker->via, "token") == 0 || strcmp(maker->via, "cookie") == 0;
    const struct who *who = named ? maker : &link;
    struct access_session *c = access_place(a->codes, CODES, who);
    access_fill(c, who, CODE_MS, out);
    c->of_file = a->file && token_file_has(a->file, &who->is);
}

bool access_use_code(struct access *a, struct str code, struct who *out)
{
    struct access_session *c = access_find(a->codes, CODES, code);
    if (!c)
        return false;
    *out = c->who;
    *c = (struct access_session){ 0 };
    return true;
}

void access_listens(struct access *a, int port)
{
    a->port = port;
    snprintf(a->cookie, sizeof a->cookie, "aqueduct-%d", port);
}

static bool access_has_tls(const struct access *a)
{
    return a->how->tls_certificate && a->how->tls_certificate[0];
}

void access_url(const struct access *a, struct buf *out)
{
    struct str host = host_name(str_of(a->how->listen));
    if (str_starts(str_of(a->how->listen), STR("unix:")))
        return;
    if (str_eq(host, STR("0.0.0.0")))
        host = STR("127.0.0.1");
    else if (str_eq(host, STR("[::]")))
        host = STR("[::1]");
    buf_printf(out, "%s://%.*s:%d", access_has_tls(a) ? "https" : "http", STR_ARG(host), a->port);
}

void access_cookie(const struct access *a, const char *session, struct buf *out)
{
    buf_printf(out, "%s=%s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Strict%s", a->cookie, session,
               (long long)(*session ? a->how->session.ms / 1000 : 0), access_has_tls(a) ? "; Secure" : "");
}

/* ---- the page that asks ---- */

static bool access_no(struct access_refusal *no, int status, const char *reason, const char *text)
{
    *no = (struct access_refusal){ .status = status, .reason = reason };
    snprintf(no->text, sizeof no->text, "%s", text);
    return false;
}

static bool access_knows_host(const struct access *a, struct str host)
{
    if (host_is_address(host) || str_starts(str_of(a->how->listen), STR("unix:")))
        return true;
    for (size_t i = 0; i < a->how->hosts.count; i++)
        if (str_eq_nocase(str_of(a->how->hosts.at[i]), host_name(host)))
            return true;
    return false;
}

/* Is the Origin that of the name by which we were reached? */
static bool access_is_ours(struct str origin, struct str host)
{
    if (str_starts_nocase(origin, STR("http://")))
        return str_eq_nocase(str_from(origin, 7), host);
    return str_starts_nocase(origin, STR("https://")) && str_eq_nocase(str_from(origin, 8), host);
}

bool access_host(const struct access *a, const struct http_request *r, struct access_refusal *no)
{
    return access_knows_host(a, http_header(r, "Host", NULL))
           || access_no(no, 403, "host",
                        "this name is none of the listener's: use its address or localhost, or put the name into "
                        "admin.hosts");
}

/* May this be asked on the word of the page, if there is one, that a browser shows? */
static bool access_page(const struct access *a, const struct http_request *r, struct access_refusal *no)
{
    size_t origins = 0;
    struct str host = http_header(r, "Host", NULL), origin = http_header(r, "Origin", &origins);
    struct str site = http_header(r, "Sec-Fetch-Site", NULL);
    if (!access_host(a, r, no))
        return false;
    if (origins > 1 || (origin.at && !access_is_ours(origin, host)))
        return access_no(no, 403, "origin", "a page of another origin may not ask");
    if (site.at && !str_eq(site, STR("same-origin")) && !str_eq(site, STR("none")))
        return access_no(no, 403, "origin", "a page of another site may not ask");
    return true;
}

/* ---- who asks ---- */

static bool access_is_operator(const struct access *a, struct str name)
{
    for (size_t i = 0; i < a->how->operators.count; i++)
        if (str_eq(str_of(a->how->operators.at[i]), name))
            return true;
    return false;
}

static void access_set(struct who *out, enum role role, struct str name, const char *via)
{
    *out = (struct who){ { role, "" }, via };
    snprintf(out->is.name, sizeof out->is.name, "%.*s", (int)(name.n < TOKEN_FILE_NAME ? name.n : TOKEN_FILE_NAME - 1),
             name.at ? name.at : "");
    str_make_shown(out->is.name);
}

/* By what `admin.tokens` or `admin.verify` ask for. */
static enum refusal access_verify(struct access *a, const struct http_request *r, struct who *out)
{
    const struct verified v = verifier_check(a->verifier, r);
    if (!v.no)
        access_set(out, access_is_operator(a, v.key) ? ROLE_OPERATOR : ROLE_VIEWER, v.key, "token");
    return v.no;
}

static bool access_by_file(struct access *a, struct str token, struct who *out)
{
    const struct token_owner *owner = a->file ? token_file_match(a->file, token) : NULL;
    if (owner)
        *out = (struct who){ *owner, "token" };
    return owner;
}

/* By a cookie; what it asks for must then be asked by our own page. */
static bool access_by_cookie(struct access *a, const struct http_request *r, struct who *out, struct access_refusal *no)
{
    struct str cookie = access_cookie_of(a, r);
    const struct access_session *s = access_find(a->sessions, SESSIONS, cookie);
    bool changes = !str_eq(r->method, STR("GET")) && !str_eq(r->method, STR("HEAD"));
    if (!s) {
        out->via = cookie.n ? "cookie" : out->via;
        return true;
    }
    if (changes && !http_header(r, "Origin", NULL).at)
        return access_no(no, 403, "origin", "with a cookie, a change needs an Origin");
    *out = s->who;
    return true;
}

/* Did something stand between the client and us, so that the peer's address says nothing of it? */
static bool access_was_forwarded(const struct http_request *r)
{
    static const char *const headers[] = { "Forwarded", "X-Forwarded-For", "X-Real-IP", "Via", NULL };
    for (size_t i = 0; headers[i]; i++)
        if (http_header(r, headers[i], NULL).at)
            return true;
    return false;
}

static void access_by_place(const struct access *a, const struct http_request *r, struct who *out)
{
    if (str_eq(r->peer, STR("unix")))
        *out = access_of_socket();
    else if (!a->file && !a->verifier && a->how->loopback && !access_was_forwarded(r)
             && networks_have_peer(&a->loopback, r->peer))
        access_set(out, a->how->loopback, STR("loopback"), "loopback");
}

static bool access_unknown(struct access *a, enum refusal why, struct access_refusal *no)
{
    if (why == REFUSAL_AWAITED) {
        access_no(no, 503, refusal_text(why), "the keys that requests are verified with are not there yet");
        no->more = (struct header){ STR("Retry-After"), STR("1") };
        return false;
    }
    access_no(no, 401, why ? refusal_text(why) : "token", "what the request shows of who asks is not known here");
    no->more = (struct header){ STR("WWW-Authenticate"),
                                a->verifier ? verifier_challenge(a->verifier) : STR("Bearer") };
    return false;
}

bool access_who(struct access *a, const struct http_request *r, struct who *out, struct access_refusal *no)
{
    size_t shown = 0;
    struct str authorization = http_header(r, "Authorization", &shown);
    access_set(out, ROLE_NONE, STR(""), "none");
    if (!access_page(a, r, no))
        return false;
    if (shown > 1) {
        access_no(no, 400, refusal_text(REFUSAL_REPEATED), "several Authorization headers came: which of them counts?");
        return false;
    }
    if (access_by_file(a, token_of_authorization(authorization, "Bearer"), out))
        return true;
    enum refusal why = a->verifier ? access_verify(a, r, out) : REFUSAL_NONE;
    if (out->is.role)
        return true;
    if (authorization.at || (why && why != REFUSAL_MISSING))
        return access_unknown(a, why, no);
    if (!access_by_cookie(a, r, out, no))
        return false;
    if (!out->is.role && strcmp(out->via, "none") == 0)
        access_by_place(a, r, out);
    return true;
}

bool access_asks(const struct access *a)
{
    return a->file;
}

bool access_shows(struct access *a, const struct http_request *r)
{
    struct who who;
    size_t shown = 0;
    struct str authorization = http_header(r, "Authorization", &shown);
    return (shown == 1 && access_by_file(a, token_of_authorization(authorization, "Bearer"), &who))
           || access_find(a->sessions, SESSIONS, access_cookie_of(a, r));
}

struct who access_of_socket(void)
{
    return (struct who){ { ROLE_OPERATOR, "socket" }, "socket" };
}

bool access_knows(struct access *a, struct str token, struct who *out)
{
    struct buf text = buf_new(token.n + sizeof "Bearer ");
    bool known = access_by_file(a, token, out);
    if (!known && a->verifier) {
        buf_add_c(&text, "Bearer ");
        buf_add_str(&text, token);
        const struct header shown = { STR("Authorization"), buf_str(&text) };
        const struct http_request r = {
            .method = STR("GET"), .path = STR("/"), .target = STR("/"), .headers = &shown, .header_count = 1
        };
        known = access_verify(a, &r, out) == REFUSAL_NONE;
    }
    crypto_wipe_buf(&text);
    return known;
}

bool access_reads_query(const struct access *a, struct str name)
{
    return a->verifier && verify_reads_query(a->verify, name);
}

/* ---- life ---- */

static bool access_open(struct access *a, struct err *e)
{
    char *texts[] = { (char[]){ "127.0.0.0/8" }, (char[]){ "::1" } };
    const struct strings loopback = { texts, 2 };
    const char *file = a->how->token_file;
    if (!networks_open(&a->loopback, &loopback, e))
        return false;
    a->file = file && *file ? token_file_open(file, e) : NULL;
    return a->file || !file || !*file || err_prefix(e, "admin.token_file");
}

struct access *access_new(const struct admin_config *how, struct verifier *verifier,
                          const struct verify_options *verify, struct err *e)
{
    struct access *a = mem_alloc(sizeof *a);
    a->how = how;
    a->verifier = verifier;
    a->verify = verify;
    access_listens(a, 0);
    if (access_open(a, e))
        return a;
    access_free(a);
    return NULL;
}

void access_free(struct access *a)
{
    if (!a)
        return;
    token_file_close(a->file);
    networks_close(&a->loopback);
    free(a);
}

static void access_end_gone(const struct access *a, struct access_session *all, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (all[i].of_file && !token_file_has(a->file, &all[i].who.is))
            all[i] = (struct access_session){ 0 };
}

void access_turn(struct access *a)
{
    if (!a->file || !token_file_turn(a->file))
        return;
    access_end_gone(a, a->sessions, SESSIONS);
    access_end_gone(a, a->codes, CODES);
}
