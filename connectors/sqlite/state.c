/* SPDX-License-Identifier: MIT */
/* What is stored: the pairs of sqlite.h's table, written and read back side by side. */
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/sqlite.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { STATE_KEY_BYTES = 200 }; /* of a row before the cursor; one with a longer key is not stored */

/* ---- written ---- */

void state_store_identity(struct sqlite_source *s)
{
    found_change(s, NULL, "identity", STR(""), str_of(s->identity), false);
}

void state_store_versions(struct sqlite_source *s)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, s->versions);
    found_change(s, NULL, "versions", STR(""), str_of(text), false);
}

void state_store_ready(struct sqlite_source *s, struct rule *r)
{
    char text[24];
    r->ready = true;
    r->signature = rule_signature(r);
    snprintf(text, sizeof text, "%" PRIx64, r->signature);
    found_change(s, r, "ready", STR(""), str_of(text), false);
}

void state_store_cursor(struct sqlite_source *s, struct rule *r)
{
    if (!r->cursor) {
        found_change(s, r, "cursor", STR(""), STR_ABSENT, false);
        return;
    }
    struct buf text = buf_new(4 * EXACT_BYTES);
    char *cursor = value_cut(r->cursor), *tie = value_cut(r->tie ? r->tie : "");
    buf_printf(&text, "+%zu,%zu,%" PRId64 ",%" PRIx64 ",%" PRIx64, strlen(cursor), strlen(tie), r->above, r->digest,
               r->look);
    if (census_rows(r) >= 0)
        buf_printf(&text, ",%" PRId64 ",%" PRIx64, census_rows(r), r->census.of);
    buf_add_char(&text, ' ');
    buf_add_c(&text, cursor);
    buf_add_c(&text, tie);
    buf_add_c(&text, r->cursor_key ? r->cursor_key : "");
    CHECK(!text.failed);
    found_change(s, r, "cursor", STR(""), buf_str(&text), false);
    free(cursor);
    free(tie);
    buf_free(&text);
}

void state_store_passed(struct sqlite_source *s, struct rule *r)
{
    struct buf text = buf_new(RULE_STORED * (STATE_KEY_BYTES + 32));
    for (size_t back = RULE_STORED; back-- > 0;) {
        const struct passed_row *row = passed_row(&r->passed, back);
        if (row && strlen(row->key) <= STATE_KEY_BYTES)
            buf_printf(&text, "%zu,%" PRIx64 " %s", strlen(row->key), row->digest, row->key);
    }
    CHECK(!text.failed);
    found_change(s, r, "passed", STR(""), text.n ? buf_str(&text) : STR_ABSENT, false);
    buf_free(&text);
}

void state_store_epoch(struct sqlite_source *s, struct rule *r)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, r->epoch);
    found_change(s, r, "epoch", STR(""), str_of(text), false);
}

void state_store_top(struct sqlite_source *s, struct rule *r)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, r->top);
    found_change(s, r, "top", STR(""), str_of(text), false);
}

void state_store_since(struct sqlite_source *s, struct rule *r)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%" PRId64, r->updated.reached);
    if (r->updated.known)
        snprintf(text + n, sizeof text - (size_t)n, " %" PRId64, r->updated.floor);
    found_change(s, r, "since", STR(""), str_of(text), false);
}

void state_store_open(struct sqlite_source *s, struct rule *r, const struct row *row)
{
    struct buf text = buf_new(EXACT_BYTES + 64);
    buf_printf(&text, "%" PRIu64 " %d", row->version, row->aborted);
    for (size_t i = 0; i < row->count; i++)
        buf_printf(&text, ",%" PRId64, (int64_t)row->hashes[i]);
    if (row_kept(row)) {
        buf_add_char(&text, ' ');
        buf_add_c(&text, row_kept(row));
    }
    CHECK(!text.failed);
    found_change(s, r, "open/", row_key(row), buf_str(&text), false);
    buf_free(&text);
}

void state_forget_open(struct sqlite_source *s, struct rule *r, struct str key)
{
    found_change(s, r, "open/", key, STR_ABSENT, false);
}

void state_store_row(struct sqlite_source *s, struct rule *r, const struct row *row, bool ahead, const struct doubt *d)
{
    struct buf value = buf_new(64 << 10);
    buf_printf(&value, "%" PRIu64, row->version);
    if (d)
        buf_printf(&value, ":%" PRIx32 "%s", d->told, d->first ? "+" : d->gone ? "-" : "");
    buf_add_char(&value, ' ');
    for (size_t i = 0; i < row->count; i++)
        buf_printf(&value, "%s%" PRIx64, i ? "," : "", row->hashes[i]);
    buf_add_char(&value, ' ');
    buf_add_c(&value, row_kept(row) ? row_kept(row) : "");
    CHECK(!value.failed);
    found_change(s, r, "row/", row_key(row), buf_str(&value), ahead);
    buf_free(&value);
}

void state_forget_row(struct sqlite_source *s, struct rule *r, struct str key, bool ahead)
{
    found_change(s, r, "row/", key, STR_ABSENT, ahead);
}

/* ---- read back ---- */

