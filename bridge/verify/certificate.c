/* SPDX-License-Identifier: MIT */
/* The scheme `certificate`: the TLS certificate that the client showed, of a CA that the listener takes (tls_client_ca),
 * and by rules whose. */
#include "bridge/net/certificate.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "bridge/verify/options.h"
#include "bridge/verify/scheme.h"

enum { SUBJECT_BYTES = 4096, NAMES_BYTES = 200 };

struct certificate_rules {
    struct strings subject, san; /* of the options */
    struct buf shown;            /* the subject at hand */
    struct buf why;              /* what was shown by who was refused */
};

static bool certificate_check_rules(const struct verifier *v, const struct strings *rules, bool of_subject,
                                    struct err *e)
{
    for (size_t i = 0; i < rules->count; i++)
        if (!certificate_check_rule(rules->at[i], of_subject, e))
            return err_prefix(e, "%s.%s[%zu]", v->place, of_subject ? "subject" : "san", i);
    return true;
}

static bool certificate_open(struct verifier *v, const struct verify_options *o, struct err *e)
{
    struct certificate_rules *rules = v->own = mem_alloc(sizeof *rules);
    *rules = (struct certificate_rules){ o->subject, o->san, buf_new(SUBJECT_BYTES),
                                         buf_new(SUBJECT_BYTES + NAMES_BYTES) };
    return certificate_check_rules(v, &o->subject, true, e) && certificate_check_rules(v, &o->san, false, e);
}

static void certificate_close(struct verifier *v)
{
    struct certificate_rules *rules = v->own;
    if (rules) {
        buf_free(&rules->shown);
        buf_free(&rules->why);
    }
    free(rules);
}

/* Is one of the rules about this alternative name? */
static bool certificate_name_fits(void *ctx, struct str name)
{
    const struct strings *rules = ctx;
    for (size_t i = 0; i < rules->count; i++)
        if (certificate_rule_fits(rules->at[i], false, name))
            return true;
    return false;
}

static bool certificate_subject_fits(const struct certificate_rules *rules)
{
    for (size_t i = 0; i < rules->subject.count; i++)
        if (certificate_rule_fits(rules->subject.at[i], true, buf_str(&rules->shown)))
            return true;
    return rules->subject.count == 0;
}

/* Collects them, as many as one line has room for. */
static bool certificate_add_name(void *ctx, struct str name)
{
    struct buf *out = ctx;
    buf_printf(out, " %.*s", STR_ARG(name));
    return out->n >= NAMES_BYTES;
}

/* For the log: the rule is compared with what stands there. */
static enum refusal certificate_mismatch(struct verifier *v, const struct http_request *r, bool of_subject)
{
    struct certificate_rules *rules = v->own;
    buf_reset(&rules->why);
    if (of_subject)
        buf_printf(&rules->why, "its subject is %.*s", STR_ARG(buf_str(&rules->shown)));
    else
        buf_add_c(&rules->why, "its names are");
    if (!of_subject && !certificate_any_name(r->certificate, certificate_add_name, &rules->why) && rules->why.n == 13)
        buf_add_c(&rules->why, " none");
    v->why = buf_c(&rules->why);
    return REFUSAL_MISMATCH;
}

static enum refusal certificate_check(struct verifier *v, const struct http_request *r)
{
    struct certificate_rules *rules = v->own;
    if (!r->certificate)
        return REFUSAL_MISSING;
    buf_reset(&rules->shown);
    certificate_subject(r->certificate, &rules->shown);
    if (rules->shown.failed)
        return REFUSAL_MALFORMED;
    if (!certificate_subject_fits(rules))
        return certificate_mismatch(v, r, true);
    if (rules->san.count && !certificate_any_name(r->certificate, certificate_name_fits, &rules->san))
        return certificate_mismatch(v, r, false);
    v->key = buf_str(&rules->shown);
    return REFUSAL_NONE;
}

const struct scheme scheme_certificate = {
    .covers = COVER_REQUEST,
    .asks = ASKS_WHO,
    .by_head = true,
    .takes_rules = true,
    .open = certificate_open,
    .close = certificate_close,
    .check = certificate_check,
};
