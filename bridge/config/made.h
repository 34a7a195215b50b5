/* SPDX-License-Identifier: MIT */
/* Endpoints that are made while the bridge runs: filled and checked as an entry of `endpoints:` is, by the same rows and
 * with the same words, from a JSON object in the place of YAML. What stands beside `endpoints:` is their default, too.
 *
 * Nothing in them is replaced: who makes one may be somebody else than who wrote the configuration, and must not read
 * this machine's files and variables by it. So ${...} is refused, and so is the file of a preset. Any thread, as long as the
 * configuration lives. */
#pragma once
#include <jansson.h>
#include "bridge/config/config.h"

struct made {
    struct endpoint_config config; /* checked, not opened */
    void *arena;                   /* private: what it is made of */
};

/* NULL with problems. Beside the options, `types` may say which events in the place of `filter`: ["chat.response.generated",
 * "chat.*"]. */
struct made *made_new(const struct sink_config *s, const char *name, const json_t *options, struct problems *out);
/* The endpoint of that name as the configuration has it, once more; NULL: it has none. */
struct made *made_again(const struct sink_config *s, const char *name);
void made_free(struct made *m); /* accepts NULL */
/* Once more, as the configuration filled it, not opened; of m's memory. */
struct sink *made_sink(struct made *m, const struct sink_config *s);
/* An endpoint of which only the core's options are filled, as far as they are right, and which cannot be opened. */
struct made *made_held(const struct sink_config *s, const char *name, const json_t *core);
/* Adds a problem at that endpoint's place. */
void made_refuse(const struct sink_config *s, const char *name, const char *why, struct problems *out);
/* Where the configuration has it: "bridge.yaml:12"; "": it has none of that name. */
enum { MADE_WHERE = 512 };
const char *made_where(const struct sink_config *s, const char *name, char out[MADE_WHERE]);
/* What it says of that endpoint, as JSON in which every scalar is a text, secrets and all; NULL: it has none of that name. The
 * caller's reference. */
json_t *made_said(const struct sink_config *s, const char *name);
bool made_duration(const char *text, struct duration *out); /* as the configuration reads one */
