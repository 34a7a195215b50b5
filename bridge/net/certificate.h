/* SPDX-License-Identifier: MIT */
/* What a client's certificate says, and whether a rule fits it. The certificate was verified by its connection.
 *
 * A rule is the text itself, in which a `*` that is a whole label stands for any one: `*.example.com`,
 * `spiffe://example.com/ns/prod/sa/` and `*`, `CN=*,O=Example`. Labels end at the characters beside the `*`, at a slash,
 * and in a subject at a comma or plus that no backslash is before. Any thread. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"

struct x509_st;

/* Appends the subject, or the issuer's, as RFC 4514 has it: "CN=sender,O=Example,C=DE". */
void certificate_subject(const struct x509_st *x, struct buf *out);
void certificate_issuer(const struct x509_st *x, struct buf *out);
/* Calls each() with its alternative names, DNS names, URIs and addresses of mail, until that says true; was one so? */
bool certificate_any_name(const struct x509_st *x, bool (*each)(void *ctx, struct str name), void *ctx);

/* Can it be a rule? */
bool certificate_check_rule(const char *rule, bool of_subject, struct err *e);
/* Is this the subject that the rule is about, or the alternative name? Those with a colon are URIs, those with an @ are
 * addresses of mail, the others DNS names, whose letters may be in either case. */
bool certificate_rule_fits(const char *rule, bool of_subject, struct str text);
