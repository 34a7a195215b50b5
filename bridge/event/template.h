/* SPDX-License-Identifier: MIT */
/* Templates: texts and JSON structures with expressions in double braces; compiled once, rendered for one event after another.
 *
 *   {{subject}}                         an attribute of the event, or an extension
 *   {{data.output.text}}                what stands there in the data; an element of a list by its number
 *   {{/output/text}}                    the same as a JSON pointer; {{data}} is all of it
 *   {{event}}                           the whole event as CloudEvents JSON
 *   {{webhook.id}}                      the name by which the receiver knows the event again
 *   {{data.user.name | "someone"}}      that, in JSON, when there is nothing, or null
 *   {{data.user.name | omit}}           the member, element, header or parameter is left out then
 *   {{data.output.text | cut 2000}}     at most so many characters
 *   {{data.output.text | html}}         with &amp; &lt; &gt; for & < >
 *   {{"{{"}}                            just this text
 *
 * In a structure a string that is one expression and nothing else becomes the value as it is in JSON: a string, a number, an
 * object. Beside other text an expression becomes text, which is written as its place wants: escaped in a JSON string,
 * percent-encoded in a URL, refused in a header when it holds a control character. Where there is nothing, and no other
 * value, the rendering fails and says what is missing.
 *
 * A set may be about something else than an event (struct template_world): a JSON text and named texts, such as a request's body,
 * {{body.id}}, and its headers, {{headers.x-kind}}. There a text that is empty is as good as none.
 *
 * A set owns its templates and knows what all of them want of the data, which is read once for an event (jpointer.h), and not
 * if nobody wants anything. One thread at a time. */
#pragma once
#include <jansson.h>
#include "bridge/event/event.h"

enum {
    TEMPLATE_PLACES = 256, /* in the data, counting those on the way, of one set */
    TEMPLATE_PARTS = 4096, /* of one set: values, texts between expressions, expressions */
    TEMPLATE_DEPTH = 32,   /* of a structure */
};

enum template_place {
    TEMPLATE_TEXT = 1, /* as it is */
    TEMPLATE_JSON,     /* the text is JSON when each expression stands for a value, or for text within a string */
    TEMPLATE_URL,      /* percent-encoded but for letters, digits and - . _ ~; what stands around it stays as it is */
    TEMPLATE_QUERY,    /* the same, also what stands around it */
    TEMPLATE_LINE,     /* a header's value */
    TEMPLATE_TYPE,     /* letters, digits and . _ -, as types have them; a / becomes a . and whatever else a _ */
};

struct template;
struct template_set;

/* What a set is about that is not about events; lasts as long as the set. */
struct template_world {
    const char *data;          /* what its JSON is called: "body" */
    const char *const *groups; /* of its named texts: "headers", NULL */
    const char *wanted;        /* for errors: what an expression may be */
};

struct template_set *template_set_new(void);
struct template_set *template_set_new_of(const struct template_world *world);
void template_set_free(struct template_set *set); /* accepts NULL */
bool template_has_expressions(struct str text);
/* Both live as long as the set. NULL with *e that says where in it (`blocks[0].text: {{data.}}: ...`) and what. */
const struct template *template_of_text(struct template_set *set, struct str text, enum template_place place,
                                        struct err *e);
/* `name`: what errors call it; NULL: nothing. */
const struct template *template_of_json(struct template_set *set, const char *name, const json_t *json, struct err *e);

/* What is rendered from now on; borrowed. `webhook_id` is what {{webhook.id}} gives. */
void template_see(struct template_set *set, const struct event *ev, struct str webhook_id);
/* A named text, absent where there is none; good until the next call. */
typedef struct str template_part_fn(void *ctx, size_t group, const char *name);
/* The same of a set with a world. False with *e: the data was said to be JSON, and is not. */
bool template_see_parts(struct template_set *set, struct str data, bool json, template_part_fn *part, void *ctx,
                        struct err *e);
enum template_result {
    TEMPLATE_RENDERED = 1,
    TEMPLATE_OMITTED, /* nothing was appended: an expression of the text said omit */
    TEMPLATE_FAILED,  /* *e says what is missing, or where there is no room in out */
};
enum template_result template_render(struct template_set *set, const struct template *t, struct buf *out,
                                     struct err *e);
/* Appends it percent-encoded, or as a part of a type. */
void template_add_encoded(struct buf *out, struct str text);
void template_add_type(struct buf *out, struct str text);
/* Appends the text of the template with {x} for each expression. */
void template_add_outline(struct buf *out, const struct template *t);
/* Tells the named texts that it asks for. */
void template_parts(const struct template *t, void (*each)(void *ctx, size_t group, const char *name), void *ctx);
