/* SPDX-License-Identifier: MIT */
/* URLs of receivers. */
#include "connectors/webhook/target.h"

#include "bridge/lib/mem.h"

bool target_set_url(struct transfer_target *to, const char *option, const char *text, struct err *e)
{
    to->url = curl_url();
    CHECK(to->url);
    CURLUcode code = curl_url_set(to->url, CURLUPART_URL, text, CURLU_DISALLOW_USER);
    char *scheme = NULL;
    if (code == CURLUE_USER_NOT_ALLOWED)
        return err_set(e, "%s: must not hold a user name or password (use headers: {Authorization: ...})", option);
    if (code == CURLUE_OK)
        code = curl_url_get(to->url, CURLUPART_SCHEME, &scheme, 0);
    to->transport.tls = code == CURLUE_OK && strcmp(scheme, "https") == 0;
    bool known = to->transport.tls || (code == CURLUE_OK && strcmp(scheme, "http") == 0);
    curl_free(scheme);
    if (code == CURLUE_OK)
        code = curl_url_get(to->url, CURLUPART_HOST, &to->host, 0);
    if (code != CURLUE_OK && code != CURLUE_UNSUPPORTED_SCHEME)
        return err_set(e, "%s: %s", option, curl_url_strerror(code));
    if (!known)
        return err_set(e, "%s: must begin with http:// or https://", option);
    return true;
}

void target_free_url(struct transfer_target *to)
{
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
