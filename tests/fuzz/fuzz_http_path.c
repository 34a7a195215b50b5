/* SPDX-License-Identifier: MIT */
/* Requests to the HTTP source as its server hands them over: lines "name: value", an empty line, the body.
 * Verification never crashes and never accepts; what becomes events is events, through a map, too, and what does not is a
 * status with a text. */
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/jscan.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/http/path.h"
#include "connectors/http/path_check.h"
#include "connectors/http/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct buf form;
static struct path_limits most = { .events = 1000, .attributes = 64, .body = 1 << 20, .form = &form };
static const struct event *events[1000];
static struct buf origins = { .max = 1000 * PATH_ORIGIN };

/* The options of a scheme, as somebody could write them. */
static struct verify_options options_of(enum verify_scheme scheme)
{
    static char header[] = "X-Hook-Signature", name[] = "somebody", query[] = "key", nowhere[] = "192.0.2.0/24",
                url[] = "https://example.com/in", text[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                *networks[] = { nowhere };
    static struct secret secret = { .text = text, .name = name };
    struct verify_options o = { .scheme = scheme };
    if (scheme == VERIFY_ADDRESS)
        o.allow = (struct strings){ networks, 1 };
    else if (scheme == VERIFY_JWT)
        o.jwt.secrets = (struct secrets){ &secret, 1 };
    else if (scheme != VERIFY_CERTIFICATE)
        o.secrets = (struct secrets){ &secret, 1 };
    if (scheme == VERIFY_HMAC_HEX || scheme == VERIFY_HMAC_BASE64 || scheme == VERIFY_HMAC)
        o.header = header;
    if (scheme == VERIFY_TWILIO)
        o.url = url;
    if (scheme == VERIFY_API_KEY)
        o.query = query;
    return o;
}

/* Each by itself, and all of them together. */
static void check_schemes(const struct http_request *r)
{
    static struct verifier *verifiers[VERIFY_COUNT];
    static struct verify_options parts[VERIFY_COUNT], any;
    for (int i = VERIFY_UNSET + 1; i < VERIFY_COUNT && !verifiers[0]; i++) {
        if (i == VERIFY_NONE)
            continue;
        parts[any.any.count] = options_of((enum verify_scheme)i);
        verifiers[i] = verifier_new(&parts[any.any.count++], NULL);
        CHECK(verifiers[i]);
    }
    any.any.at = parts;
    if (!verifiers[0])
        verifiers[0] = verifier_new(&any, NULL);
    for (int i = 0; i < VERIFY_COUNT; i++) {
        if (i == VERIFY_NONE)
            continue;
        CHECK(verifier_check(verifiers[i], r).no != REFUSAL_NONE);
        verifier_check_head(verifiers[i], r);
        verifier_id(verifiers[i], r);
    }
}

static void check_events(const struct http_request *r)
{
    static struct path path;
    static char name[] = "/in", type_header[] = "X-Type";
    static struct path_options options = {
        .path = name, .verify = { .scheme = VERIFY_NONE }, .type_header = type_header, .cloudevents = CLOUDEVENTS_ALL
    };
    struct err e = { "" };
    int status = 0;
    if (!path.o)
        CHECK(path_open(&path, &options, NULL, "fuzz", &e));
    int n = path_events(&path, r, &most, events, &origins, &status, &e);
    CHECK(n >= 0 || (status >= 400 && e.text[0]));
    for (int i = 0; i < n; i++) {
        CHECK(events[i]->id.n && events[i]->time.n);
        event_unref(events[i]);
    }
}

/* Where the scheme signs the body alone, no header makes an attribute, and the configuration alone says how the body is
 * read; and no event names a source that is not the path's. */
static void check_signed(const struct http_request *r, enum cloudevents takes)
{
    static struct path paths[CLOUDEVENTS_NONE + 1];
    static struct path_options options[CLOUDEVENTS_NONE + 1];
    static char name[] = "/in", text[] = "a secret of enough length";
    static struct secret secret = { .text = text };
    struct path *path = &paths[takes];
    options[takes] = (struct path_options){ .path = name,
                                            .verify = { .scheme = VERIFY_GITHUB, .secrets = { &secret, 1 } },
                                            .cloudevents = takes,
                                            .ce_source = SOURCE_PREFIX };
    int status = 0;
    size_t versions = 0;
    if (!path->o)
        CHECK(path_open(path, &options[takes], NULL, "fuzz", NULL));
    int n = path_events(path, r, &most, events, &origins, &status, NULL);
    struct str type = http_header(r, "content-type", NULL);
    bool structured = str_starts_nocase(type, STR("application/cloudevents"));
    http_header(r, "ce-specversion", &versions);
    CHECK(n < 0 || structured == (takes == CLOUDEVENTS_STRUCTURED));
    CHECK(n < 0 || structured || versions == 0 || takes == CLOUDEVENTS_NONE);
    CHECK(structured || n < 1 || (n == 1 && str_eq(events[0]->source, STR("/http/fuzz/in"))));
    CHECK(structured || n < 1 || str_eq(events[0]->datacontenttype, STR("application/json")));
    for (int i = 0; i < n; i++) {
        CHECK(str_starts(events[i]->source, STR("/http/fuzz/in")));
        event_unref(events[i]);
    }
}

/* What a map makes of a body is an event whose data is JSON, and has what its type must have; else it is as it came. */
static void check_mapped(const struct http_request *r, bool each)
{
    static struct sandbox sandbox;
    static struct path paths[2];
    static char name[] = "/in", app[] = "fuzz", runs[] = "$.runs", id[] = ":body->>'$.id'",
                type[] = "chat.response.generated", base[] = "urn:x", chat[] = "conversation.id",
                of_chat[] = "coalesce(:headers->>'$.x-type', :body->>'$.id')", message[] = "message.id",
                of_message[] = "r.key", of_body[] = ":body->>'$.runs[0].n'", output[] = "output.text",
                of_element[] = "r.value->>'$.text'", of_output[] = ":body->>'$.text'", usage[] = "usage.total_tokens",
                of_usage[] = ":body->>'$.n'", sources[] = "sources", of_sources[] = ":body->'$.sources'";
    static struct map_entry data[2][5] = {
        { { .key = chat, .value = of_chat },
          { .key = message, .value = of_body },
          { .key = output, .value = of_output },
          { .key = usage, .value = of_usage },
          { .key = sources, .value = of_sources } },
        { { .key = chat, .value = of_chat },
          { .key = message, .value = of_message },
          { .key = output, .value = of_element },
          { .key = usage, .value = of_usage },
          { .key = sources, .value = of_sources } },
    };
    static struct map_options map = { .type = type };
    static struct path_options options[2];
    struct err e = { "" };
    int status = 0;
    struct path *path = &paths[each];
    if (!sandbox.db)
        sandbox_open(&sandbox, 1 << 20);
    if (!path->o) {
        options[each] = (struct path_options){ .path = name,
                                               .verify = { .scheme = VERIFY_NONE },
                                               .cloudevents = CLOUDEVENTS_NONE };
        options[each].mapping = (struct mapping_options){
            .rules = { .each = each ? runs : NULL, .id = id, .data = { data[each], 5 }, .map = { &map, 1 } },
            .telling = { .app = app, .schema_base = base },
            .unmapped = UNMAPPED_STORE,
        };
        if (!path_check(&options[each], &e) || !path_open(path, &options[each], &sandbox, "fuzz", &e))
            abort();
    }
    int n = path_events(path, r, &most, events, &origins, &status, &e);
    bool unpacked = http_header(r, "content-encoding", NULL).n > 0;
    CHECK(n > 0 || (n == -1 && status >= 400 && e.text[0]));
    for (int i = 0; i < n; i++) {
        struct jscan_member members[8];
        bool mapped = str_eq(events[i]->type, STR("chat.response.generated"));
        CHECK(mapped || (n == 1 && (unpacked || str_ends(r->body, events[i]->data))));
        CHECK(!mapped || jscan_object(events[i]->data, members, 8, NULL) >= 4);
        event_unref(events[i]);
    }
}

/* Every attribute by a template, forms as JSON: what is no attribute is left out, and no event is lost for it; the source stays
 * below the path's own. */
static void check_templates(const struct http_request *r, bool is_signed)
{
    static struct path paths[2];
    static struct path_options options[2];
    static char name[] = "/v1/{kind}", text[] = "a secret of enough length", id[] = "{{body.id}}",
                time[] = "{{body.at}}", type[] = "t.{{path.kind}}.{{headers.x-type | \"x\"}}",
                source[] = "/own/{{query.tenant}}", subject[] = "{{body}}", key[] = "tenant",
                value[] = "{{/a~1b/0 | cut 3}}", kept[] = "X-Type";
    static char *keep[] = { kept }, base[] = "urn:x";
    static struct map_entry attribute = { .key = key, .value = value };
    static struct secret secret = { .text = text };
    struct path *path = &paths[is_signed];
    struct path_options *o = &options[is_signed];
    struct err e = { "" };
    int status = 0;
    if (!path->o) {
        *o = (struct path_options){ .path = name,
                                    .verify = { .scheme = is_signed ? VERIFY_GITHUB : VERIFY_NONE },
                                    .type = type,
                                    .source = source,
                                    .subject = subject,
                                    .attributes = { &attribute, 1 },
                                    .keep_headers = { keep, 1 },
                                    .form = is_signed ? FORMS_PAYLOAD : FORMS_JSON,
                                    .cloudevents = CLOUDEVENTS_NONE,
                                    .mapping = { .rules = { .id = id, .time = time },
                                                 .telling = { .schema_base = base },
                                                 .unmapped = UNMAPPED_STORE } };
        if (is_signed)
            o->verify.secrets = (struct secrets){ &secret, 1 };
        if (!path_check(o, &e) || !path_open(path, o, NULL, "fuzz", &e))
            abort();
    }
    struct http_request with = *r;
    with.path = STR("/v1/a%62");
    with.query = http_header(r, "query", NULL);
    int n = path_events(path, &with, &most, events, &origins, &status, &e);
    CHECK(n == 1 || (n == -1 && (status == 400 || status == 411 || status == 413 || status == 415) && e.text[0]));
    if (n < 1)
        return;
    CHECK(str_starts(events[0]->source, STR("/own")) && str_starts(events[0]->type, STR("t.ab.")));
    CHECK(is_signed == (origins.n > 0));
    event_unref(events[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct header headers[32];
    if (!most.unpacker)
        most.unpacker = unpacker_new();
    struct http_request r = { .headers = headers };
    struct str rest = { (const char *)data, n }, line, name;
    while (str_cut(&rest, '\n', &line) && line.n && r.header_count < 32) {
        str_cut(&line, ':', &name);
        if (line.at) /* the server lets through no control characters, and trims */
            headers[r.header_count++] = (struct header){ name,
                                                         memchr(line.at, '\0', line.n) ? STR("") : str_trim(line) };
    }
    r.body = rest.at ? rest : STR("");
    r.peer = STR("127.0.0.1:1");
    r.query = r.header_count ? headers[0].value : STR_ABSENT;
    check_schemes(&r);
    check_events(&r);
    check_signed(&r, CLOUDEVENTS_BY_SCHEME);
    check_signed(&r, CLOUDEVENTS_STRUCTURED);
    check_signed(&r, CLOUDEVENTS_NONE);
    check_mapped(&r, false);
    check_mapped(&r, true);
    check_templates(&r, false);
    check_templates(&r, true);
    return 0;
}
