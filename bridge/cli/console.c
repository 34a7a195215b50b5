/* SPDX-License-Identifier: MIT */
/* `aqueduct console`: a link that logs a browser in, once. */
#include <jansson.h>
#include <stdio.h>
#include "bridge/admin/control_client.h"
#include "bridge/cli/commands.h"
#include "bridge/cli/usage.h"
#include "bridge/config/config.h"
#include "bridge/lib/json.h"

enum { CONSOLE_BYTES = 64 << 10 };

static int console_run(struct command_call *call)
{
    struct err e = { "" };
    struct buf out = buf_new(CONSOLE_BYTES);
    long status = 0;
    bool nobody = false;
    const struct control_call ask = { .method = "POST", .path = "/api/v1/login-link" };
    bool answered = control_call(call->config, &ask, &status, &out, &nobody, &e);
    json_t *j = answered ? json_loadb(buf_str(&out).at, out.n, 0, NULL) : NULL;
    int code = COMMAND_FAILED;
    if (status == 201 && *json_text(j, "url")) {
        printf("%s\n", json_text(j, "url"));
        fputs("The link logs one browser in, once, within five minutes.\n", stderr);
        code = COMMAND_DONE;
    } else {
        if (nobody)
            err_prefix(&e, "no daemon runs with this configuration (aqueduct run starts one)");
        else if (answered)
            err_set(&e, "%s", *json_text(j, "detail") ? json_text(j, "detail") : "the daemon gave no link");
        usage_failed("console", &e);
    }
    json_decref(j);
    buf_free(&out);
    return code;
}

const struct command command_console = {
    .name = "console",
    .synopsis = "[-c FILE]...",
    .doc = "Print a link to the console of the running daemon that logs a browser in as an operator, once.",
    .config = true,
    .sinks = "",
    .run = console_run,
};
