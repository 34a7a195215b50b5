/* SPDX-License-Identifier: MIT */
/* The process: hands the connectors to the command line. */
#include "bridge/cli/cli.h"
#include "connectors/connectors.h"

int main(int argc, char **argv)
{
    return cli_main(&connectors, argc, argv);
}
