/* SPDX-License-Identifier: MIT */
/* What a token says, once its signature is verified: does that suffice? Immutable once it is made: any thread. */
#pragma once
#include <jansson.h>
#include "bridge/verify/jwt_options.h"

struct jwt_claims; /* what is demanded */
struct jwt_claims *jwt_claims_new(const struct jwt_options *o, struct err *e);
void jwt_claims_free(struct jwt_claims *c); /* accepts NULL */
/* A claim by its name, or by a JSON pointer; NULL: there is none. */
const json_t *jwt_claims_find(const json_t *claims, const char *name);
/* JWT_GOOD, or JWT_STALE, JWT_FOREIGN or JWT_MALFORMED with *why. */
enum jwt_verdict jwt_claims_check(const struct jwt_claims *c, const json_t *claims, double now_s, const char **why);
