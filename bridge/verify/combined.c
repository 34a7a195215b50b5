/* SPDX-License-Identifier: MIT */
/* Several schemes together: any of them, or all. */
#include "bridge/verify/scheme.h"

/* The part, if it lets the request in, tells whose it is. */
static void combined_pass(struct verifier *v, const struct verifier *part)
{
    v->passed = part->passed;
    v->key = part->key;
    v->claims = part->claims;
}

/* The part said no, and why. */
static void combined_refuse(struct verifier *v, const struct verifier *part)
{
    v->refused = part->refused;
    v->why = part->why;
}

/* Of several reasons the one that says most: that a header is missing says nothing when another's signature is wrong. */
static enum refusal combined_worse(enum refusal a, enum refusal b)
{
    return a > b ? a : b;
}

/* Where nothing was shown no part has said more than the others. */
static enum refusal any_refuse(struct verifier *v, enum refusal no)
{
    if (no == REFUSAL_MISSING)
        v->refused = v;
    return no;
}

static enum refusal any_check(struct verifier *v, const struct http_request *r)
{
    enum refusal worst = REFUSAL_NONE;
    for (size_t i = 0; i < v->part_count; i++) {
        enum refusal no = scheme_check(v->parts[i], r);
        if (!no) {
            combined_pass(v, v->parts[i]);
            return REFUSAL_NONE;
        }
        worst = combined_worse(worst, no);
        if (worst == no)
            combined_refuse(v, v->parts[i]);
    }
    return any_refuse(v, worst);
}

static enum refusal any_check_head(struct verifier *v, const struct http_request *r)
{
    enum refusal worst = REFUSAL_NONE;
    for (size_t i = 0; i < v->part_count; i++) {
        enum refusal no = scheme_check_head(v->parts[i], r);
        if (!no)
            return REFUSAL_NONE;
        worst = combined_worse(worst, no);
        if (worst == no)
            combined_refuse(v, v->parts[i]);
    }
    return any_refuse(v, worst);
}

/* The first part that knows a key says whose it is; what is signed best says which id it has. */
static enum refusal all_check(struct verifier *v, const struct http_request *r)
{
    v->passed = v;
    for (size_t i = 0; i < v->part_count; i++) {
        struct verifier *part = v->parts[i];
        enum refusal no = scheme_check(part, r);
        if (no) {
            combined_refuse(v, part);
            return no;
        }
        if (!v->key.n)
            v->key = part->key;
        if (!v->claims)
            v->claims = part->claims;
        if (part->passed->style && (!v->passed->style || part->passed->covers > v->passed->covers))
            v->passed = part->passed;
    }
    return REFUSAL_NONE;
}

static enum refusal all_check_head(struct verifier *v, const struct http_request *r)
{
    enum refusal no = REFUSAL_NONE;
    for (size_t i = 0; i < v->part_count && !no; i++) {
        no = scheme_check_head(v->parts[i], r);
        combined_refuse(v, v->parts[i]);
    }
    return no;
}

const struct scheme scheme_any = { .check = any_check, .check_head = any_check_head };
const struct scheme scheme_all = { .check = all_check, .check_head = all_check_head };
