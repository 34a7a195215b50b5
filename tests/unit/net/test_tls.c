/* SPDX-License-Identifier: MIT */
/* The HTTP server over TLS, with a certificate made here and OpenSSL's own client. */
#include <fcntl.h>
#include <openssl/ssl.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/watch.h"
#include "bridge/net/certificate.h"
#include "bridge/net/http/http.h"
#include "tests/support/folder.h"
#include "tests/support/loopback.h"
#include "tests/support/metric.h"
#include "tests/support/test.h"

enum { ROUNDS = 20000 };

static char folder[FOLDER_BYTES], certificate[128], key[128], other_key[128];
static struct http_server *server;
static struct http_stream *stream;
static struct str answer;
static int writable;
static struct buf shown = { .max = 4096 }; /* what the client's certificate says */

static bool show_name(void *ctx, struct str name)
{
    buf_add_c(ctx, " ");
    buf_add_str(ctx, name);
    return false;
}

static void on_request(void *ctx, const struct http_request *r)
{
    (void)ctx;
    buf_reset(&shown);
    if (r->certificate) {
        certificate_subject(r->certificate, &shown);
        buf_add_c(&shown, " by ");
        certificate_issuer(r->certificate, &shown);
        certificate_any_name(r->certificate, show_name, &shown);
    }
    if (http_header(r, "upgrade", NULL).at)
        stream = http_server_upgrade(server, r, STR_ABSENT, WS_WINDOW_NONE, NULL);
    else
        http_server_reply(server, r->id, 200, NULL, 0, answer.at ? answer : r->body);
}

static void on_writable(void *ctx, struct http_stream *st)
{
    (void)ctx;
    (void)st;
    writable++;
}

static void on_closed(void *ctx, struct http_stream *st)
{
    (void)ctx;
    (void)st;
    stream = NULL;
}

static void write_key(const char *path, EVP_PKEY *pkey)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, pkey, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
}

struct made {               /* a certificate that is made here */
    const char *name, *san; /* its CN; alternative names as OpenSSL's configuration has them, or NULL */
    EVP_PKEY *key, *ca_key; /* of a CA: NULL */
    const char *ca_name;
    long serial;
};

static void name_set(X509_NAME *name, const char *cn)
{
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
}

static void extension_add(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
}

static X509 *make(const struct made *m)
{
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), m->serial ? m->serial : 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, m->key);
    name_set(X509_get_subject_name(x), m->name);
    name_set(X509_get_issuer_name(x), m->ca_key ? m->ca_name : m->name);
    if (m->san)
        extension_add(x, NID_subject_alt_name, m->san);
    if (!m->ca_key)
        extension_add(x, NID_basic_constraints, "critical,CA:TRUE");
    assert_true(X509_sign(x, m->ca_key ? m->ca_key : m->key, EVP_sha256()) > 0);
    return x;
}

static void write_made(const char *path, X509 *x)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    PEM_write_X509(f, x);
    fclose(f);
    X509_free(x);
}

static void write_certificate(const char *path, EVP_PKEY *pkey)
{
    write_made(path, make(&(struct made){ .name = "localhost", .key = pkey }));
}

static int begin_all(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    folder_make(folder);
    snprintf(certificate, sizeof certificate, "%s/certificate.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    snprintf(other_key, sizeof other_key, "%s/other.pem", folder);
    EVP_PKEY *pkey = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
    write_key(key, pkey);
    write_key(other_key, other);
    write_certificate(certificate, pkey);
    EVP_PKEY_free(pkey);
    EVP_PKEY_free(other);
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    char address[] = "127.0.0.1:0";
    struct http_server_options o = {
        .listen = address, .tls_certificate = certificate, .tls_key = key, .max_body = { 8 << 20 }
    };
    struct http_events events = { .request = on_request, .writable = on_writable, .closed = on_closed };
    struct err e;
    clock_fake(1000, 0);
    answer = STR_ABSENT;
    writable = 0;
    server = http_server_new(&o, &events, &e);
    return server ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    http_server_free(server);
    clock_real();
    return 0;
}

/* ---- the client ---- */

struct client {
    int fd;
    SSL_CTX *tls;
    SSL *ssl;
    struct buf in;
    bool ended;
};

static struct client client_new(int version)
{
    struct client c = { .fd = loopback_connect(http_server_port(server)),
                        .tls = SSL_CTX_new(TLS_client_method()),
                        .in = buf_new(64 << 20) };
    fcntl(c.fd, F_SETFL, O_NONBLOCK);
    SSL_CTX_set_max_proto_version(c.tls, version);
    SSL_CTX_set_min_proto_version(c.tls, version);
    SSL_CTX_set_security_level(c.tls, 0);
    c.ssl = SSL_new(c.tls);
    SSL_set_fd(c.ssl, c.fd);
    SSL_set_connect_state(c.ssl);
    return c;
}

static void client_free(struct client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->tls);
    close(c->fd);
    buf_free(&c->in);
}

