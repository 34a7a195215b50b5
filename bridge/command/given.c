/* SPDX-License-Identifier: MIT */
/* Flags to a scheme and secrets. */
#include "bridge/command/given.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/file.h"

enum { GIVEN_SECRET_BYTES = 4096 };

static char *given_text(struct str flag)
{
    return (char *)(uintptr_t)flag.at; /* options are not written to */
}

static int given_value(const struct option_value *values, struct str flag)
{
    while (values->text && !str_eq(flag, str_of(values->text)))
        values++;
    return values->value; /* 0 at the end */
}

static enum signature given_scheme(struct str name)
{
    for (int i = SIGNATURE_UNSET + 1; i < SIGNATURE_COUNT; i++)
        if (str_eq(name, str_of(signature_name((enum signature)i))))
            return (enum signature)i;
    return SIGNATURE_STANDARD; /* v1a, or none given */
}

bool given_has_scheme(const struct given_flags *f)
{
    const struct str texts[] = {
        f->scheme,           f->header,           f->url,      f->signs, f->hash, f->encoding, f->prefix, f->separator,
        f->timestamp_header, f->timestamp_prefix, f->id_header
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].at)
            return true;
    return false;
}

static bool given_add(struct given *g, struct str text, struct err *e)
{
    if (g->secrets.count == GIVEN_SECRETS)
        return err_set(e, "there are more than %d secrets", GIVEN_SECRETS);
    g->list[g->secrets.count++].text = str_dup(text);
    return true;
}

/* Without the line break at its end. */
static bool given_add_file(struct given *g, const char *path, struct err *e)
{
    struct buf text = buf_new(GIVEN_SECRET_BYTES + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 || err_set(e, "%s: %s", path, strerror(errno));
    ok = ok && file_check_secret(fd, path, e);
    ok = ok
         && (file_read_fd(fd, GIVEN_SECRET_BYTES, &text)
             || err_set(e, "%s: %s", path, errno == EFBIG ? "is too long for a secret" : strerror(errno)));
    if (fd >= 0)
        close(fd);
    while (text.n && (text.at[text.n - 1] == '\n' || text.at[text.n - 1] == '\r'))
        text.n--;
    ok = ok && (!memchr(buf_str(&text).at, '\0', text.n) || err_set(e, "%s: holds a NUL byte", path));
    ok = ok && given_add(g, buf_str(&text), e);
    crypto_wipe_buf(&text);
    return ok;
}

bool given_open(struct given *g, const struct given_flags *f, struct err *e)
{
    *g = (struct given){ .scheme = given_scheme(f->scheme), .header = f->header.at, .url = f->url.at };
    g->secrets.at = g->list;
    g->described = (struct described){
        .signs = given_text(f->signs),
        .prefix = given_text(f->prefix),
        .separator = given_text(f->separator),
        .timestamp_header = given_text(f->timestamp_header),
        .timestamp_prefix = given_text(f->timestamp_prefix),
        .id_header = given_text(f->id_header),
        .hash = (enum hash)given_value(described_hashes, f->hash),
        .encoding = (enum notation)given_value(described_letters, f->encoding),
    };
    for (size_t i = 0; i < f->files.count; i++)
        if (!given_add_file(g, f->files.at[i], e))
            return false;
    for (size_t i = 0; i < f->variables.count; i++) {
        const char *value = getenv(f->variables.at[i]);
        if (!value || !*value)
            return err_set(e, "--secret-env: the variable %.64s is not set", f->variables.at[i]);
        if (!given_add(g, str_of(value), e))
            return false;
    }
    return true;
}

void given_close(struct given *g)
{
    for (size_t i = 0; i < GIVEN_SECRETS && g->list[i].text; i++) {
        crypto_wipe(g->list[i].text, strlen(g->list[i].text));
        free(g->list[i].text);
    }
}

/* ---- what commands say, and read ---- */

int given_say(const char *command, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "aqueduct %s: ", command);
    vfprintf(stderr, fmt, args);
    fputs(code == COMMAND_USAGE ? "; see aqueduct help " : "\n", stderr);
    if (code == COMMAND_USAGE)
        fprintf(stderr, "%s\n", command);
    va_end(args);
    return code;
}

bool given_read(const char *command, const char *path, size_t most, struct buf *out)
{
    bool in = !path || strcmp(path, "-") == 0;
    if (in ? file_read_fd(STDIN_FILENO, most, out) : file_read(path, most, out))
        return true;
    const char *why = errno == EFBIG ? "is too long" : strerror(errno);
    given_say(command, COMMAND_FAILED, "%s: %s", in ? "stdin" : path, why);
    return false;
}
