/* SPDX-License-Identifier: MIT */
/* The options that choose how requests are verified, and what follows from them alone. Any thread. */
#pragma once
#include "bridge/auth/described.h"
#include "bridge/auth/secret.h"
#include "bridge/net/tls.h"
#include "bridge/verify/cover.h"
#include "bridge/verify/jwt_options.h"
#include "bridge/verify/table.h"

struct verify_options { /* `verify:` as the user wrote it: one scheme, or several */
    enum verify_scheme scheme;
    struct secrets secrets;
    char *header, *query, *url;
    struct duration tolerance;
    struct strings allow;
    struct jwt_options jwt;
    struct strings subject, san;
    struct described described;
    struct list any, all; /* of struct verify_options */
};
/* For requests with a body, which may be signed; for those without one. */
extern const struct option verify_rows[], verify_head_rows[];

/* Does it look at the client's certificate? Then `tls` must ask for one, or *e says so. */
bool verify_fits_tls(const struct verify_options *o, const struct tls_options *tls, struct err *e);
bool verify_is_set(const struct verify_options *o);
/* The key of an option of one scheme that is set, `scheme` apart; NULL: there is none. */
const char *verify_first_option(const struct verify_options *o);
/* What of a verified request is its sender's word: of `any`, what the least of them says, of `all`, the most. */
enum cover verify_covers(const struct verify_options *o);
enum asks verify_asks(const struct verify_options *o);             /* the same of what it must show */
enum verify_scheme verify_decides(const struct verify_options *o); /* the scheme by which verify_covers is what it is */
const char *verify_name(const struct verify_options *o);           /* its name in the YAML */
/* The scheme whose requests show all that lets one in, so that whoever reads one without TLS has it; NULL: none. */
const char *verify_shown(const struct verify_options *o);
const char *verify_media(const struct verify_options *o); /* media type of the bodies that it signs */
/* Is it in this header, or in this parameter of the URL, that a sender shows its secret? Then nobody else is told the value. */
bool verify_reads_header(const struct verify_options *o, struct str name);
bool verify_reads_query(const struct verify_options *o, struct str name);
/* Can a header have this name? */
bool verify_check_name(const char *header, struct err *e);
/* Gives `each` what is right and yet doubtful ("verify.secrets: ..."): all secrets end soon, a network is everybody. */
void verify_doubts(const struct verify_options *o, int64_t wall_ms, void (*each)(void *ctx, const char *text),
                   void *ctx);
