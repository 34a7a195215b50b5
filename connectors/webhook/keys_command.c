/* SPDX-License-Identifier: MIT */
/* `aqueduct keys new | public`. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/file.h"
#include "connectors/webhook/sealing.h"

enum { KEYS_BYTES = 32, KEYS_TEXT = 256 };

static const char
    keys_usage[] = "aqueduct keys new    [--scheme SCHEME] [--out FILE] [--json]   draws a secret, or a pair\n"
                   "aqueduct keys public --secret-file FILE [--json]               says the public half of a pair\n";

static const char keys_notes[] =
    "Without --out the secret goes to stdout, and the public half of a pair to stderr; with it, the secret goes to the\n"
    "file (made anew, mode 0600) and the public half to stdout. Sign with it by secrets: [\"${file:FILE}\"].\n";

struct keys_flags {
    struct sealing_flags sealing;
    struct str out;
    bool json;
};

static const struct flag keys_flags[] = {
    FLAG(
        struct keys_flags, sealing.given.scheme, .name = "--scheme", .value = "SCHEME",
        .choices = SEALING_CHOICES "|bearer|basic|api_key|jwt",
        .doc =
            "standard (default: whsec_...), v1a (a pair: whsk_, whpk_), or another, also a token (bearer), password (basic) or key (api_key): 64 hex digits"),
    FLAG(struct keys_flags, out, .name = "--out", .value = "FILE", .doc = "new: where the secret is written"),
    FLAG(struct keys_flags, sealing.given.files, .name = "--secret-file", .value = "FILE",
         .doc = "public: the private half"),
    FLAG(struct keys_flags, sealing.given.variables, .name = "--secret-env", .value = "NAME",
         .doc = "public: the same, in a variable of the environment"),
    FLAG(struct keys_flags, json, .name = "--json", .doc = "one JSON object"),
    { 0 },
};

extern const struct command keys_command;

static void keys_draw(struct str scheme, struct buf *secret)
{
    unsigned char bytes[KEYS_BYTES];
    struct str drawn = { (const char *)bytes, sizeof bytes };
    crypto_random(bytes, sizeof bytes);
    if (str_eq(scheme, STR("v1a"))) {
        key_add_pair(drawn, secret);
    } else if (!scheme.at || str_eq(scheme, STR("standard"))) {
        buf_add_c(secret, "whsec_");
        base64_add(secret, drawn);
    } else {
        hex_add(secret, drawn); /* as a token, a password and a key have no other form */
    }
    crypto_wipe(bytes, sizeof bytes);
}

/* The public half of a private one; empty: it is none of a pair. */
static bool keys_public(struct str secret, struct buf *out, struct err *e)
{
    struct key *k = key_new(secret, true, HASH_SHA256, KEY_SIGNS, e);
    if (k && key_kind(k) == KEY_ED25519)
        key_add_public(k, out);
    key_free(k);
    return k != NULL;
}

static bool keys_write(struct str path, struct buf *secret, struct err *e)
{
    struct err why;
    char *name = str_dup(path);
    buf_add_char(secret, '\n');
    bool ok = file_put(name, buf_str(secret), 0600, false, &why) || err_set(e, "--out %s", why.text);
    secret->n--;
    free(name);
    return ok;
}

static void keys_print_json(const char *secret, const char *public)
{
    json_t *j = json_object();
    if (secret)
        json_object_set_new(j, "secret", json_string(secret));
    if (public && *public)
        json_object_set_new(j, "public", json_string(public));
    json_dumpf(j, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(j);
}

static int keys_new(const struct keys_flags *f, struct buf *secret, struct buf *public)
{
    struct err e;
    keys_draw(f->sealing.given.scheme, secret);
    if (str_eq(f->sealing.given.scheme, STR("v1a")) && !keys_public(buf_str(secret), public, &e))
        return given_say("keys", COMMAND_FAILED, "%s", e.text);
    if (f->out.at && !keys_write(f->out, secret, &e))
        return given_say("keys", COMMAND_FAILED, "%s", e.text);
    if (f->json)
        keys_print_json(f->out.at ? NULL : buf_c(secret), buf_c(public));
    else if (f->out.at && public->n)
        printf("%s\n", buf_c(public));
    else if (!f->out.at)
        printf("%s\n", buf_c(secret));
    if (!f->json && !f->out.at && public->n)
        fprintf(stderr, "its public half, for the receiver: %s\n", buf_c(public));
    return COMMAND_DONE;
}

static int keys_say_public(const struct keys_flags *f, const struct command_call *call, struct buf *public)
{
    struct err e;
    struct sealing s;
    int code = sealing_open(&s, "keys", &f->sealing, call);
    if (code == COMMAND_DONE && !keys_public(str_of(s.secrets.at[0].text), public, &e))
        code = given_say("keys", COMMAND_FAILED, "%s", e.text);
    else if (code == COMMAND_DONE && !public->n)
        code = given_say("keys", COMMAND_FAILED, "this is no half of a pair (whsk_...): it has no public one");
    sealing_close(&s);
    if (code == COMMAND_DONE && f->json)
        keys_print_json(NULL, buf_c(public));
    else if (code == COMMAND_DONE)
        printf("%s\n", buf_c(public));
    return code;
}

static int keys_run(struct command_call *call)
{
    const struct keys_flags *f = call->flags;
    struct buf secret = buf_new(KEYS_TEXT), public = buf_new(KEYS_TEXT);
    bool new = strcmp(call->words[0], "new") == 0;
    int code = new ? keys_new(f, &secret, &public) : keys_say_public(f, call, &public);
    crypto_wipe_buf(&secret);
    buf_free(&public);
    return code;
}

static const char *const keys_verbs[] = { "new", "public", NULL };

const struct command keys_command = {
    .name = "keys",
    .doc = "Draw the secrets and key pairs that sign webhooks.",
    .usage = keys_usage,
    .notes = keys_notes,
    .flags = keys_flags,
    .size = sizeof(struct keys_flags),
    .min_words = 1,
    .max_words = 1,
    .verbs = keys_verbs,
    .run = keys_run,
};
