/* SPDX-License-Identifier: MIT */
/* `aqueduct run`: the bridge itself. */
#include "bridge/bridge.h"
#include "bridge/cli/commands.h"

static int run_bridge(struct command_call *call)
{
    return bridge_main(call->config);
}

const struct command command_run = {
    .name = "run",
    .synopsis = "[-c FILE]...",
    .doc = "Run the bridge until SIGTERM or Ctrl-C.",
    .config = true,
    .run = run_bridge,
};
