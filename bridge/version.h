/* SPDX-License-Identifier: MIT */
/* Versions of the configuration: each one that was loaded, with its connectors' structs as it filled them.
 *
 * A connector is opened with nothing but its options in its struct, so before it is opened once more they are put back.
 * After a reload what stays as it is goes on with the memory of its own version: a version is freed when nothing of it is
 * used any more. Main thread; version_unpin: any. */
#pragma once
#include <stdatomic.h>
#include "bridge/config/config.h"

struct version {
    struct version *next; /* the one before it */
    struct config *config;
    bool owned; /* it is freed with the version */
    struct fresh *fresh;
    size_t count;
    atomic_size_t pins;
};

struct version *version_new(struct config *config, bool owned); /* no connector was opened yet */
void version_free(struct version *v);                           /* accepts NULL */
void version_restore(struct version *v, const void *connector); /* it is not open; NULL: all of them */
bool version_has(const struct version *v, const void *connector);
/* The connector's struct as it was filled, in any of the versions. */
const void *version_filled(const struct version *newest, const void *connector);
/* Endpoints of it, or its broker's section, are used beyond what its configuration says. */
void version_pin(struct version *v);
void version_unpin(void *version);
