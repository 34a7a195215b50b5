/* SPDX-License-Identifier: MIT */
/* One path of the HTTP source: its life, and which requests are for it. */
#include "connectors/http/path.h"
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "connectors/http/attributes.h"
#include "connectors/http/called.h"
#include "connectors/http/path_check.h"
#include "connectors/http/pattern.h"
#include "connectors/http/question.h"

METRIC_COUNTER(aqueduct_http_refused_total, "Requests whose signature or token was refused.", "source", "path",
               "reason");
METRIC_COUNTER(aqueduct_http_foreign_sources_total,
               "Requests refused because a CloudEvent names a source that is not the path's.", "source", "path");
METRIC_HISTOGRAM(
    aqueduct_http_request_seconds,
    "From a whole request to its answer, by outcome: stored, repeat, unverified (401), refused (another 4xx), "
    "conflict, limited (429) or unavailable (503).",
    "source", "path", "outcome");

struct metric *path_seconds(struct path *p, enum path_end end, const char *source_id)
{
    if (!p->seconds[end])
        p->seconds[end] = metric_get(&aqueduct_http_request_seconds, LABELS(source_id, p->label, path_end_name(end)));
    return p->seconds[end];
}

static void path_open_metrics(struct path *p, const char *source_id)
{
    for (int i = REFUSAL_MISSING; i < REFUSAL_COUNT; i++)
        p->refused[i] = metric_get(&aqueduct_http_refused_total,
                                   LABELS(source_id, p->label, refusal_text((enum refusal)i)));
    p->foreign = metric_get(&aqueduct_http_foreign_sources_total, LABELS(source_id, p->label));
    path_seconds(p, PATH_STORED, source_id);
}

bool path_open(struct path *p, const struct path_options *o, struct sandbox *b, const char *source_id, struct err *e)
{
    p->o = o;
    p->verifier = verifier_new(&o->verify, e);
    if (!p->verifier)
        return false;
    verifier_start(p->verifier);
    p->signs = verify_covers(&o->verify);
    reader_open(&p->reader, o);
    p->name = str_of(o->path);
    p->pattern = pattern_is(o->path);
    struct buf label = buf_new(2 * EVENT_ATTRIBUTE_BYTES);
    called_add_label(o, &label);
    p->label = str_dup(buf_str(&label));
    buf_free(&label);
    p->type = path_type(o, p->verifier);
    p->type_header = path_type_header(o, p->verifier);
    struct buf source = buf_new(2 * EVENT_ATTRIBUTE_BYTES);
    called_add_source(o, source_id, &source);
    p->source = buf_str(&source); /* path_close frees it */
    struct buf scope = buf_new(2 * EVENT_ATTRIBUTE_BYTES);
    buf_add_c(&scope, source_id);
    called_add(o, &scope);
    p->scope = buf_str(&scope); /* as well */
    if (source.failed || scope.failed)
        return err_set(e, "the path is too long");
    owner_open(&p->owner, p->source);
    path_open_metrics(p, source_id);
    p->attributes = attributes_new(o, p->verifier, source_id, p->label);
    p->mapping = mapping_new(&o->mapping, b, source_id, p->label);
    return true;
}

void path_close(struct path *p)
{
    mapping_free(p->mapping);
    attributes_free(p->attributes);
    verifier_free(p->verifier);
    free(p->label);
    owner_close(&p->owner);
    free((void *)(uintptr_t)p->scope.at);
    free((void *)(uintptr_t)p->source.at); /* ours; str is for borrowing, hence const */
}

bool path_takes(const struct path *p, struct str name)
{
    return p->pattern ? pattern_matches(p->name, name) : str_eq(p->name, name);
}

int path_status(const struct path *p)
{
    return p->o->answer.status ? (int)p->o->answer.status : 202;
}

bool path_answers(const struct path *p, const struct http_request *r, struct buf *answer)
{
    const struct signature_style *style = verifier_style(p->verifier);
    return style && style->asks && question_answer(jscan_skip_mark(r->body), answer);
}

bool path_allows_origin(const struct path *p, struct str origin)
{
    const struct strings *allowed = &p->o->allowed_origins;
    for (size_t i = 0; i < allowed->count; i++)
        if (str_eq_nocase(str_of(allowed->at[i]), origin))
            return true;
    return allowed->count == 0;
}

const char *path_end_name(enum path_end end)
{
    static const char *const names[PATH_ENDS] = { "stored",   "repeat",  "unverified", "refused",
                                                  "conflict", "limited", "unavailable" };
    return names[end];
}
