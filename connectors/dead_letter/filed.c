/* SPDX-License-Identifier: MIT */
/* The file of dead letters for the API and `aqueduct dead`: lists, shows, redrives and discards; what is asked and what is
 * answered is JSON. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/command.h"
#include "bridge/lib/json.h"
#include "bridge/event/trail.h"
#include "connectors/dead_letter/dead_letter.h"
#include "connectors/dead_letter/print.h"
#include "connectors/dead_letter/redrive.h"

enum {
    FILED_LETTER = 64 << 20, /* bytes of a letter's JSON, without data */
    FILED_PAGE = 1000,
    FILED_REFUSED = 100, /* most letters that are named which were not redriven */
    FILED_NUMBER = 24,
};

/* ---- which ---- */

static struct str filed_text(const json_t *what, const char *name)
{
    return str_of(json_string_value(json_object_get(what, name)));
}

/* `state`: what is meant when nothing is said of it. */
static void filed_select(const json_t *what, const char *state, struct selection *out)
{
    struct str said = filed_text(what, "state"), since = filed_text(what, "since"), until = filed_text(what, "until");
    said = said.at ? said : str_of(state);
    bool all = str_eq(said, STR("all"));
    *out = (struct selection){ .owner = filed_text(what, "sink"),
                               .endpoint = filed_text(what, "endpoint"),
                               .class = filed_text(what, "class"),
                               .type_prefix = filed_text(what, "type"),
                               .source_prefix = filed_text(what, "source"),
                               .id = filed_text(what, "id"),
                               .dead = all || str_eq(said, STR("dead")),
                               .redriven = all || str_eq(said, STR("redriven")),
                               .discarded = all || str_eq(said, STR("discarded")) };
    if (since.at)
        clock_since(since, &out->since_ms);
    if (until.at)
        clock_since(until, &out->until_ms);
}

static struct letters *filed_open(const struct sink *s, struct err *e)
{
    return letters_open(((const struct dead_letter *)s)->path, false, e);
}

/* ---- list, show ---- */

static json_t *filed_number(int64_t seq)
{
    char number[FILED_NUMBER];
    snprintf(number, sizeof number, "%" PRId64, seq);
    return json_string(number);
}

static json_t *filed_json(const struct letter *l)
{
    struct buf text = buf_new(FILED_LETTER);
    print_json_object(l, &text);
    json_t *j = text.n ? json_loadb(text.at, text.n, JSON_ALLOW_NUL, NULL) : NULL;
    buf_free(&text);
    if (j)
        json_object_set_new(j, "letter", filed_number(l->seq));
    return j;
}

/* The sender's headers; what the letter says of them already is left out. */
static json_t *filed_headers(const struct record *r)
{
    struct buf text = buf_new(FILED_LETTER);
    buf_add_char(&text, '[');
    for (size_t i = 0; i < r->header_count; i++) {
        if (str_starts(r->headers[i].name, STR(TRAIL_PREFIX)))
            continue;
        struct buf one = buf_new(FILED_LETTER);
        buf_add_char(&one, '{');
        json_add_text(&one, "name", r->headers[i].name);
        json_add_text(&one, "value", r->headers[i].value);
        buf_printf(&text, "%s", text.n > 1 ? "," : "");
        buf_add_str(&text, buf_str(&one));
        buf_add_char(&text, '}');
        buf_free(&one);
    }
    buf_add_char(&text, ']');
    json_t *j = text.n ? json_loadb(text.at, text.n, JSON_ALLOW_NUL, NULL) : NULL;
    buf_free(&text);
    return j ? j : json_array();
}

/* Those of the numbers that are still there. False with *e. */
static bool filed_load(struct letters *st, const int64_t *seqs, size_t count, json_t *items, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        struct letter l;
        if (letters_load(st, seqs[i], &l, e)) {
            json_t *j = filed_json(&l);
            if (j)
                json_array_append_new(items, j);
            letter_free(&l);
        } else if (l.seq != 0)
            return false;
    }
    return true;
}

static json_t *filed_list(const struct sink *s, const json_t *what, struct err *e)
{
    struct selection sel;
    uint64_t after = 0;
    size_t limit = (size_t)json_number_value(json_object_get(what, "limit"));
    int64_t seqs[FILED_PAGE + 1];
    if (filed_text(what, "after").at && (!str_to_u64(filed_text(what, "after"), &after) || after > INT64_MAX)) {
        err_set(e, "after: is nothing that `next` said");
        return NULL;
    }
    filed_select(what, "dead", &sel);
    struct letters *st = filed_open(s, e);
    if (!st)
        return NULL;
    json_t *items = json_array(), *page = NULL;
    int64_t matched = after ? 0 : letters_matches(st, &sel, e);
    limit = limit < FILED_PAGE ? limit : FILED_PAGE;
    int64_t n = matched < 0 ? -1 : letters_select(st, &sel, true, (int64_t)after, seqs, limit + 1, e);
    size_t shown = n > (int64_t)limit ? limit : n > 0 ? (size_t)n : 0;
    if (n >= 0 && filed_load(st, seqs, shown, items, e))
        page = json_pack("{s:O,s:o}", "items", items, "next",
                         n > (int64_t)limit ? filed_number(seqs[limit - 1]) : json_null());
    if (page && !after)
        json_object_set_new(page, "matched", json_integer(matched));
    json_decref(items);
    letters_close(st);
    return page;
}

