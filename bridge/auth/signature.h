/* SPDX-License-Identifier: MIT */
/* How webhooks are signed, as one table: what signs (the sink `webhook`) and what verifies (the source `http`) read the
 * same rows. A style that signs by HMAC is one row of signature.c and one line here, and no code; one that a user describes
 * is a row as well (described.h).
 *
 * `content` says what is signed, with {id}, {timestamp}, {body}, {url} and {fields} in it. A signature stands in the header
 * behind `begin`, in the row's letters; where `between` is set, one behind the other of every key. Any thread. */
#pragma once
#include "bridge/auth/key.h"

/* Enum value, name in the YAML, what help says. */
#define SIGNATURE_STYLES(STYLE)                                                                                        \
    SIGNATURE_SENT(STYLE)                                                                                              \
    STYLE(GITLAB, gitlab,                                                                                              \
          "GitLab's: a signing token (whsec_), as Standard Webhooks, or a secret token alone in X-Gitlab-Token")       \
    STYLE(TWILIO, twilio, "Twilio's, over `url` and the form's fields, or a JSON body's digest: X-Twilio-Signature")
/* Those that the sink signs with, too. */
#define SIGNATURE_SENT(STYLE)                                                                                          \
    STYLE(STANDARD, standard, "Standard Webhooks v1 (keys whsec_) and v1a (whsk_), over id, time and body")            \
    STYLE(GITHUB, github, "GitHub's, over the body: X-Hub-Signature-256: sha256=<hex>")                                \
    STYLE(STRIPE, stripe, "Stripe's, over time and body: Stripe-Signature: t=<time>,v1=<hex>")                         \
    STYLE(SLACK, slack, "Slack's, over time and body: X-Slack-Signature: v0=<hex>")                                    \
    STYLE(LANGFUSE, langfuse, "Langfuse's, over time and body: x-langfuse-signature: t=<time>,v1=<hex>")               \
    STYLE(SHOPIFY, shopify, "Shopify's, over the body: X-Shopify-Hmac-SHA256: <base64>")                               \
    STYLE(OUTPOST, outpost, "Outpost's, over the body: x-outpost-signature: v0=<hex>,<hex>")                           \
    STYLE(HMAC_HEX, hmac_hex, "HMAC-SHA256 of the body in hex, in a header that you name")                             \
    STYLE(HMAC_BASE64, hmac_base64, "HMAC-SHA256 of the body in base64, in a header that you name")                    \
    STYLE(HMAC, hmac, "HMAC as you describe it: `header`, `signs`, `hash`, `encoding`, `prefix` and so on")

#define SIGNATURE_VALUE(VALUE, name, doc) SIGNATURE_##VALUE,
enum signature { SIGNATURE_UNSET, SIGNATURE_STYLES(SIGNATURE_VALUE) SIGNATURE_COUNT };
#undef SIGNATURE_VALUE

/* No zero on purpose. Those of base64url are read in the letters of base64 as well. */
enum notation { NOTATION_HEX = 1, NOTATION_BASE64, NOTATION_BASE64URL };
enum { SIGNATURE_TYPES = 2 };

struct signature_headers {
    const char *signature, *id, *time; /* NULL: it has none */
};

struct signature_style {
    struct signature_headers headers; /* without `signature` the user names that one */
    struct signature_headers other;   /* what other senders of this style name them; NULL: no others */
    const char *begin[KEY_KINDS];     /* stands before a signature by such a key; NULL: it knows no such keys */
    const char *time_begin;           /* the header itself holds the time as well, behind this; NULL: it does not */
    char between;                     /* two signatures in one header; 0: there is one */
    bool begins_once;                 /* `begin` may be missing before the second one */
    enum hash hash;
    enum notation letters;
    const char *content; /* what is signed */
    bool boxed;          /* secrets are those of Standard Webhooks (whsec_), else texts as they are */
    bool tokens;         /* those without whsec_ are tokens, and stand themselves in other.signature */
    bool asks;           /* its sender has a question before the first event: JSON with type url_verification */
    const char *media;   /* media type of the bodies; NULL: application/json */
    const char *type, *type_header; /* of the events that its senders are known for, to name them by; or NULL */
    /* Where a body in JSON has the event's type, the first that is there, and the sender's id of the event, which stays the
     * same when it is sent again, perhaps with another content: JSON pointers, or NULL. */
    const char *type_pointers[SIGNATURE_TYPES], *id_pointer;
};

const struct signature_style *signature_style(enum signature which); /* NULL: unset */
const char *signature_name(enum signature which);                    /* as in the YAML */

/* What one request is signed by, beside its keys. */
struct signed_parts {
    struct str id, time, body;
    struct str url;    /* that it is sent to, with its query */
    struct str fields; /* of the form in the body: fields.h */
};
enum { SIGNED_PARTS = 16, SIGNATURE_TIME_DIGITS = 12 };
/* What is signed, as parts to be joined; returns how many, at most SIGNED_PARTS. They point into `p` and the style. */
size_t signature_parts(const struct signature_style *st, const struct signed_parts *p, struct str out[SIGNED_PARTS]);
/* Is that place, such as "{id}", in what is signed? */
bool signature_signs(const struct signature_style *st, const char *place);
/* The first {word} of a content that is no place, absent: there is none. *parts: as how many it is joined. */
struct str signature_check(const char *content, size_t *parts);

/* ---- to sign ---- */

/* Appends the header's value: the signatures of all keys, or of the first where the style has one. */
void signature_add(const struct signature_style *st, struct key *const *keys, size_t count,
                   const struct signed_parts *p, struct buf *out);

/* ---- to verify ---- */

/* Takes the next signature out of a header's value: what kind of key made it, and its text, still encoded. False: there
 * are no more. Whatever else stands there is passed over. */
struct signature_reader {
    struct str rest; /* of the value */
    bool begun;
};
bool signature_next(const struct signature_style *st, struct signature_reader *r, enum key_kind *kind,
                    struct str *text);
/* Decodes it, appended to `out`. */
bool signature_decode(const struct signature_style *st, struct str text, struct buf *out);
/* The time in a header's value (time_begin); absent: there is none. */
struct str signature_time(const struct signature_style *st, struct str value);
/* Seconds since 1970 in 1 to 12 digits. */
bool signature_read_time(struct str text, int64_t *seconds);
