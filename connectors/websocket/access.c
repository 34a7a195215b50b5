/* SPDX-License-Identifier: MIT */
/* Tokens, origins and hosts of requests. */
#include "connectors/websocket/access.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/auth/token.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/query.h"
#include "bridge/net/host.h"

enum { TOKEN_BYTES = 4096 };

static bool access_decode_url64(struct str text, struct buf *out)
{
    buf_reset(out);
    return text.n <= TOKEN_BYTES && base64url_decode(out, text);
}

/* The token that one of the offered subprotocols is, in *token. */
static bool access_subprotocol_token(const struct http_request *r, struct buf *token)
{
    struct str prefix = STR("base64url.bearer.aqueduct.");
    struct str rest = http_header(r, "Sec-WebSocket-Protocol", NULL), one;
    while (str_cut(&rest, ',', &one)) {
        one = str_trim(one);
        if (str_starts(one, prefix) && access_decode_url64(str_from(one, prefix.n), token))
            return true;
    }
    return false;
}

/* The value of the cookie; absent: there is none. */
static struct str access_cookie(const struct http_request *r, const char *name)
{
    struct str rest = name && *name ? http_header(r, "Cookie", NULL) : STR_ABSENT, one, key;
    while (str_cut(&rest, ';', &one)) {
        one = str_trim(one);
        if (str_cut(&one, '=', &key) && one.at && str_eq(key, str_of(name)))
            return one;
    }
    return STR_ABSENT;
}

struct verified access_check_token(struct verifier *v, const struct http_request *r, struct str token)
{
    struct buf value = buf_new(2 * TOKEN_BYTES);
    struct header *headers = mem_alloc((r->header_count + 1) * sizeof *headers);
    struct http_request shown = *r;
    shown.headers = headers;
    shown.header_count = 0;
    for (size_t i = 0; i < r->header_count; i++)
        if (!str_eq_nocase(r->headers[i].name, STR("Authorization")))
            headers[shown.header_count++] = r->headers[i];
    buf_add_c(&value, "Bearer ");
    buf_add_str(&value, token);
    headers[shown.header_count++] = (struct header){ STR("Authorization"), buf_str(&value) };
    struct verified is = verifier_check(v, &shown);
    crypto_wipe_buf(&value);
    free(headers);
    return is;
}

struct verified access_check(struct verifier *v, const struct http_request *r, const char *cookie, bool in_query)
{
    size_t count = 0;
    struct str presented = token_of_authorization(http_header(r, "Authorization", &count), "Bearer");
    struct verified is = verifier_check(v, r);
    if (!is.no || count > 1 || presented.at)
        return is;
    struct buf token = buf_new(TOKEN_BYTES);
    struct str of_cookie = access_cookie(r, cookie);
    if (of_cookie.n && of_cookie.n <= TOKEN_BYTES)
        is = access_check_token(v, r, of_cookie);
    if (is.no && access_subprotocol_token(r, &token))
        is = access_check_token(v, r, buf_str(&token));
    if (is.no && in_query && query_value(r->query, STR("token"), &token, NULL))
        is = access_check_token(v, r, buf_str(&token));
    crypto_wipe_buf(&token);
    return is;
}

/* A link or a picture of another site: a browser says nothing else of where it stands, and shows our cookie. */
static bool access_from_elsewhere(const struct http_request *r, const struct strings *origins)
{
    struct str site = http_header(r, "Sec-Fetch-Site", NULL);
    return (str_eq(site, STR("cross-site")) || str_eq(site, STR("same-site"))) && !strings_have(origins, STR("*"));
}

bool access_origin_ok(const struct http_request *r, const struct strings *origins)
{
    size_t count = 0;
    struct str origin = http_header(r, "Origin", &count);
    if (count == 0)
        return !access_from_elsewhere(r, origins);
    if (count > 1)
        return false;
    for (size_t i = 0; i < origins->count; i++)
        if (str_eq(str_of(origins->at[i]), STR("*")) || str_eq_nocase(str_of(origins->at[i]), origin))
            return true;
    static const char *const schemes[] = { "http://", "https://" };
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        struct str scheme = str_of(schemes[i]);
        if (str_starts_nocase(origin, scheme)
            && str_eq_nocase((struct str){ origin.at + scheme.n, origin.n - scheme.n }, http_header(r, "Host", NULL)))
            return true;
    }
    return false;
}

bool access_host_ok(const struct http_request *r, const struct strings *origins)
{
    struct str full = http_header(r, "Host", NULL), host = host_name(full);
    if (host_is_address(full))
        return true;
    for (size_t i = 0; i < origins->count; i++) {
        const char *behind = strstr(origins->at[i], "://");
        if (str_eq(str_of(origins->at[i]), STR("*")) || (behind && str_eq_nocase(host_name(str_of(behind + 3)), host)))
            return true;
    }
    return false;
}

size_t access_cors(struct str origin, const char *cookie, struct header *out)
{
    if (!origin.n)
        return 0;
    out[0] = (struct header){ STR("Access-Control-Allow-Origin"), origin };
    out[1] = (struct header){ STR("Access-Control-Expose-Headers"),
                              STR("Aqueduct-Cursor, Aqueduct-Resume, Aqueduct-More, Retry-After") };
    out[2] = (struct header){ STR("Vary"), STR("Origin") };
    if (!cookie || !*cookie)
        return ACCESS_CORS - 1;
    out[3] = (struct header){ STR("Access-Control-Allow-Credentials"), STR("true") };
    return ACCESS_CORS;
}

bool access_header_has(const struct http_request *r, const char *name, struct str word)
{
    struct str rest = http_header(r, name, NULL), one;
    while (str_cut(&rest, ',', &one)) {
        struct str bare;
        str_cut(&one, ';', &bare);
        if (str_eq_nocase(str_trim(bare), word))
            return true;
    }
    return false;
}

bool access_is_secret(const struct verify_options *o, bool token_in_query, struct str name)
{
    return (token_in_query && str_eq(name, STR("token"))) || verify_reads_query(o, name);
}
