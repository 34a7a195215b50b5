/* SPDX-License-Identifier: MIT */
/* Flags to scheme, header and secrets. */
#include "connectors/webhook/sealing.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/connector.h"
#include "bridge/lib/file.h"
#include "connectors/webhook/endpoint.h"

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

void sealing_close(struct sealing *s)
{
    given_close(&s->given);
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

/* Those of the flags; they are checked like a sink's. */
static bool sealing_take_flags(struct sealing *s, struct err *e)
{
    struct signature_style own;
    s->options.scheme = s->given.scheme;
    s->options.header = (char *)(uintptr_t)s->given.header; /* options are not written to */
    s->options.described = s->given.described;
    s->secrets = s->given.secrets;
    return described_style(s->options.scheme, &s->options.described, &own, e) != NULL;
}

int sealing_open(struct sealing *s, const char *command, const struct sealing_flags *f, const struct command_call *call)
{
    struct err e;
    const struct given_flags *g = &f->given;
    *s = (struct sealing){ 0 };
    bool secrets = g->files.count || g->variables.count;
    if (f->sink.at && (secrets || given_has_scheme(g)))
        return sealing_say(command, COMMAND_USAGE, "--sink has its scheme, header and secrets in the configuration");
    if (!f->sink.at && f->endpoint.at)
        return sealing_say(command, COMMAND_USAGE, "--endpoint goes with --sink");
    if (!f->sink.at && !secrets)
        return sealing_say(command, COMMAND_USAGE,
                           "with whose key? --sink NAME, --secret-file FILE or --secret-env NAME");
    if (given_open(&s->given, g, &e) && (f->sink.at ? sealing_take_sink(s, f, call, &e) : sealing_take_flags(s, &e)))
        return COMMAND_DONE;
    return sealing_say(command, COMMAND_FAILED, "%s", e.text);
}
