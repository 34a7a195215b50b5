/* SPDX-License-Identifier: MIT */
/* Secrets as people paste them: what is evidently not the secret itself is refused, and the error says what to change.
 * No error holds anything of the secret. Any thread. */
#pragma once
#include "bridge/lib/crypto.h"
#include "bridge/lib/err.h"
#include "bridge/lib/option.h"

enum {
    SECRET_LEAST = 16,     /* bytes of a token, or of a key that signs by a provider's own scheme */
    SECRET_KEY_LEAST = 24, /* bytes of a Standard Webhooks key; its specification says 24 to 64 */
    SECRET_KEY_MOST = 512,
};

/* Of a list's element with an end: {secret: ..., until: ...}. */
extern const struct option secret_rows[];
/* The same of one that may have a name: {name: ..., secret: ..., until: ...}. */
extern const struct option named_secret_rows[];
enum { SECRET_NAME_MOST = 64 }; /* bytes */

#define SECRET_SOON_MS (14 * (int64_t)86400000) /* before the last end: when a warning begins */

static inline bool secret_has_ended(const struct secret *s, int64_t wall_ms)
{
    return s->until.ms && s->until.ms <= wall_ms;
}
int64_t secrets_last_ms(const struct secrets *s); /* when the last one ends; 0: one has no end, or there is none */
/* True with *why ("secrets: every key ends ..."): all of them end soon, or have ended. `key`: the option's; `then`: what comes
 * of that. */
bool secrets_warning(const struct secrets *s, int64_t wall_ms, const char *key, const char *then, struct err *why);

/* False when it is empty, too short, or evidently something else: in quotes, with blanks around it, `v1,` or `Bearer `
 * in front of it, `NAME=`, a misspelt whsec_, a signature, another kind of key, a variable or placeholder that nobody
 * replaced, a command, a path or URL, one word again and again, or a few characters. What was drawn at random is never refused. */
bool secret_check(struct str secret, size_t least, struct err *e);
/* The key of a Standard Webhooks secret: the bytes whose base64 stands behind whsec_, or the text itself. NULL when
 * secret_check or the length of the key says no. */
struct hmac *secret_hmac(struct str secret, struct err *e);
bool secret_has_prefix(struct str secret); /* whsec_ */
/* Would a field or column of that name hold a secret: a password, a token, a key to an API? */
bool secret_is_name(struct str name);
