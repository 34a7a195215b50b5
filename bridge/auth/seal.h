/* SPDX-License-Identifier: MIT */
/* Texts that nobody reads without a key: AES-256-GCM under a key of a file, for secrets that lie in the bridge's state.
 *
 * The file has a key a line, at least 32 characters of chance (`openssl rand -base64 32`); lines that are empty or begin with #
 * do not count. The first one seals, each of them opens: to change keys, a new one is put above the old one, what is sealed is
 * sealed anew, and the old one is taken out. A sealed text says by which key it was made (seal_id), and is bound to what it
 * is about: put in another's place it does not open. Any thread. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"

enum { SEAL_KEYS = 16, SEAL_ID = 17 }; /* most keys of a file; room of the text that tells one from others */

struct seal_keys;

/* Reads the file. NULL with *e, which names it and never what is in it. */
struct seal_keys *seal_read(const char *path, struct err *e);
void seal_free(struct seal_keys *k);            /* accepts NULL; wipes them */
const char *seal_id(const struct seal_keys *k); /* of the key that seals: says nothing of it */
/* Appends the text, sealed, as base64. */
void seal_add(const struct seal_keys *k, struct str text, struct str about, struct buf *out);
/* Appends what seal_add was given. False with *e: it was sealed by a key that is not there, or altered, or is none. */
bool seal_open(const struct seal_keys *k, struct str sealed, struct str about, struct buf *out, struct err *e);
