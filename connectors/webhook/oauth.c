/* SPDX-License-Identifier: MIT */
/* Client credentials as a request for a token. */
#include "connectors/webhook/oauth.h"

#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"

enum { OAUTH_LIFE_S = 3600 /* of a token, when the answer does not say */ };

#define OAUTH_URL "oauth.token_url"

static const struct option_value oauth_auths[] = { { OAUTH_BASIC, "basic" }, { OAUTH_BODY, "body" }, { 0 } };

const struct option oauth_rows[] = {
    OPTION(struct oauth, token_url, .doc = "Where the token is fetched."),
    OPTION(struct oauth, client_id, .doc = "Who we are there."),
    OPTION(struct oauth, client_secret, .doc = "Our secret there."),
    OPTION(struct oauth, scope, .doc = "What the token shall allow."),
    OPTION(struct oauth, audience, .doc = "For whom the token shall be; some services want it."),
    OPTION(struct oauth, auth, .fallback = "basic", .values = oauth_auths,
           .doc = "Where id and secret stand: in the header Authorization (basic), or in the form (body)."),
    { 0 }
};

bool oauth_check(const struct oauth *o, const struct address_rules *rules, struct err *e)
{
    struct transfer_target to = { 0 };
    if (!o->token_url)
        return (!o->client_id && !o->client_secret.text) || err_set(e, "oauth.token_url: is missing");
    if (!o->client_id || !*o->client_id)
        return err_set(e, "oauth.client_id: is missing");
    if (!o->client_secret.text || !*o->client_secret.text)
        return err_set(e, "oauth.client_secret: is missing");
    bool ok = target_set_url(&to, OAUTH_URL, o->token_url, e) && target_check_address(&to, OAUTH_URL, rules, e);
    target_free_url(&to);
    return ok;
}

static void oauth_add_escaped(struct buf *out, const char *text)
{
    char *escaped = curl_easy_escape(NULL, text, (int)strlen(text));
    CHECK(escaped);
    buf_add_c(out, escaped);
    curl_free(escaped);
}

static void oauth_add_field(struct buf *out, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    buf_printf(out, "&%s=", name);
    oauth_add_escaped(out, value);
}

/* Hides the secret, in whichever form it is sent. */
static void oauth_hide(const struct oauth *o, struct grant *g)
{
    struct buf form = buf_new(3 * strlen(o->client_secret.text) + 1);
    hide_word(&g->hidden, o->client_secret.text);
    oauth_add_escaped(&form, o->client_secret.text);
    hide_word(&g->hidden, buf_c(&form));
    if (o->auth == OAUTH_BASIC)
        hide_word(&g->hidden, strrchr(g->request.text.at, ' ') + 1);
    crypto_wipe_buf(&form);
}

static void oauth_add_basic(struct buf *out, const struct oauth *o)
{
    struct buf pair = buf_new(GRANT_BYTES);
    oauth_add_escaped(&pair, o->client_id);
    buf_add_char(&pair, ':');
    oauth_add_escaped(&pair, o->client_secret.text);
    buf_add_c(out, "Authorization: Basic ");
    base64_add(out, buf_str(&pair));
    crypto_wipe_buf(&pair);
}

void oauth_grant(const struct oauth *o, struct grant *g)
{
    static char success[] = "2xx", *successes[] = { success };
    bool basic = o->auth == OAUTH_BASIC;
    struct buf form = buf_new(4 * GRANT_BYTES), line = buf_new(4 * GRANT_BYTES);
    buf_add_c(&form, "grant_type=client_credentials");
    oauth_add_field(&form, "client_id", basic ? NULL : o->client_id);
    oauth_add_field(&form, "client_secret", basic ? NULL : o->client_secret.text);
    oauth_add_field(&form, "scope", o->scope);
    oauth_add_field(&form, "audience", o->audience);
    if (basic)
        oauth_add_basic(&line, o);
    else
        buf_add_c(&line, "Content-Type: application/x-www-form-urlencoded");
    *g = (struct grant){ .url = str_dup(str_of(o->token_url)),
                         .member = str_dup(STR("/access_token")),
                         .life_s = OAUTH_LIFE_S };
    CHECK(statuses_load(&g->statuses, &(struct strings){ successes, 1 }, &(struct strings){ 0 }, NULL));
    grant_set_request(g, form, buf_c(&line));
    oauth_hide(o, g);
    crypto_wipe_buf(&line);
}
