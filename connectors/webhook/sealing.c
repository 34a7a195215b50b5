/* SPDX-License-Identifier: MIT */
/* Flags to scheme, header and secrets. */
#include "connectors/webhook/sealing.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/connector.h"
#include "bridge/lib/file.h"
#include "connectors/webhook/endpoint.h"

enum { SEALING_SECRET_BYTES = 4096 };

int sealing_say(const char *command, int code, const char *fmt, ...)
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

bool sealing_read(const char *command, const char *path, size_t most, struct buf *out)
{
    bool in = !path || strcmp(path, "-") == 0;
    if (in ? file_read_fd(STDIN_FILENO, most, out) : file_read(path, most, out))
        return true;
    const char *why = errno == EFBIG ? "is too long" : strerror(errno);
    sealing_say(command, COMMAND_FAILED, "%s: %s", in ? "stdin" : path, why);
    return false;
}

bool sealing_needs_config(const void *flags)
{
    return ((const struct sealing_flags *)flags)->sink.at != NULL;
}

/* ---- secrets ---- */

static bool sealing_add(struct sealing *s, struct str text, struct err *e)
{
    if (s->secrets.count == SEALING_SECRETS)
        return err_set(e, "there are more than %d secrets", SEALING_SECRETS);
    s->list[s->secrets.count++].text = str_dup(text);
    return true;
}

/* Without the line break at its end. */
static bool sealing_add_file(struct sealing *s, const char *path, struct err *e)
{
    struct buf text = buf_new(SEALING_SECRET_BYTES + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 || err_set(e, "%s: %s", path, strerror(errno));
    ok = ok && file_check_secret(fd, path, e);
    ok = ok
         && (file_read_fd(fd, SEALING_SECRET_BYTES, &text)
             || err_set(e, "%s: %s", path, errno == EFBIG ? "is too long for a secret" : strerror(errno)));
    if (fd >= 0)
        close(fd);
    while (text.n && (text.at[text.n - 1] == '\n' || text.at[text.n - 1] == '\r'))
        text.n--;
    ok = ok && (!memchr(buf_str(&text).at, '\0', text.n) || err_set(e, "%s: holds a NUL byte", path));
    ok = ok && sealing_add(s, buf_str(&text), e);
    if (text.at)
        crypto_wipe(text.at, text.cap);
    buf_free(&text);
    return ok;
}

static bool sealing_add_all(struct sealing *s, const struct sealing_flags *f, struct err *e)
{
    for (size_t i = 0; i < f->files.count; i++)
        if (!sealing_add_file(s, f->files.at[i], e))
            return false;
    for (size_t i = 0; i < f->variables.count; i++) {
        const char *value = getenv(f->variables.at[i]);
        if (!value || !*value)
            return err_set(e, "--secret-env: the variable %.64s is not set", f->variables.at[i]);
        if (!sealing_add(s, str_of(value), e))
            return false;
    }
    return true;
}

void sealing_close(struct sealing *s)
{
    free(s->header);
    for (size_t i = 0; i < SEALING_SECRETS && s->list[i].text; i++) {
        crypto_wipe(s->list[i].text, strlen(s->list[i].text));
        free(s->list[i].text);
    }
}

/* ---- from the configuration ---- */

extern const struct sink_ops webhook_sink;

static const struct webhook_endpoint *sealing_find(const struct sealing_flags *f, const struct command_call *call,
                                                   struct err *e)
{
    size_t i = 0;
    while (i < call->sink_count
           && !(call->sinks[i]->ops == &webhook_sink && str_eq(f->sink, str_of(call->sinks[i]->id))))
        i++;
    const struct command_names *names = i < call->sink_count ? &call->names[i] : NULL;
    if (!names)
        err_set(e, "the configuration has no webhook sink named %.*s", STR_ARG(f->sink));
    else if (!names->endpoints.count && !f->endpoint.at)
        return (const struct webhook_endpoint *)call->sinks[i]->endpoint;
    else if (!names->endpoints.count)
        err_set(e, "sink %.*s has no endpoints: leave --endpoint away", STR_ARG(f->sink));
    else if (!f->endpoint.at)
        err_set(e, "sink %.*s has several endpoints: choose one by --endpoint", STR_ARG(f->sink));
    else
        err_set(e, "sink %.*s has no endpoint named %.*s", STR_ARG(f->sink), STR_ARG(f->endpoint));
    for (size_t j = 0; names && f->endpoint.at && j < names->endpoints.count; j++)
        if (str_eq(f->endpoint, str_of(names->endpoints.at[j])))
            return (const struct webhook_endpoint *)names->receivers[j];
    return NULL;
}

static bool sealing_take_sink(struct sealing *s, const struct sealing_flags *f, const struct command_call *call,
                              struct err *e)
{
    const struct webhook_endpoint *ep = sealing_find(f, call, e);
    if (!ep)
        return false;
    if (ep->unsigned_)
        return err_set(e, "this receiver gets unsigned requests (`unsigned: true`)");
    s->options = ep->signature;
    s->secrets = ep->secrets;
    return true;
}

static enum signature sealing_scheme(struct str name)
{
    for (int i = SIGNATURE_UNSET + 1; i < SIGNATURE_COUNT; i++)
        if (str_eq(name, str_of(signature_name((enum signature)i))))
            return (enum signature)i;
    return SIGNATURE_STANDARD; /* v1a, or none given */
}

int sealing_open(struct sealing *s, const char *command, const struct sealing_flags *f, const struct command_call *call)
{
    struct err e;
    *s = (struct sealing){ .options.scheme = sealing_scheme(f->scheme), .secrets.at = s->list };
    bool own = f->scheme.at || f->header.at || f->files.count || f->variables.count;
    if (f->sink.at && own)
        return sealing_say(command, COMMAND_USAGE, "--sink has its scheme, header and secrets in the configuration");
    if (!f->sink.at && f->endpoint.at)
        return sealing_say(command, COMMAND_USAGE, "--endpoint goes with --sink");
    if (!f->sink.at && !f->files.count && !f->variables.count)
        return sealing_say(command, COMMAND_USAGE,
                           "with whose key? --sink NAME, --secret-file FILE or --secret-env NAME");
    if (f->header.at)
        s->options.header = s->header = str_dup(f->header);
    if (f->sink.at ? sealing_take_sink(s, f, call, &e) : sealing_add_all(s, f, &e))
        return COMMAND_DONE;
    return sealing_say(command, COMMAND_FAILED, "%s", e.text);
}
