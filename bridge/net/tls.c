/* SPDX-License-Identifier: MIT */
/* PEM files -> what OpenSSL needs for a connection. */
#include "bridge/net/tls.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/file.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/watch.h"

/* Of TLS 1.2: a key that is stolen later opens nothing that was recorded, and none is known to be weak (RFC 9325). */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

struct tls {
    struct tls_options o; /* its texts are ours */
    char *name;
    struct watch watch;
    unsigned char tickets[80]; /* the keys of sessions that clients keep */
    SSL_CTX *context;
};

static bool tls_is_set(const char *text)
{
    return text && *text;
}

bool tls_asks(const struct tls_options *o)
{
    return tls_is_set(o->client_ca) && o->client != TLS_CLIENT_NONE;
}

bool tls_fits(const struct tls_options *o, struct err *e)
{
    bool ca = tls_is_set(o->client_ca), crl = tls_is_set(o->client_crl);
    if (!tls_is_set(o->certificate) != !tls_is_set(o->key))
        return err_set(e, "tls_certificate and tls_key belong together: set both or none");
    if (!ca && (o->client == TLS_CLIENT_OPTIONAL || o->client == TLS_CLIENT_REQUIRED))
        return err_set(e, "tls_client: needs tls_client_ca, the CAs whose certificates are taken");
    if (ca && !tls_is_set(o->certificate))
        return err_set(e, "tls_client_ca: needs tls_certificate and tls_key: without TLS nobody shows a certificate");
    if (crl && !tls_asks(o))
        return err_set(e, "tls_client_crl: needs tls_client_ca: without it no client is asked for a certificate");
    return true;
}

/* ---- files ---- */

static bool tls_fail(struct err *e, const char *what, const char *file)
{
    unsigned long code = ERR_get_error(); /* of a file that cannot be opened, OpenSSL knows only errno */
    const char *why = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
    return err_set(e, "%s %s: %s; it must be a PEM file that this user may read", what, file,
                   why ? why : "cannot be used");
}

static bool tls_is_regular(const char *what, const char *file, struct err *e)
{
    return file_check_regular_at(file, e) || err_prefix(e, "%s", what);
}

/* The key first: the other way round, a key of another certificate gives a cryptic error. */
static bool tls_load_certificate(SSL_CTX *c, const struct tls_options *o, struct err *e)
{
    if (!file_check_regular_at(o->key, e) || !file_check_secret_at(o->key, e))
        return err_prefix(e, "tls_key");
    if (!tls_is_regular("tls_certificate", o->certificate, e))
        return false;
    if (SSL_CTX_use_PrivateKey_file(c, o->key, SSL_FILETYPE_PEM) != 1)
        return tls_fail(e, "tls_key", o->key);
    if (SSL_CTX_use_certificate_chain_file(c, o->certificate) != 1)
        return tls_fail(e, "tls_certificate", o->certificate);
    return SSL_CTX_check_private_key(c) == 1
           || err_set(e, "tls_key %s does not belong to tls_certificate %s", o->key, o->certificate);
}

static bool tls_load_crl(SSL_CTX *c, const char *file, struct err *e)
{
    X509_STORE *store = SSL_CTX_get_cert_store(c);
    X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (!tls_is_regular("tls_client_crl", file, e))
        return false;
    if (!lookup || X509_load_crl_file(lookup, file, X509_FILETYPE_PEM) <= 0)
        return tls_fail(e, "tls_client_crl", file);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    return true;
}