static struct http_server *twin; /* of the server; NULL: it is alone */

static bool handshake(struct client *c)
{
    for (int i = 0; i < ROUNDS; i++) {
        int n = SSL_do_handshake(c->ssl);
        if (n == 1)
            return true;
        int why = SSL_get_error(c->ssl, n);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
            return false;
        http_server_run(server, -1, 1);
        if (twin)
            http_server_run(twin, -1, 0);
    }
    return false;
}

static void receive(struct client *c)
{
    char bytes[40000];
    int n = SSL_read(c->ssl, bytes, sizeof bytes);
    if (n > 0)
        buf_add(&c->in, bytes, (size_t)n);
    else if (SSL_get_error(c->ssl, n) == SSL_ERROR_ZERO_RETURN)
        c->ended = true;
}

static void say(struct client *c, struct str text)
{
    for (int i = 0; i < ROUNDS && text.n; i++) {
        int n = SSL_write(c->ssl, text.at, text.n < 5000 ? (int)text.n : 5000);
        if (n > 0) {
            text.at += n;
            text.n -= (size_t)n;
        }
        http_server_run(server, -1, 1);
    }
    assert_int_equal(text.n, 0);
}

static void expect_bytes(struct client *c, size_t n)
{
    for (int i = 0; i < ROUNDS && c->in.n < n && !c->ended; i++) {
        http_server_run(server, -1, 1);
        receive(c);
    }
    assert_true(c->in.n >= n);
}

static void expect(struct client *c, struct str text)
{
    for (int i = 0; i < ROUNDS && !(c->in.n && memmem(c->in.at, c->in.n, text.at, text.n)) && !c->ended; i++) {
        http_server_run(server, -1, 1);
        receive(c);
    }
    assert_true(c->in.n && memmem(c->in.at, c->in.n, text.at, text.n));
}

static struct buf pattern(size_t n)
{
    struct buf b = buf_new(n);
    char *at = buf_room(&b, n);
    for (size_t i = 0; i < n; i++)
        at[i] = (char)(i * 7 + i / 251);
    b.n = n;
    return b;
}

/* ---- tests ---- */

