/* SPDX-License-Identifier: MIT */
/* What the files of event/ share: compiled filters and templates. */
#pragma once
#include "bridge/event/filter.h"
#include "bridge/event/template.h"
#include "bridge/lib/jpointer.h"

/* ---- filters ---- */

enum dialect { EXACT, PREFIX, SUFFIX, ALL, ANY, NOT };

/* A leaf (one attribute or JSON pointer, and one value) or a node with filters below it. */
struct filter {
    enum dialect dialect;
    bool data;              /* a condition on the data, or a node with one below it */
    struct str name, value; /* of a leaf; point into `bytes`; the name is a pointer when `data`; value absent: null */
    size_t place;           /* of the pointer, among the values */
    char *bytes;
    struct filter **below;
    size_t count;
    struct jpointers *pointers; /* of the whole filter, at its top; NULL: no condition is on the data */
};

/* Does the text do what a leaf of that dialect wants? */
bool filter_fits(enum dialect dialect, struct str text, struct str value);

/* One event while it is matched. */
struct filter_look {
    const struct event *event;
    const struct jpointers *pointers;
    struct jscan_value *values; /* what they find in the data, once one of them was asked for */
    bool found;
};
/* Does this part of a filter hold? `places`: where the values of its pointers stand among all; NULL: there are no others. */
bool filter_holds(const struct filter *f, struct filter_look *look, const size_t *places);

/* ---- templates ---- */

enum template_source { SOURCE_NOTHING, SOURCE_ATTRIBUTE, SOURCE_DATA, SOURCE_EVENT, SOURCE_WEBHOOK_ID, SOURCE_PART };

/* A piece of a text: what stands there literally, or an expression. */
struct template_piece {
    char *text; /* literally; of an expression, as it is written */
    size_t n;
    bool expression;
    enum template_source source;
    char *attribute; /* or the name of a part */
    size_t group;    /* of a part */
    size_t place;    /* of its pointer, among the values; 0: the whole data */
    char *fallback;  /* JSON; NULL: none */
    bool omit, html;
    int64_t cut; /* characters; 0: all */
};

enum template_kind {
    KIND_LITERAL, /* JSON as it is */
    KIND_VALUE,   /* one expression as a JSON value */
    KIND_STRING,  /* pieces in a JSON string */
    KIND_TEXT,    /* pieces at a place */
    KIND_LIST,
    KIND_MEMBERS,
};

struct template
{
    enum template_kind kind;
    enum template_place place; /* of KIND_TEXT */
    char *name;                /* of a member: in quotes, with its colon */
    char *literal;
    struct template_piece *pieces;
    size_t piece_count;
    struct template **below;
    size_t count;
};

struct template_set {
    struct template **at;
    size_t count, parts;
    struct jpointers *pointers;
    const struct template_world *world; /* NULL: of events */
    /* of the event, or whatever else, that is rendered */
    const struct event *event;
    struct str data;
    bool json; /* it is JSON */
    template_part_fn *part;
    void *ctx;
    struct str webhook_id;
    struct jscan_value values[TEMPLATE_PLACES];
    bool found;
    struct buf whole, text, shaped; /* the event as JSON; an expression's text; the same cut and escaped */
};