static json_t *filed_show(const struct sink *s, const char *number, struct buf *data, struct err *e)
{
    uint64_t seq;
    struct letter l;
    json_t *j = NULL;
    e->text[0] = '\0';
    if (!str_to_u64(str_of(number), &seq) || seq == 0 || seq > INT64_MAX)
        return NULL;
    struct letters *st = filed_open(s, e);
    if (!st)
        return NULL;
    if (letters_load(st, (int64_t)seq, &l, e)) {
        j = filed_json(&l);
        json_object_set_new(j, "headers", filed_headers(&l.record));
        buf_add_str(data, l.record.value);
        letter_free(&l);
    } else if (l.seq == 0)
        e->text[0] = '\0';
    letters_close(st);
    return j;
}

/* ---- redrive, discard ---- */

struct filed_end {
    struct redrive redrive; /* first */
    const struct filed_work *work;
    json_t *named; /* letters, with what became of them: all of a page, else those that were not done */
    size_t page;   /* most letters of it; 0: all are done */
    int64_t more;  /* of a page: the letter where the next one goes on; 0: there is no more */
};

static void filed_said(void *ctx, const char *verb, const char *why, const struct letter *l)
{
    const struct filed_end *f = ctx;
    bool done = strcmp(verb, "refused") != 0 && strcmp(verb, "skipped") != 0;
    if (!f->page && (done || json_array_size(f->named) >= FILED_REFUSED))
        return;
    json_t *one = filed_json(l);
    if (!one)
        return;
    json_object_set_new(one, "result", json_string(verb));
    json_object_set_new(one, "why", json_of_text(str_of(why)));
    json_array_append_new(f->named, one);
}

/* Which letters; of those that follow an earlier page what is left out was told with that. */
static bool filed_choose(struct filed_end *f, struct letters *st, struct selection *sel, struct err *e)
{
    const json_t *what = f->work->what;
    struct redrive *d = &f->redrive;
    uint64_t after = 0;
    bool discard = f->work->discard;
    if (filed_text(what, "after").at && (!str_to_u64(filed_text(what, "after"), &after) || after > INT64_MAX))
        return err_set(e, "after: is nothing that `next` said");
    filed_select(what, d->again ? "all" : "dead", sel);
    sel->discarded = sel->discarded && !(d->again && !filed_text(what, "state").at);
    sel->behind = (int64_t)after;
    return discard || d->again || redrive_leave_out(d, st, sel, after == 0, e);
}

/* Where the next page begins, if something matches behind the last letter of this one. */
static void filed_look_on(struct filed_end *f, struct letters *st, const struct selection *sel)
{
    const struct redrive *d = &f->redrive;
    int64_t next;
    struct err e;
    if (f->page && d->last && !d->interrupted && letters_select(st, sel, false, d->last, &next, 1, &e) == 1)
        f->more = d->last;
}

static bool filed_do(struct filed_end *f, struct letters *st, struct err *e)
{
    struct redrive *d = &f->redrive;
    struct selection sel = { 0 };
    if (!filed_choose(f, st, &sel, e))
        return false;
    d->total = sel.behind ? 0 : letters_matches(st, &sel, e);
    if (d->total < 0 || !d->goes_on(d->ctx, 0, d->total))
        return d->total >= 0;
    int64_t most = f->page ? (int64_t)f->page : d->total;
    bool good = most == 0 || redrive_letters(d, st, &sel, most, e);
    if (good)
        filed_look_on(f, st, &sel);
    return good;
}

/* What came of it. Of a page also why it ended before its end: what was done of it is told. */
static json_t *filed_result(const struct filed_end *f, bool good, const struct err *e)
{
    const struct redrive *d = &f->redrive;
    json_t *result = json_pack("{s:I,s:I,s:I,s:I,s:b,s:b,s:O}", "matched", (json_int_t)d->total, "done",
                               (json_int_t)d->done, "refused", (json_int_t)d->refused, "skipped",
                               (json_int_t)d->skipped, "dry_run", (int)d->dry_run, "interrupted", (int)d->interrupted,
                               f->page ? "items" : "not_done", f->named);
    if (!f->page)
        return result;
    json_object_set_new(result, "next", f->more ? filed_number(f->more) : json_null());
    json_object_set_new(result, "error", good ? json_null() : json_of_text(str_of(e->text)));
    json_object_set_new(result, "unmarked", d->unmarked.text[0] ? json_of_text(str_of(d->unmarked.text)) : json_null());
    return result;
}

static bool filed_end(const struct sink *s, struct filed_work *w, struct err *e)
{
    struct command_place to = { 0 };
    struct str place = filed_text(w->what, "to");
    if (place.at && !w->call->place(w->call, place, &to, e))
        return false;
    struct letters *st = filed_open(s, e);
    if (!st)
        return false;
    struct filed_end *f = mem_alloc(sizeof *f);
    *f = (struct filed_end){ .redrive = { .call = w->call,
                                          .becomes = w->discard ? LETTER_DISCARDED : LETTER_REDRIVEN,
                                          .to = to,
                                          .dry_run = json_is_true(json_object_get(w->what, "dry_run")),
                                          .again = json_is_true(json_object_get(w->what, "again")),
                                          .rate = (int64_t)json_number_value(json_object_get(w->what, "rate")),
                                          .goes_on = w->goes_on,
                                          .ctx = w->ctx,
                                          .said = filed_said,
                                          .said_to = f },
                             .work = w,
                             .named = json_array(),
                             .page = (size_t)json_number_value(json_object_get(w->what, "limit")) };
    bool good = filed_do(f, st, e);
    w->result = filed_result(f, good, e);
    bool told = good || (f->page && f->redrive.last);
    json_decref(f->named);
    free(f);
    letters_close(st);
    return told;
}

const struct filed_ops dead_letter_filed = { .list = filed_list, .show = filed_show, .end = filed_end };
