/* SPDX-License-Identifier: MIT */
/* Texts of a path's options that are taken as they stand, and were probably meant as templates: {body.id}, body.id. Any
 * thread. */
#pragma once
#include "connectors/http/path_options.h"

/* False with *e: what is never meant, or never anything else than a mistake. */
bool slip_check(const struct path_options *o, struct err *e);
/* Gives `each` what could be meant ("subject: ..."). */
void slip_doubts(const struct path_options *o, void (*each)(void *ctx, const char *text), void *ctx);
