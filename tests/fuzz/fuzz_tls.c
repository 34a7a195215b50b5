/* SPDX-License-Identifier: MIT */
/* Bytes in front of a TLS listener: what comes before, in and instead of a handshake, and records that were tampered with
 * on their way. The user sees a prefix of what the client wrote, and nothing is left when the client is gone or silent.
 *
 * Input: bytes as they are (an even first byte: nobody there speaks TLS), or, behind an odd one, what happens on the way
 * between OpenSSL's client and the server, two bytes each: the kind (the low three bits; the others are a count) and one
 * argument. */
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "bridge/net/http/private.h"
#include "tests/fuzz/address.h"

enum { MOST = 1 << 20, STEPS = 200, FLIGHT = 64 << 10, LIMIT_MS = 200 * 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[2][64] = { "/dev/shm/aqueduct-fuzz-XXXXXX", "/tmp/aqueduct-fuzz-XXXXXX" }, certificate[96], key[96];
static int which;
static SSL_CTX *client_tls;

static struct way {
    struct http_server *server;
    int fd;                        /* the client's; -1: it is gone */
    struct buf wrote, seen, heard; /* by the client, the user, the client */
    bool touched;                  /* something else happened than what the client wanted */
} way;

/* ---- the certificate ---- */

static void tls_write_key(EVP_PKEY *pkey)
{
    FILE *f = fopen(key, "we");
    CHECK(f && PEM_write_PrivateKey(f, pkey, NULL, NULL, 0, NULL, NULL) == 1 && fclose(f) == 0);
    CHECK(chmod(key, 0600) == 0);
}

static void tls_write_certificate(EVP_PKEY *pkey)
{
    X509 *x = X509_new();
    FILE *f = fopen(certificate, "we");
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600L * 24 * 30);
    X509_set_pubkey(x, pkey);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1,
                               0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    CHECK(X509_sign(x, pkey, EVP_sha256()) > 0 && f && PEM_write_X509(f, x) == 1 && fclose(f) == 0);
    X509_free(x);
}

static void clean_up(void)
{
    SSL_CTX_free(client_tls);
    unlink(certificate);
    unlink(key);
    rmdir(folder[which]);
}

static void set_up(void)
{
    log_setup(LOG_ERROR, LOG_LOGFMT);
    signal(SIGPIPE, SIG_IGN);
    which = mkdtemp(folder[0]) ? 0 : 1;
    CHECK(which == 0 || mkdtemp(folder[1]));
    snprintf(certificate, sizeof certificate, "%s/crt", folder[which]);
    snprintf(key, sizeof key, "%s/key", folder[which]);
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    tls_write_key(pkey);
    tls_write_certificate(pkey);
    EVP_PKEY_free(pkey);
    client_tls = SSL_CTX_new(TLS_client_method());
    CHECK(client_tls);
    atexit(clean_up);
}

/* ---- the server's user ---- */

static void user_on_request(void *ctx, const struct http_request *r)
{
    (void)ctx;
    buf_add_str(&way.seen, r->body);
    http_server_reply(way.server, r->id, 200, NULL, 0, r->body);
}

