/* SPDX-License-Identifier: MIT */
/* `aqueduct console`: a link that logs a browser in, once. */
#include <stdio.h>
#include "bridge/cli/ask.h"
#include "bridge/cli/commands.h"
#include "bridge/cli/usage.h"
#include "bridge/lib/json.h"

static int console_run(struct command_call *call)
{
    struct err e = { "" };
    json_t *j = ask_running(call, (struct command_question){ .method = "POST", .path = "/api/v1/login-link" }, &e);
    if (!j)
        return usage_failed("console", &e);
    printf("%s\n", json_text(j, "url"));
    fputs("The link logs one browser in, once, within five minutes.\n", stderr);
    json_decref(j);
    return COMMAND_DONE;
}

const struct command command_console = {
    .name = "console",
    .synopsis = "[-c FILE]...",
    .doc = "Print a link to the console of the running daemon that logs a browser in as an operator, once.",
    .config = true,
    .sinks = "",
    .run = console_run,
};
