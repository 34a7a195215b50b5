/* SPDX-License-Identifier: MIT */
/* How a function says why it failed: text that names the object and the cause, for a person. */
#pragma once
#include <stdbool.h>

struct err {
    char text[512];
};

/* Room for a reason that travels with an outcome, for a person: the cause first, because what is longer is cut. */
enum { WHY_BYTES = 256 };

/* Formats into e (which may be NULL) and returns false, so that `return err_set(e, ...)` fails a function.
 * Text that does not fit is cut. Never put a secret in it. */
bool err_set(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts "prefix: " before the text that is there; returns false. */
bool err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Copies a reason, as much of it as there is room for; NULL becomes "". */
void why_copy(char out[WHY_BYTES], const char *text);
