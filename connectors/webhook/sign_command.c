/* SPDX-License-Identifier: MIT */
/* `aqueduct sign`: the headers of a signed request with a body. */
#include <jansson.h>
#include <stdio.h>
#include "connectors/webhook/sealing.h"

struct sign_flags {
    struct sealing_flags sealing; /* first */
    struct str id;
    int64_t time;
    bool json;
};

static const struct flag sign_flags[] = {
    FLAG(struct sign_flags, id, .name = "--id", .value = "ID", .doc = "webhook-id; without it, one drawn at random"),
    FLAG(struct sign_flags, time, .name = "--time", .value = "SECONDS", .min = 1, .max = 253402300799,
         .doc = "webhook-timestamp, since 1970; without it, now"),
    FLAG(struct sign_flags, json, .name = "--json", .doc = "one JSON object"),
    SEALING_FLAGS(struct sign_flags),
    { 0 },
};

static const char
    sign_notes[] = "BODY is a file; without it, stdin. What is printed are headers, for example for curl:\n\n"
                   "  aqueduct sign --sink crm body.json > head.txt\n"
                   "  curl -H @head.txt -H 'content-type: application/json' --data-binary @body.json URL\n";

extern const struct command sign_command;

static void sign_print(const struct buf *lines, bool as_json)
{
    json_t *j = json_object();
    for (size_t at = 0; at < lines->n; at += strlen(lines->at + at) + 1) {
        struct str name, line = str_of(lines->at + at);
        str_cut(&line, ':', &name);
        json_object_setn_new(j, name.at, name.n, json_stringn(line.at + 1, line.n - 1));
        if (!as_json)
            printf("%s\n", lines->at + at);
    }
    if (as_json) {
        json_dumpf(j, stdout, JSON_COMPACT);
        putchar('\n');
    }
    json_decref(j);
}

/* An id is part of what is signed, and stands in a header. */
static bool sign_is_id(struct str id)
{
    for (size_t i = 0; i < id.n; i++)
        if (id.at[i] <= ' ' || id.at[i] == 0x7f || id.at[i] == '.')
            return false;
    return true;
}

static int sign_body(const struct sign_flags *f, const struct sealing *s, struct str body)
{
    struct err e;
    struct signer signer;
    char drawn[UUID_TEXT];
    struct buf lines = buf_new(64 << 10);
    int64_t now = f->time ? f->time * 1000 : clock_wall_ms();
    int code = COMMAND_DONE;
    uuid_random(drawn);
    if (!signer_load(&signer, &s->options, &s->secrets, false, &e)
        || (signer_has_ended(&signer) && signer_warning(&signer, now, &e)))
        code = given_say("sign", COMMAND_FAILED, "%s", e.text);
    else if (signature_signs(signer.style, "{url}") && !s->given.url)
        code = given_say("sign", COMMAND_USAGE, "scheme %s signs the URL: say it by --url",
                         signature_name(s->options.scheme));
    else {
        signer.url = str_of(s->given.url);
        signer_add(&signer, f->id.at ? f->id : str_of(drawn), now, body, &lines);
        sign_print(&lines, f->json);
    }
    signer_free(&signer);
    buf_free(&lines);
    return code;
}

static int sign_run(struct command_call *call)
{
    const struct sign_flags *f = call->flags;
    struct sealing s;
    struct buf body = buf_new(SEALING_BODY + 1);
    if (f->id.at && !sign_is_id(f->id))
        return given_say("sign", COMMAND_USAGE, "--id has neither blanks nor control characters nor dots");
    int code = sealing_open(&s, "sign", &f->sealing, call);
    if (code == COMMAND_DONE)
        code = given_read("sign", call->word_count ? call->words[0] : NULL, SEALING_BODY, &body)
                   ? sign_body(f, &s, buf_str(&body))
                   : COMMAND_FAILED;
    sealing_close(&s);
    buf_free(&body);
    return code;
}

const struct command sign_command = {
    .name = "sign",
    .doc = "Print the headers that a webhook with this body is sent with.",
    .synopsis = "(--sink NAME [-c FILE]... | --secret-file FILE [--scheme SCHEME]) [--id ID] [--json] [BODY]",
    .notes = sign_notes,
    .flags = sign_flags,
    .size = sizeof(struct sign_flags),
    .max_words = 1,
    .config = true,
    .needs_config = sealing_needs_config,
    .sinks = "webhook",
    .run = sign_run,
};
