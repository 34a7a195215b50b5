/* SPDX-License-Identifier: MIT */
/* Tells of a scheme by its row. */
#include "bridge/verify/about.h"
#include <string.h>
#include "bridge/lib/wrap.h"
#include "bridge/verify/scheme.h"
#include "bridge/verify/table.h"

enum { ABOUT_COLUMN = 14 };

#define ABOUT_DOC(VALUE, name, doc) [VERIFY_##VALUE] = (doc),
static const char *const about_docs[VERIFY_COUNT] = { VERIFY_SCHEMES(ABOUT_DOC) };

/* What stands beside `scheme`; of the others secrets alone. */
static const char *const about_examples[VERIFY_COUNT] = {
    [VERIFY_TWILIO] = "url: https://hooks.example.com/v1/sms, secrets: [\"${TOKEN}\"]",
    [VERIFY_HMAC_HEX] = "header: X-Hook-Signature, secrets: [\"${SECRET}\"]",
    [VERIFY_HMAC_BASE64] = "header: X-Hook-Signature, secrets: [\"${SECRET}\"]",
    [VERIFY_HMAC] = "header: X-Signature, signs: \"{body}\", encoding: base64, secrets: [\"${SECRET}\"]",
    [VERIFY_JWT] = "jwt: {openid: https://login.example.com, audience: [aqueduct]}",
    [VERIFY_BASIC] = "secrets: [{name: crm, secret: \"${PASSWORD}\"}]",
    [VERIFY_API_KEY] = "secrets: [\"${KEY}\"]",
    [VERIFY_ADDRESS] = "allow: [10.0.0.0/8, \"2001:db8::/32\"]",
    [VERIFY_CERTIFICATE] = "subject: [\"CN=shop,O=Example\"]",
    [VERIFY_NONE] = "",
};

static void about_line(const char *name, const char *text, FILE *out)
{
    if (text && *text)
        wrap_print_behind(text, fprintf(out, "  %-*s", ABOUT_COLUMN - 2, name), ABOUT_COLUMN, out);
}

/* The name of what says it, and what it is: "X-GitHub-Event, behind the above and a dot". */
static void about_two(const char *name, const char *what, const char *how, FILE *out)
{
    if (!what)
        return;
    int used = fprintf(out, "  %-*s%s", ABOUT_COLUMN - 2, name, what);
    wrap_print_behind(how, used, ABOUT_COLUMN, out);
}

static void about_style(const struct signature_style *st, bool described, FILE *out)
{
    about_line("header", st->headers.signature ? st->headers.signature : "the one that `header` names", out);
    about_line("", st->other.signature, out);
    about_line("signs", described ? "what `signs` has" : st->content, out);
    about_line("type", st->type, out);
    about_two(st->type ? "" : "type", st->type_header, ", behind that and a dot", out);
    for (size_t i = 0; i < SIGNATURE_TYPES; i++)
        about_two(st->type || i ? "" : "type", st->type_pointers[i],
                  st->type ? " in the body, behind that and a dot" : " in the body", out);
    about_line("id", st->headers.id, out);
    about_two("id", st->id_pointer, " in the body", out);
    about_line("bodies", st->media ? st->media : "application/json, unless `content_type` says otherwise", out);
}

static const char *about_cover(const struct scheme *s, const struct signature_style *st)
{
    if (!st)
        return s->asks == ASKS_NOTHING ? "for nothing: whoever connects may send"
               : s->asks == ASKS_WHERE ? "for where a request comes from"
               : s->shows_secret       ? "for the sender, and so for all of the request: use it with TLS"
                                       : "for the sender, and so for all of the request";
    return signature_signs(st, "{id}")          ? "for id, time and body, and for no other header"
           : signature_signs(st, "{timestamp}") ? "for time and body, and for no other header"
                                                : "for the body alone; whoever has an old request can send it again";
}

bool verify_about(const char *name, FILE *out)
{
    enum verify_scheme scheme = VERIFY_UNSET;
    for (const struct option_value *v = table_names; v->text; v++)
        if (strcmp(v->text, name) == 0)
            scheme = (enum verify_scheme)v->value;
    if (scheme == VERIFY_UNSET)
        return false;
    const struct signature_style *st = table_style(scheme);
    const char *example = about_examples[scheme] ? about_examples[scheme] : "secrets: [\"${SECRET}\"]";
    wrap_print_behind(about_docs[scheme], fprintf(out, "A scheme of `verify` (aqueduct help http verify): "), 0, out);
    fprintf(out, "\nverify: {scheme: %s%s%s}\n\n", name, *example ? ", " : "", example);
    if (st)
        about_style(st, scheme == VERIFY_HMAC, out);
    else
        about_line("header", table_scheme(scheme)->header, out);
    about_line("vouches", st && scheme == VERIFY_HMAC ? "for what `signs` has" : about_cover(table_scheme(scheme), st),
               out);
    return true;
}
