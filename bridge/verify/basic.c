/* SPDX-License-Identifier: MIT */
/* The scheme `basic` (RFC 7617): a user and a password in the Authorization header. The user is the name of the secret. */
#include "bridge/auth/token.h"
#include "bridge/lib/mem.h"
#include "bridge/verify/scheme.h"

enum { BASIC_BYTES = 1024 }; /* of user, colon and password */

/* What a client shows is one text, and compared as one: how long it takes says nothing of whether the user was right. */
static bool basic_add_secret(struct verifier *v, struct str secret, bool ended, struct err *e)
{
    const char *user = v->secrets.at[v->adding].name;
    if (!secret_check(secret, SECRET_LEAST, e))
        return false;
    if (strlen(user) + 1 + secret.n > BASIC_BYTES)
        return err_set(e, "is longer than %d bytes, with its user", BASIC_BYTES);
    struct buf text = buf_new(BASIC_BYTES);
    buf_printf(&text, "%s:", user);
    buf_add_str(&text, secret);
    tokens_add(ended ? v->ended : v->tokens, buf_str(&text), v->adding);
    crypto_wipe_buf(&text);
    return true;
}

/* Is it a user, a colon and a password, without control characters? */
static bool basic_is_sound(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.at[i] < ' ' || text.at[i] == 0x7f)
            return false;
    return text.n && memchr(text.at, ':', text.n);
}

static enum refusal basic_check(struct verifier *v, const struct http_request *r)
{
    struct str value;
    enum refusal no = scheme_header(r, "Authorization", &value);
    if (no)
        return no;
    value = token_of_authorization(value, "Basic");
    if (!value.n || value.n > BASIC_BYTES * 4 / 3 + 4)
        return REFUSAL_MALFORMED;
    buf_reset(&v->decoded);
    bool sound = base64_decode(&v->decoded, value) && basic_is_sound(buf_str(&v->decoded));
    no = sound ? scheme_check_token(v, buf_str(&v->decoded)) : REFUSAL_MALFORMED;
    if (v->decoded.at)
        crypto_wipe(v->decoded.at, v->decoded.n);
    return no;
}

const struct scheme scheme_basic = {
    .covers = COVER_REQUEST,
    .asks = ASKS_WHO,
    .by_head = true,
    .needs_names = true,
    .shows_secret = true,
    .add_secret = basic_add_secret,
    .check = basic_check,
    .challenge = "Basic realm=\"aqueduct\", charset=\"UTF-8\"",
};
