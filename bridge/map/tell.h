/* SPDX-License-Identifier: MIT */
/* What the events of a `map` say beside what their paths are mapped to: which application they are of, what their types
 * and schemas begin with, and how much they tell of what people wrote, and of who they are.
 *
 * As a source's options, or a path's: TELL_ROWS in their table. Nothing is allocated but by tell_key(); any thread. */
#pragma once
#include "bridge/lib/crypto.h"
#include "bridge/lib/option.h"

enum tell { TELL_FULL, TELL_HASH, TELL_NONE };

struct telling {
    char *app, *schema_base, *type_prefix;
    enum tell content, personal;
    struct secret content_key;
    struct bytes content_max;
};
extern const struct option_value tell_values[];

/* Their option rows: the member `in` of T. `of_app`, `of_content` say of which events; `longest` up to what a text may go. */
#define TELL_ROWS(T, in, of_app, of_content, longest)                                                                  \
    OPTION_IN(T, in, app, .doc = "What events call the application (app.name); " of_app),                              \
        OPTION_IN(T, in, content, .fallback = "full", .values = tell_values,                                           \
                  .doc =                                                                                               \
                      "What people wrote and what was answered: as it is; as digest under content_key; or only its "   \
                      "length. " of_content),                                                                          \
        OPTION_IN(T, in, content_key,                                                                                  \
                  .doc =                                                                                               \
                      "The key of HMAC-SHA256 for `content: hash` and `personal: hash`: the same text has the same "   \
                      "digest."),                                                                                      \
        OPTION_IN(T, in, content_max, .fallback = "0", .max = 32 << 20,                                                \
                  .doc = "Longest text of content; a longer one is cut, and says truncated: true. 0: up to " longest   \
                         "."),                                                                                         \
        OPTION_IN(T, in, personal, .fallback = "full", .values = tell_values,                                          \
                  .doc = "Names and mail addresses of people: as they are, as digest, or not."),                       \
        OPTION_IN(T, in, schema_base, .fallback = "urn:aqueduct:event",                                                \
                  .doc = "Begins the attribute dataschema: <schema_base>/<type>/<version>."),                          \
        OPTION_IN(T, in, type_prefix, .doc = "Stands before each type of `map`, such as com.example. (with its dot).")

/* Do they go together? */
bool tell_check(const struct telling *t, struct err *e);
bool tell_is_full(const struct telling *t);
/* Of content_key; NULL: there is none. The caller frees it. */
struct hmac *tell_key(const struct telling *t);

/* Hands a type on to a caller of source_ops.content, `content` being why; ctx: such a caller. */
struct tell_caller {
    void (*each)(void *ctx, const char *type, const char *why);
    void *ctx;
};
void tell_content(void *ctx, const char *type);
