/* SPDX-License-Identifier: MIT */
/* An entry of `paths:` of an HTTP source, as the user wrote it. */
#pragma once
#include "bridge/lib/option.h"
#include "connectors/http/limits.h"
#include "connectors/http/mapping_options.h"
#include "bridge/verify/verify.h"

/* Which of a path's requests are taken as CloudEvents. */
enum cloudevents {
    CLOUDEVENTS_BY_SCHEME, /* all, or none when the scheme does not vouch for headers */
    CLOUDEVENTS_ALL,
    CLOUDEVENTS_STRUCTURED, /* one JSON, or a batch: what is signed with the body */
    CLOUDEVENTS_NONE,
};

/* Which source a CloudEvent may name. */
enum source_rule {
    SOURCE_PREFIX = 1, /* the path's own, or one below it */
    SOURCE_PIN,        /* any, but it is replaced by the path's own */
    SOURCE_ANY,
};

/* What becomes of a form (application/x-www-form-urlencoded). */
enum form_rule {
    FORMS_BY_SCHEME, /* of GitHub's: as FORMS_PAYLOAD, unless a content type is said; else FORMS_KEEP */
    FORMS_KEEP,      /* the data is the form as it came */
    FORMS_PAYLOAD,   /* the data is the JSON in its field `payload` */
    FORMS_JSON,      /* the data is an object of its fields */
};

/* What becomes of a body that is said to be JSON, and is not. */
enum not_json { NOT_JSON_REFUSE = 1, NOT_JSON_STORE };

struct answer_options { /* what the sender hears of what is stored */
    int64_t status;     /* 0: 202 */
    char *body, *content_type;
};

struct path_options { /* an entry of `paths:` as the user wrote it */
    char *path, *name;
    struct verify_options verify;
    char *type, *type_header;
    char *source, *subject;
    char *id_header, *content_type;
    struct map attributes;
    struct strings keep_headers;
    enum form_rule form;
    enum not_json not_json;
    struct answer_options answer;
    enum cloudevents cloudevents;
    enum source_rule ce_source;
    struct strings allowed_origins;
    struct mapping_options mapping;
    struct limits_path_options limits;
};
extern const struct option path_rows[];
