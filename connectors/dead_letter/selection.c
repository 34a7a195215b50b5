/* SPDX-License-Identifier: MIT */
/* Which letters of the file are meant, and each of them as a copy. */
#include <stdlib.h>
#include "bridge/lib/buf.h"
#include "connectors/dead_letter/private.h"

enum {
    SELECTION_PAGE = 256,     /* of letters_each */
    RECORD_BYTES = 256 << 20, /* of one letter, more than any broker lets through */
};

#define MATCHES                                                                                                        \
    " FROM letters WHERE (?1 IS NULL OR owner = ?1) AND (?2 IS NULL OR class = ?2)"                                    \
    " AND (?3 IS NULL OR substr(type, 1, length(?3)) = ?3) AND (?5 = 0 OR last >= ?5)"                                 \
    " AND (?4 IS NULL OR id = ?4 OR (id IS NULL AND topic || '/' || partition || '@' || offset = ?4))"                 \
    " AND (?11 = 0 OR last < ?11) AND (?12 IS NULL OR substr(source, 1, length(?12)) = ?12)"                           \
    " AND ((?6 AND state = 'dead' AND (?13 = 0 OR redrives < ?13) AND redrives >= ?14)"                                \
    " OR (?7 AND state = 'redriven') OR (?15 AND state = 'discarded'))"                                                \
    " AND (?10 IS NULL OR ?10 =" OF_ENDPOINT ")"

/* A statement about the selected letters; the caller finalizes it. */
static sqlite3_stmt *selection_prepare_selection(struct letters *st, const char *text, const struct selection *sel,
                                                 struct err *e)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(st->db, text, -1, &s, NULL) != SQLITE_OK) {
        letters_failed(st, e);
        return NULL;
    }
    letters_bind_text(s, 1, sel->owner);
    letters_bind_text(s, 2, sel->class);
    letters_bind_text(s, 3, sel->type_prefix);
    letters_bind_text(s, 4, sel->id);
    sqlite3_bind_int64(s, 5, sel->since_ms);
    sqlite3_bind_int(s, 6, sel->dead);
    sqlite3_bind_int(s, 7, sel->redriven);
    letters_bind_text(s, 10, sel->endpoint);
    sqlite3_bind_int64(s, 11, sel->until_ms);
    letters_bind_text(s, 12, sel->source_prefix);
    sqlite3_bind_int64(s, 13, sel->redrives_below);
    sqlite3_bind_int64(s, 14, sel->redrives_least);
    sqlite3_bind_int(s, 15, sel->discarded);
    return s;
}

int64_t letters_select(struct letters *st, const struct selection *sel, bool newest, int64_t after, int64_t *out,
                       size_t room, struct err *e)
{
    sqlite3_stmt *s = selection_prepare_selection(st,
                                                  newest ? "SELECT seq" MATCHES
                                                           " AND (?8 = 0 OR seq < ?8) ORDER BY seq DESC LIMIT ?9"
                                                         : "SELECT seq" MATCHES " AND seq > ?8 ORDER BY seq LIMIT ?9",
                                                  sel, e);
    if (!s)
        return -1;
    sqlite3_bind_int64(s, 8, after);
    sqlite3_bind_int64(s, 9, (int64_t)room);
    int64_t n = 0;
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW)
        out[n++] = sqlite3_column_int64(s, 0);
    if (rc != SQLITE_DONE) {
        letters_failed(st, e);
        n = -1;
    }
    sqlite3_finalize(s);
    return n;
}

int64_t letters_matches(struct letters *st, const struct selection *sel, struct err *e)
{
    int64_t n = 0;
    sqlite3_stmt *s = selection_prepare_selection(st, "SELECT count(*)" MATCHES, sel, e);
    bool ok = s && letters_step(st, s, &n, e);
    sqlite3_finalize(s);
    return ok ? n : -1;
}

/* ---- one letter ---- */

enum { LETTER_TEXTS = 12 };

/* A letter on its way out of the file. Bytes and headers move while they grow, so first all are copied, and then the
 * spans that point to them are set. */
struct loading {
    struct buf bytes;
    struct column {
        size_t at, n;
        bool absent;
    } * columns; /* the row's texts, then name and value of each header */
    struct str *to[LETTER_TEXTS];
    size_t column_count, column_cap;
    bool cut; /* something did not fit */
};

/* What does not fit is left out, and the letter says so: it is shown all the same. */
static void selection_copy_column(struct loading *x, sqlite3_stmt *s, int i)
{
    size_t n = (size_t)sqlite3_column_bytes(s, i);
    bool fits = x->bytes.n + n <= RECORD_BYTES;
    const void *bytes = fits ? sqlite3_column_blob(s, i) : NULL;
    if (x->column_count == x->column_cap) {
        x->column_cap = x->column_cap ? 2 * x->column_cap : 64;
        x->columns = mem_grow(x->columns, x->column_cap, sizeof *x->columns);
    }
    x->cut = x->cut || !fits;
    x->columns[x->column_count++] = (struct column){ .at = x->bytes.n,
                                                     .n = fits ? n : 0,
                                                     .absent = !fits || sqlite3_column_type(s, i) == SQLITE_NULL };
    if (bytes)
        buf_add(&x->bytes, bytes, n);
}

/* A state that this version does not know is none that anything is done with. */
static enum letter_state selection_state(const char *word)
{
    for (enum letter_state s = LETTER_DEAD; word && s < LETTER_DISCARDED; s++)
        if (strcmp(word, letter_state(s)) == 0)
            return s;
    return LETTER_DISCARDED;
}

