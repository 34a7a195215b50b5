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

/* One attribute, "C = DE", in front of those that are there. */
static void certificate_put_first(struct buf *out, struct str attribute)
{
    struct str name, value = attribute, behind = buf_str(out);
    struct buf all = buf_new(out->max);
    str_cut(&value, '=', &name);
    name = str_trim(name);
    value = str_trim(value);
    buf_printf(&all, "%.*s=%.*s%s%.*s", STR_ARG(name), STR_ARG(value), behind.n ? "," : "", STR_ARG(behind));
    buf_free(out);
    *out = all;
}

/* As openssl x509 writes subjects: "C = DE, O = Example", or "/C=DE/O=Example". No subject of RFC 4514 looks like that. */
static bool certificate_is_openssl(const char *rule)
{
    const char *equals = strchr(rule, '=');
    bool spaced = equals > rule && (equals[-1] == ' ' || equals[1] == ' ');
    for (const char *comma = strchr(rule, ','); comma && !spaced; comma = strchr(comma + 1, ','))
        spaced = comma[1] == ' ' && comma > rule && comma[-1] != '\\';
    return spaced || rule[0] == '/';
}

static bool certificate_refuse_openssl(const char *rule, struct err *e)
{
    struct str rest = str_of(rule[0] == '/' ? rule + 1 : rule), one;
    struct buf told = buf_new(256);
    while (str_cut(&rest, rule[0] == '/' ? '/' : ',', &one))
        certificate_put_first(&told, one);
    err_set(e, "\"%.100s\" is written as openssl x509 does: write %s, as subjects are compared (RFC 4514)", rule,
            told.failed ? "CN=...,O=...,C=..." : buf_c(&told));
    buf_free(&told);
    return false;
}

bool certificate_check_rule(const char *rule, bool of_subject, struct err *e)
{
    if (of_subject && strchr(rule, '=') && certificate_is_openssl(rule))
        return certificate_refuse_openssl(rule, e);
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
