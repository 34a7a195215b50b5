/* SPDX-License-Identifier: MIT */
/* `aqueduct send`: posts a body to a path of the configuration, or to a URL, as a sender would. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/command/given.h"
#include "bridge/event/event.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"
#include "connectors/http/called.h"
#include "connectors/http/pattern.h"
#include "connectors/http/post.h"
#include "connectors/http/proof.h"
#include "connectors/http/source.h"

enum { SEND_BODY = EVENT_DATA_BYTES, SEND_ANSWER = 64 << 10, SEND_LINES = 64 };

struct send_flags {
    struct given_flags given;
    struct strings headers;
    struct str data, id, type, source;
    struct str ca_file;
    int64_t repeat;
    bool json, print;
};

#define SEND_CHOICE(VALUE, name, doc) #name "|"
static const struct flag send_flags[] = {
    FLAG(struct send_flags, data, .name = "--data", .value = "TEXT", .doc = "the body, instead of a file or stdin"),
    FLAG(struct send_flags, headers, .name = "--header", .value = "LINE", .doc = "\"Name: value\"; several: each"),
    FLAG(struct send_flags, id, .name = "--id", .value = "ID",
         .doc = "of the delivery; without it, one drawn at random"),
    FLAG(struct send_flags, type, .name = "--type", .value = "TYPE",
         .doc = "as a CloudEvent of that type, in JSON, whose data is the body"),
    FLAG(struct send_flags, source, .name = "--source", .value = "SOURCE", .doc = "of the CloudEvent"),
    FLAG(struct send_flags, repeat, .name = "--repeat", .value = "N", .min = 1, .max = 1000000,
         .doc = "sends it so many times, under one id"),
    FLAG(struct send_flags, print, .name = "--print",
         .doc = "the headers that it would be sent with, as curl -H @FILE takes them; nothing is sent"),
    FLAG(struct send_flags, json, .name = "--json", .doc = "one JSON object a request"),
    FLAG(
        struct send_flags, given.scheme, .name = "--scheme", .value = "SCHEME",
        .group = "To a URL:", .choices = SIGNATURE_STYLES(SEND_CHOICE) "bearer|basic|api_key|none",
        .doc =
            "how it is signed, as in `verify:` of a path (basic: the secret is user:password); none: not at all, also to a path"),
    FLAG(struct send_flags, ca_file, .name = "--ca-file", .value = "FILE",
         .doc = "PEM file of the authorities that its certificate is verified by, if not the system's"),
    GIVEN_SECRET_FLAGS(struct send_flags, given),
    FLAG(struct send_flags, given.header, .name = "--signature-header", .value = "NAME",
         .doc = "the signature's header, if not the scheme's"),
    GIVEN_DESCRIBED_FLAGS(struct send_flags, given),
    { 0 },
};

static const char send_notes[] =
    "TO is a path of an HTTP source in the configuration (/v1/github; of one with parameters what a sender would write,\n"
    "/v1/kotaemon/answer), which says address, scheme and secret, or a URL. FILE is the body; without it, stdin.\n"
    "Prints status and answer; the exit code is 0 when every answer is 2xx, which a source of Aqueduct gives to what is\n"
    "stored.\n\n"
    "  aqueduct send /v1/github push.json --header 'X-GitHub-Event: push'\n"
    "  aqueduct send https://hooks.example.com/in --scheme stripe --secret-file key push.json\n";

extern const struct command send_command;

struct sending {
    const struct send_flags *f;
    const char *to; /* the word */
    struct str body;
    const char *media; /* of the body, where no header says it */
    struct verify_options verify;
    struct str event_source; /* default of --source */
    struct post post;
    int code;
};

/* ---- one request ---- */

/* Each is "Name: value". */
static bool send_check_headers(const struct strings *lines, struct err *e)
{
    for (size_t i = 0; i < lines->count; i++) {
        const char *colon = strchr(lines->at[i], ':');
        char name[128];
        snprintf(name, sizeof name, "%.*s", colon ? (int)(colon - lines->at[i]) : 0, lines->at[i]);
        if (!colon || !verify_check_name(name, NULL))
            return err_set(e, "--header: \"%.60s\" is not \"Name: value\"", lines->at[i]);
    }
    return true;
}

static bool send_has_header(const struct strings *lines, struct str name)
{
    for (size_t i = 0; i < lines->count; i++) {
        struct str line = str_of(lines->at[i]), found;
        str_cut(&line, ':', &found);
        if (str_eq_nocase(str_trim(found), name))
            return true;
    }
    return false;
}