static bool state_hex(struct str text, uint64_t *out)
{
    if (text.n == 0 || text.n > 16)
        return false;
    *out = 0;
    for (size_t i = 0; i < text.n; i++) {
        const char *digits = "0123456789abcdef", *d = strchr(digits, text.at[i]);
        if (!d || !*d)
            return false;
        *out = *out << 4 | (uint64_t)(d - digits);
    }
    return true;
}

/* "<version>", or "<version>:<told>" with "+" (first) or "-" (gone) behind it. */
static bool state_version(struct str text, uint64_t *version, struct doubt *d)
{
    struct str number;
    uint64_t told;
    *d = (struct doubt){ 0 };
    if (!str_cut(&text, ':', &number) || !str_to_u64(number, version))
        return false;
    if (!text.at)
        return true;
    d->first = text.n && text.at[text.n - 1] == '+';
    d->gone = text.n && text.at[text.n - 1] == '-';
    text.n -= d->first || d->gone;
    if (!state_hex(text, &told) || told > UINT32_MAX)
        return false;
    d->told = (uint32_t)told;
    return true;
}

/* "<version, as above> <hash,hash,...> <kept>"; NULL: damaged. */
static struct row *state_row(struct str key, struct str value, struct doubt *d)
{
    struct str version, list, hash;
    uint64_t number, hashes[RULE_HASHES];
    size_t count = 0;
    if (!str_cut(&value, ' ', &version) || !state_version(version, &number, d) || !str_cut(&value, ' ', &list))
        return NULL;
    while (list.n && str_cut(&list, ',', &hash)) {
        if (count == RULE_HASHES || !state_hex(hash, &hashes[count++]))
            return NULL;
    }
    return row_new(key, number, hashes, count, value);
}

static bool state_restore_row(struct rule *r, struct str key, struct str value, bool ahead)
{
    struct row *known = rows_find(&r->rows, key);
    if (!value.at) {
        if (known && ahead)
            known->maybe_gone = true;
        else
            rows_remove(&r->rows, key);
        return true;
    }
    struct doubt d;
    struct row *row = state_row(key, value, &d);
    if (!row)
        return false;
    if (!ahead) {
        row->maybe_gone = d.gone; /* it is to be forgotten by the same batch */
        rows_put(&r->rows, row);
        return true;
    }
    if (!known) {
        known = row_new(key, 0, NULL, 0, STR_ABSENT);
        known->fresh = true;
        known = rows_put(&r->rows, known);
    }
    row_free(known->ahead);
    known->ahead = row;
    row->told = d.told;
    known->fresh = known->fresh || d.first;
    known->maybe_gone = d.gone;
    return true;
}

/* ",<epoch>,<rowid>", or nothing, as the version before wrote it: *count 0. */
static bool state_birth(struct str text, uint64_t birth[OPEN_BIRTH], size_t *count)
{
    struct str epoch;
    int64_t numbers[OPEN_BIRTH];
    *count = 0;
    if (!text.at)
        return true;
    if (!str_cut(&text, ',', &epoch) || !text.at || !str_to_i64(epoch, &numbers[0]) || !str_to_i64(text, &numbers[1]))
        return false;
    for (*count = 0; *count < OPEN_BIRTH; ++*count)
        birth[*count] = (uint64_t)numbers[*count];
    return true;
}

/* "<since> <0|1>[,<epoch>,<rowid>][ <exact key>]" */
static bool state_restore_open(struct rule *r, struct str key, struct str value)
{
    struct str since, born, aborted;
    uint64_t ms, birth[OPEN_BIRTH];
    size_t count;
    if (!value.at) {
        rows_remove(&r->rows, key);
        return true;
    }
    if (!str_cut(&value, ' ', &since) || !value.at || !str_to_u64(since, &ms) || !str_cut(&value, ' ', &born)
        || !str_cut(&born, ',', &aborted) || !state_birth(born, birth, &count)
        || (!str_eq(aborted, STR("0")) && !str_eq(aborted, STR("1"))) || (value.at && !value.n))
        return false;
    struct row *row = row_new(key, ms, birth, count, value);
    row->aborted = str_eq(aborted, STR("1"));
    rows_put(&r->rows, row);
    return true;
}

static void state_set(char **to, struct str text)
{
    free(*to);
    *to = text.n ? str_dup(text) : NULL;
}

/* "<hash> <cursor>", as the version before wrote it; the hash was of more than the key and tells nothing. */
static bool state_restore_old_cursor(struct rule *r, struct str value)
{
    struct str hash;
    uint64_t number;
    if (!str_cut(&value, ' ', &hash) || !state_hex(hash, &number) || value.n < 1)
        return false;
    state_set(&r->cursor, value);
    state_set(&r->tie, STR(""));
    state_set(&r->cursor_key, STR(""));
    return true;
}

/* "<rows>,<of>", or nothing: as the version before wrote it. */
static bool state_restore_census(struct rule *r, struct str text)
{
    struct str rows;
    r->census = (struct census){ .known = text.at != NULL };
    return !text.at
           || (str_cut(&text, ',', &rows) && text.at && str_to_i64(rows, &r->census.rows) && r->census.rows >= 0
               && state_hex(text, &r->census.of));
}

