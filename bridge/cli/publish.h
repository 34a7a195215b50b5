/* SPDX-License-Identifier: MIT */
/* One record from a process that is not the daemon (`aqueduct dead redrive`). */
#pragma once
#include "bridge/config/config.h"

/* Publishes one record durably: with the local broker through the running daemon, which owns the log, or on the log
 * itself when no daemon runs; with Kafka directly. Waits until it is stored, or false. */
bool publish_once(const struct config *config, const struct record *r, struct err *e);
