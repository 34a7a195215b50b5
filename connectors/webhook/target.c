/* SPDX-License-Identifier: MIT */
/* URLs of receivers. */
#include "connectors/webhook/target.h"

#include <stdlib.h>
#include "bridge/lib/mem.h"

enum { TARGET_START = 32 << 20 };

bool target_set_url(struct transfer_target *to, const char *option, const char *text, struct err *e)
{
    to->url = curl_url();
    CHECK(to->url);
    CURLUcode code = curl_url_set(to->url, CURLUPART_URL, text, CURLU_DISALLOW_USER);
    char *scheme = NULL;
    if (code == CURLUE_USER_NOT_ALLOWED)
        return err_set(e, "%s: must not hold a user name or password%s", option,
                       strcmp(option, "url") == 0 ? " (use basic: {username, password})" : "");
    if (code == CURLUE_OK)
        code = curl_url_get(to->url, CURLUPART_SCHEME, &scheme, 0);
    to->transport.tls = code == CURLUE_OK && strcmp(scheme, "https") == 0;
    bool known = to->transport.tls || (code == CURLUE_OK && strcmp(scheme, "http") == 0);
    curl_free(scheme);
    if (code == CURLUE_OK)
        code = curl_url_get(to->url, CURLUPART_HOST, &to->host, 0);
    if (code != CURLUE_OK && code != CURLUE_UNSUPPORTED_SCHEME && code != CURLUE_BAD_SCHEME)
        return err_set(e, "%s: %s", option, curl_url_strerror(code));
    if (!known)
        return err_set(e, "%s: must begin with http:// or https://", option);
    return true;
}

static char *target_part(const struct transfer_target *to, CURLUPart part)
{
    char *text = NULL;
    curl_url_get(to->url, part, &text, 0);
    return text;
}

/* The name itself; one of other letters has another form in Host, which libcurl knows. */
static bool target_is_ascii(const char *host)
{
    while (*host > 0)
        host++;
    return *host == '\0';
}

const char *target_method(const struct transfer_target *to)
{
    static const char *const methods[] = { [METHOD_POST] = "POST",
                                           [METHOD_PUT] = "PUT",
                                           [METHOD_PATCH] = "PATCH",
                                           [METHOD_DELETE] = "DELETE",
                                           [METHOD_OPTIONS] = "OPTIONS" };
    return methods[to->method];
}

void target_set_direct(struct transfer_target *to, struct direct *direct)
{
    if ((to->transport.tls && to->transport.http == HTTP_2) || to->transport.proxy || !target_is_ascii(to->host))
        return;
    to->direct = direct;
    struct buf out = buf_new(TARGET_START);
    char *path = target_part(to, CURLUPART_PATH), *query = target_part(to, CURLUPART_QUERY),
         *port = target_part(to, CURLUPART_PORT);
    bool default_port = !port || strcmp(port, to->transport.tls ? "443" : "80") == 0;
    buf_printf(&out, "%s %s%s%s HTTP/1.1\r\nHost: %s%s%s\r\n", target_method(to), path ? path : "/", query ? "?" : "",
               query ? query : "", to->host, default_port ? "" : ":", default_port ? "" : port);
    CHECK(buf_c(&out)); /* libcurl takes no longer URL */
    to->start = out.at;
    curl_free(path);
    curl_free(query);
    curl_free(port);
}

void target_free_url(struct transfer_target *to)
{
    free(to->start);
    to->start = NULL;
    curl_url_cleanup(to->url);
    curl_free(to->host);
    to->url = NULL;
    to->host = NULL;
}

bool target_check_address(const struct transfer_target *to, const char *option, const struct address_rules *rules,
                          struct err *e)
{
    const char *what = address_blocked_host(rules, str_of(to->host));
    return !what
           || err_set(e, "%s: %.64s is a blocked address (%s); `allow: [\"%.64s\"]` of the sink makes an exception",
                      option, to->host, what, to->host);
}

void target_set_guard(struct transfer_target *to, const struct address_rules *rules)
{
    bool any = to->transport.proxy /* it connects, not we */ || address_allows_host(rules, str_of(to->host));
    to->guard = any ? NULL : rules;
}
