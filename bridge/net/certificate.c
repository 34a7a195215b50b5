/* SPDX-License-Identifier: MIT */
/* Reads client certificates. */
#include "bridge/net/certificate.h"
#include <openssl/x509v3.h>
#include <string.h>
#include "bridge/lib/mem.h"

static void certificate_add(X509_NAME *name, struct buf *out)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *at = NULL;
    CHECK(b);
    X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
    long n = BIO_get_mem_data(b, &at);
    if (n > 0)
        buf_add(out, at, (size_t)n);
    BIO_free(b);
}

void certificate_subject(const struct x509_st *x, struct buf *out)
{
    certificate_add(X509_get_subject_name(x), out);
}

void certificate_issuer(const struct x509_st *x, struct buf *out)
{
    certificate_add(X509_get_issuer_name(x), out);
}

bool certificate_any_name(const struct x509_st *x, bool (*each)(void *ctx, struct str name), void *ctx)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
        int type;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type != GEN_DNS && type != GEN_URI && type != GEN_EMAIL)
            continue;
        struct str name = { (const char *)ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value) };
        found = each(ctx, name);
    }
    GENERAL_NAMES_free(names);
    return found;
}

/* ---- rules ---- */

static bool certificate_is_edge(char c, bool of_subject)
{
    return c == '\0' || strchr(of_subject ? ",+=" : "./@:", c);
}

bool certificate_check_rule(const char *rule, bool of_subject, struct err *e)
{
    if (of_subject && !strchr(rule, '='))
        return err_set(e, "\"%.64s\" is no subject, such as CN=sender,O=Example", rule);
    for (const char *c = strchr(rule, '*'); c; c = strchr(c + 1, '*'))
        if (!certificate_is_edge(c == rule ? '\0' : c[-1], of_subject) || !certificate_is_edge(c[1], of_subject))
            return err_set(e, "\"%.64s\": a * stands for a whole label, as in %s", rule,
                           of_subject ? "CN=*,O=Example" : "*.example.com");
    if (strcmp(rule, "*") == 0 || !*rule)
        return err_set(e, "\"%.64s\" is no rule: leave it away where every certificate of the CA is taken", rule);
    return true;
}

/* Does a label end in front of this character of the text? */
static bool certificate_ends_label(const char *star, bool first, bool of_subject, char c)
{
    bool beside = c == star[1] || (!first && c == star[-1]);
    return of_subject ? c == ',' || c == '+' : c == '/' || beside;
}

/* The length of the label that the `*` stands for; 0: there is none. */
static size_t certificate_label(const char *star, bool first, bool of_subject, struct str text)
{
    size_t n = 0;
    while (n < text.n && !certificate_ends_label(star, first, of_subject, text.at[n]))
        n += of_subject && text.at[n] == '\\' && n + 1 < text.n ? 2 : 1;
    return n;
}

static bool certificate_same(char a, char b, bool of_dns)
{
    return of_dns ? str_eq_nocase((struct str){ &a, 1 }, (struct str){ &b, 1 }) : a == b;
}

/* ':' in a URI, '@' in an address of mail, 0 in a DNS name. */
static char certificate_kind(struct str s)
{
    if (s.n == 0)
        return 0;
    return memchr(s.at, ':', s.n) ? ':' : memchr(s.at, '@', s.n) ? '@' : 0;
}

bool certificate_rule_fits(const char *rule, bool of_subject, struct str text)
{
    char kind = certificate_kind(str_of(rule));
    if (!of_subject && kind != certificate_kind(text))
        return false;
    for (const char *c = rule; *c; c++) {
        if (*c != '*' && (text.n == 0 || !certificate_same(*c, text.at[0], !of_subject && !kind)))
            return false;
        size_t n = *c == '*' ? certificate_label(c, c == rule, of_subject, text) : 1;
        if (n == 0)
            return false;
        text = str_from(text, n);
    }
    return text.n == 0;
}
