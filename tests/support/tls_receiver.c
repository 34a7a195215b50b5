/* SPDX-License-Identifier: MIT */
/* The TLS receiver of the webhook tests: one connection at a time. */
#include "tests/support/tls_receiver.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bridge/lib/mem.h"

enum { TICK_MS = 5, PATIENCE_S = 5 };

SSL_CTX *tls_server(const char *subject, int valid_s, const char *file)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -7200);
    X509_gmtime_adj(X509_getm_notAfter(x), valid_s);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_EXTENSION *name = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, subject);
    CHECK(name && X509_add_ext(x, name, -1) && X509_sign(x, key, EVP_sha256()) > 0);
    FILE *f = fopen(file, "w");
    CHECK(f && PEM_write_X509(f, x) && fclose(f) == 0);
    CHECK(ctx && SSL_CTX_use_certificate(ctx, x) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1);
    X509_EXTENSION_free(name);
    X509_free(x);
    EVP_PKEY_free(key);
    return ctx;
}

static void tls_receiver_hold_back(int fd, int yes)
{
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &yes, sizeof yes);
}

/* The last word of the handshake waits for the answer. */
static void tls_receiver_on_handshake(const SSL *ssl, int where, int unused)
{
    (void)where, (void)unused;
    if (SSL_get_state(ssl) == TLS_ST_SR_FINISHED)
        tls_receiver_hold_back(SSL_get_fd(ssl), 1);
}

static void tls_receiver_serve_tls(struct tls_receiver *r, int fd)
{
    char bytes[65536];
    SSL *ssl = SSL_new(r->ctx);
    SSL_set_fd(ssl, fd);
    static const char answer[] = "HTTP/1.1 204 No Content\r\n\r\n";
    static const char first[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    if (r->manner == TLS_ANSWERS_FIRST)
        SSL_set_info_callback(ssl, tls_receiver_on_handshake);
    bool open = SSL_accept(ssl) == 1;
    if (open && r->manner == TLS_ANSWERS_FIRST) {
        SSL_write(ssl, first, sizeof first - 1);
        tls_receiver_hold_back(fd, 0);
    } else if (open)
        while (!atomic_load(&r->stop) && SSL_read(ssl, bytes, sizeof bytes) > 0)
            if (SSL_write(ssl, answer, sizeof answer - 1) <= 0)
                break;
    SSL_shutdown(ssl);
    SSL_free(ssl);
    while (recv(fd, bytes, sizeof bytes, 0) > 0 && !atomic_load(&r->stop))
        ; /* an alert that is still on its way must not be overtaken by a reset */
}

static void tls_receiver_serve(struct tls_receiver *r, int fd)
{
    char bytes[4096];
    struct linger now = { .l_onoff = 1, .l_linger = 0 };
    static const char plain[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    switch (r->manner) {
    case TLS_ANSWERS:
    case TLS_ANSWERS_FIRST:
    case TLS_IS_OLD:
    case TLS_WANTS_A_CERTIFICATE: tls_receiver_serve_tls(r, fd); return;
    case TLS_IS_SILENT:
        while (!atomic_load(&r->stop) && recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) != 0)
            poll(NULL, 0, TICK_MS);
        return;
    case TLS_CLOSES: CHECK(recv(fd, bytes, sizeof bytes, 0) > 0); return;
    case TLS_RESETS:
        CHECK(recv(fd, bytes, sizeof bytes, 0) > 0);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        return;
    case TLS_SPEAKS_PLAIN_HTTP:
        CHECK(recv(fd, bytes, sizeof bytes, 0) > 0);
        CHECK(send(fd, plain, sizeof plain - 1, MSG_NOSIGNAL) > 0);
        return;
    }
}

static void *tls_receiver_run(void *ctx)
{
    struct tls_receiver *r = ctx;
    struct timeval patience = { .tv_sec = PATIENCE_S };
    while (!atomic_load(&r->stop)) {
        struct pollfd p = { .fd = r->listen_fd, .events = POLLIN };
        if (poll(&p, 1, TICK_MS) <= 0)
            continue;
        int fd = accept(r->listen_fd, NULL, NULL);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        tls_receiver_serve(r, fd);
        close(fd);
    }
    return NULL;
}

void tls_receiver_open(struct tls_receiver *r, const char *folder)
{
    snprintf(r->certificate, sizeof r->certificate, "%s/receiver.pem", folder);
    r->ctx = tls_server(r->name, r->valid_s ? r->valid_s : 3600, r->certificate);
    if (r->manner == TLS_IS_OLD) {
        CHECK(SSL_CTX_set_min_proto_version(r->ctx, TLS1_VERSION) == 1);
        CHECK(SSL_CTX_set_cipher_list(r->ctx, "DEFAULT@SECLEVEL=0") == 1);
        r->newest = TLS1_1_VERSION;
    }
    CHECK(SSL_CTX_set_max_proto_version(r->ctx, r->newest) == 1);
    if (r->manner == TLS_WANTS_A_CERTIFICATE)
        SSL_CTX_set_verify(r->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof a;
    r->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(r->listen_fd, (struct sockaddr *)&a, n) == 0);
    CHECK(listen(r->listen_fd, 16) == 0);
    CHECK(getsockname(r->listen_fd, (struct sockaddr *)&a, &n) == 0);
    r->port = ntohs(a.sin_port);
    CHECK(pthread_create(&r->thread, NULL, tls_receiver_run, r) == 0);
}

void tls_receiver_close(struct tls_receiver *r)
{
    atomic_store(&r->stop, true);
    pthread_join(r->thread, NULL);
    close(r->listen_fd);
    unlink(r->certificate);
    SSL_CTX_free(r->ctx);
}
