/* SPDX-License-Identifier: MIT */
/* An entry of `paths:` of an HTTP source, as the user wrote it. */
#pragma once
#include "bridge/lib/option.h"
#include "connectors/http/limits.h"
#include "connectors/http/mapping.h"
#include "connectors/http/verify/verify.h"

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

struct path_options { /* an entry of `paths:` as the user wrote it */
    char *path, *name;
    struct verify_options verify;
    char *type, *type_header;
    char *source;
    char *id_header, *content_type;
    enum cloudevents cloudevents;
    enum source_rule ce_source;
    struct strings allowed_origins;
    struct mapping_options mapping;
    struct limits_path_options limits;
};
extern const struct option path_rows[];
