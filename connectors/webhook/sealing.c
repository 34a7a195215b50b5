/* SPDX-License-Identifier: MIT */
/* Flags to scheme, header and secrets. */
#include "connectors/webhook/sealing.h"
#include <stdlib.h>
#include "bridge/connector.h"
#include "bridge/lib/mem.h"
#include "connectors/webhook/endpoint.h"

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

static void sealing_unknown(const struct sealing_flags *f, const struct command_call *call, struct err *e)
{
    const char **names = mem_alloc((call->sink_count + 1) * sizeof *names);
    size_t n = 0;
    for (size_t i = 0; i < call->sink_count; i++)
        if (call->sinks[i]->ops == &webhook_sink)
            names[n++] = call->sinks[i]->id;
    const char *near = str_nearest(f->sink, names);
    err_set(e, "the configuration has no webhook sink named %.*s%s%s%s", STR_ARG(f->sink),
            near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    free(names);
}

static const struct webhook_endpoint *sealing_find(const struct sealing_flags *f, const struct command_call *call,
                                                   struct err *e)
{
    size_t i = 0;
    while (i < call->sink_count
           && !(call->sinks[i]->ops == &webhook_sink && str_eq(f->sink, str_of(call->sinks[i]->id))))
        i++;
    const struct command_names *names = i < call->sink_count ? &call->names[i] : NULL;
    if (!names)
        sealing_unknown(f, call, e);
    else if (!names->endpoints.count && !names->many && !f->endpoint.at)
        return (const struct webhook_endpoint *)call->sinks[i]->endpoint;
    else if (!names->endpoints.count && !names->many)
        err_set(e, "sink %.*s has no endpoints: leave --endpoint away", STR_ARG(f->sink));
    else if (!f->endpoint.at)
        err_set(e, "sink %.*s has several endpoints: choose one by --endpoint", STR_ARG(f->sink));
    else
        err_set(e, "sink %.*s has no endpoint named %.*s", STR_ARG(f->sink), STR_ARG(f->endpoint));
    for (size_t j = 0; names && f->endpoint.at && j < names->endpoints.count; j++) {
        if (!str_eq(f->endpoint, str_of(names->endpoints.at[j])))
            continue;
        if (names->receivers[j])
            return (const struct webhook_endpoint *)names->receivers[j];
        err_set(e, "endpoint %.*s was made at run time, so its secret is not in the configuration: --secret-file",
                STR_ARG(f->endpoint));
    }
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
        return given_say(command, COMMAND_USAGE, "--sink has its scheme, header and secrets in the configuration");
    if (!f->sink.at && f->endpoint.at)
        return given_say(command, COMMAND_USAGE, "--endpoint goes with --sink");
    if (!f->sink.at && !secrets)
        return given_say(command, COMMAND_USAGE,
                         "with whose key? --sink NAME, --secret-file FILE or --secret-env NAME");
    if (given_open(&s->given, g, &e) && (f->sink.at ? sealing_take_sink(s, f, call, &e) : sealing_take_flags(s, &e)))
        return COMMAND_DONE;
    return given_say(command, COMMAND_FAILED, "%s", e.text);
}
