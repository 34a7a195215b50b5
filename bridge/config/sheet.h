/* SPDX-License-Identifier: MIT */
/* A YAML file of a command's own, read by rows as the configuration is: unknown keys, wrong values and all else that is wrong
 * are problems with their line, and variables are replaced. What was read remembers where it stood. Main thread. */
#pragma once
#include <jansson.h>
#include "bridge/config/config.h"

struct sheet;
/* NULL with problems. `size`: of the struct that the rows fill. */
struct sheet *sheet_load(const char *file, const struct option *rows, size_t size, struct problems *out);
void sheet_free(struct sheet *r); /* accepts NULL */
const void *sheet_object(const struct sheet *r);
/* Where "cases[2].requests[0].body.data" stands, or what of it is there; from 1. */
void sheet_place(const struct sheet *r, const char *path, int *line, int *column);
bool sheet_have(const struct sheet *r, const char *path);
/* JSON Schema of such a file. */
void sheet_schema(const char *title, const struct option *rows, FILE *out);