/* The body as a CloudEvent in JSON. */
static bool send_event(struct sending *s, struct str id, struct buf *out, struct err *e)
{
    struct jscan_value value;
    bool json = jscan_check(s->body, &value, NULL);
    struct event ev = {
        .id = id,
        .type = s->f->type,
        .source = s->f->source.at ? s->f->source : s->event_source,
        .datacontenttype = json ? STR("application/json") : STR("text/plain"),
        .data = s->body,
    };
    const struct event *born = event_new(&ev, e);
    if (!born)
        return false;
    event_to_json(born, out);
    event_unref(born);
    s->media = "application/cloudevents+json";
    return true;
}

static void send_print(const struct sending *s, struct str id, long status, const struct buf *answer)
{
    if (!s->f->json) {
        printf("%ld %.*s\n", status, STR_ARG(buf_str(answer)));
        return;
    }
    json_t *j = json_pack("{s:I, s:b, s:s%}", "status", (json_int_t)status, "ok", status >= 200 && status < 300, "id",
                          id.at, id.n);
    json_t *said = json_loadb(buf_str(answer).at, answer->n, JSON_DECODE_ANY, NULL);
    json_object_set_new(j, "answer", said ? said : json_stringn(buf_str(answer).at, answer->n));
    json_dumpf(j, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(j);
}

/* As if it were sent. */
static long send_print_headers(const struct strings *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        printf("%s\n", lines->at[i]);
    return 200;
}

/* The URL, and behind it the key that proves who sends, unless that was written there. */
static const char *send_url(const struct sending *s, const struct buf *key, struct buf *url)
{
    const char *query = strchr(s->post.url, '?');
    struct str rest = buf_str(key), name;
    str_cut(&rest, '=', &name);
    if (!key->n || (query && memmem(query, strlen(query), name.at, name.n)))
        return s->post.url;
    buf_printf(url, "%s%c%.*s", s->post.url, query ? '&' : '?', STR_ARG(buf_str(key)));
    return buf_c(url);
}

static bool send_once(struct sending *s, struct str id, struct str body, struct err *e)
{
    struct buf lines = buf_new(2 * PROOF_BYTES), answer = buf_new(SEND_ANSWER), media = buf_new(512),
               key = buf_new(PROOF_BYTES), url = buf_new(4 * PROOF_BYTES);
    struct proof proof = { .o = &s->verify, .id = id, .wall_ms = clock_wall_ms(), .query = s->f->print ? NULL : &key };
    char *all[SEND_LINES];
    struct post post = s->post;
    long status = 0;
    post.headers = (struct strings){ .at = all };
    post.body = body;
    for (size_t i = 0; i < s->f->headers.count && i < SEND_LINES - 8; i++)
        all[post.headers.count++] = s->f->headers.at[i];
    if (!send_has_header(&s->f->headers, STR("content-type"))) {
        buf_printf(&media, "Content-Type: %s", s->media);
        all[post.headers.count++] = (char *)(uintptr_t)buf_c(&media);
    }
    /* What it shows may be among these; a signature nobody writes himself. */
    bool by_hand = s->f->headers.count > 0 && !table_style(s->verify.scheme);
    if (proof_add(&proof, body, &lines, e) || by_hand) {
        for (size_t at = 0; at < lines.n; at += strlen(lines.at + at) + 1)
            all[post.headers.count++] = lines.at + at;
        post.url = send_url(s, &key, &url);
        if (s->f->print)
            status = send_print_headers(&post.headers);
        else
            status = post_send(&post, &answer, e);
    }
    if (status && !s->f->print)
        send_print(s, id, status, &answer);
    if (status && (status < 200 || status >= 300))
        s->code = COMMAND_FAILED;
    crypto_wipe_buf(&url);
    crypto_wipe_buf(&key);
    crypto_wipe_buf(&lines);
    buf_free(&answer);
    buf_free(&media);
    return status != 0;
}

static void send_all(struct sending *s)
{
    char drawn[UUID_TEXT];
    struct err e;
    struct buf event = buf_new(2 * SEND_BODY);
    uuid_random(drawn);
    struct str id = s->f->id.at ? s->f->id : str_of(drawn), body = s->body;
    s->code = COMMAND_DONE;
    bool ok = !s->f->type.at || send_event(s, id, &event, &e);
    if (ok && s->f->type.at)
        body = buf_str(&event);
    for (int64_t i = 0; ok && i < (s->f->repeat ? s->f->repeat : 1); i++)
        ok = send_once(s, id, body, &e);
    if (!ok)
        s->code = given_say("send", COMMAND_FAILED, "%s", e.text);
    buf_free(&event);
}

/* ---- whereto ---- */

/* The address at which the source can be reached from here, as the begin of a URL. */
static bool send_address(const char *listen, bool secure, struct post *post, struct buf *url, struct err *e)
{
    struct str host = str_of(listen), port;
    buf_add_c(url, secure ? "https://" : "http://");
    if (str_starts(host, STR("unix:"))) {
        post->socket = listen + 5;
        buf_add_c(url, "localhost");
        return true;
    }
    size_t colon = host.n;
    while (colon > 0 && host.at[colon - 1] != ':')
        colon--;
    port = str_from(host, colon);
    host.n = colon ? colon - 1 : 0;
    if (str_eq(port, STR("0")) || port.n == 0)
        return err_set(e, "the source listens at a port that is drawn at its start (%s): give the URL", listen);
    bool any = str_eq(host, STR("0.0.0.0")) || str_eq(host, STR("*")) || host.n == 0;
    buf_add_str(url, any ? STR("127.0.0.1") : str_eq(host, STR("[::]")) ? STR("[::1]") : host);
    buf_add_char(url, ':');
    buf_add_str(url, port);
    return true;
}

static void send_to_path(struct sending *s, const struct source *source, const struct path_options *o)
{
    const struct http_server_options *server = http_source_server(source);
    struct buf url = buf_new(16 << 10);
    struct err e;
    s->verify = str_eq(s->f->given.scheme, STR("none")) ? (struct verify_options){ .scheme = VERIFY_NONE } : o->verify;
    s->media = o->content_type && *o->content_type ? o->content_type : verify_media(&o->verify);
    s->post.certificate = server->tls_certificate;
    struct buf own = buf_new(16 << 10), signs = buf_new(16 << 10);
    if (s->verify.url && *s->verify.url) {
        buf_printf(&signs, "%s%s", o->verify.url, strchr(s->to, '?') ? strchr(s->to, '?') : "");
        s->verify.url = signs.at;
    }
    called_add_source(o, source->id, &own);
    s->event_source = buf_str(&own);
    if (!send_address(server->listen, server->tls_certificate != NULL, &s->post, &url, &e)) {
        s->code = given_say("send", COMMAND_FAILED, "%s", e.text);
    } else {
        buf_add_c(&url, s->to);
        s->post.url = buf_c(&url);
        send_all(s);
    }
    buf_free(&own);
    buf_free(&signs);
    buf_free(&url);
}

/* As a log shows it: whoever looks over a shoulder learns no secret of a path. */
static void send_add_known(const struct path_options *o, struct buf *known)
{
    if (known->n)
        buf_add_c(known, ", ");
    called_add_label(o, known);
}

/* Sends to the path that has the name, or, with `pattern`, that takes it; false: none does. */
static bool send_find(struct sending *s, struct source *const *sources, size_t count, struct str name, bool pattern,
                      struct buf *known)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = 0;
        const struct path_options *paths = sources[i]->ops == &http_source ? http_source_paths(sources[i], &n) : NULL;
        for (size_t k = 0; k < n; k++) {
            struct str own = str_of(paths[k].path);
            if (pattern ? pattern_is(paths[k].path) && pattern_matches(own, name)
                        : str_eq(name, own) && !pattern_is(paths[k].path)) {
                send_to_path(s, sources[i], &paths[k]);
                return true;
            }
            if (pattern)
                send_add_known(&paths[k], known);
        }
    }
    return false;
}

