/* SPDX-License-Identifier: MIT */
/* The tables of all connectors; only main() and tests include this. */
#pragma once
#include "bridge/connector.h"

extern const struct connectors connectors;
