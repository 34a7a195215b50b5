/* SPDX-License-Identifier: MIT */
/* What a verification scheme is made of, and what schemes share. For the files of this folder only.
 *
 * A scheme is one constant, `scheme_<name>`, in a file of its own; its line in VERIFY_OWN (table.h) brings it into the
 * options, `aqueduct help`, the JSON Schema and the fuzzer. The styles of signatures need no code: they are rows of
 * bridge/auth/signature.c, all verified by signed.c. `any` and `all` are schemes as well, whose verifier has parts. */
#pragma once
#include <jansson.h>
#include "bridge/auth/secret_files.h"
#include "bridge/auth/signature.h"
#include "bridge/lib/err.h"
#include "bridge/net/http/http.h"
#include "bridge/verify/cover.h"
#include "bridge/verify/refusal.h"

struct verify_options;

struct mac {
    unsigned char bytes[KEY_SIGNATURE_MOST];
};

enum { VERIFY_PLACE = 64, VERIFY_NUMBER = 32 };

struct verifier { /* a scheme with its secrets, or some of them together */
    const struct scheme *scheme;
    const struct signature_style *style; /* NULL: the scheme is none of them */
    struct signature_style described;    /* of that which the user describes */
    enum signature which;                /* the style's name; STANDARD where there is none */
    const char *url;                     /* of the path, as senders see it; borrowed; NULL: it is not signed */
    struct buf url_text, fields;         /* of the request at hand, as far as they are signed */
    enum cover covers;                   /* what a verified request vouches for */
    enum asks asks;
    bool by_head;              /* `check` needs the head alone */
    char place[VERIFY_PLACE];  /* for errors: "verify.any[1]" */
    const char *header;        /* named by the user, borrowed from the options; NULL: the scheme's own */
    const char *query;         /* a parameter of the URL; NULL: none */
    int64_t tolerance_s;       /* between the signed time and ours */
    struct secrets secrets;    /* of the options */
    struct secret_files files; /* where they come from files: what those say by now */
    size_t adding;             /* which of them add_secret is given */
    int64_t turn_ms;           /* wall clock: when the next of them ends; INT64_MAX: none does */
    struct tokens *tokens, *ended;
    struct key **keys;
    struct mac *macs;             /* one per key, of the message at hand */
    size_t *owners;               /* one per key: whose secret it is of */
    size_t key_count, live_count; /* those that have not ended come first */
    struct buf decoded;           /* the signature or user at hand */
    void *own;                    /* the scheme's */
    struct verifier **parts;      /* of any and all */
    size_t part_count;
    /* the part whose id and type are those of the request that passed last; else itself */
    const struct verifier *passed;
    const struct verifier *refused; /* the part that said no to it; else itself */
    const char *name;               /* of the scheme; NULL: it has parts */
    const char *why;            /* of the last request that was refused, beside the reason; check() sets it; or NULL */
    struct str key;             /* whose request that was (struct verified); check() sets it */
    const json_t *claims;       /* of its JSON Web Token; check() sets it; NULL: it showed none */
    char number[VERIFY_NUMBER]; /* which part this is: "2", "2.1", ""; and, where it has no name, which key */
    size_t number_length;       /* of the part alone */
    struct buf challenge;       /* of the whole, for WWW-Authenticate */
};

struct scheme {
    enum cover covers; /* what a verified request vouches for */
    enum asks asks;    /* what a request must show */
    bool by_head;      /* `check` needs the head alone, and runs before the body is read */
    /* Options that only some schemes have. */
    bool takes_query, takes_allow, takes_jwt;
    bool takes_rules;  /* of certificates, for which its listener must ask */
    bool needs_names;  /* of its secrets */
    bool shows_secret; /* a request has its secret, or a token that is good for others, too */
    /* Reads options of its own into v->own, once, before any secret; close() frees that. NULL: there is nothing to do. */
    bool (*open)(struct verifier *v, const struct verify_options *o, struct err *e);
    void (*close)(struct verifier *v);
    /* Begins what goes on beside requests, and says whether there is what they are checked with; as verifier_start and
     * verifier_ready. NULL: nothing does, and there is. */
    void (*start)(struct verifier *v);
    bool (*ready)(const struct verifier *v, struct err *why);
    /* Takes one of the secrets (v->secrets.at[v->adding]); `ended`: it only tells why a request is refused. NULL: the scheme
     * has none. False: the error says what is wrong with it (secret.h), and nothing of itself. */
    bool (*add_secret)(struct verifier *v, struct str secret, bool ended, struct err *e);
    void (*forget_secrets)(struct verifier *v); /* wipes what add_secret has made beside tokens; NULL: nothing */
    /* In constant time with regard to the secrets; tries all of them. Nothing of the request was parsed yet. Says with
     * scheme_set_key whose secret it was, when it was one's. */
    enum refusal (*check)(struct verifier *v, const struct http_request *r);
    /* As far as the head says, where by_head is not set; REFUSAL_NONE: the body will tell. NULL: it says nothing. */
    enum refusal (*check_head)(struct verifier *v, const struct http_request *r);
    const char *header;    /* with the token; the user may name another. NULL: no choice */
    const char *challenge; /* of WWW-Authenticate; NULL: there is none */
};

/* The scheme of all styles of signatures: signed.c. */
extern const struct scheme scheme_signed;
/* Of several verifiers together: combined.c. */
extern const struct scheme scheme_any, scheme_all;
/* Which headers this request is signed with. */
const struct signature_headers *signed_headers(const struct verifier *v, const struct http_request *r);

/* The URL as the sender sees it, or with the other port; until the next call. */
struct str signed_url(struct verifier *v, const struct http_request *r, bool other_port);

/* Hands the scheme its secrets: those that have not ended, then the others. */
bool scheme_load(struct verifier *v, int64_t wall_ms, struct err *e);
void scheme_unload(struct verifier *v);
/* Checks a request by a verifier, a part or the whole. */
enum refusal scheme_check(struct verifier *v, const struct http_request *r);
enum refusal scheme_check_head(struct verifier *v, const struct http_request *r);
/* The request shows the secret at this place of the options. */
void scheme_set_key(struct verifier *v, size_t secret);
/* It is somebody's who has no name: "2#jwt". */
void scheme_set_unnamed(struct verifier *v, const char *whose);
/* A header that must be there once, with a value. */
enum refusal scheme_header(const struct http_request *r, const char *name, struct str *out);
/* The bearer token of the scheme's header, or all of the header that the user named; absent: the former has another form. */
enum refusal scheme_token(const struct verifier *v, const struct http_request *r, struct str *out);
/* Is it one of the verifier's tokens? */
enum refusal scheme_check_token(struct verifier *v, struct str token);
/* For add_secret: a token of at least SECRET_LEAST characters. */
bool scheme_add_token(struct verifier *v, struct str secret, bool ended, struct err *e);