/* The path of the configuration that the word names, up to its query. */
static void send_use(void *ctx, struct source *const *sources, size_t count)
{
    struct sending *s = ctx;
    struct str rest = str_of(s->to), name;
    struct buf known = buf_new(4096);
    str_cut(&rest, '?', &name);
    if (send_find(s, sources, count, name, false, &known) || send_find(s, sources, count, name, true, &known)) {
        buf_free(&known);
        return;
    }
    if (memchr(name.at, '{', name.n))
        s->code = given_say("send", COMMAND_FAILED, "%.*s: write what a sender would write in the place of each {...}",
                            STR_ARG(name));
    else
        s->code = given_say("send", COMMAND_FAILED, "no HTTP source of the configuration has the path %.*s%s%s",
                            STR_ARG(name), known.n ? "; there is " : "", known.n ? buf_c(&known) : "");
    buf_free(&known);
}

static enum verify_scheme send_scheme(const struct sending *s, const struct given *g)
{
    static const struct {
        const char *name;
        enum verify_scheme scheme;
    } shown[] = {
        { "bearer", VERIFY_BEARER }, { "basic", VERIFY_BASIC }, { "api_key", VERIFY_API_KEY }, { "none", VERIFY_NONE }
    };
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (str_eq(s->f->given.scheme, str_of(shown[i].name)))
            return shown[i].scheme;
    return g->secrets.count ? (enum verify_scheme)g->scheme : VERIFY_NONE;
}