TEST(round_trip)
{
    const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    for (size_t i = 0; i < 2; i++) {
        struct client c = client_new(versions[i]);
        assert_true(handshake(&c));
        for (int k = 0; k < 3; k++) {
            buf_reset(&c.in);
            say(&c, STR("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"));
            expect(&c, STR("\r\n\r\nhello"));
        }
        say(&c, STR("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        for (int k = 0; k < ROUNDS && !c.ended; k++) {
            http_server_run(server, -1, 1);
            receive(&c);
        }
        assert_true(c.ended); /* with a close_notify: nobody cut the answer short */
        client_free(&c);
    }
}

/* Servers at one address: a client that comes to another one than before goes on with its session. */
TEST(a_session_goes_on_at_a_twin)
{
    struct http_server_options o = {
        .listen = (char[]){ "127.0.0.1:0" }, .tls_certificate = certificate, .tls_key = key, .first = server
    };
    struct err e;
    twin = http_server_new(&o, &(struct http_events){ .request = on_request }, &e);
    assert_non_null(twin);
    struct client first = client_new(TLS1_2_VERSION), second = client_new(TLS1_2_VERSION);
    assert_true(handshake(&first));
    SSL_SESSION *session = SSL_get1_session(first.ssl);
    assert_int_equal(SSL_set_session(second.ssl, session), 1);
    assert_true(handshake(&second));
    assert_int_equal(http_server_connections(twin), 1);
    assert_true(SSL_session_reused(second.ssl));
    SSL_SESSION_free(session);
    client_free(&first);
    client_free(&second);
    http_server_free(twin);
    twin = NULL;
}

TEST(large_bodies)
{
    struct buf body = pattern(3 << 20);
    struct client c = client_new(TLS1_3_VERSION);
    assert_true(handshake(&c));
    say(&c, STR("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3145728\r\n\r\n"));
    say(&c, buf_str(&body));
    expect_bytes(&c, body.n + 50);
    expect_bytes(&c, (size_t)(memmem(c.in.at, c.in.n, "\r\n\r\n", 4)
                                  ? (char *)memmem(c.in.at, c.in.n, "\r\n\r\n", 4) - c.in.at
                                  : 0)
                         + 4 + body.n);
    assert_memory_equal(c.in.at + c.in.n - body.n, body.at, body.n);
    buf_free(&body);
    client_free(&c);
}

/* Once OpenSSL has refused bytes it wants the same again; the user must not have to know. */
TEST(a_blocked_stream_may_change_its_mind)
{
    struct client c = client_new(TLS1_3_VERSION);
    assert_true(handshake(&c));
    say(&c,
        STR("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"));
    expect(&c, STR("\r\n\r\n"));
    assert_non_null(stream);
    buf_reset(&c.in);
    /* Frames of 4 + 1000 bytes, numbered, until no more go. */
    char frame[1004] = "\x82\x7e\x03\xe8";
    size_t sent = 0, offset = 0;
    for (;;) {
        memset(frame + 4, 'a' + (int)(sent % 26), 1000);
        long n = http_stream_write(stream, frame + offset, sizeof frame - offset, true);
        assert_true(n >= 0);
        offset += (size_t)n;
        if (offset < sizeof frame)
            break;
        offset = 0;
        sent++;
    }
    assert_true(sent > 10);
    assert_int_equal(http_stream_write(stream, "\x82\x00", 2, true), 0);
    size_t rest = offset ? sizeof frame - offset : 0;
    expect_bytes(&c, sent * sizeof frame + offset);
    for (int i = 0; i < ROUNDS && !writable; i++)
        http_server_run(server, -1, 1);
    assert_int_equal(writable, 1);
    if (rest)
        assert_int_equal(http_stream_write(stream, frame + offset, rest, true), rest);
    assert_int_equal(http_stream_write(stream, "\x81\x02hi", 4, true), 4);
    expect(&c, STR("\x81\x02hi"));
    size_t whole = sent + (offset ? 1 : 0);
    assert_int_equal(c.in.n, whole * sizeof frame + 4);
    for (size_t i = 0; i < whole; i++)
        assert_true((unsigned char)c.in.at[i * sizeof frame] == 0x82
                    && c.in.at[i * sizeof frame + 500] == 'a' + (int)(i % 26));
    client_free(&c);
}

TEST(old_versions_are_refused)
{
    struct client c = client_new(TLS1_1_VERSION);
    assert_false(handshake(&c));
    client_free(&c);
}

TEST(plain_text_is_refused)
{
    struct client c = client_new(TLS1_3_VERSION);
    const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_int_equal(send(c.fd, text, sizeof text - 1, 0), sizeof text - 1);
    http_server_run(server, -1, 100);
    assert_int_equal(http_server_connections(server), 1);
    for (int i = 0; i < ROUNDS && http_server_connections(server); i++)
        http_server_run(server, -1, 1);
    assert_int_equal(http_server_connections(server), 0);
    client_free(&c);
}

TEST(a_handshake_has_a_deadline)
{
    struct client c = client_new(TLS1_3_VERSION);
    http_server_run(server, -1, 100);
    assert_int_equal(http_server_connections(server), 1);
    clock_fake_advance(10001);
    for (int i = 0; i < ROUNDS && http_server_connections(server); i++)
        http_server_run(server, -1, 1);
    assert_int_equal(http_server_connections(server), 0);
    client_free(&c);
}

static void expect_refusal(char *cert_file, char *key_file, const char *why)
{
    char address[] = "127.0.0.1:0";
    struct err e = { "" };
    struct http_server_options o = { .listen = address, .tls_certificate = cert_file, .tls_key = key_file };
    assert_null(http_server_new(&o, &(struct http_events){ 0 }, &e));
    if (!strstr(e.text, why))
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

TEST(files_are_checked)
{
    char nowhere[] = "/nowhere.pem";
    expect_refusal(certificate, NULL, "tls_certificate and tls_key belong together");
    expect_refusal(NULL, key, "tls_certificate and tls_key belong together");
    expect_refusal(nowhere, key, "tls_certificate /nowhere.pem: ");
    expect_refusal(certificate, nowhere, "tls_key /nowhere.pem: ");
    assert_int_equal(chmod(key, 0644), 0);
    expect_refusal(certificate, key, "tls_key: all users of this machine can read ");
    assert_int_equal(chmod(key, 0600), 0);
    expect_refusal(certificate, other_key, "does not belong to");
    expect_refusal(key, key, "tls_certificate");
    char pipe[160], folder_too[] = "/";
    snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    assert_int_equal(mkfifo(pipe, 0600), 0); /* opened by name, it would wait for ever */
    expect_refusal(certificate, pipe, "is no regular file but a pipe");
    expect_refusal(pipe, key, "tls_certificate: ");
    expect_refusal(folder_too, key, "tls_certificate: / is no regular file but a folder");
    unlink(pipe);
}

#define CLEANED(f) cmocka_unit_test_setup_teardown(f, begin, end)

static bool shakes_hands(const char *ciphers)
{
    struct client c = client_new(TLS1_2_VERSION);
    assert_int_equal(SSL_set_cipher_list(c.ssl, ciphers), 1);
    bool done = handshake(&c);
    client_free(&c);
    return done;
}

/* With an RSA certificate, which ciphers without forward secrecy need. */
TEST(tls_1_2_has_forward_secrecy)
{
    static const char *const refused[] = { "AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA",
                                           "DHE-RSA-AES128-GCM-SHA256" };
    static const char *const taken[] = { "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305" };
    char address[] = "127.0.0.1:0", rsa_certificate[160], rsa_key[160];
    struct err e;
    EVP_PKEY *rsa = EVP_RSA_gen(2048);
    snprintf(rsa_certificate, sizeof rsa_certificate, "%s/rsa.pem", folder);
    snprintf(rsa_key, sizeof rsa_key, "%s/rsa-key.pem", folder);
    write_key(rsa_key, rsa);
    write_certificate(rsa_certificate, rsa);
    EVP_PKEY_free(rsa);
    http_server_free(server);
    server = http_server_new(&(struct http_server_options){ .listen = address,
                                                            .tls_certificate = rsa_certificate,
                                                            .tls_key = rsa_key },
                             &(struct http_events){ .request = on_request }, &e);
    assert_non_null(server);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (shakes_hands(refused[i]))
            fail_msg("%s was taken", refused[i]);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (!shakes_hands(taken[i]))
            fail_msg("%s was refused", taken[i]);
}

/* ---- client certificates ---- */

static char ca[160], crl[160];
static EVP_PKEY *ca_key, *sender_key;

static void begin_with_ca(enum tls_client client, char *lists)
{
    char address[] = "127.0.0.1:0";
    struct err e;
    const struct http_server_options o = { .listen = address,
                                           .tls_certificate = certificate,
                                           .tls_key = key,
                                           .tls_client_ca = ca,
                                           .tls_client_crl = lists,
                                           .tls_client = client };
    http_server_free(server);
    server = http_server_new(&o, &(struct http_events){ .request = on_request }, &e);
    if (!server)
        fail_msg("%s", e.text);
}

static int begin_ca(void **state)
{
    snprintf(ca, sizeof ca, "%s/ca.pem", folder);
    snprintf(crl, sizeof crl, "%s/crl.pem", folder);
    ca_key = EVP_EC_gen("P-256");
    sender_key = EVP_EC_gen("P-256");
    write_made(ca, make(&(struct made){ .name = "our CA", .key = ca_key }));
    return begin(state);
}

static int end_ca(void **state)
{
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(sender_key);
    return end(state);
}

/* Takes over the certificate; NULL: it shows none. Is its request answered? */
static bool posts_with(X509 *x, int version)
{
    size_t others = http_server_connections(server);
    struct client c = client_new(version);
    buf_reset(&shown);
    if (x) {
        assert_int_equal(SSL_use_certificate(c.ssl, x), 1);
        assert_int_equal(SSL_use_PrivateKey(c.ssl, sender_key), 1);
        X509_free(x);
    }
    const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    bool sent = handshake(&c) && SSL_write(c.ssl, text, sizeof text - 1) > 0;
    http_server_run(server, -1, 1);
    for (int i = 0; i < ROUNDS && sent && !c.ended && http_server_connections(server) > others; i++) {
        http_server_run(server, -1, 1);
        receive(&c);
    }
    bool answered = c.in.n && str_starts(buf_str(&c.in), STR("HTTP/1.1 200 "));
    client_free(&c);
    for (int i = 0; i < ROUNDS && http_server_connections(server) > others; i++)
        http_server_run(server, -1, 1);
    return answered;
}

static X509 *senders(const char *name, long serial)
{
    return make(
        &(struct made){ .name = name,
                        .san = "DNS:a.example.com,URI:spiffe://example.com/sa/a,email:a@example.com,IP:10.0.0.1",
                        .key = sender_key,
                        .ca_key = ca_key,
                        .ca_name = "our CA",
                        .serial = serial });
}

static X509 *strangers(void)
{
    return make(&(struct made){ .name = "sender", .key = sender_key, .ca_key = sender_key, .ca_name = "our CA" });
}

TEST(a_client_shows_its_certificate)
{
    const char *all = "CN=sender by CN=our CA a.example.com spiffe://example.com/sa/a a@example.com";
    const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    struct metric *refused = metric_named("aqueduct_net_refused_total", LABELS("tls"));
    int64_t before = metric_value(refused);
    begin_with_ca(TLS_CLIENT_BY_CA, NULL);
    for (size_t i = 0; i < 2; i++) {
        assert_true(posts_with(senders("sender", 2), versions[i]));
        assert_string_equal(buf_c(&shown), all);
        assert_false(posts_with(NULL, versions[i]));
        assert_false(posts_with(strangers(), versions[i]));
    }
    assert_int_equal(metric_value(refused), before + 4);
    begin_with_ca(TLS_CLIENT_OPTIONAL, NULL);
    assert_true(posts_with(senders("sender", 2), TLS1_3_VERSION));
    assert_true(posts_with(NULL, TLS1_3_VERSION));
    assert_int_equal(shown.n, 0);
    assert_false(posts_with(strangers(), TLS1_3_VERSION));
    begin_with_ca(TLS_CLIENT_NONE, NULL);
    assert_true(posts_with(senders("sender", 2), TLS1_3_VERSION)); /* nobody asked for it */
    assert_int_equal(shown.n, 0);
}

static void write_crl(long serial)
{
    X509_CRL *list = X509_CRL_new();
    X509_NAME *issuer = X509_NAME_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -60), *next = X509_gmtime_adj(NULL, 3600);
    name_set(issuer, "our CA");
    X509_CRL_set_version(list, 1);
    X509_CRL_set_issuer_name(list, issuer);
    X509_CRL_set1_lastUpdate(list, now);
    X509_CRL_set1_nextUpdate(list, next);
    X509_REVOKED *revoked = X509_REVOKED_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_INTEGER_set(number, serial);
    X509_REVOKED_set_serialNumber(revoked, number);
    X509_REVOKED_set_revocationDate(revoked, now);
    X509_CRL_add0_revoked(list, revoked);
    assert_true(X509_CRL_sign(list, ca_key, EVP_sha256()) > 0);
    FILE *f = fopen(crl, "w");
    assert_non_null(f);
    PEM_write_X509_CRL(f, list);
    fclose(f);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
    X509_NAME_free(issuer);
    X509_CRL_free(list);
}

TEST(a_revoked_certificate_is_refused)
{
    write_crl(7);
    begin_with_ca(TLS_CLIENT_REQUIRED, crl);
    assert_true(posts_with(senders("sender", 2), TLS1_3_VERSION));
    assert_false(posts_with(senders("sender", 7), TLS1_3_VERSION));
}

/* Looks twice, since a file must have stayed as it is. */
static void look(void)
{
    for (int i = 0; i < 2; i++) {
        clock_fake_advance(WATCH_LOOK_MS + 1);
        http_server_run(server, -1, 0);
    }
}

/* The file that the name leads to becomes another one, as certbot and Kubernetes do it. */
static void replace(const char *path, X509 *x)
{
    char fresh[200];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    write_made(fresh, x);
    assert_int_equal(rename(fresh, path), 0);
}

TEST(files_that_change_are_read_again)
{
    begin_with_ca(TLS_CLIENT_REQUIRED, NULL);
    struct client open = client_new(TLS1_3_VERSION);
    X509 *x = senders("sender", 2);
    SSL_use_certificate(open.ssl, x);
    SSL_use_PrivateKey(open.ssl, sender_key);
    X509_free(x);
    assert_true(handshake(&open));
    assert_true(posts_with(senders("sender", 2), TLS1_3_VERSION));
    EVP_PKEY *other = EVP_EC_gen("P-256");
    replace(ca, make(&(struct made){ .name = "our CA", .key = other }));
    look();
    assert_false(posts_with(senders("sender", 2), TLS1_3_VERSION));
    say(&open, STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    expect(&open, STR("HTTP/1.1 200 ")); /* what is open goes on */
    client_free(&open);
    replace(ca, make(&(struct made){ .name = "our CA", .key = ca_key }));
    look();
    assert_true(posts_with(senders("sender", 2), TLS1_3_VERSION));
    EVP_PKEY_free(other);
}

static int64_t reloads(const char *result)
{
    return metric_value(metric_named("aqueduct_reloads_total", LABELS("tls", "127.0.0.1:0", result)));
}

TEST(a_bad_file_changes_nothing)
{
    int64_t refused = reloads("refused"), taken = reloads("taken");
    begin_with_ca(TLS_CLIENT_REQUIRED, NULL);
    FILE *f = fopen(ca, "w");
    assert_non_null(f);
    fclose(f);
    look();
    look(); /* once is enough */
    assert_int_equal(reloads("refused"), refused + 1);
    assert_true(posts_with(senders("sender", 2), TLS1_3_VERSION));
    watch_ask(); /* SIGHUP: looks at once, changed or not */
    http_server_run(server, -1, 0);
    assert_int_equal(reloads("refused"), refused + 2);
    write_made(ca, make(&(struct made){ .name = "our CA", .key = ca_key }));
    look();
    assert_int_equal(reloads("taken"), taken + 1);
    assert_true(posts_with(senders("sender", 2), TLS1_3_VERSION));
}

static void expect_no_options(struct tls_options o, const char *why)
{
    struct err e = { "" };
    assert_false(tls_check(&o, &e));
    if (!strstr(e.text, why))
        fail_msg("\"%s\" does not say \"%s\"", e.text, why);
}

TEST(client_options_are_checked)
{
    expect_no_options((struct tls_options){ .client_ca = ca }, "tls_client_ca: needs tls_certificate");
    expect_no_options((struct tls_options){ certificate, key, .client = TLS_CLIENT_REQUIRED }, "tls_client: needs");
    expect_no_options((struct tls_options){ certificate, key, .client_crl = crl }, "tls_client_crl: needs");
    expect_no_options((struct tls_options){ certificate, key, ca, crl, .client = TLS_CLIENT_NONE },
                      "tls_client_crl: needs");
    expect_no_options((struct tls_options){ certificate, key, .client_ca = "/nowhere.pem" },
                      "tls_client_ca /nowhere.pem: No such file or directory; it must be a PEM file");
    expect_no_options((struct tls_options){ certificate, key, .client_ca = key }, "tls_client_ca");
    expect_no_options((struct tls_options){ certificate, key, .client_ca = "/" }, "is no regular file but a folder");
    expect_no_options((struct tls_options){ certificate, key, ca, .client_crl = ca }, "tls_client_crl");
}

TEST(rules_fit)
{
    static const struct {
        const char *rule, *text;
        bool of_subject, fits;
    } cases[] = {
        { "a.example.com", "a.example.com", false, true },
        { "a.example.com", "A.Example.COM", false, true },
        { "a.example.com", "b.example.com", false, false },
        { "a.example.com", "a.example.com.evil.org", false, false },
        { "a.example.com", "xa.example.com", false, false },
        { "*.example.com", "a.example.com", false, true },
        { "*.example.com", "a.b.example.com", false, false },
        { "*.example.com", ".example.com", false, false },
        { "*.example.com", "example.com", false, false },
        { "a.*.com", "a.b.com", false, true },
        { "a.*.com", "a.b.c.com", false, false },
        { "a.*", "a.b.c", false, false },
        { "*.example.com", "x@a.example.com", false, false },
        { "*.example.com", "http:a.example.com", false, false },
        { "*@example.com", "first.last@example.com", false, true },
        { "*@example.com", "a@b@example.com", false, false },
        { "*@example.com", "a@example.org", false, false },
        { "spiffe://example.com/sa/*", "spiffe://example.com/sa/a.b", false, true },
        { "spiffe://example.com/sa/*", "spiffe://example.com/sa/a/b", false, false },
        { "spiffe://example.com/*/a", "spiffe://example.com/x/y/a", false, false },
        { "spiffe://*/sa/a", "spiffe://x.example.com/sa/a", false, true },
        { "spiffe://Example.com/a", "spiffe://example.com/a", false, false },
        { "CN=a,O=b", "CN=a,O=b", true, true },
        { "CN=a,O=b", "CN=A,O=b", true, false },
        { "CN=a", "CN=a,O=b", true, false },
        { "CN=*,O=b", "CN=x.y z,O=b", true, true },
        { "CN=*,O=b", "CN=x\\,O=b", true, false },
        { "CN=*,O=b", "CN=x\\,O=c,O=b", true, true },
        { "CN=*,O=b", "CN=x,OU=y,O=b", true, false },
        { "CN=*", "CN=x+OU=y", true, false },
        { "CN=*,O=b", "CN=,O=b", true, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (certificate_rule_fits(cases[i].rule, cases[i].of_subject, str_of(cases[i].text)) != cases[i].fits)
            fail_msg("%s and %s", cases[i].rule, cases[i].text);
    static const char nul[] = "a.example.com\0.evil.org";
    assert_false(certificate_rule_fits("a.example.com", false, (struct str){ nul, sizeof nul - 1 }));
    struct err e;
    static const char *const bad[] = { "*", "", "a*.example.com", "*a.example.com", "a.b*" }, *const no_subject[] = {
        "a", "CN=a*", "*", "C = DE, O = x", "O=x, CN=y", "CN =y", "/C=DE/CN=y"
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(certificate_check_rule(bad[i], false, &e));
    for (size_t i = 0; i < sizeof no_subject / sizeof *no_subject; i++)
        assert_false(certificate_check_rule(no_subject[i], true, &e));
    assert_true(certificate_check_rule("*.example.com", false, &e) && certificate_check_rule("CN=*,O=b", true, &e)
                && certificate_check_rule("CN=Shop of A = B,O=x\\\\, y", true, &e));
}

#define WITH_CA(f) cmocka_unit_test_setup_teardown(f, begin_ca, end_ca)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEANED(round_trip),
        CLEANED(a_session_goes_on_at_a_twin),
        CLEANED(large_bodies),
        CLEANED(a_blocked_stream_may_change_its_mind),
        CLEANED(old_versions_are_refused),
        CLEANED(plain_text_is_refused),
        CLEANED(a_handshake_has_a_deadline),
        CLEANED(files_are_checked),
        CLEANED(tls_1_2_has_forward_secrecy),
        WITH_CA(a_client_shows_its_certificate),
        WITH_CA(a_revoked_certificate_is_refused),
        WITH_CA(files_that_change_are_read_again),
        WITH_CA(a_bad_file_changes_nothing),
        WITH_CA(client_options_are_checked),
        cmocka_unit_test(rules_fit),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