/* Whom to ask for a certificate. It is shown at each connection: what was resumed would not be looked at again. */
static bool tls_load_client(SSL_CTX *c, const struct tls_options *o, struct err *e)
{
    bool must = o->client != TLS_CLIENT_OPTIONAL;
    if (!tls_is_regular("tls_client_ca", o->client_ca, e))
        return false;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(o->client_ca);
    if (!names || SSL_CTX_load_verify_file(c, o->client_ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return tls_fail(e, "tls_client_ca", o->client_ca);
    }
    SSL_CTX_set_client_CA_list(c, names);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER | (must ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    X509_STORE_set_flags(SSL_CTX_get_cert_store(c), X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(c, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(c, 0);
    return !tls_is_set(o->client_crl) || tls_load_crl(c, o->client_crl, e);
}

/* Who offers ALPN and none of ours speaks of something else (RFC 7301 3.2). */
static int tls_choose(struct ssl_st *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
                      unsigned in_n, void *ctx)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    (void)ssl;
    (void)ctx;
    unsigned char *chosen;
    int found = SSL_select_next_proto(&chosen, out_n, ours, sizeof ours - 1, in, in_n);
    *out = chosen;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* NULL with *e. */
static SSL_CTX *tls_load(const struct tls_options *o, struct err *e)
{
    ERR_clear_error();
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    CHECK(c);
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    CHECK(SSL_CTX_set_cipher_list(c, CIPHERS) == 1);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (o->http2)
        SSL_CTX_set_alpn_select_cb(c, tls_choose, NULL);
    if (tls_load_certificate(c, o, e) && (!tls_asks(o) || tls_load_client(c, o, e)))
        return c;
    SSL_CTX_free(c);
    return NULL;
}

bool tls_check(const struct tls_options *o, struct err *e)
{
    if (!tls_fits(o, e))
        return false;
    SSL_CTX *c = tls_is_set(o->certificate) ? tls_load(o, e) : NULL;
    SSL_CTX_free(c);
    return c || !tls_is_set(o->certificate);
}

/* ---- a listener's ---- */

static char *tls_copy(const char *text)
{
    return text ? str_dup(str_of(text)) : NULL;
}

static void tls_free_text(const char *text)
{
    free((void *)(uintptr_t)text);
}

/* NULL with *e. */
static SSL_CTX *tls_load_shared(const struct tls *t, struct err *e)
{
    unsigned char tickets[sizeof t->tickets];
    SSL_CTX *c = tls_load(&t->o, e);
    memcpy(tickets, t->tickets, sizeof tickets);
    CHECK(!c || SSL_CTX_set_tlsext_ticket_keys(c, tickets, sizeof tickets) == 1);
    OPENSSL_cleanse(tickets, sizeof tickets);
    return c;
}

bool tls_open(const struct tls_options *o, const char *name, struct tls **out, struct err *e)
{
    *out = NULL;
    if (!tls_fits(o, e))
        return false;
    if (!tls_is_set(o->certificate))
        return true;
    struct tls *t = mem_alloc(sizeof *t);
    t->o = *o;
    t->o.certificate = tls_copy(o->certificate);
    t->o.key = tls_copy(o->key);
    t->o.client_ca = tls_copy(o->client_ca);
    t->o.client_crl = tls_copy(o->client_crl);
    t->name = tls_copy(name);
    const char *files[] = { o->certificate, o->key, o->client_ca, o->client_crl };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        watch_add(&t->watch, files[i]);
    watch_begin(&t->watch);
    if (o->like)
        memcpy(t->tickets, o->like->tickets, sizeof t->tickets);
    else
        crypto_random(t->tickets, sizeof t->tickets);
    t->context = tls_load_shared(t, e);
    if (t->context)
        *out = t;
    else
        tls_close(t);
    return *out;
}

struct ssl_ctx_st *tls_context(struct tls *t)
{
    struct err e;
    if (!watch_has_news(&t->watch))
        return t->context;
    SSL_CTX *fresh = tls_load_shared(t, &e);
    watch_tell("tls", t->name, fresh ? NULL : &e);
    if (fresh) {
        SSL_CTX_free(t->context); /* connections that began with it have references of their own */
        t->context = fresh;
    }
    return t->context;
}

void tls_close(struct tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->context);
    watch_end(&t->watch);
    tls_free_text(t->o.certificate);
    tls_free_text(t->o.key);
    tls_free_text(t->o.client_ca);
    tls_free_text(t->o.client_crl);
    free(t->name);
    OPENSSL_cleanse(t->tickets, sizeof t->tickets);
    free(t);
}
