/* SPDX-License-Identifier: MIT */
/* The HTTP server's life: addresses, stopping, waking. */
#include <arpa/inet.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/support/dialogue.h"

TEST(stopping_answers_what_waits)
{
    START();
    user.later = true;
    struct client idle = client_new(), c = client_new();
    SAY(&idle, GET("/"));
    UNTIL(&idle, user.asked == 1);
    answer_next(STR("first"));
    expect(&idle, "first");
    SAY(&c, GET("/"));
    UNTIL(&c, user.asked == 2);
    http_server_stop_accepting(server);
    expect_end(&idle);
    answer_next(STR("second"));
    expect_end(&c);
    assert_true(said(&c, "second") && said(&c, "Connection: close"));
    client_close(&c);
    client_close(&idle);
    UNTIL(&nobody, http_server_connections(server) == 0);
}

TEST(waking_ends_the_wait)
{
    START();
    clock_real();
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    http_server_run(server, ends[0], -1); /* returns, or the test's own timeout strikes */
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    close(ends[1]);
}

static void expect_refusal(const char *listen, const char *why)
{
    struct err e = { "" };
    struct http_server_options o = { .listen = (char *)(uintptr_t)listen };
    assert_null(http_server_new(&o, &(struct http_events){ 0 }, &e));
    if (!strstr(e.text, why))
        fail_msg("%s: \"%s\" does not say \"%s\"", listen, e.text, why);
}

TEST(addresses_are_checked)
{
    expect_refusal("", "\"\" is not an address");
    expect_refusal("8080", "\"8080\" is not an address");
    expect_refusal(":8080", "\":8080\" is not an address");
    expect_refusal("0.0.0.0:99999", "\"0.0.0.0:99999\" is not an address: the port must be 0 to 65535");
    expect_refusal("127.0.0.1:", "the port must be");
    expect_refusal("127.0.0.1:-1", "the port must be");
    expect_refusal("127.0.0.1:80x", "the port must be");
    expect_refusal("1.2.3:80", "is not an address");
    expect_refusal("example.com:80", "is not an address");
    expect_refusal("::1:80", "is not an address");
    expect_refusal("[::1:80", "is not an address");
    expect_refusal("unix:", "is not an address");
    expect_refusal("192.0.2.1:1", "cannot listen on 192.0.2.1:1: ");
    expect_refusal("unix:/nowhere/at/all", "cannot listen on unix:/nowhere/at/all: No such file");
    expect_refusal(NULL, "listen is missing");
    START();
    char taken[64];
    snprintf(taken, sizeof taken, "127.0.0.1:%d", http_server_port(server));
    expect_refusal(taken, "Address already in use");
}

TEST(a_unix_socket)
{
    char listen[128], *path = listen + 5;
    snprintf(listen, sizeof listen, "unix:%s/socket", dialogue_folder);
    START(.listen = listen);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(http_server_port(server), 0);
    struct client c = client_connect(path);
    SAY(&c, POST("5") "\r\nhello");
    expect(&c, "hello");
    expect_refusal(listen, "Address already in use");
    assert_int_equal(stat(path, &st), 0);
    client_close(&c);
    http_server_free(server);
    assert_int_not_equal(stat(path, &st), 0);

    /* A file that a dead process left behind is replaced. */
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    memcpy(a.sun_path, path, strlen(path) + 1);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, (struct sockaddr *)&a, sizeof a), 0);
    close(dead);
    assert_int_equal(stat(path, &st), 0);
    START(.listen = listen);
    c = client_connect(path);
    SAY(&c, GET("/"));
    expect(&c, "200 OK");
    client_close(&c);
}

TEST(ipv6)
{
    struct err e;
    struct http_server_options o = { .listen = (char[]){ "[::1]:0" } };
    server = http_server_new(&o, &(struct http_events){ .request = dialogue_on_request }, &e);
    if (!server)
        skip(); /* a machine without IPv6 */
    struct sockaddr_in6 a = { .sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)http_server_port(server)),
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    struct client c = client_on(fd);
    SAY(&c, GET("/"));
    expect(&c, "200 OK");
    client_close(&c);
}

enum { IDLE_FIRST = 40, IDLE_MORE = 300 }; /* with both ends, within 1,024 descriptors */

/* One more connection, which was used and is now idle. */
static int idle_new(void)
{
    char answer[512];
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)http_server_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_true(write(fd, GET("/"), sizeof GET("/") - 1) > 0);
    while (recv(fd, answer, sizeof answer, MSG_DONTWAIT) <= 0)
        rounds(1);
    assert_memory_equal(answer, "HTTP/1.1 200", 12);
    return fd;
}

/* Ten thousand of them cost less than ten megabytes. (Where a sanitizer counts memory, it tells nothing.) */
TEST(an_idle_connection_is_small)
{
    static int fds[IDLE_FIRST + IDLE_MORE];
    START(.max_connections = IDLE_FIRST + IDLE_MORE);
    for (int i = 0; i < IDLE_FIRST; i++)
        fds[i] = idle_new();
    size_t before = mallinfo2().uordblks;
    for (int i = IDLE_FIRST; i < IDLE_FIRST + IDLE_MORE; i++)
        fds[i] = idle_new();
    size_t each = (mallinfo2().uordblks - before) / IDLE_MORE;
    assert_in_range(each, 0, 1024);
    assert_int_equal(http_server_connections(server), IDLE_FIRST + IDLE_MORE);
    for (int i = 0; i < IDLE_FIRST + IDLE_MORE; i++)
        close(fds[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DIALOGUE(stopping_answers_what_waits),
        DIALOGUE(waking_ends_the_wait),
        DIALOGUE(addresses_are_checked),
        DIALOGUE(a_unix_socket),
        DIALOGUE(ipv6),
        DIALOGUE(an_idle_connection_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
