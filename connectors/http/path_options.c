/* SPDX-License-Identifier: MIT */
/* The rows of a path's options. */
#include "connectors/http/path_options.h"

static const struct option_value path_source_rules[] = {
    { SOURCE_PREFIX, "prefix" },
    { SOURCE_PIN, "pin" },
    { SOURCE_ANY, "any" },
    { 0 },
};

static const struct option_value path_cloudevents[] = {
    { CLOUDEVENTS_ALL, "all" },
    { CLOUDEVENTS_STRUCTURED, "structured" },
    { CLOUDEVENTS_NONE, "none" },
    { 0 },
};

static const struct option_value path_forms[] = {
    { FORMS_KEEP, "keep" },
    { FORMS_PAYLOAD, "payload" },
    { FORMS_JSON, "json" },
    { 0 },
};

static const struct option_value path_not_json[] = { { NOT_JSON_REFUSE, "refuse" },
                                                     { NOT_JSON_STORE, "store" },
                                                     { 0 } };

static const struct option path_answer_rows[] = {
    OPTION(struct answer_options, status, .fallback = "202", .min = 200, .max = 204,
           .doc = "200, 201, 202 or 204 (no body)."),
    OPTION(struct answer_options, body, .doc = "Its body; default: the event's id in JSON, or how many were accepted."),
    OPTION(struct answer_options, content_type,
           .doc = "The body's media type; default: application/json where the body is JSON, else text/plain."),
    { 0 },
};

const struct
    option
        path_rows
            [] = {
                OPTION(
                    struct path_options, path, .required = true,
                    .doc =
                        "Path that senders post to, for example /v1/github; a segment {name} stands for any text of letters, digits, -, . and _: /v1/kotaemon/{event}."),
                OPTION(
                    struct path_options, name,
                    .doc =
                        "What metrics, the log and events call the path, if only its senders may know it; without a name, a part that looks like a secret is shown as * in metrics and the log, and as a digest (~3f8a91c2) in events."),
                OPTION_GROUP(
                    struct path_options, verify, verify_rows, .required = true,
                    .doc =
                        "How requests are verified before anything is read from them, such as {scheme: github, secrets: [...]}; {scheme: none}: not at all. See aqueduct help verify."),
                OPTION(
                    struct path_options, type,
                    .doc =
                        "Event type of bodies that are no CloudEvents, or a template for it: {{body.type}}, {{headers.x-kind}}, {{query.kind}}, {{path.event}}; default, also where a template has nothing: by scheme (github: github; standard: the body's `type`), else webhook.received."),
                OPTION(
                    struct path_options, type_header,
                    .doc =
                        "Header whose value is put behind the type and a dot; default by scheme (github: X-GitHub-Event, so that a push is github.push; shopify: X-Shopify-Topic; stripe and slack: the body's type, as long as neither `type` nor this is set)."),
                OPTION(
                    struct path_options, source,
                    .doc =
                        "The path's own CloudEvents source, that of such events; default /http/<name of the source><path>, without secrets in it, {app} as :app. A template behind a source of the path's own gives those below it: /shop/{{body.tenant}}."),
                OPTION(struct path_options, subject,
                       .doc =
                           "Subject of such events: a template, {{body.sessionId}}; left out where there is nothing."),
                OPTION(
                    struct path_options, attributes,
                    .doc =
                        "Extension attributes of such events, also of mapped ones: templates, tenant: \"{{headers.x-tenant}}\"; each is left out where there is nothing."),
                OPTION(
                    struct path_options, keep_headers,
                    .doc =
                        "Headers that all events of the path keep as attributes, with http before the name and without what no attribute's name can have: X-Request-Id becomes httpxrequestid. They do not count when repeats are compared."),
                OPTION(
                    struct path_options, id_header,
                    .doc =
                        "Header with the sender's id, by which repeats are known; default by scheme (webhook-id, X-GitHub-Delivery; stripe and slack: the event's id in the body), else Idempotency-Key, else the body's event_id."),
                OPTION(
                    struct path_options, cloudevents, .values = path_cloudevents,
                    .doc =
                        "Which CloudEvents are taken as they are: all, structured (one JSON, or a batch) or none; default all, but none for schemes that sign the body alone, where structured means that nothing else is taken: headers could be forged there."),
                OPTION(
                    struct path_options, content_type,
                    .doc =
                        "Media type of bodies that are no CloudEvents, when there is one alone; others get 415. Default application/json for schemes that sign the body alone, else whatever the request says."),
                OPTION(
                    struct path_options, form, .values = path_forms,
                    .doc =
                        "What a form (application/x-www-form-urlencoded) becomes: keep (it stays as it came), payload (the JSON in its field payload) or json (an object of its fields); default keep, but payload for scheme github without a content_type."),
                OPTION(
                    struct path_options, not_json, .fallback = "refuse", .values = path_not_json, .doc = "What becomes of a body that is said to be JSON and is not ({\"score\": NaN}), and is no CloudEvent: refuse (400, which its sender takes for final) or store (as text/plain, or application/octet-stream where it is no UTF-8)."),
                OPTION_GROUP(struct path_options, answer, path_answer_rows,
                             .doc = "What the sender hears when its event is stored."),
                OPTION(
                    struct path_options, ce_source, .values = path_source_rules, .fallback = "prefix",
                    .doc =
                        "Which source a CloudEvent may name: prefix (the path's own, or one below it; beyond: 403), pin (whatever it names, it gets the path's own) or any (its sender can then pass for every other source)."),
                {
                    .key = "preset",
                    .type = OPT_PRESET,
                    .offset = offsetof(struct path_options, mapping.preset),
                    .of = mapping_preset_rows,
                    .of_size = sizeof(struct mapping_preset),
                    .folder = "inbound",
                    .doc =
                        "A ready-made `map` for a sender (langfuse, langsmith, open-webui, openai), or id, type and subject of plain messages {event_id, type, content, sessionId} (message); or the path of a file like them.",
                },
                MAPPING_RULE_ROWS(struct path_options, mapping.rules),
                OPTION_IN(
                    struct path_options, mapping, unmapped, .fallback = "store", .values = mapping_unmapped,
                    .doc =
                        "What becomes of a body that no entry of `map` fits: store (as it came, as without `map`), drop (2xx, and nothing is stored) or refuse (422). One that the map fails on is stored as it came with store, and else refused."),
                OPTION_IN(struct path_options, mapping, raw, .fallback = "none", .values = mapping_raws,
                          .doc = "body: events of `map` have the body, too (raw.body), or with `each` the element."),
                OPTION_IN(
                    struct path_options, mapping, mask,
                    .doc =
                        "Members of JSON, at any depth, whose values become \"***\" where events of `map` tell JSON of the body: in `raw`, "
                        "in objects and arrays of `data`, and in its texts that hold JSON. With `unmapped` drop or refuse."),
                TELL_ROWS(struct path_options, mapping.telling, "default: what the preset says. For paths with `map`.",
                          "For paths with `map`.", "the body's length"),
                OPTION_GROUP(struct path_options, limits, limits_path_rows,
                             .doc = "How much may come on this path; what is beyond gets 429 and Retry-After."),
                OPTION(
                    struct path_options, allowed_origins,
                    .doc =
                        "Senders that may register this path by OPTIONS and WebHook-Request-Origin (CloudEvents webhook specification); default: all, since each request is verified anyway."),
                { 0 },
            };
