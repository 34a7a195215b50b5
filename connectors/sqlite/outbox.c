/* SPDX-License-Identifier: MIT */
/* Kind outbox: the changes that triggers in the application's database wrote down (triggers.h), in their order.
 *
 * The position is the number of the last change told, with its mark: a number that comes with another mark, or was never
 * given out, is that of a backup put back or a table made anew. Then it goes on behind the last change that is still as it
 * was told, or, if none of those remembered is there, with the oldest that is: what is told again has the id it had.
 * Numbers follow each other, so those that are not there any more were taken away unread. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/large.h"
#include "connectors/sqlite/render.h"
#include "connectors/sqlite/seen.h"

/* ---- the position ---- */

static void outbox_remember(struct rule *r, int64_t seq, int64_t mark)
{
    char text[24];
    snprintf(text, sizeof text, "i%" PRId64, seq);
    passed_add(&r->passed, str_dup(str_of(text)), (uint64_t)mark);
    r->top = seq;
    r->moved = true;
}

/* That change, counted from the last one told; false: it is not remembered. */
static bool outbox_remembered(struct rule *r, size_t back, int64_t *seq, uint64_t *mark)
{
    const struct passed_row *row = passed_row(&r->passed, back);
    if (!row)
        return false;
    *mark = row->digest;
    return row->key[0] == 'i' && str_to_i64(value_key_plain(str_of(row->key)), seq);
}

/* Is the change there, with that mark? */
static int outbox_find(struct rule *r, int64_t seq, uint64_t mark, bool *there, bool *same)
{
    sqlite3_bind_int64(r->at_cursor, 1, seq);
    *there = sqlite3_step(r->at_cursor) == SQLITE_ROW;
    *same = *there && (uint64_t)sqlite3_column_int64(r->at_cursor, 0) == mark;
    return sqlite3_reset(r->at_cursor);
}

static int outbox_number(sqlite3_stmt *stmt, int64_t *out)
{
    if (stmt && sqlite3_step(stmt) == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    return sqlite3_reset(stmt);
}

/* The largest number given out; 0: none. */
static int outbox_newest(const struct rule *r, int64_t *newest)
{
    int64_t counted = 0;
    *newest = 0;
    int rc = outbox_number(r->max, newest);
    if (rc == SQLITE_OK)
        rc = outbox_number(r->sequence, &counted);
    *newest = counted > *newest ? counted : *newest;
    return rc;
}

/* The number of the next change behind that one; 0: there is none. */
static int outbox_next(struct sqlite_source *s, const struct rule *r, int64_t behind, int64_t *seq)
{
    sqlite3_stmt *stmt = NULL;
    char *sql = sqlite3_mprintf("SELECT min(seq) FROM \"%w\" WHERE seq > %lld", r->outbox, (long long)behind);
    int rc = sql ? sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) : SQLITE_NOMEM;
    *seq = 0;
    if (rc == SQLITE_OK)
        rc = outbox_number(stmt, seq);
    sqlite3_finalize(stmt);
    sqlite3_free(sql);
    return rc;
}

/* Before the oldest change that is there. */
static int outbox_go_to_oldest(struct sqlite_source *s, struct rule *r, int64_t newest)
{
    int64_t oldest;
    int rc = outbox_next(s, r, INT64_MIN, &oldest);
    passed_forget_all(&r->passed);
    r->top = oldest ? oldest - 1 : newest;
    r->top_known = r->moved = true;
    return rc;
}

/* The first look: all that was written down since `setup` is told. */
static int outbox_begin_first(struct sqlite_source *s, struct rule *r, int64_t newest)
{
    int rc = outbox_go_to_oldest(s, r, newest);
    if (rc == SQLITE_OK && r->top > 0)
        LOG(WARN, "an outbox is read for the first time, and older changes were taken away already; they are not told",
            LOG_C("source", s->base.id), LOG_C("rule", r->name), LOG_INT("changes", r->top));
    return rc;
}

