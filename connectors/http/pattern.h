/* SPDX-License-Identifier: MIT */
/* Paths with parameters: in /v1/kotaemon/{event} the last segment of a request's path is the value of `event`.
 *
 * A parameter is one whole segment. Its value is percent-decoded and has 1 to PATTERN_VALUE letters, digits, '.', '_' and
 * '-', but is neither "." nor ".."; what has another segment there does not match. Any thread. */
#pragma once
#include "bridge/lib/err.h"
#include "bridge/lib/str.h"

enum { PATTERN_VALUE = 128, PATTERN_NAME = 32, PATTERN_MOST = 8 };

bool pattern_is(const char *path); /* has it a parameter? */
bool pattern_check(const char *path, struct err *e);
/* Is a segment written as other programs write a parameter (:shop, <shop>)? Then *e says how it is written here. */
bool pattern_is_mistaken(const char *path, struct err *e);
bool pattern_matches(struct str pattern, struct str path);
/* Is there a path that both match? */
bool pattern_overlaps(const char *a, const char *b);
bool pattern_has(const char *pattern, const char *name);
/* The parameter of a path that matches, in `out`; absent: it has none of that name. */
struct str pattern_value(struct str pattern, struct str path, const char *name, char out[PATTERN_VALUE]);
/* Of a segment of a pattern: the parameter's name, or absent. */
struct str pattern_name(struct str segment);
