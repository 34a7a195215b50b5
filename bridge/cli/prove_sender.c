/* SPDX-License-Identifier: MIT */
/* Sends events, each until it is acknowledged, whatever becomes of the connection. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "bridge/cli/prove_private.h"
#include "bridge/lib/mem.h"

enum { SENDER_TEXT = 1024, SENDER_ANSWER = 4096, SENDER_WAIT_S = 10, SENDER_AGAIN_MS = 10 };

static int sender_connect(const char *path)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    struct timeval wait = { .tv_sec = SENDER_WAIT_S };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

static size_t sender_write(const struct prove_books *b, int64_t n, char out[SENDER_TEXT])
{
    char body[SENDER_TEXT / 2];
    int size = snprintf(body, sizeof body,
                        "{\"specversion\":\"1.0\",\"id\":\"%lld\",\"source\":\"/prove\",\"type\":\"prove.event\","
                        "\"subject\":\"k%lld\",\"data\":{\"n\":%lld}}",
                        (long long)n, (long long)(n % 16), (long long)n);
    int all = snprintf(out, SENDER_TEXT,
                       "POST /prove HTTP/1.1\r\nHost: prove\r\nAuthorization: Bearer %s\r\n"
                       "Content-Type: application/cloudevents+json\r\nContent-Length: %d\r\n\r\n%s",
                       b->token, size, body);
    CHECK(all > 0 && all < SENDER_TEXT);
    return (size_t)all;
}

/* Is the answer whole? Its head, and as much behind it as that says. */
static bool sender_is_whole(const char *text, size_t have)
{
    static const char name[] = "\r\nContent-Length: ";
    const char *end = strstr(text, "\r\n\r\n"), *length = strcasestr(text, name);
    struct str digits = length ? str_of(length + sizeof name - 1) : STR_ABSENT, number;
    uint64_t body = 0;
    return end
           && (!str_cut(&digits, '\r', &number)
               || (str_to_u64(number, &body) && have >= (size_t)(end + 4 - text) + body));
}

/* Reads one answer, whose body is a short text. Was it "stored"? */
static bool sender_answered(int fd)
{
    char text[SENDER_ANSWER] = "";
    size_t have = 0;
    while (!sender_is_whole(text, have)) {
        ssize_t n = have < sizeof text - 1 ? read(fd, text + have, sizeof text - 1 - have) : 0;
        if (n <= 0)
            return false;
        have += (size_t)n;
        text[have] = '\0';
    }
    return str_starts(str_of(text), STR("HTTP/1.1 2"));
}

static bool sender_post(int fd, const char *text, size_t n)
{
    size_t sent = 0;
    while (sent < n) {
        ssize_t some = send(fd, text + sent, n - sent, MSG_NOSIGNAL);
        if (some <= 0)
            return false;
        sent += (size_t)some;
    }
    return sender_answered(fd);
}

static void *sender_run(void *arg)
{
    struct prove_senders *s = arg;
    char text[SENDER_TEXT];
    int64_t n = -1;
    size_t size = 0;
    int fd = -1;
    while (!atomic_load(&s->stop)) {
        if (n < 0 && (n = prove_books_next(s->books)) >= 0)
            size = sender_write(s->books, n, text);
        fd = fd < 0 ? sender_connect(s->books->socket) : fd;
        if (n >= 0 && fd >= 0 && sender_post(fd, text, size)) {
            prove_books_acknowledged(s->books, n);
            n = -1;
            continue;
        }
        if (fd >= 0)
            close(fd);
        fd = -1;
        poll(NULL, 0, SENDER_AGAIN_MS);
    }
    if (fd >= 0)
        close(fd);
    return NULL;
}

void prove_senders_start(struct prove_senders *s)
{
    while (s->count < PROVE_SENDERS && pthread_create(&s->threads[s->count], NULL, sender_run, s) == 0)
        s->count++;
    CHECK(s->count > 0);
}

void prove_senders_stop(struct prove_senders *s)
{
    atomic_store(&s->stop, true);
    for (size_t i = 0; i < s->count; i++)
        pthread_join(s->threads[i], NULL);
    s->count = 0;
}