static void selection_copy_row(struct loading *x, sqlite3_stmt *s, struct letter *l)
{
    const struct {
        int column;
        struct str *to;
    } texts_of[LETTER_TEXTS] = { { 1, &l->owner },         { 2, &l->id },        { 3, &l->source },
                                 { 4, &l->type },          { 5, &l->time },      { 10, &l->class },
                                 { 11, &l->reason },       { 12, &l->topic },    { 18, &l->record.key },
                                 { 19, &l->record.value }, { 20, &l->endpoint }, { 21, &l->identity } };
    for (size_t i = 0; i < LETTER_TEXTS; i++) {
        x->to[i] = texts_of[i].to;
        selection_copy_column(x, s, texts_of[i].column);
    }
    l->of_source = sqlite3_column_int(s, 0);
    l->first_ms = sqlite3_column_int64(s, 6);
    l->last_ms = sqlite3_column_int64(s, 7);
    l->attempts = sqlite3_column_int64(s, 8);
    l->status = sqlite3_column_int64(s, 9);
    l->partition = sqlite3_column_int64(s, 13);
    l->offset = sqlite3_column_int64(s, 14);
    l->record.timestamp_ms = sqlite3_column_int64(s, 15);
    l->record.partition = -1;
    l->state = selection_state((const char *)sqlite3_column_text(s, 16));
    l->redrives = sqlite3_column_int64(s, 17);
}

static void selection_copy_headers(struct loading *x, sqlite3_stmt *s)
{
    while (sqlite3_step(s) == SQLITE_ROW) {
        selection_copy_column(x, s, 0);
        selection_copy_column(x, s, 1);
    }
}

/* Copies row and headers; SQLITE_ROW, or what came instead of a row. */
static int selection_copy(struct loading *x, sqlite3_stmt *row, sqlite3_stmt *headers, struct letter *l)
{
    sqlite3_bind_int64(row, 1, l->seq);
    sqlite3_bind_int64(headers, 1, l->seq);
    int rc = sqlite3_step(row);
    if (rc == SQLITE_ROW) {
        selection_copy_row(x, row, l);
        selection_copy_headers(x, headers);
    }
    sqlite3_reset(row);
    sqlite3_reset(headers);
    return rc;
}

static struct str selection_text(const struct loading *x, size_t i)
{
    const struct column *c = &x->columns[i];
    return c->absent ? STR_ABSENT : (struct str){ x->bytes.at ? x->bytes.at + c->at : "", c->n };
}

/* Gives what was copied to the letter. */
static void selection_give(struct loading *x, struct letter *l)
{
    size_t headers = (x->column_count - LETTER_TEXTS) / 2;
    for (size_t i = 0; i < LETTER_TEXTS; i++)
        *x->to[i] = selection_text(x, i);
    l->cut = x->cut;
    l->owned = x->bytes.at;
    l->owned_headers = mem_grow(NULL, headers + 1, sizeof *l->owned_headers);
    for (size_t i = 0; i < headers; i++)
        l->owned_headers[i] = (struct header){ selection_text(x, LETTER_TEXTS + 2 * i),
                                               selection_text(x, LETTER_TEXTS + 2 * i + 1) };
    l->record.headers = l->owned_headers;
    l->record.header_count = headers;
}

bool letters_load(struct letters *st, int64_t seq, struct letter *l, struct err *e)
{
    struct loading x = { .bytes = buf_new(RECORD_BYTES) };
    *l = (struct letter){ .seq = seq };
    sqlite3_stmt *row = letters_statement(st, LOAD, e), *headers = letters_statement(st, LOAD_HEADERS, e);
    if (!row || !headers)
        return false;
    int rc = selection_copy(&x, row, headers, l);
    if (rc == SQLITE_ROW)
        selection_give(&x, l);
    else
        buf_free(&x.bytes);
    free(x.columns);
    if (rc == SQLITE_ROW)
        return true;
    if (rc != SQLITE_DONE)
        return letters_failed(st, e);
    l->seq = 0;
    return err_set(e, "%s: the letter is gone", st->path);
}

static int64_t selection_out_of_order(const struct letters *st, struct err *e)
{
    err_set(e, "%s: is damaged: its letters are not in order; thrown away, it is built again from the topic", st->path);
    return -1;
}

int64_t letters_each(struct letters *st, const struct selection *sel, bool newest, int64_t most, letters_each_fn *each,
                     void *ctx, struct err *e)
{
    int64_t page[SELECTION_PAGE], after = newest ? 0 : sel->behind, total = 0, n;
    bool begun = false;
    do {
        int64_t room = most - total < SELECTION_PAGE ? most - total : SELECTION_PAGE;
        n = letters_select(st, sel, newest, after, page, (size_t)room, e);
        for (int64_t i = 0; i < n; i++) {
            struct letter l;
            if (begun && (newest ? page[i] >= after : page[i] <= after)) /* it would go round and round */
                return selection_out_of_order(st, e);
            begun = true;
            after = page[i];
            if (!letters_load(st, page[i], &l, e)) {
                if (l.seq == 0) /* the daemon has filed it anew, or dropped it, since the page was selected */
                    continue;
                return -1;
            }
            bool ok = each(ctx, &l, e);
            letter_free(&l);
            if (!ok)
                return -1;
            total++;
        }
    } while (n > 0 && total < most);
    return n < 0 ? -1 : total;
}

void letter_free(struct letter *l)
{
    free(l->owned);
    free(l->owned_headers);
    l->owned = NULL;
    l->owned_headers = NULL;
}
