/* SPDX-License-Identifier: MIT */
/* Pages that belong together. */
#include "bridge/admin/paged.h"
#include <stdio.h>
#include <stdlib.h>
#include "bridge/admin/private.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

enum { PAGED_ASKED = 1024, PAGED_NEXT = 64 }; /* bytes */

struct run {
    struct api_ticket ticket; /* of its first page; row NULL: there is none */
    json_t *asked;
    char next[PAGED_NEXT];
    int64_t seen_ms; /* its last page */
    json_int_t matched, done, refused, pages;
};

struct paged {
    paged_tell_fn *tell;
    struct run runs[PAGED_RUNS];
};

struct paged *paged_new(paged_tell_fn *tell)
{
    struct paged *p = mem_alloc(sizeof *p);
    p->tell = tell;
    return p;
}

void paged_free(struct paged *p)
{
    for (size_t i = 0; p && i < PAGED_RUNS; i++)
        json_decref(p->runs[i].asked);
    free(p);
}

/* What does not change from page to page. */
static json_t *paged_asked(const json_t *body)
{
    json_t *asked = body ? json_copy((json_t *)(uintptr_t)body) : json_object();
    json_object_del(asked, "limit");
    json_object_del(asked, "after");
    json_object_del(asked, "last");
    return asked;
}

/* What was asked, unless it is longer than a line of a log should be. */
static json_t *paged_shown(const json_t *asked)
{
    char *text = json_short(asked, JSON_COMPACT);
    bool fits = text && strlen(text) <= PAGED_ASKED;
    free(text);
    return fits ? json_incref((json_t *)(uintptr_t)asked) : json_null();
}

json_t *paged_result(const json_t *body, const char *state, const json_t *answer)
{
    json_t *asked = paged_asked(body), *result = json_pack("{s:o,s:s}", "asked", paged_shown(asked), "state", state);
    static const char *const counts[] = { "matched", "done", "refused" };
    for (size_t i = 0; answer && i < sizeof counts / sizeof *counts; i++)
        json_object_set(result, counts[i], json_object_get(answer, counts[i]));
    json_decref(asked);
    return result;
}

static json_t *paged_tell_of(const struct run *r, const char *state)
{
    return json_pack("{s:o,s:s,s:I,s:I,s:I,s:I}", "asked", paged_shown(r->asked), "state", state, "matched", r->matched,
                     "done", r->done, "refused", r->refused, "pages", r->pages);
}

static void paged_forget(struct run *r)
{
    json_decref(r->asked);
    *r = (struct run){ 0 };
}

static void paged_leave(struct paged *p, struct run *r)
{
    json_t *result = paged_tell_of(r, "left");
    p->tell(&r->ticket, 200, result);
    json_decref(result);
    paged_forget(r);
}

void paged_end_left(struct paged *p, bool all)
{
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < PAGED_RUNS; i++)
        if (p->runs[i].ticket.row && (all || now - p->runs[i].seen_ms >= PAGED_IDLE_MS))
            paged_leave(p, &p->runs[i]);
}

/* Does the page go on with it? */
static bool paged_is_of(const struct run *r, const struct api_ticket *t, const json_t *asked, const char *after)
{
    return r->ticket.row && r->ticket.row == t->row && *after && strcmp(r->next, after) == 0
           && strcmp(r->ticket.who.is.name, t->who.is.name) == 0 && strcmp(r->ticket.who.via, t->who.via) == 0
           && json_equal(r->asked, asked);
}

/* What the page goes on with, or a new one, for which the one that waits longest may have to give way. */
static struct run *paged_find(struct paged *p, const struct api_ticket *t, const json_t *asked, const char *after)
{
    struct run *oldest = &p->runs[0];
    for (size_t i = 0; i < PAGED_RUNS; i++) {
        struct run *r = &p->runs[i];
        if (paged_is_of(r, t, asked, after))
            return r;
        if (!r->ticket.row || (oldest->ticket.row && r->seen_ms < oldest->seen_ms))
            oldest = r;
    }
    if (oldest->ticket.row)
        paged_leave(p, oldest);
    oldest->ticket = *t;
    oldest->asked = json_incref((json_t *)(uintptr_t)asked);
    return oldest;
}

static const char *paged_state(const json_t *body, int status, const json_t *answer)
{
    if (status >= 400 || json_is_string(json_object_get(answer, "error")))
        return "failed";
    if (json_is_true(json_object_get(answer, "interrupted")))
        return "interrupted";
    bool last = json_is_true(json_object_get(body, "last")) || !json_is_string(json_object_get(answer, "next"));
    return last ? "done" : "begun";
}

json_t *paged_page(struct paged *p, const struct api_ticket *t, const json_t *body, int status, const json_t *answer)
{
    json_t *asked = paged_asked(body), *result = NULL;
    const char *state = paged_state(body, status, answer);
    struct run *r = paged_find(p, t, asked, json_text(body, "after"));
    bool more = strcmp(state, "begun") == 0;
    json_decref(asked);
    r->matched += json_integer_value(json_object_get(answer, "matched"));
    r->done += json_integer_value(json_object_get(answer, "done"));
    r->refused += json_integer_value(json_object_get(answer, "refused"));
    r->seen_ms = clock_mono_ms();
    if (r->pages++ == 0 || !more)
        result = paged_tell_of(r, state);
    snprintf(r->next, sizeof r->next, "%s", json_text(answer, "next"));
    if (!more)
        paged_forget(r);
    return result;
}
