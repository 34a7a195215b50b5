/* SPDX-License-Identifier: MIT */
/* `aqueduct verify`: is a received request signed, and what of it differs? */
#include <jansson.h>
#include <stdio.h>
#include "bridge/auth/diagnose.h"
#include "connectors/webhook/sealing.h"

enum { VERIFY_HEADERS_BYTES = 256 << 10 };

struct verify_flags {
    struct sealing_flags sealing; /* first */
    struct str headers;
    int64_t tolerance, now;
    bool json;
};

static const struct flag verify_flags[] = {
    FLAG(struct verify_flags, headers, .name = "--headers", .value = "FILE",
         .doc = "lines \"name: value\"; without it they stand above the body"),
    FLAG(struct verify_flags, tolerance, .name = "--tolerance", .value = "SECONDS", .min = 1, .max = 315360000,
         .doc = "how far its time may be from ours; 300 without it"),
    FLAG(struct verify_flags, now, .name = "--now", .value = "SECONDS", .min = 1, .max = 253402300799,
         .doc = "our time, since 1970, for a request of before"),
    FLAG(struct verify_flags, json, .name = "--json", .doc = "one JSON object"),
    SEALING_FLAGS(struct verify_flags),
    { 0 },
};

static const char verify_notes[] =
    "BODY is a file with the body exactly as it came; without --headers, with the request's headers and an empty line\n"
    "above it. Without BODY it is read from stdin. When the request is not as it was signed, one line says which part\n"
    "differs (id, timestamp, signature, encoding, body, url, scheme, key) and why, and the exit code is 1.\n";

extern const struct command verify_command;

static int verify_say(const struct diagnosis *found, bool as_json)
{
    bool good = found->part == DIFFERS_NOTHING;
    if (as_json) {
        json_t *j = json_pack("{s:b}", "verified", good);
        if (!good)
            json_object_set_new(j, "differs", json_string(differs_name(found->part)));
        if (!good)
            json_object_set_new(j, "why", json_string(found->why.text));
        json_dumpf(j, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(j);
    } else if (good) {
        puts("verified");
    } else {
        printf("not verified: %s: %s\n", differs_name(found->part), found->why.text);
    }
    return good ? COMMAND_DONE : COMMAND_FAILED;
}

static int verify_received(const struct verify_flags *f, const struct sealing *s, const struct received *r)
{
    struct err e;
    struct diagnosis found = { 0 };
    struct signature_style own;
    struct diagnose d = {
        .style = described_style(s->options.scheme, &s->options.described, &own, &e),
        .url = str_of(s->given.url),
        .scheme = s->options.scheme,
        .header = s->options.header,
        .secrets = s->secrets.at,
        .count = s->secrets.count,
        .now_s = f->now ? f->now : clock_wall_ms() / 1000,
        .tolerance_s = f->tolerance ? f->tolerance : 300,
    };
    if (!d.style)
        return given_say("verify", COMMAND_FAILED, "%s", e.text);
    if (!d.url.at && signature_signs(d.style, "{url}"))
        return given_say("verify", COMMAND_USAGE, "scheme %s signs the URL: say it by --url", signature_name(d.scheme));
    if (!d.header && !d.style->headers.signature)
        return given_say("verify", COMMAND_USAGE, "scheme %s has no header of its own: name it by --header",
                         signature_name(d.scheme));
    if (!diagnose(&d, r, &found, &e))
        return given_say("verify", COMMAND_FAILED, "%s", e.text);
    return verify_say(&found, f->json);
}

/* Reads headers and body as the flags say. */
static bool verify_read(const struct command_call *call, const struct verify_flags *f, struct buf *head,
                        struct buf *body, struct received *r)
{
    struct err e;
    char *headers = f->headers.at ? str_dup(f->headers) : NULL;
    bool ok = !headers || given_read("verify", headers, VERIFY_HEADERS_BYTES, head);
    free(headers);
    if (!ok || !given_read("verify", call->word_count ? call->words[0] : NULL, SEALING_BODY, body))
        return false;
    if (!received_read(r, f->headers.at ? buf_str(head) : buf_str(body), &e)) {
        given_say("verify", COMMAND_FAILED, "%s", e.text);
        return false;
    }
    if (f->headers.at)
        r->body = buf_str(body);
    return true;
}

static int verify_run(struct command_call *call)
{
    const struct verify_flags *f = call->flags;
    struct sealing s;
    struct received r;
    struct buf head = buf_new(VERIFY_HEADERS_BYTES + 1), body = buf_new(SEALING_BODY + 1);
    int code = sealing_open(&s, "verify", &f->sealing, call);
    if (code == COMMAND_DONE)
        code = verify_read(call, f, &head, &body, &r) ? verify_received(f, &s, &r) : COMMAND_FAILED;
    sealing_close(&s);
    buf_free(&head);
    buf_free(&body);
    return code;
}

const struct command verify_command = {
    .name = "verify",
    .doc = "Say whether a received webhook is signed, or what of it differs.",
    .synopsis = "(--sink NAME [-c FILE]... | --secret-file FILE [--scheme SCHEME]) [--headers FILE] [--json] [BODY]",
    .notes = verify_notes,
    .flags = verify_flags,
    .size = sizeof(struct verify_flags),
    .max_words = 1,
    .config = true,
    .needs_config = sealing_needs_config,
    .sinks = "webhook",
    .run = verify_run,
};
