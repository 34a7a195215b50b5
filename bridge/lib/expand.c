/* SPDX-License-Identifier: MIT */
/* Replaces variables and files in a text. */
#include "bridge/lib/expand.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/lib/file.h"

bool expand_is_variable(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.at[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return s.n > 0;
}

/* What is no regular file, such as a named pipe, gives what it has just now, and that may be nothing. */
static bool expand_is_dry(int fd, bool read, size_t bytes)
{
    struct stat st;
    bool nothing = read ? bytes == 0 : errno == EAGAIN;
    return nothing && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode);
}

/* Appends a secret's file to out, without the line break that an editor put at its end. */
static bool expand_fd(int fd, const char *path, struct buf *out, struct err *e)
{
    size_t start = out->n;
    bool read = file_read_fd(fd, EXPAND_FILE_BYTES, out);
    if (expand_is_dry(fd, read, out->n - start))
        return err_set(e, "file %s is no regular file but %s, and nothing came from it", path, file_kind(fd));
    if (!read)
        return errno == EFBIG ? err_set(e, "file %s is longer than %d KiB", path, EXPAND_FILE_BYTES >> 10)
                              : err_set(e, "cannot read file %s: %s", path, strerror(errno));
    if (out->n > start && memchr(out->at + start, '\0', out->n - start))
        return err_set(e, "file %s contains a NUL byte", path);
    if (out->n > start && out->at[out->n - 1] == '\n')
        out->n--;
    if (out->n > start && out->at[out->n - 1] == '\r')
        out->n--;
    return true;
}

static bool expand_file(struct str name, struct buf *out, struct err *exposed, struct err *e)
{
    char path[1024];
    if (name.n == 0 || name.n >= sizeof path || memchr(name.at, '\0', name.n))
        return err_set(e, "${file:...} names no file");
    snprintf(path, sizeof path, "%.*s", STR_ARG(name));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait for ever */
    if (fd < 0)
        return err_set(e, "cannot read file %s: %s", path, strerror(errno));
    file_check_secret(fd, path, exposed);
    bool ok = expand_fd(fd, path, out, e);
    close(fd);
    return ok;
}

/* A default is plain text: what looks like more would become the value as it stands. */
static bool expand_check_default(struct str name, struct str text, struct err *e)
{
    if (memchr(text.at, '{', text.n))
        return err_set(e, "the default of ${%.*s:-...} holds a {, but it ends at the first }", STR_ARG(name));
    if (text.n > 1 && text.at[0] == '$' && expand_is_variable((struct str){ text.at + 1, text.n - 1 }))
        return err_set(e, "the default of ${%.*s:-...} is a variable, but a default is plain text: write ${%.*s} alone",
                       STR_ARG(name), (int)text.n - 1, text.at + 1);
    for (size_t i = 0; i + 1 < text.n; i++)
        if (text.at[i] == '$' && (text.at[i + 1] == '(' || expand_is_variable((struct str){ text.at + i + 1, 1 })))
            return err_set(e,
                           "the default of ${%.*s:-...} holds $ and a name, but a default is plain text and nothing in "
                           "it is replaced: leave the default away, or put ${NAME} behind the }",
                           STR_ARG(name));
    return true;
}

static bool expand_variable(struct str inside, struct buf *out, struct err *e)
{
    const char *dash = memmem(inside.at, inside.n, ":-", 2);
    struct str name = { inside.at, dash ? (size_t)(dash - inside.at) : inside.n };
    char c_name[256];
    if (!expand_is_variable(name) || name.n >= sizeof c_name)
        return err_set(
            e,
            "${ begins a variable: write ${NAME}, ${NAME:-default} or ${file:/path}, or $${ for the characters themselves");
    snprintf(c_name, sizeof c_name, "%.*s", STR_ARG(name));
    struct str otherwise = dash ? (struct str){ dash + 2, (size_t)(inside.at + inside.n - dash - 2) } : STR_ABSENT;
    if (dash && !expand_check_default(name, otherwise, e))
        return false;
    const char *value = getenv(c_name);
    if (dash && (!value || !*value)) {
        buf_add(out, otherwise.at, otherwise.n);
        return true;
    }
    if (!value)
        return err_set(e, "the environment variable %s is not set (${%s:-default} gives it a default)", c_name, c_name);
    buf_add_c(out, value);
    return true;
}

static bool expand_one(struct str inside, struct buf *out, struct err *exposed, struct err *e)
{
    if (memmem(inside.at, inside.n, "${", 2))
        return err_set(e,
                       "${ within ${...}: close the first one; its default is plain text, nothing in it is expanded");
    if (str_starts(inside, STR("file:")))
        return expand_file((struct str){ inside.at + 5, inside.n - 5 }, out, exposed, e);
    return expand_variable(inside, out, e);
}

bool expand_text(struct str in, struct buf *out, struct err *exposed, struct err *e)
{
    for (size_t i = 0; i < in.n;) {
        struct str rest = { in.at + i, in.n - i };
        if (str_starts(rest, STR("$${"))) {
            buf_add_c(out, "${");
            i += 3;
        } else if (str_starts(rest, STR("${"))) {
            const char *end = memchr(rest.at, '}', rest.n);
            if (!end)
                return err_set(e, "${ without }: write ${NAME}, or $${ for the characters themselves");
            if (!expand_one((struct str){ rest.at + 2, (size_t)(end - rest.at) - 2 }, out, exposed, e))
                return false;
            i = (size_t)(end - in.at) + 1;
        } else {
            buf_add_char(out, in.at[i++]);
        }
    }
    return out->failed ? err_set(e, "is longer than %zu bytes once expanded", out->max) : true;
}

bool expand_next_file(struct str *rest, struct str *path)
{
    for (size_t i = 0; i < rest->n; i++) {
        struct str here = str_from(*rest, i);
        if (str_starts(here, STR("$${")))
            i += 2;
        else if (str_starts(here, STR("${file:"))) {
            here = str_from(here, 7);
            bool closed = str_cut(&here, '}', path) && here.at;
            *rest = here;
            return closed;
        }
    }
    return false;
}
