/* SPDX-License-Identifier: MIT */
/* The tests' raw client. */
#include "tests/support/client.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "tests/support/folder.h"
#include "tests/support/test.h"

static char folder[FOLDER_BYTES], path[80];

const char *client_path(void)
{
    folder_make(folder);
    snprintf(path, sizeof path, "%s/s", folder);
    return path;
}

void client_forget_path(void)
{
    if (folder[0])
        folder_remove(folder);
    folder[0] = '\0';
}

struct client client_on(int fd)
{
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return (struct client){ .fd = fd, .in = buf_new(64 << 20) };
}

struct client client_connect(const char *unix_path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    snprintf(a.sun_path, sizeof a.sun_path, "%s", unix_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return client_on(fd);
}

void client_close(struct client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    buf_free(&c->in);
}

void client_write(struct client *c, struct str bytes)
{
    assert_int_equal(send(c->fd, bytes.at, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT), (long)bytes.n);
}

bool client_read(struct client *c)
{
    size_t before = c->in.n;
    while (c->fd >= 0) {
        char *at = buf_room(&c->in, 65536);
        assert_non_null(at);
        long n = recv(c->fd, at, 65536, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            c->ended = true;
        if (n <= 0)
            return c->in.n > before;
        c->in.n += (size_t)n;
    }
    return false;
}

struct str answer_header(const struct answer *a, const char *name)
{
    struct str rest = a->head, line, key;
    while (str_cut(&rest, '\n', &line)) {
        str_cut(&line, ':', &key);
        if (line.at && str_eq_nocase(key, str_of(name)))
            return str_trim((struct str){ line.at, line.n - 1 }); /* without the CR */
    }
    return STR_ABSENT;
}

bool client_answer(const struct client *c, struct answer *out)
{
    const char *end = memmem(buf_str(&c->in).at, c->in.n, "\r\n\r\n", 4);
    if (!end)
        return false;
    *out = (struct answer){ .head = { c->in.at, (size_t)(end - c->in.at) + 2 } };
    out->status = (int)strtol(c->in.at + 9, NULL, 10);
    uint64_t length = 0;
    struct str text = answer_header(out, "Content-Length");
    if (text.at)
        assert_true(str_to_u64(text, &length));
    if (c->in.n < out->head.n + 2 + length)
        return false;
    out->body = (struct str){ end + 4, length };
    return true;
}

void client_drop(struct client *c, const struct answer *a)
{
    buf_drop(&c->in, a->head.n + 2 + a->body.n);
}
