/* SPDX-License-Identifier: MIT */
/* The file of dead letters for the API: lists, shows, redrives and discards as `aqueduct dead` does. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/command.h"
#include "bridge/lib/json.h"
#include "connectors/dead_letter/dead_letter.h"
#include "connectors/dead_letter/print.h"
#include "connectors/dead_letter/redrive.h"

enum {
    FILED_LETTER = 1 << 20, /* bytes of a letter's JSON, without data */
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
    json_t *j = json_loadb(buf_str(&text).at, text.n, 0, NULL);
    buf_free(&text);
    if (j)
        json_object_set_new(j, "letter", filed_number(l->seq));
    return j;
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
    limit = limit < FILED_PAGE ? limit : FILED_PAGE;
    int64_t n = letters_select(st, &sel, true, (int64_t)after, seqs, limit + 1, e);
    size_t shown = n > (int64_t)limit ? limit : n > 0 ? (size_t)n : 0;
    if (n >= 0 && filed_load(st, seqs, shown, items, e))
        page = json_pack("{s:O,s:o}", "items", items, "next",
                         n > (int64_t)limit ? filed_number(seqs[limit - 1]) : json_null());
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
        buf_add_str(data, l.record.value);
        letter_free(&l);
    } else if (l.seq == 0)
        e->text[0] = '\0';
    letters_close(st);
    return j;
}

/* ---- redrive, discard ---- */

static void filed_said(void *ctx, const char *verb, const char *why, const struct letter *l)
{
    json_t *refused = ctx, *one;
    if ((strcmp(verb, "refused") != 0 && strcmp(verb, "skipped") != 0) || json_array_size(refused) >= FILED_REFUSED)
        return;
    one = filed_json(l);
    if (one && json_object_set_new(one, "why", json_of_text(str_of(why))) == 0)
        json_array_append(refused, one);
    json_decref(one);
}

static bool filed_do(struct redrive *d, struct letters *st, const struct filed_work *w, struct err *e)
{
    struct selection sel;
    filed_select(w->what, d->again ? "all" : "dead", &sel);
    sel.discarded = false;
    if (!w->discard && !d->again && !redrive_leave_out(d, st, &sel, e))
        return false;
    d->total = letters_matches(st, &sel, e);
    if (d->total < 0 || !w->goes_on(w->ctx, 0, d->total))
        return d->total >= 0;
    return d->total == 0 || redrive_letters(d, st, &sel, d->total, e);
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
    json_t *refused = json_array();
    struct redrive *d = mem_alloc(sizeof *d);
    *d = (struct redrive){ .call = w->call,
                           .as = { .becomes = w->discard ? LETTER_DISCARDED : LETTER_REDRIVEN,
                                   .to = to,
                                   .dry_run = json_is_true(json_object_get(w->what, "dry_run")),
                                   .said = filed_said,
                                   .ctx = refused },
                           .again = json_is_true(json_object_get(w->what, "again")),
                           .rate = (int64_t)json_number_value(json_object_get(w->what, "rate")),
                           .goes_on = w->goes_on,
                           .ctx = w->ctx };
    bool good = filed_do(d, st, w, e);
    w->result = json_pack("{s:I,s:I,s:I,s:I,s:b,s:b,s:o}", "matched", (json_int_t)d->total, "done",
                          (json_int_t)d->as.done, "refused", (json_int_t)d->as.refused, "skipped",
                          (json_int_t)d->as.skipped, "dry_run", (int)d->as.dry_run, "interrupted",
                          (int)d->as.interrupted, "not_done", refused);
    free(d);
    letters_close(st);
    return good;
}

const struct filed_ops dead_letter_filed = { .list = filed_list, .show = filed_show, .end = filed_end };
