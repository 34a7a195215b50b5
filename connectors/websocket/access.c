/* SPDX-License-Identifier: MIT */
/* Tokens, origins and listeners per address. */
#include "connectors/websocket/access.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "connectors/websocket/subscription.h"

enum { TOKEN_BYTES = 4096 };

/* All of them are tried, whichever matches. */
static bool is_one_of(struct str token, const struct secrets *tokens)
{
    bool found = false;
    for (size_t i = 0; i < tokens->count; i++)
        found |= crypto_equal(token, str_of(tokens->at[i].text));
    return found;
}

static bool decode_url64(struct str text, struct buf *out)
{
    struct buf plain = buf_new(TOKEN_BYTES);
    for (size_t i = 0; i < text.n; i++)
        buf_add_char(&plain, text.at[i] == '-' ? '+' : text.at[i] == '_' ? '/' : text.at[i]);
    buf_reset(out);
    bool good = !plain.failed && base64_decode(out, buf_str(&plain));
    buf_free(&plain);
    return good;
}

static bool token_in_subprotocols(const struct http_request *r, const struct secrets *tokens, struct buf *token)
{
    struct str prefix = STR("base64url.bearer.aqueduct.");
    struct str rest = http_header(r, "Sec-WebSocket-Protocol", NULL), one;
    while (str_cut(&rest, ',', &one)) {
        one = str_trim(one);
        if (str_starts(one, prefix) && decode_url64((struct str){ one.at + prefix.n, one.n - prefix.n }, token))
            return is_one_of(buf_str(token), tokens);
    }
    return false;
}

bool access_token_ok(const struct http_request *r, const struct secrets *tokens, bool in_query)
{
    struct str bearer = STR("Bearer ");
    size_t count = 0;
    struct str header = http_header(r, "Authorization", &count);
    if (count > 1)
        return false;
    if (str_starts_nocase(header, bearer))
        return is_one_of(str_trim((struct str){ header.at + bearer.n, header.n - bearer.n }), tokens);
    struct buf token = buf_new(TOKEN_BYTES);
    bool good = token_in_subprotocols(r, tokens, &token)
                || (in_query && query_value(r->query, STR("token"), &token) && is_one_of(buf_str(&token), tokens));
    if (token.at)
        crypto_wipe(token.at, token.cap);
    buf_free(&token);
    return good;
}

bool access_origin_ok(const struct http_request *r, const struct strings *origins)
{
    size_t count = 0;
    struct str origin = http_header(r, "Origin", &count);
    if (count == 0)
        return true;
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

static struct str without_port(struct str from)
{
    for (size_t i = from.n; i-- > 0 && from.at[i] != ']';)
        if (from.at[i] == ':')
            return (struct str){ from.at, i };
    return from;
}

bool access_host_ok(const struct http_request *r, const struct strings *origins)
{
    struct str full = http_header(r, "Host", NULL), host = without_port(full);
    struct in_addr v4;
    char text[INET_ADDRSTRLEN];
    if (host.n == 0 || host.at[0] == '[' || str_eq_nocase(host, STR("localhost")))
        return true;
    snprintf(text, sizeof text, "%.*s", host.n < sizeof text ? (int)host.n : 0, host.at);
    if (inet_pton(AF_INET, text, &v4) == 1)
        return true;
    for (size_t i = 0; i < origins->count; i++) {
        const char *behind = strstr(origins->at[i], "://");
        if (str_eq(str_of(origins->at[i]), STR("*"))
            || (behind && str_eq_nocase(without_port(str_of(behind + 3)), host)))
            return true;
    }
    return false;
}

bool access_is_local(const char *listen)
{
    static const char *const local[] = { "127.", "[::1]:", "localhost:", "unix:" };
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        if (str_starts(str_of(listen), str_of(local[i])))
            return true;
    return false;
}

static struct peer **bucket(struct peers *p, struct str address)
{
    return &p->buckets[str_hash(address) % (sizeof p->buckets / sizeof *p->buckets)];
}

struct peer *peers_enter(struct peers *p, struct str from, int64_t most)
{
    struct str address = without_port(from);
    struct peer **first = bucket(p, address), *one = *first;
    while (one && !str_eq(one->address, address))
        one = one->next;
    if (one && one->listeners >= most)
        return NULL;
    if (!one) {
        one = mem_alloc(sizeof *one);
        one->address = (struct str){ str_dup(address), address.n };
        one->next = *first;
        *first = one;
    }
    one->listeners++;
    return one;
}

void peers_leave(struct peers *p, struct peer *one)
{
    if (--one->listeners)
        return;
    struct peer **at = bucket(p, one->address);
    while (*at != one)
        at = &(*at)->next;
    *at = one->next;
    free((void *)(uintptr_t)one->address.at);
    free(one);
}
