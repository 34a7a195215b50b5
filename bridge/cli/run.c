/* SPDX-License-Identifier: MIT */
/* `aqueduct run`: the bridge itself. */
#include "bridge/bridge.h"
#include "bridge/cli/commands.h"

struct run_flags {
    bool dry_run;
};

static const struct flag run_flags[] = {
    FLAG(struct run_flags, dry_run, .name = "--dry-run",
         .doc = "print events (one JSON line each) instead of publishing them"),
    { 0 },
};

static const char run_notes[] =
    "A dry run opens the sources as a first start does (start: now or snapshot), but neither broker nor sinks nor admin\n"
    "listener; it reads and stores no position, so it may stand beside a running daemon, unless there is an http source: it\n"
    "listens at the same address, which the daemon has (listen:). Whoever sends to an http source gets 503, as nothing is\n"
    "stored.\n";

static int run_bridge(struct command_call *call)
{
    const struct run_flags *flags = call->flags;
    const struct bridge_files files = { call->connectors, (const char *const *)call->files.at, call->files.count };
    return flags->dry_run ? bridge_dry_run(call->config) : bridge_main(call->config, &files);
}

const struct command command_run = {
    .name = "run",
    .synopsis = "[-c FILE]... [--dry-run]",
    .doc = "Run the bridge until SIGTERM or Ctrl-C.",
    .notes = run_notes,
    .flags = run_flags,
    .size = sizeof(struct run_flags),
    .config = true,
    .run = run_bridge,
};
