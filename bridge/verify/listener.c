/* SPDX-License-Identifier: MIT */
/* `tokens` and `verify` of listeners. */
#include "bridge/verify/listener.h"

struct verify_options listener_verify(const struct secrets *tokens, const struct verify_options *verify)
{
    return tokens->count ? (struct verify_options){ .scheme = VERIFY_BEARER, .secrets = *tokens } : *verify;
}

bool listener_check(const struct secrets *tokens, const struct verify_options *verify, struct err *e)
{
    for (size_t i = 0; i < tokens->count; i++)
        if (!secret_check(str_of(tokens->at[i].text), SECRET_LEAST, e))
            return err_prefix(e, "tokens[%zu]", i);
    if (tokens->count && verify_is_set(verify))
        return err_set(e, "tokens: stand beside verify: put them into it, as an entry of any");
    struct verify_options o = listener_verify(tokens, verify);
    if (!verify_is_set(&o))
        return true;
    struct verifier *v = verifier_new(&o, e);
    verifier_free(v);
    return v;
}

void listener_doubts(const struct secrets *tokens, const struct verify_options *verify, int64_t wall_ms,
                     void (*each)(void *ctx, const char *text), void *ctx)
{
    struct err e;
    if (secrets_warning(tokens, wall_ms, "tokens", "every request is refused", &e))
        each(ctx, e.text);
    verify_doubts(verify, wall_ms, each, ctx);
}