/* The changes are others than those that were told. */
static int outbox_go_back(struct sqlite_source *s, struct rule *r, int64_t newest)
{
    int64_t seq, before = r->top;
    uint64_t mark;
    bool there, same = false;
    int rc = SQLITE_OK;
    size_t back = 0;
    while (rc == SQLITE_OK && !same && outbox_remembered(r, back, &seq, &mark)) {
        rc = outbox_find(r, seq, mark, &there, &same);
        back += !same;
    }
    if (rc == SQLITE_OK && !same)
        rc = outbox_go_to_oldest(s, r, newest);
    if (rc != SQLITE_OK)
        return rc;
    if (same) {
        passed_forget(&r->passed, back);
        r->top = seq;
    }
    r->moved = true;
    metric_add(s->restarts, 1);
    LOG(WARN, "an outbox has other changes than were told (a restored file, or it was made anew)",
        LOG_C("source", s->base.id), LOG_C("rule", r->name), LOG_INT("was", before), LOG_INT("now", r->top),
        LOG_C("how", same ? "going on behind the last change that is as it was told"
                          : "going on with the oldest change; what is told again has the id it had"));
    return rc;
}

static int outbox_begin(struct sqlite_source *s, struct rule *r, int64_t *newest)
{
    int64_t seq = 0;
    uint64_t mark = 0;
    bool there = false, same = false, known = outbox_remembered(r, 0, &seq, &mark) && seq == r->top;
    int rc = outbox_newest(r, newest);
    if (rc == SQLITE_OK && known)
        rc = outbox_find(r, seq, mark, &there, &same);
    if (rc != SQLITE_OK)
        return rc;
    if (!r->ready)
        state_store_ready(s, r); /* what is written down is all new, be it from before the first look */
    if (!r->top_known)
        return outbox_begin_first(s, r, *newest);
    return *newest < r->top || (there && !same) ? outbox_go_back(s, r, *newest) : SQLITE_OK;
}

/* The changes up to that one were taken away unread. */
static void outbox_lose(struct sqlite_source *s, struct rule *r, int64_t to)
{
    metric_add(s->lost, to - r->top);
    LOG(ERROR, "changes are lost: they were taken away from the outbox before they were read",
        LOG_C("source", s->base.id), LOG_C("rule", r->name), LOG_C("table", r->o->table), LOG_INT("from", r->top + 1),
        LOG_INT("to", to), LOG_INT("changes", to - r->top),
        LOG_C("why", "the source was down or behind for longer than `retain` or `retain_rows` allow; or somebody took "
                     "them away"));
    r->top = to;
    r->moved = true;
}

/* ---- a change ---- */

static void outbox_report_update(struct sqlite_source *s, struct rule *r, const struct seen *now)
{
    bool changed[RULE_WATCH] = { 0 };
    struct buf kept = buf_new(64 << 10);
    sqlite3_bind_int64(r->get, 1, now->birth.rowid);
    bool known = sqlite3_step(r->get) == SQLITE_ROW;
    for (size_t i = 0; i < r->o->watch.count; i++)
        changed[i] = !r->lacks[i] && (!known || value_hash(r->get, HEAD + (int)i) != now->hashes[i]);
    if (known)
        render_kept(s, r, r->get, &kept);
    sqlite3_reset(r->get); /* of what is too large to be read all columns count as changed */
    seen_report_update(s, r, known ? buf_c(&kept) : NULL, now, changed, 0);
    buf_free(&kept);
}

static void outbox_report(struct sqlite_source *s, struct rule *r, struct seen *now)
{
    struct str op = value_text(now->all, HEAD_DONE);
    const char *gone = rule_type(r, STR("delete"));
    if (str_eq(op, STR("insert")))
        seen_report_new(s, r, now, 0);
    else if (str_eq(op, STR("update")))
        outbox_report_update(s, r, now);
    else if (gone)
        mapped_tell(s, r,
                    &(struct happening){ .op = "delete",
                                         .type = gone,
                                         .key = now->key,
                                         .birth = now->birth,
                                         .row = now->all,
                                         .at_ms = now->at_ms });
}

