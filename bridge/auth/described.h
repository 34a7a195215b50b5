/* SPDX-License-Identifier: MIT */
/* Signatures as a user describes them (`scheme: hmac`): the row of a style, made of options. Any thread. */
#pragma once
#include "bridge/auth/signature.h"
#include "bridge/lib/option.h"

struct described { /* as the user wrote it */
    char *signs, *prefix, *separator, *timestamp_header, *timestamp_prefix, *id_header;
    enum hash hash;
    enum notation encoding;
};
extern const struct option_value described_hashes[], described_letters[];

/* Option rows of the member `in` of T. */
#define DESCRIBED_ROWS(T, in)                                                                                          \
    OPTION_IN(T, in, signs,                                                                                            \
              .doc = "With scheme hmac: what is signed, with {body}, {timestamp} and {id} in it, such as "             \
                     "\"v0:{timestamp}:{body}\"; also {url}, and {fields} of a form. Default \"{body}\"."),            \
        OPTION_IN(T, in, hash, .values = described_hashes, .doc = "With scheme hmac: default sha256."),                \
        OPTION_IN(T, in, encoding, .values = described_letters,                                                        \
                  .doc = "With scheme hmac: how the signature is written; default hex."),                              \
        OPTION_IN(T, in, prefix, .doc = "With scheme hmac: what stands before a signature, such as \"sha256=\"."),     \
        OPTION_IN(T, in, separator,                                                                                    \
                  .doc = "With scheme hmac: one character between several signatures in the header; without it, the "  \
                         "header is one."),                                                                            \
        OPTION_IN(T, in, timestamp_header,                                                                             \
                  .doc = "With scheme hmac: header with the {timestamp}, in seconds since 1970."),                     \
        OPTION_IN(T, in, timestamp_prefix,                                                                             \
                  .doc = "With scheme hmac and `separator`: the {timestamp} stands behind this in the signature's "    \
                         "header itself, such as \"t=\"."),                                                            \
        OPTION_IN(T, in, id_header, .doc = "With scheme hmac: header with the {id}.")

/* The row of that scheme, or, for SIGNATURE_HMAC, *own, filled: it borrows the texts. NULL with *e, which begins with the
 * option's key: they do not go together. */
const struct signature_style *described_style(enum signature scheme, const struct described *f,
                                              struct signature_style *own, struct err *e);
/* The key of the first option that is set; NULL: none is. */
const char *described_first(const struct described *f);
/* Can a header have this name? */
bool described_check_header(const char *name, struct err *e);
