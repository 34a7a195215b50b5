/* SPDX-License-Identifier: MIT */
/* A connector as the core gives it to its tests: filled from YAML, opened, closed. */
#pragma once
#include "bridge/config/config.h"
#include "bridge/connector.h"

/* Fills a zeroed struct from the text of a file, as the configuration does; strings live until exit. */
bool options_read(const char *file, struct str yaml, const struct option *rows, void *obj, struct problems *out);
/* What is wrong with the options, free() it; NULL: nothing, and `obj` is filled. */
char *options_problem(const struct option *rows, void *obj, const char *yaml);
/* Fills options that must be good. */
void options_fill(const struct option *rows, void *obj, const char *yaml);

/* A filled connector that is not open yet; free() or sink_free() it. A sink has no topics unless the test gives it some;
 * the options of its only endpoint, if it knows endpoints, stand in the same text. */
struct source *source_filled(const struct source_ops *ops, const char *id, const char *yaml);
struct sink *sink_filled(const struct sink_ops *ops, const char *id, const char *yaml);
void sink_free(struct sink *s);
/* A filled connector that is open; end it with source_end or sink_end. */
struct source *source_opened(const struct source_ops *ops, const char *id, const char *yaml);
struct sink *sink_opened(const struct sink_ops *ops, const char *id, const char *yaml);
/* Opens one that is filled. */
void source_start(struct source *s);
void sink_start(struct sink *s);
/* Why open() refuses these options, which the rows allow. */
struct err source_refused(const struct source_ops *ops, const char *yaml);
struct err sink_refused(const struct sink_ops *ops, const char *yaml);
/* Sends one event and waits for its result, and that there is no other. */
struct result sink_deliver(struct sink *s, const struct event *ev);
/* Closes and frees; nothing for NULL. */
void source_end(struct source *s);
void sink_end(struct sink *s);
