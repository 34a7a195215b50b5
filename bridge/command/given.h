/* SPDX-License-Identifier: MIT */
/* What is given to commands that sign or verify by hand (keys, sign, verify, send): a scheme, and secrets out of files and
 * the environment, never of the command line. Main thread. */
#pragma once
#include "bridge/auth/described.h"
#include "bridge/command.h"

enum { GIVEN_SECRETS = 16 };

struct given_flags {
    struct str scheme, header, url; /* they end where their words do, and with NUL; so do these: */
    struct str signs, hash, encoding, prefix, separator, timestamp_header, timestamp_prefix, id_header;
    struct strings files, variables; /* with secrets */
};

#define GIVEN_CHOICE(VALUE, name, doc) #name "|"
#define GIVEN_CHOICES                  SIGNATURE_STYLES(GIVEN_CHOICE)
#define GIVEN_SECRET_FLAGS(T, in)                                                                                      \
    FLAG_IN(T, in, files, .name = "--secret-file", .value = "FILE", .doc = "a file with a secret; several: each"),     \
        FLAG_IN(T, in, variables, .name = "--secret-env", .value = "NAME",                                             \
                .doc = "a variable of the environment with a secret")
/* Of a scheme. --header is left to the command. */
#define GIVEN_DESCRIBED_FLAGS(T, in)                                                                                   \
    FLAG_IN(T, in, signs, .name = "--signs", .value = "TEXT", .group = "With --scheme hmac:",                          \
            .doc = "what is signed: \"v0:{timestamp}:{body}\"; \"{body}\" without it"),                                \
        FLAG_IN(T, in, hash, .name = "--hash", .value = "HASH", .choices = "sha256|sha1|sha512",                       \
                .doc = "sha256 (default), sha1, sha512"),                                                              \
        FLAG_IN(T, in, encoding, .name = "--encoding", .value = "LETTERS", .choices = "hex|base64|base64url",          \
                .doc = "hex (default), base64, base64url"),                                                            \
        FLAG_IN(T, in, prefix, .name = "--prefix", .value = "TEXT", .doc = "what stands before a signature"),          \
        FLAG_IN(T, in, separator, .name = "--separator", .value = "CHARACTER",                                         \
                .doc = "between several signatures in the header"),                                                    \
        FLAG_IN(T, in, timestamp_header, .name = "--timestamp-header", .value = "NAME", .doc = "of the {timestamp}"),  \
        FLAG_IN(T, in, timestamp_prefix, .name = "--timestamp-prefix", .value = "TEXT",                                \
                .doc = "before the {timestamp}, where it stands in the signature's header"),                           \
        FLAG_IN(T, in, id_header, .name = "--id-header", .value = "NAME", .doc = "of the {id}")

struct given {
    enum signature scheme; /* standard, if none is named */
    const char *header, *url;
    struct described described;
    struct secrets secrets;
    struct secret list[GIVEN_SECRETS]; /* of them; ours */
};

/* False with *e: a secret is not there, or there are too many; given_close in any case. Borrows the flags' texts. */
bool given_open(struct given *g, const struct given_flags *f, struct err *e);
void given_close(struct given *g);                  /* wipes the secrets */
bool given_has_scheme(const struct given_flags *f); /* is anything said but secrets? */

/* The whole of a file, or of stdin ("-" or NULL), appended. False after saying why not. */
bool given_read(const char *command, const char *path, size_t most, struct buf *out);
/* A failure: one line on stderr. */
int given_say(const char *command, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
