/* SPDX-License-Identifier: MIT */
/* Checks the ways to receivers, and hands them to libcurl. */
#include "bridge/net/transport.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509err.h>
#include <string.h>
#include <unistd.h>
#include "bridge/lib/file.h"
#include "bridge/lib/mem.h"

enum {
    CONNECTION_LIFE_S = 600, /* a connection is not reused for longer: name and certificate are checked again */
    AUTHORITIES_LIFE_S = 1,  /* those of a file are not kept for longer; libcurl's own limit is a day */
};

static bool transport_can_read(const char *option, const char *path, struct err *e)
{
    return access(path, R_OK) == 0 || err_set(e, "%s: %s cannot be read: %s", option, path, strerror(errno));
}

static bool transport_check_ca_file(const struct transport *t, struct err *e)
{
    if (!t->ca_file)
        return true;
    if (!transport_can_read("ca_file", t->ca_file, e))
        return false;
    X509_STORE *store = X509_STORE_new();
    CHECK(store);
    bool ok = X509_STORE_load_file(store, t->ca_file) == 1;
    X509_STORE_free(store);
    return ok || err_set(e, "ca_file: %s holds no PEM certificates", t->ca_file);
}

/* Nobody is there to type the password of an encrypted key. */
static int transport_no_password(char *buf, int size, int writing, void *ctx)
{
    (void)buf, (void)size, (void)writing, (void)ctx;
    return -1;
}

static bool transport_load_pair(const struct transport *t, SSL_CTX *ctx, struct err *e)
{
    const char *key = t->key_file ? t->key_file : t->cert_file, *option = t->key_file ? "key_file" : "cert_file";
    if (!transport_can_read("cert_file", t->cert_file, e) || !transport_can_read(option, key, e))
        return false;
    SSL_CTX_set_default_passwd_cb(ctx, transport_no_password);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, t->cert_file) != 1)
        return err_set(e, "cert_file: %s holds no PEM certificates", t->cert_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH)
            return err_set(e, "%s: %s holds the key of another certificate than the one in %s", option, key,
                           t->cert_file);
        return err_set(e, "%s: %s holds no key, or one that needs a password", option, key);
    }
    return file_check_secret_at(key, e) || err_prefix(e, "%s", option);
}

static bool transport_check_pair(const struct transport *t, struct err *e)
{
    if (!t->cert_file)
        return !t->key_file || err_set(e, "key_file: is of use with cert_file only");
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    CHECK(ctx);
    bool ok = transport_load_pair(t, ctx, e);
    SSL_CTX_free(ctx);
    return ok;
}

bool transport_check(const struct transport *t, struct err *e)
{
    if (t->http == HTTP_2 && !t->tls)
        return err_set(e, "http: 2 is spoken with https receivers only");
    return transport_check_ca_file(t, e) && transport_check_pair(t, e);
}

bool transport_check_proxy(const char *proxy, struct err *e)
{
    static const char *const schemes[] = { "http", "https", "socks5h", NULL };
    char *scheme = NULL;
    bool known = false;
    if (!proxy || !*proxy)
        return true;
    CURLU *url = curl_url();
    CHECK(url);
    if (curl_url_set(url, CURLUPART_URL, proxy, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK)
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
    for (size_t i = 0; scheme && schemes[i]; i++)
        known = known || strcmp(scheme, schemes[i]) == 0;
    curl_free(scheme);
    curl_url_cleanup(url);
    return known || err_set(e, "proxy: must be the URL of one: http://, https:// or socks5h://, a host and a port");
}

static bool transport_is_same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool transport_is_same(const struct transport *a, const struct transport *b)
{
    return a->tls == b->tls && a->tls_min == b->tls_min && a->http == b->http
           && transport_is_same_text(a->ca_file, b->ca_file) && transport_is_same_text(a->cert_file, b->cert_file)
           && transport_is_same_text(a->key_file, b->key_file) && transport_is_same_text(a->proxy, b->proxy);
}

static void transport_set_http(const struct transport *t, CURL *c)
{
    bool two = t->http == HTTP_2;
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)(two ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(c, CURLOPT_PIPEWAIT, (long)two); /* rather many requests on one connection than one on each */
}

static void transport_set_tls(const struct transport *t, CURL *c)
{
    long least = t->tls_min == TLS_MIN_1_3 ? CURL_SSLVERSION_TLSv1_3 : CURL_SSLVERSION_TLSv1_2;
    curl_easy_setopt(c, CURLOPT_SSLVERSION, least);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    if (t->ca_file) {
        curl_easy_setopt(c, CURLOPT_CAINFO, t->ca_file);
        curl_easy_setopt(c, CURLOPT_CAPATH, NULL); /* or the system's would be trusted as well */
        curl_easy_setopt(c, CURLOPT_CA_CACHE_TIMEOUT, (long)AUTHORITIES_LIFE_S);
    }
    if (!t->cert_file)
        return;
    curl_easy_setopt(c, CURLOPT_SSLCERT, t->cert_file);
    curl_easy_setopt(c, CURLOPT_SSLKEY, t->key_file ? t->key_file : t->cert_file);
    curl_easy_setopt(c, CURLOPT_KEYPASSWD, ""); /* so that nobody is asked for one */
}

void transport_set_up(const struct transport *t, CURL *c)
{
    bool proxied = t->proxy && *t->proxy;
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PROXY, proxied ? t->proxy : "");
    curl_easy_setopt(c, CURLOPT_NOPROXY, proxied ? "" : "*");
    curl_easy_setopt(c, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* the proxy gets none of the receiver's */
    curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(c, CURLOPT_MAXLIFETIME_CONN, (long)CONNECTION_LIFE_S);
    curl_easy_setopt(c, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "Aqueduct/" AQUEDUCT_VERSION);
    transport_set_http(t, c);
    transport_set_tls(t, c);
}