static void way_begin(void)
{
    static const struct http_events events = { .request = user_on_request };
    struct err e = { "" };
    const struct http_server_options o = {
        .listen = address(), .tls_certificate = certificate, .tls_key = key, .max_body = { 4096 }, .reserved = true
    };
    int ends[2];
    clock_fake(1000000, 1700000000000);
    way = (struct way){ .server = http_server_new(&o, &events, &e),
                        .wrote = buf_new(MOST),
                        .seen = buf_new(MOST),
                        .heard = buf_new(MOST) };
    CHECK(way.server && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    way.fd = ends[1];
    http_conn_new(way.server, ends[0], "127.0.0.1:5000", STR("127.0.0.1"), 0);
}

static void run(void)
{
    for (int i = 0; i < 4; i++)
        http_server_run(way.server, -1, 0);
}

static void way_leave(void)
{
    if (way.fd >= 0)
        close(way.fd);
    way.fd = -1;
    run();
}

/* Whoever says nothing more is not kept: not a half handshake, nor an idle connection. */
static void way_end(bool leave)
{
    if (leave)
        way_leave();
    for (int64_t ms = 0; ms < LIMIT_MS && http_server_connections(way.server); ms += 10000) {
        clock_fake_advance(10000);
        run();
    }
    CHECK(http_server_connections(way.server) == 0 && way.server->held == 0);
    CHECK(http_schedule_next_ms(way.server) == INT64_MAX);
    CHECK(str_starts(buf_str(&way.wrote), buf_str(&way.seen)));
    way_leave();
    http_server_free(way.server);
    buf_free(&way.wrote);
    buf_free(&way.seen);
    buf_free(&way.heard);
}

static void way_send(const char *bytes, size_t n)
{
    while (n && way.fd >= 0) {
        ssize_t sent = send(way.fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent <= 0)
            return;
        bytes += sent;
        n -= (size_t)sent;
        run();
    }
}

/* ---- no TLS ---- */

static void play_bytes(const uint8_t *data, size_t size)
{
    way_begin();
    size_t piece = size ? (size_t)data[0] / 2 * 8 + 1 : 1;
    for (size_t i = 1; i < size; i += piece)
        way_send((const char *)data + i, size - i < piece ? size - i : piece);
    CHECK(way.seen.n == 0);
    way_end(size % 2);
}

/* ---- TLS, tampered with ---- */

struct client {
    SSL *ssl;
    BIO *in, *out; /* of ssl */
};

/* What the client has to say goes to the server, changed or cut as the step says. */
static void client_flush(struct client *c, unsigned kind, size_t count, uint8_t argument)
{
    static char bytes[FLIGHT];
    int n = BIO_read(c->out, bytes, sizeof bytes);
    if (n <= 0)
        return;
    size_t length = (size_t)n, at = (count * 37u + argument) % length;
    switch (kind) {
    case 1: bytes[at] = (char)(bytes[at] ^ (argument | 1)); break;
    case 2: length = at; break;                                               /* the rest never comes */
    case 3: way_send(bytes, length); break;                                   /* twice */
    case 4: bytes[count % (length < 5 ? length : 5)] = (char)argument; break; /* a record's head */
    }
    way_send(bytes, length);
}

static void client_take(struct client *c)
{
    char bytes[4096];
    ssize_t n;
    while (way.fd >= 0 && (n = recv(way.fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        BIO_write(c->in, bytes, (int)n);
}

static void client_step(struct client *c)
{
    char bytes[4096];
    int n;
    client_take(c);
    if (!SSL_is_init_finished(c->ssl))
        SSL_do_handshake(c->ssl);
    while (SSL_is_init_finished(c->ssl) && (n = SSL_read(c->ssl, bytes, sizeof bytes)) > 0)
        buf_add(&way.heard, bytes, (size_t)n);
}

static void client_post(struct client *c, size_t count)
{
    char text[256];
    char body[16];
    if (!SSL_is_init_finished(c->ssl))
        return;
    snprintf(body, sizeof body, "<%zu>", way.wrote.n + count);
    int n = snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
                     body);
    if (SSL_write(c->ssl, text, n) == n)
        buf_add_c(&way.wrote, body);
}

static void client_do(struct client *c, unsigned kind, size_t count, uint8_t argument)
{
    char byte = (char)argument;
    way.touched = way.touched || (kind != 0 && kind != 5);
    if (kind == 5)
        client_post(c, count);
    if (kind == 6 && count % 2)
        clock_fake_advance(argument * 10);
    else if (kind == 6)
        way_send(&byte, 1); /* between the records */
    if (kind == 7 && argument % 4 == 0)
        SSL_shutdown(c->ssl);
    else if (kind == 7 && argument % 4 == 1 && SSL_is_init_finished(c->ssl))
        SSL_key_update(c->ssl, SSL_KEY_UPDATE_REQUESTED);
    else if (kind == 7 && argument % 4 == 2 && way.fd >= 0)
        shutdown(way.fd, SHUT_WR);
    client_step(c);
    if (kind == 5 && count % 2)
        return; /* it goes with the next step, which may tamper with it */
    client_flush(c, kind, count, argument);
    client_step(c);
}

static void play_tls(const uint8_t *data, size_t size)
{
    struct client c = { SSL_new(client_tls), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()) };
    way_begin();
    SSL_set_bio(c.ssl, c.in, c.out);
    SSL_set_connect_state(c.ssl);
    if (data[0] & 2)
        SSL_set_max_proto_version(c.ssl, TLS1_2_VERSION);
    if (data[0] & 4)
        SSL_set_max_proto_version(c.ssl, TLS1_1_VERSION);
    for (size_t i = 1; i + 1 < size && i < STEPS; i += 2)
        client_do(&c, data[i] & 7u, data[i] >> 3, data[i + 1]);
    CHECK(!(data[0] & 4) || !SSL_is_init_finished(c.ssl)); /* older than 1.2: refused */
    client_flush(&c, 0, 0, 0);
    client_step(&c);
    if (!way.touched)
        CHECK(way.seen.n == way.wrote.n && (!way.wrote.n || str_starts(buf_str(&way.heard), STR("HTTP/1.1 200 "))));
    SSL_free(c.ssl);
    way_end(size % 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!client_tls)
        set_up();
    if (size && data[0] & 1)
        play_tls(data, size);
    else
        play_bytes(data, size);
    return 0;
}