static void outbox_take(struct sqlite_source *s, struct rule *r, sqlite3_stmt *row)
{
    struct seen now = { .at_ms = 0 };
    int last = HEAD + (int)r->o->watch.count + r->field_count;
    seen_read(&now, r, row);
    now.all = row;
    now.at_ms = sqlite3_column_int64(row, last);
    now.birth = (struct birth){ sqlite3_column_int64(row, HEAD_TIE), sqlite3_column_int64(row, HEAD_CURSOR) };
    if (now.birth.rowid > r->top + 1)
        outbox_lose(s, r, now.birth.rowid - 1);
    if (sqlite3_column_type(row, HEAD_KEY) == SQLITE_NULL) {
        metric_add(s->unkeyed, 1);
        rule_warn_of_unkeyed(s, r);
    } else if (sqlite3_column_int(row, last + 1)) {
        outbox_report(s, r, &now);
    }
    outbox_remember(r, now.birth.rowid, now.birth.epoch);
    s->slice.rows++;
}

/* The next change cannot be read: it is told without what is too large in it, or passed over. */
static int outbox_take_apart(struct sqlite_source *s, struct rule *r, int failure)
{
    char text[24], why[WHY_BYTES];
    int64_t seq;
    snprintf(why, sizeof why, "%s", sqlite3_errmsg(s->db));
    int rc = outbox_next(s, r, r->top, &seq);
    if (rc != SQLITE_OK || !seq)
        return rc;
    snprintf(text, sizeof text, "i%" PRId64, seq);
    sqlite3_stmt *row = failure == SQLITE_TOOBIG ? large_row(s, r, str_of(text), NULL, &rc) : NULL;
    if (row) {
        outbox_take(s, r, row);
        large_end(r, row);
        return SQLITE_OK;
    }
    if (failure != SQLITE_TOOBIG)
        large_refuse(s, r, str_of(text), NULL, why);
    if (seq > r->top + 1)
        outbox_lose(s, r, seq - 1);
    r->top = seq;
    r->moved = true;
    s->slice.rows++;
    return rc == SQLITE_TOOBIG ? SQLITE_OK : rc;
}

/* One LIMIT batch; *more = there may be others behind it. */
static int outbox_scan(struct sqlite_source *s, struct rule *r, bool *more)
{
    int64_t rows = 0;
    bool full = false;
    if (sqlite3_bind_int64(r->next, 1, r->top) != SQLITE_OK || sqlite3_bind_int64(r->next, 2, s->batch) != SQLITE_OK)
        return SQLITE_ERROR;
    while (!full && sqlite3_step(r->next) == SQLITE_ROW) {
        outbox_take(s, r, r->next);
        rows++;
        full = slice_full(s);
    }
    metric_add(s->rows_read, rows);
    *more = full || rows == s->batch;
    int rc = sqlite3_reset(r->next);
    if (rc != SQLITE_TOOBIG && (rc & 0xff) != SQLITE_ERROR)
        return rc;
    *more = true;
    return outbox_take_apart(s, r, rc);
}

/* ---- the rule's part of a pass ---- */

static int outbox_read(struct sqlite_source *s, struct rule *r, bool *more)
{
    int64_t newest;
    int rc = outbox_begin(s, r, &newest);
    for (*more = true; rc == SQLITE_OK && *more && !slice_full(s);)
        rc = outbox_scan(s, r, more);
    if (rc == SQLITE_OK && !*more && newest > r->top)
        outbox_lose(s, r, newest);
    return rc;
}

enum step outbox_step(struct sqlite_source *s, struct rule *r, struct err *e)
{
    bool more;
    int rc = outbox_read(s, r, &more);
    if (r->moved) {
        state_store_top(s, r);
        state_store_passed(s, r);
    }
    r->moved = false;
    return rc != SQLITE_OK ? slice_failed(s, r, rc, e) : more ? STEP_FULL : STEP_DONE;
}
