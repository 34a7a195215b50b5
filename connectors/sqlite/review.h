/* SPDX-License-Identifier: MIT */
/* For `aqueduct check`, on a copy of the source with its rules made: what of them does not fit the database that is
 * there. */
#pragma once
#include "connectors/sqlite/sqlite.h"

struct review_how {
    fault_fn *wrong, *doubtful;
    void *ctx;
    const struct trial *trial; /* NULL: of its own file, where what is not there may come with another version */
};
/* Opens the database as it is, read-only and leaving nothing beside it. DB_GONE with *refused: it is none, or may not
 * be read. */
enum db review_open(struct sqlite_source *s, bool *refused, struct err *e);
void review_rules(struct sqlite_source *s, const struct review_how *how);