/* "<digest>,<look>[,<rows>,<of>]", or nothing: as the version before those wrote it. */
static bool state_restore_digest(struct rule *r, struct str text)
{
    struct str digest, look;
    r->digest = r->look = 0;
    return !text.at
           || (str_cut(&text, ',', &digest) && text.at && state_hex(digest, &r->digest) && str_cut(&text, ',', &look)
               && state_hex(look, &r->look) && state_restore_census(r, text));
}

/* "+<n>,<m>,<above>,<digest>,<look>[,<rows>,<of>] <cursor><tie><key>" */
static bool state_restore_cursor(struct rule *r, struct str value)
{
    struct str head, n, m, above;
    int64_t cursor_n, tie_n;
    if (!value.n || value.at[0] != '+')
        return state_restore_old_cursor(r, value);
    value = (struct str){ value.at + 1, value.n - 1 };
    if (!str_cut(&value, ' ', &head) || !value.at || !str_cut(&head, ',', &n) || !str_cut(&head, ',', &m) || !head.at
        || !str_to_i64(n, &cursor_n) || !str_to_i64(m, &tie_n) || !str_cut(&head, ',', &above)
        || !str_to_i64(above, &r->above) || !state_restore_digest(r, head) || cursor_n < 1 || tie_n < 0
        || cursor_n > (int64_t)value.n || tie_n > (int64_t)value.n - cursor_n)
        return false;
    state_set(&r->cursor, (struct str){ value.at, (size_t)cursor_n });
    state_set(&r->tie, (struct str){ value.at + cursor_n, (size_t)tie_n });
    state_set(&r->cursor_key, (struct str){ value.at + cursor_n + tie_n, value.n - (size_t)cursor_n - (size_t)tie_n });
    return true;
}

/* "<reached> <floor>", or "<reached>" while the first pass goes on */
static bool state_restore_since(struct rule *r, struct str value)
{
    struct str reached;
    struct updated *u = &r->updated;
    str_cut(&value, ' ', &reached);
    u->known = value.at != NULL;
    bool good = str_to_i64(reached, &u->reached) && (!u->known || str_to_i64(value, &u->floor));
    u->high = u->known ? u->reached : u->high;
    return good;
}

/* "<n>,<digest> <key>", and so on */
static bool state_restore_passed(struct rule *r, struct str value)
{
    struct str n, digest;
    int64_t key_n;
    while (value.n) {
        uint64_t number;
        if (r->passed.count == RULE_STORED || !str_cut(&value, ',', &n) || !value.at || !str_cut(&value, ' ', &digest)
            || !value.at || !str_to_i64(n, &key_n) || key_n < 1 || key_n > (int64_t)value.n
            || !state_hex(digest, &number))
            return false;
        passed_add(&r->passed, str_dup((struct str){ value.at, (size_t)key_n }), number);
        value = (struct str){ value.at + key_n, value.n - (size_t)key_n };
    }
    return true;
}

static bool state_restore_rule(struct rule *r, struct str what, struct str value, bool ahead)
{
    if (str_starts(what, STR("row/")) && what.n > 4)
        return state_restore_row(r, (struct str){ what.at + 4, what.n - 4 }, value, ahead);
    if (ahead)
        return true; /* only rows are written ahead */
    if (str_starts(what, STR("open/")) && what.n > 5)
        return state_restore_open(r, (struct str){ what.at + 5, what.n - 5 }, value);
    if (!value.at)
        return true;
    if (str_eq(what, STR("ready"))) {
        r->ready = true;
        return state_hex(value, &r->signature);
    }
    if (str_eq(what, STR("cursor")))
        return state_restore_cursor(r, value);
    if (str_eq(what, STR("since")))
        return state_restore_since(r, value);
    if (str_eq(what, STR("passed")))
        return state_restore_passed(r, value);
    if (str_eq(what, STR("epoch")))
        return str_to_i64(value, &r->epoch);
    r->top_known = str_eq(what, STR("top")) && str_to_i64(value, &r->top);
    return r->top_known;
}

/* Versions never repeat: none up to this one is given out again. */
static void state_raise_versions(struct sqlite_source *s, uint64_t version)
{
    if (version > s->versions)
        s->versions = version;
}

bool state_restore(struct sqlite_source *s, struct str key, struct str value, bool ahead)
{
    struct str what = key, name, text;
    uint64_t version = 0;
    struct doubt d;
    if (str_eq(key, STR("identity"))) {
        if (value.n != UUID_TEXT - 1)
            return false;
        snprintf(s->identity, sizeof s->identity, "%.*s", STR_ARG(value));
        s->identity_given = true;
        return true;
    }
    if (str_eq(key, STR("versions"))) {
        bool good = str_to_u64(value, &version);
        state_raise_versions(s, good ? version : 0);
        return good;
    }
    if (!str_cut(&what, '/', &name) || !what.at || !state_restore_rule(rule_of(s, name), what, value, ahead))
        return false;
    if (str_starts(what, STR("row/")) && str_cut(&value, ' ', &text) && state_version(text, &version, &d))
        state_raise_versions(s, version);
    return true;
}
