/* SPDX-License-Identifier: MIT */
/* The columns of an event's data. Written by schemas/generate; change schemas/vocabulary.schema.json. */
/* clang-format off */
#include "bridge/event/columns.h"

static const struct column app_columns[] = {
    { "name", VOCABULARY_STRING, NULL },
    { "version", VOCABULARY_STRING, NULL },
    { 0 }
};

static const struct column conversation_columns[] = {
    { "id", VOCABULARY_STRING, NULL },
    { "title", VOCABULARY_STRING, NULL },
    { "kind", VOCABULARY_STRING, NULL },
    { 0 }
};

static const struct column message_columns[] = {
    { "id", VOCABULARY_STRING, NULL },
    { "parent", VOCABULARY_STRING, NULL },
    { "role", VOCABULARY_STRING, NULL },
    { "kind", VOCABULARY_STRING, NULL },
    { 0 }
};

static const struct column user_columns[] = {
    { "id", VOCABULARY_STRING, NULL },
    { "name", VOCABULARY_STRING, NULL },
    { "email", VOCABULARY_STRING, NULL },
    { "role", VOCABULARY_STRING, NULL },
    { "active", VOCABULARY_BOOLEAN, NULL },
    { 0 }
};

static const struct column actor_columns[] = {
    { "id", VOCABULARY_STRING, NULL },
    { "name", VOCABULARY_STRING, NULL },
    { 0 }
};

static const struct column collection_columns[] = {
    { "id", VOCABULARY_STRING, NULL },
    { "key", VOCABULARY_STRING, NULL },
    { "name", VOCABULARY_STRING, NULL },
    { "kind", VOCABULARY_STRING, NULL },
    { 0 }
};

static const struct column document_columns[] = {
    { "id", VOCABULARY_STRING, NULL },
    { "key", VOCABULARY_STRING, NULL },
    { "name", VOCABULARY_STRING, NULL },
    { "uri", VOCABULARY_STRING, NULL },
    { "media_type", VOCABULARY_STRING, NULL },
    { "bytes", VOCABULARY_INTEGER, NULL },
    { "sha256", VOCABULARY_STRING, NULL },
    { "words", VOCABULARY_INTEGER, NULL },
    { "tokens", VOCABULARY_INTEGER, NULL },
    { "chunks", VOCABULARY_INTEGER, NULL },
    { "pinned", VOCABULARY_BOOLEAN, NULL },
    { "watched", VOCABULARY_BOOLEAN, NULL },
    { 0 }
};

static const struct column agent_columns[] = {
    { "id", VOCABULARY_STRING, NULL },
    { "name", VOCABULARY_STRING, NULL },
    { "kind", VOCABULARY_STRING, NULL },
    { "version", VOCABULARY_STRING, NULL },
    { 0 }
};

static const struct column run_columns[] = {
    { "id", VOCABULARY_STRING, NULL },
    { "kind", VOCABULARY_STRING, NULL },
    { "status", VOCABULARY_STRING, NULL },
    { "trigger", VOCABULARY_STRING, NULL },
    { "retry_of", VOCABULARY_STRING, NULL },
    { "started_at", VOCABULARY_TIME, NULL },
    { "ended_at", VOCABULARY_TIME, NULL },
    { 0 }
};

static const struct column input_columns[] = {
    { "text", VOCABULARY_STRING, NULL },
    { "chars", VOCABULARY_INTEGER, NULL },
    { "digest", VOCABULARY_STRING, NULL },
    { "truncated", VOCABULARY_BOOLEAN, NULL },
    { 0 }
};

static const struct column output_columns[] = {
    { "text", VOCABULARY_STRING, NULL },
    { "chars", VOCABULARY_INTEGER, NULL },
    { "digest", VOCABULARY_STRING, NULL },
    { "truncated", VOCABULARY_BOOLEAN, NULL },
    { 0 }
};

static const struct column delta_columns[] = {
    { "kind", VOCABULARY_STRING, NULL },
    { "text", VOCABULARY_STRING, NULL },
    { "seq", VOCABULARY_INTEGER, NULL },
    { 0 }
};

static const struct column model_columns[] = {
    { "name", VOCABULARY_STRING, NULL },
    { "provider", VOCABULARY_STRING, NULL },
    { 0 }
};

static const struct column usage_columns[] = {
    { "input_tokens", VOCABULARY_INTEGER, NULL },
    { "output_tokens", VOCABULARY_INTEGER, NULL },
    { "total_tokens", VOCABULARY_INTEGER, NULL },
    { 0 }
};

static const struct column sources_columns[] = {
    { "document", VOCABULARY_STRING, NULL },
    { "name", VOCABULARY_STRING, NULL },
    { "score", VOCABULARY_NUMBER, NULL },
    { 0 }
};

static const struct column feedback_columns[] = {
    { "score", VOCABULARY_INTEGER, NULL },
    { "label", VOCABULARY_STRING, NULL },
    { "comment", VOCABULARY_STRING, NULL },
    { "kind", VOCABULARY_STRING, NULL },
    { 0 }
};

static const struct column error_columns[] = {
    { "type", VOCABULARY_STRING, NULL },
    { "message", VOCABULARY_STRING, NULL },
    { 0 }
};

static const struct column audit_columns[] = {
    { "action", VOCABULARY_STRING, NULL },
    { "detail", VOCABULARY_OBJECT, NULL },
    { 0 }
};

static const struct column raw_columns[] = {
    { "table", VOCABULARY_STRING, NULL },
    { "row", VOCABULARY_OBJECT, NULL },
    { "body", VOCABULARY_OBJECT, NULL },
    { 0 }
};

const struct column columns_table[] = {
    { "app", VOCABULARY_OBJECT, app_columns },
    { "conversation", VOCABULARY_OBJECT, conversation_columns },
    { "message", VOCABULARY_OBJECT, message_columns },
    { "user", VOCABULARY_OBJECT, user_columns },
    { "actor", VOCABULARY_OBJECT, actor_columns },
    { "collection", VOCABULARY_OBJECT, collection_columns },
    { "document", VOCABULARY_OBJECT, document_columns },
    { "agent", VOCABULARY_OBJECT, agent_columns },
    { "run", VOCABULARY_OBJECT, run_columns },
    { "channel", VOCABULARY_STRING, NULL },
    { "input", VOCABULARY_OBJECT, input_columns },
    { "output", VOCABULARY_OBJECT, output_columns },
    { "delta", VOCABULARY_OBJECT, delta_columns },
    { "model", VOCABULARY_OBJECT, model_columns },
    { "usage", VOCABULARY_OBJECT, usage_columns },
    { "duration_ms", VOCABULARY_INTEGER, NULL },
    { "finish_reason", VOCABULARY_STRING, NULL },
    { "sources", VOCABULARY_ARRAY, sources_columns },
    { "feedback", VOCABULARY_OBJECT, feedback_columns },
    { "error", VOCABULARY_OBJECT, error_columns },
    { "audit", VOCABULARY_OBJECT, audit_columns },
    { "before", VOCABULARY_OBJECT, NULL },
    { "raw", VOCABULARY_OBJECT, raw_columns },
    { 0 }
};