/* Of "user:password", in *text, which is cut. */
static bool send_split_user(const struct given *g, char **text, struct secret *out, struct err *e)
{
    *text = str_dup(str_of(g->secrets.at[0].text));
    char *colon = strchr(*text, ':');
    if (!colon)
        return err_set(e, "scheme basic needs a secret that is user:password");
    *colon = '\0';
    *out = (struct secret){ .name = *text, .text = colon + 1 };
    return true;
}

static int send_to_url(struct sending *s, struct given *g)
{
    struct secret user = { 0 };
    struct err e;
    char *text = NULL;
    s->verify = (struct verify_options){
        .scheme = send_scheme(s, g),
        .secrets = g->secrets,
        .header = (char *)(uintptr_t)g->header, /* options are not written to */
        .url = (char *)(uintptr_t)s->to,
        .described = g->described,
    };
    if (given_has_scheme(&s->f->given) && g->secrets.count == 0 && !str_eq(s->f->given.scheme, STR("none")))
        return given_say("send", COMMAND_USAGE, "with whose secret? --secret-file FILE or --secret-env NAME");
    if (s->verify.scheme == VERIFY_BASIC && !send_split_user(g, &text, &user, &e)) {
        free(text);
        return given_say("send", COMMAND_USAGE, "%s", e.text);
    }
    if (s->verify.scheme == VERIFY_BASIC)
        s->verify.secrets = (struct secrets){ &user, 1 };
    s->media = verify_media(&s->verify);
    s->event_source = STR("/aqueduct/send");
    s->post.url = s->to;
    s->post.ca_file = s->f->ca_file.at;
    send_all(s);
    s->verify.secrets = (struct secrets){ 0 };
    if (text)
        crypto_wipe(text, strlen(text) + 1 + strlen(user.text));
    free(text);
    return s->code;
}

/* ---- the command ---- */

static bool send_read(const struct command_call *call, const struct send_flags *f, struct buf *body)
{
    if (f->data.at) {
        buf_add_str(body, f->data);
        return true;
    }
    return given_read("send", call->word_count > 1 ? call->words[1] : NULL, SEND_BODY, body);
}

static int send_check(const struct command_call *call, const struct send_flags *f)
{
    bool path = call->words[0][0] == '/', given = f->given.files.count || f->given.variables.count;
    struct str to = str_of(call->words[0]);
    struct err e;
    if (!path && !str_starts(to, STR("http://")) && !str_starts(to, STR("https://")))
        return given_say("send", COMMAND_USAGE, "%.100s is neither a path (/v1/github) nor a URL", call->words[0]);
    bool none = str_eq(f->given.scheme, STR("none")) && !f->given.header.at;
    if (path && (given || f->ca_file.at || (given_has_scheme(&f->given) && !none)))
        return given_say("send", COMMAND_USAGE, "a path has its scheme and secrets in the configuration");
    if (f->data.at && call->word_count > 1)
        return given_say("send", COMMAND_USAGE, "the body is --data or a file, not both");
    if (!send_check_headers(&f->headers, &e))
        return given_say("send", COMMAND_USAGE, "%s", e.text);
    if (f->source.at && !f->type.at)
        return given_say("send", COMMAND_USAGE, "--source goes with --type");
    return f->headers.count > SEND_LINES - 8
               ? given_say("send", COMMAND_USAGE, "there are more than %d headers", SEND_LINES - 8)
               : COMMAND_DONE;
}

static int send_run(struct command_call *call)
{
    const struct send_flags *f = call->flags;
    struct given given;
    struct err e;
    struct buf body = buf_new(SEND_BODY + 1);
    struct sending s = { .f = f, .to = call->words[0], .code = COMMAND_FAILED };
    int code = send_check(call, f);
    if (code != COMMAND_DONE)
        return code;
    if (!given_open(&given, &f->given, &e)) {
        code = given_say("send", COMMAND_FAILED, "%s", e.text);
    } else if (!send_read(call, f, &body)) {
        code = COMMAND_FAILED;
    } else {
        s.body = buf_str(&body);
        if (s.to[0] == '/')
            code = call->load_files(call, send_use, &s) ? s.code : COMMAND_FAILED;
        else
            code = send_to_url(&s, &given);
    }
    given_close(&given);
    buf_free(&body);
    return code;
}

const struct command send_command = {
    .name = "send",
    .doc = "Post a signed event to a path of the configuration, or to a URL.",
    .synopsis = "TO [FILE] [-c FILE]... [--header LINE]... [--type TYPE] [--repeat N] [--json]",
    .notes = send_notes,
    .flags = send_flags,
    .size = sizeof(struct send_flags),
    .min_words = 1,
    .max_words = 2,
    .run = send_run,
};
