/* SPDX-License-Identifier: MIT */
/* The name, the connection, TLS and the receiver's certificate. */
#include "connectors/webhook/probe.h"
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include "bridge/lib/mem.h"
#include "connectors/webhook/endpoint.h"

enum {
    PROBE_SLOW_MS = 1000, /* until a connection is there */
    PROBE_DAYS = 14,      /* a certificate that ends sooner should have been renewed */
    PROBE_TEXT = 256,
};

struct probe {
    const struct webhook_endpoint *ep;
    const char *blocked; /* what kind of address it would have gone to; NULL: none */
    finding_fn *each;
    void *ctx;
};

static void probe_say(const struct probe *p, enum finding f, const char *what, const char *how, const char *todo)
{
    p->each(p->ctx, f, what, how, todo);
}

static curl_socket_t probe_on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct probe *p = ctx;
    (void)purpose;
    p->blocked = p->ep->target.guard ? address_blocked(p->ep->target.guard, &a->addr) : NULL;
    return p->blocked ? CURL_SOCKET_BAD : socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---- what failed ---- */

static void probe_say_failed(const struct probe *p, CURLcode code, const char *why)
{
    static const struct {
        CURLcode code;
        const char *what, *todo;
    } known[] = {
        { CURLE_COULDNT_RESOLVE_HOST, "name", "is it spelt right in `url`? does this machine's DNS know it?" },
        { CURLE_COULDNT_RESOLVE_PROXY, "proxy", "is it spelt right in `proxy`?" },
        { CURLE_COULDNT_CONNECT, "connection", "does it run, at that port, and does no firewall stand between?" },
        { CURLE_OPERATION_TIMEDOUT, "connection", "does a firewall drop what goes there?" },
        { CURLE_PEER_FAILED_VERIFICATION, "TLS",
          "renew the receiver's certificate, or name its authority by `ca_file`" },
        { CURLE_SSL_CONNECT_ERROR, "TLS", "does it speak TLS at that port, of a version that tls_min allows?" },
        { CURLE_SSL_CERTPROBLEM, "TLS", "look at `cert_file` and `key_file`" },
        { CURLE_SSL_CACERT_BADFILE, "TLS", "look at `ca_file`" },
    };
    char how[PROBE_TEXT + 64];
    size_t i = 0;
    if (p->blocked) {
        snprintf(how, sizeof how, "its address is blocked (%s)", p->blocked);
        probe_say(p, FINDING_BROKEN, "address", how, "if it is meant, name it in `allow` of the sink");
        return;
    }
    while (i < sizeof known / sizeof *known && known[i].code != code)
        i++;
    bool is_known = i < sizeof known / sizeof *known;
    probe_say(p, FINDING_BROKEN, is_known ? known[i].what : "connection", *why ? why : curl_easy_strerror(code),
              is_known ? known[i].todo : NULL);
}

/* ---- what is there ---- */

/* The end of the first certificate of the chain. */
static X509 *probe_certificate(CURL *c)
{
    struct curl_certinfo *info = NULL;
    X509 *x = NULL;
    if (curl_easy_getinfo(c, CURLINFO_CERTINFO, &info) != CURLE_OK || !info || info->num_of_certs < 1)
        return NULL;
    for (struct curl_slist *one = info->certinfo[0]; one && !x; one = one->next) {
        if (strncmp(one->data, "Cert:", 5) != 0)
            continue;
        BIO *bio = BIO_new_mem_buf(one->data + 5, -1);
        x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
        BIO_free(bio);
    }
    return x;
}

static void probe_say_certificate(const struct probe *p, CURL *c)
{
    X509 *x = probe_certificate(c);
    int days = 0, seconds = 0;
    struct tm end;
    if (x && ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x))
        && ASN1_TIME_to_tm(X509_get0_notAfter(x), &end)) {
        char how[PROBE_TEXT];
        snprintf(how, sizeof how, "its certificate is good until %04d-%02d-%02d (%d days)", end.tm_year + 1900,
                 end.tm_mon + 1, end.tm_mday, days);
        probe_say(p, days < PROBE_DAYS ? FINDING_RISKY : FINDING_OK, "TLS", how,
                  days < PROBE_DAYS ? "have the receiver's certificate renewed" : NULL);
    } else {
        probe_say(p, FINDING_OK, "TLS", "it was verified", NULL);
    }
    X509_free(x);
}

static void probe_say_reached(const struct probe *p, CURL *c)
{
    curl_off_t name = 0, connected = 0, whole = 0;
    char *address = NULL, how[PROBE_TEXT];
    long port = 0;
    curl_easy_getinfo(c, CURLINFO_NAMELOOKUP_TIME_T, &name);
    curl_easy_getinfo(c, CURLINFO_CONNECT_TIME_T, &connected);
    curl_easy_getinfo(c, CURLINFO_TOTAL_TIME_T, &whole);
    curl_easy_getinfo(c, CURLINFO_PRIMARY_IP, &address);
    curl_easy_getinfo(c, CURLINFO_PRIMARY_PORT, &port);
    snprintf(how, sizeof how, "%s port %ld after %d ms (its name %d ms)", address ? address : "", port,
             (int)((whole ? whole : connected) / 1000), (int)(name / 1000));
    bool slow = (whole ? whole : connected) / 1000 > PROBE_SLOW_MS;
    probe_say(p, slow ? FINDING_SLOW : FINDING_OK, "connection", how,
              slow ? "each new connection costs this; look at DNS and the way there" : NULL);
}

static void probe_connect(struct probe *p, struct duration limit)
{
    char why[CURL_ERROR_SIZE] = "";
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    CURL *c = curl_easy_init();
    CHECK(c);
    transport_set_up(&p->ep->target.transport, c);
    curl_easy_setopt(c, CURLOPT_CURLU, p->ep->target.url);
    curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(c, CURLOPT_CERTINFO, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)limit.ms);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, probe_on_open);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, p);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    CURLcode code = curl_easy_perform(c);
    if (code != CURLE_OK) {
        probe_say_failed(p, code, why);
    } else {
        probe_say_reached(p, c);
        if (p->ep->target.transport.tls)
            probe_say_certificate(p, c);
    }
    curl_easy_cleanup(c);
    curl_global_cleanup();
}

void probe_endpoint(const struct sink *s, const struct endpoint *base, struct duration limit, finding_fn *each,
                    void *ctx)
{
    struct webhook_endpoint ep = *(const struct webhook_endpoint *)base; /* nothing of it is open yet */
    const struct webhook_base *w = (const struct webhook_base *)s;
    struct address_rules rules = { w->guard, &w->allow };
    struct probe p = { .ep = &ep, .each = each, .ctx = ctx };
    struct err e;
    if (endpoint_load(s, &ep, &e)) {
        target_set_guard(&ep.target, &rules);
        probe_connect(&p, limit);
    } else {
        probe_say(&p, FINDING_BROKEN, "options", e.text, NULL);
    }
    endpoint_unload(&ep);
}
