/* SPDX-License-Identifier: MIT */
/* Looks names up in the configuration and in the file. */
#include "connectors/dead_letter/names.h"
#include <stdio.h>
#include "bridge/connector.h"
#include "connectors/dead_letter/print.h"

enum { NAMES_NEAR = 1000 }; /* most that a wrong one is compared with */

/* Does the i-th sink have this name now, or had it? */
static bool names_is_sink(const struct command_call *call, size_t i, struct str name)
{
    return str_eq(name, str_of(call->sinks[i]->id)) || strings_have(&call->names[i].formerly, name);
}

static bool names_is_source(const struct command_call *call, struct str name)
{
    for (size_t i = 0; call->sources[i]; i++)
        if (str_eq(name, str_of(call->sources[i])))
            return true;
    return false;
}

/* Does a sink of that name (absent: any) have the endpoint (absent: it need not)? */
static bool names_configured(const struct command_call *call, struct str sink, struct str endpoint)
{
    for (size_t i = 0; i < call->sink_count; i++)
        if ((!sink.at || names_is_sink(call, i, sink))
            && (!endpoint.at || strings_have(&call->names[i].endpoints, endpoint)))
            return true;
    return false;
}

static void names_say(const char *what, struct str of, const char *has, struct str name, const char *const *names)
{
    const char *near = str_nearest(name, names);
    fprintf(stderr, "aqueduct dead: %s", what);
    print_clean(of, 0, stderr);
    fputs(has, stderr);
    print_clean(name, 0, stderr);
    fprintf(stderr, "%s%s%s; see aqueduct help dead\n", near ? " (did you mean " : "", near ? near : "",
            near ? "?)" : "");
}

static void names_say_owner(const struct command_call *call, struct str owner)
{
    const char *names[NAMES_NEAR + 1] = { 0 };
    size_t count = 0;
    for (size_t i = 0; i < call->sink_count && count < NAMES_NEAR; i++)
        names[count++] = call->sinks[i]->id;
    for (size_t i = 0; call->sources[i] && count < NAMES_NEAR; i++)
        names[count++] = call->sources[i];
    names_say("--sink: there is no sink or source named ", STR(""), "", owner, names);
}

static void names_say_endpoint(const struct command_call *call, struct str sink, struct str endpoint)
{
    const char *names[NAMES_NEAR + 1] = { 0 };
    size_t count = 0;
    for (size_t i = 0; i < call->sink_count; i++)
        for (size_t j = 0; j < call->names[i].endpoints.count && count < NAMES_NEAR; j++)
            if (!sink.at || names_is_sink(call, i, sink))
                names[count++] = call->names[i].endpoints.at[j];
    if (sink.at)
        names_say("--endpoint: the sink ", sink, " has no endpoint named ", endpoint, names);
    else
        names_say("--endpoint: no sink has an endpoint named ", STR(""), "", endpoint, names);
}

bool names_known(struct filing *f, struct str sink, struct str endpoint)
{
    const struct command_call *call = f->call;
    if (sink.at && !names_configured(call, sink, STR_ABSENT) && !names_is_source(call, sink)
        && !filing_has(f, sink, STR_ABSENT)) {
        names_say_owner(call, sink);
        return false;
    }
    if (endpoint.at && !names_configured(call, sink, endpoint) && !filing_has(f, sink, endpoint)) {
        names_say_endpoint(call, sink, endpoint);
        return false;
    }
    return true;
}

bool names_reachable(const struct command_call *call, const struct letter *l, struct err *e)
{
    if (!names_configured(call, l->owner, STR_ABSENT))
        return err_set(
            e,
            "there is no sink %.*s in this configuration; put it back, name it in formerly: of the sink that takes its "
            "place, or say --to another",
            STR_ARG(l->owner));
    if (l->endpoint.at && !names_configured(call, l->owner, l->endpoint))
        return err_set(
            e,
            "the sink %.*s has no endpoint %.*s in this configuration, or none that a running daemon tells of; put it back, or say --to another",
            STR_ARG(l->owner), STR_ARG(l->endpoint));
    return true;
}
