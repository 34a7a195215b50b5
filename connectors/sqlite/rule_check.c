/* SPDX-License-Identifier: MIT */
/* The options of a capture rule, and whether they go together. */
#include "bridge/map/map.h"
#include "connectors/sqlite/rules.h"
#include <ctype.h>
#include <stdio.h>

static const struct option_value rule_kinds[] = { { KIND_APPEND, "append" },   { KIND_OPEN_ROW, "open_row" },
                                                  { KIND_UPDATED, "updated" }, { KIND_DIFF, "diff" },
                                                  { KIND_OUTBOX, "outbox" },   { 0 } };

static const struct option rule_map_rows[] = {
    MAP_ROWS("SQL condition: only these. :before has the kept columns as they were (JSON).",
             "Paths and SQL besides the rule's `data`, or instead of one of the same path."),
    OPTION(
        struct map_options, op, .required = true, .min = 1, .max = 64,
        .doc =
            "What happened. append: insert; open_row: started, done, aborted; updated: insert, update; diff: insert, update, delete, a "
            "column of `watch` that changed (pinned), or its new value (pinned=1)."),
    { 0 },
};

const struct option rule_rows[] = {
    OPTION(struct rule_options, name, .required = true,
           .doc = "Names the rule; its state is kept under this name, so do not change it later (a-z 0-9 _ -)."),
    OPTION(
        struct rule_options, kind, .required = true, .values = rule_kinds,
        .doc =
            "append: rows are only added; open_row: added unfinished and finished later; updated: inserts and updates by a "
            "column that says when a row was changed; diff: inserts, updates and deletes by comparing; outbox: all of them, each "
            "state in between too, as triggers in the database write them down (`aqueduct sqlite setup` makes them)."),
    OPTION(struct rule_options, table, .doc = "The table; with `select`, the table that the keys come from."),
    OPTION(
        struct rule_options, tables,
        .doc =
            "Instead of `table`: a pattern with one *, such as index__*__source. Each table that fits it has this rule "
            "for itself, also one that comes later; in its SQL {table_n} is what * stands for."),
    OPTION(struct rule_options, select,
           .doc = "A SELECT to read instead of the table, for joins; it must yield the key column."),
    OPTION(struct rule_options, where, .doc = "SQL condition: only these rows."),
    OPTION(struct rule_options, key, .fallback = "id", .doc = "Column that identifies a row; must have an index."),
    OPTION(
        struct rule_options, cursor,
        .doc =
            "append, open_row: column that grows with each row. Default: the key if it is the table's INTEGER PRIMARY "
            "KEY, else rowid (a table without one, and a `select`: the key). Rows of one value are told apart by rowid "
            "or key; a row that comes with a smaller value (a time of before, a random key, 10 as text behind 9) is "
            "not captured: it is warned of and counted where the table has a rowid, and else cannot be seen. So is a row "
            "with a smaller rowid, where the application chooses its ids. A row that "
            "was told and is changed, or deleted and replaced under the same id, is not told again; of the newest rows "
            "of a table without AUTOINCREMENT that is counted (changed). `kind: diff` sees it all."),
    OPTION(struct rule_options, overlap, .fallback = "10s", .min = 0, .max = 86400000,
           .doc =
               "updated: rows are read again from so long before the newest time on: longer than a transaction of the "
               "application lasts, and than a step of its times (a second). What was told is not told again."),
    OPTION(struct rule_options, time,
           .doc = "Column that says when the row was made; becomes the event's time (any usual format, also mixed)."),
    OPTION(struct rule_options, time_zone,
           .doc = "Time zone of times that the application writes as a wall clock shows them, without an offset "
                  "(2026-03-29 01:30:00): Europe/Berlin, or +02:00. Default: that of the source, else UTC."),
    OPTION(struct rule_options, done, .doc = "open_row: SQL condition that is true once the row is finished."),
    OPTION(struct rule_options, abort_after, .fallback = "30m", .min = 1,
           .doc = "open_row: a row that is still unfinished then is reported as aborted (and watched 48 times as long, "
                  "should it finish after all). One that is deleted is told by what `keep` kept of it at first."),
    OPTION(struct rule_options, type_column, .doc = "append: column whose value chooses the type in `types`."),
    OPTION(
        struct rule_options, types,
        .doc =
            "Event types of your own. append: insert; or by the value of type_column, else \"*\"; open_row: started, done, aborted; diff, outbox: "
            "insert, delete, a watched column (pinned), its new value (pinned=1), else update; a row that has such a value "
            "when it is first seen, and not by the table's default, tells it as well. What is not named gives no "
            "event. {column} is replaced."),
    OPTION(
        struct rule_options, map, .of = rule_map_rows, .of_size = sizeof(struct map_options), .max = MAP_ENTRIES,
        .doc =
            "Instead of `types`: events of the vocabulary that all applications share. Each entry that fits gives one."),
    OPTION(struct rule_options, data,
           .doc =
               "With `map`: the path of each value of the event's data and the SQL that gives it, over the row `r` and "
               "what `join` joins (conversation.id: r.chat_id). The vocabulary says the form; what is NULL or \"\" is "
               "left out, and what has no place in a type."),
    OPTION(
        struct rule_options, join,
        .doc =
            "With `map`: SQL behind FROM <table> r, such as LEFT JOIN users u ON u.id = r.user_id. It is only read of "
            "rows that changed. If it makes several rows of one, `part` must tell them apart."),
    OPTION(struct rule_options, part,
           .doc = "With `map`: SQL that names one of the rows that `join` makes of one; part of the event's id."),
    OPTION(struct rule_options, content_columns,
           .doc = "With `map`: columns that hold what people wrote: `raw` leaves them out unless `content` is full."),
    OPTION(struct rule_options, subject, .doc = "The event's subject, for example chats/{id}; default: <table>/{key}."),
    OPTION(struct rule_options, columns,
           .doc = "The columns of the event's data and their form: value, json, bool or time; default: all."),
    OPTION(struct rule_options, never,
           .doc = "Columns that are never read (passwords, keys). Without `columns`, one that the table does not have "
                  "makes the rule unusable."),
    OPTION(struct rule_options, mask,
           .doc =
               "Columns, and members of JSON in any column, at any depth, whose values become \"***\" (NULL stays)."),
    OPTION(struct rule_options, watch, .doc = "diff, updated, outbox: columns whose change is an update."),
    OPTION(
        struct rule_options, keep,
        .doc =
            "diff: columns kept in the state, so that a delete can still tell them as they were last (at most 4 KiB a "
            "row). Each look reads them. outbox: columns besides `watch` of which an update says what they were."),
    OPTION(
        struct rule_options, last,
        .doc =
            "diff: look only at the newest keys, so many below the largest (whole-number keys); 0: at all. What changes in "
            "older rows, and their deletes, is not told then; where the key is the rowid the deletes are counted (unseen_deletes)."),
    OPTION(
        struct rule_options, retain, .fallback = "7d", .max = INT64_C(366) * 86400000,
        .doc =
            "outbox: changes written down longer ago are taken away by those that come, read or not; longer than this "
            "source may ever be down. What goes unread is counted (lost) and told. 0: none is. A change of it needs "
            "`aqueduct sqlite setup`."),
    OPTION(struct rule_options, retain_rows, .fallback = "1000000", .max = INT64_C(1) << 40,
           .doc = "outbox: the same of all but the newest so many. 0: none is."),
    { 0 }
};

static bool rule_is_name(const char *name)
{
    size_t n = strlen(name);
    return n >= 1 && n <= 40 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == n;
}

/* Is `op` something that a rule of this kind can report? */
static bool rule_can_report(const struct rule_options *o, const char *op)
{
    struct str rest = str_of(op), column = { 0 };
    switch (o->kind) {
    case KIND_APPEND: return o->type_column || strcmp(op, "insert") == 0 || strcmp(op, "*") == 0;
    case KIND_UPDATED: return strcmp(op, "insert") == 0 || strcmp(op, "update") == 0;
    case KIND_OPEN_ROW: return strcmp(op, "started") == 0 || strcmp(op, "done") == 0 || strcmp(op, "aborted") == 0;
    case KIND_DIFF:
    case KIND_OUTBOX:
        return strcmp(op, "insert") == 0 || strcmp(op, "delete") == 0 || strcmp(op, "update") == 0
               || (str_cut(&rest, '=', &column) && rule_lists(&o->watch, column));
    }
    return false;
}

/* What to write instead of that entry of types. */
static bool rule_fail_type(const struct rule_options *o, const struct map_entry *t, struct err *e)
{
    char swapped[160] = "";
    if (rule_can_report(o, t->value))
        snprintf(swapped, sizeof swapped, "; the other way round: {%.60s: %.60s}", t->value, t->key);
    switch (o->kind) {
    case KIND_APPEND:
        return err_set(e,
                       "types: \"%s\" is nothing that a rule of kind append reports; write insert, for every new row, "
                       "or name in type_column the column whose values choose among types%s",
                       t->key, swapped);
    case KIND_OPEN_ROW:
        return err_set(e, "types: \"%s\" is nothing that a rule of kind open_row reports (started, done, aborted)%s",
                       t->key, swapped);
    case KIND_UPDATED:
        return err_set(
            e,
            "types: \"%s\" is nothing that a rule of kind updated reports (insert, update; `kind: diff` sees "
            "deletes, and which column changed to what)%s",
            t->key, swapped);
    case KIND_DIFF:
    case KIND_OUTBOX: break;
    }
    return err_set(e,
                   "types: \"%s\" is nothing that a rule of kind %s reports (insert, delete, update, or a column named "
                   "in watch)%s",
                   t->key, o->kind == KIND_DIFF ? "diff" : "outbox", swapped);
}

static const char *rule_ops(enum kind kind)
{
    switch (kind) {
    case KIND_APPEND: return "insert";
    case KIND_OPEN_ROW: return "started, done, aborted";
    case KIND_UPDATED: return "insert, update";
    case KIND_DIFF:
    case KIND_OUTBOX: break;
    }
    return "insert, delete, update, or a column named in watch";
}

static bool rule_fail_op(const struct rule_options *o, const char *op, struct err *e)
{
    const char *kind = "";
    for (const struct option_value *v = rule_kinds; v->text; v++)
        kind = v->value == (int)o->kind ? v->text : kind;
    return err_set(e, "op: \"%s\" is nothing that a rule of kind %s reports (%s)", op, kind, rule_ops(o->kind));
}

static bool rule_check_types(const struct rule_options *o, struct err *e)
{
    for (size_t i = 0; i < o->types.count; i++) {
        const struct map_entry *t = &o->types.at[i];
        if (!rule_can_report(o, t->key))
            return rule_fail_type(o, t, e);
        if (strcmp(t->key, "update") == 0 && o->kind != KIND_APPEND && !o->watch.count)
            return err_set(e, "types: \"update\" needs watch: the columns whose change is an update");
        for (const char *c = t->value; *c; c++)
            if (!isalnum((unsigned char)*c) && !strchr("_.{}", *c))
                return err_set(e, "types: \"%s\" is no event type (letters, digits, _ and .)", t->value);
        if (!*t->value)
            return err_set(e, "types: %s has no event type", t->key);
    }
    return o->types.count || err_set(e, "types: at least one is needed, or a `map`");
}

static bool rule_check_columns(const struct rule_options *o, struct err *e)
{
    for (size_t i = 0; i < o->columns.count; i++) {
        enum form form;
        if (!rule_form(o->columns.at[i].value, &form))
            return err_set(e, "columns: %s: \"%s\" is no form (value, json, bool or time)", o->columns.at[i].key,
                           o->columns.at[i].value);
        if (rule_lists(&o->never, str_of(o->columns.at[i].key)))
            return err_set(e, "columns: %s is listed in never", o->columns.at[i].key);
    }
    for (size_t i = 0; i < o->watch.count; i++)
        if (rule_lists(&o->never, str_of(o->watch.at[i])))
            return err_set(e, "watch: %s is listed in never", o->watch.at[i]);
    for (size_t i = 0; i < o->keep.count; i++) {
        if (rule_lists(&o->never, str_of(o->keep.at[i])))
            return err_set(e, "keep: %s is listed in never", o->keep.at[i]);
        if (o->columns.count && !rule_has_entry(&o->columns, o->keep.at[i]))
            return err_set(e, "keep: %s is not among the columns", o->keep.at[i]);
    }
    if (rule_lists(&o->mask, str_of(o->key)))
        return err_set(e, "mask: %s is the key, which stands in every event's subject; name another `key`", o->key);
    if (o->type_column && rule_lists(&o->mask, str_of(o->type_column)))
        return err_set(e, "mask: %s is the type_column, which stands in the event's type", o->type_column);
    return o->watch.count <= RULE_WATCH || err_set(e, "watch: at most %d columns", RULE_WATCH);
}

/* Every {column} of a template must be one that is read. */
static bool rule_check_template(const struct rule_options *o, const char *option, const char *template, struct err *e)
{
    struct str rest = str_of(template), piece;
    while (str_cut(&rest, '{', &piece)) {
        if (!rest.at || !str_cut(&rest, '}', &piece))
            return true;
        char name[80];
        snprintf(name, sizeof name, "%.*s", piece.n > 60 ? 60 : (int)piece.n, piece.at);
        if (str_eq_nocase(piece, str_of(o->key)))
            continue;
        if (rule_lists(&o->never, piece))
            return err_set(e, "%s: \"%s\" names {%s}, which is listed in never", option, template, name);
        if (o->columns.count && !rule_has_entry(&o->columns, name))
            return err_set(e, "%s: \"%s\" names {%s}, which is not among the columns; add it there", option, template,
                           name);
    }
    return true;
}

static bool rule_check_templates(const struct rule_options *o, struct err *e)
{
    for (size_t i = 0; i < o->types.count; i++)
        if (!rule_check_template(o, "types", o->types.at[i].value, e))
            return false;
    bool chooses = o->type_column && (o->types.count > 1 || !rule_has_entry(&o->types, "*"));
    if (chooses && rule_lists(&o->never, str_of(o->type_column)))
        return err_set(e, "type_column: %s is listed in never", o->type_column);
    if (chooses && o->columns.count && !rule_has_entry(&o->columns, o->type_column))
        return err_set(e, "type_column: %s is not among the columns; add it there", o->type_column);
    return !o->subject || rule_check_template(o, "subject", o->subject, e);
}

/* Of a deleted row only the key is known. */
static bool rule_check_subject(const struct rule_options *o, struct err *e)
{
    if (o->kind != KIND_DIFF || !o->subject || !rule_type(&(struct rule){ .o = o }, STR("delete")))
        return true;
    const char *brace = strchr(o->subject, '{');
    size_t n = strlen(o->key);
    if (!brace || (strncmp(brace + 1, o->key, n) == 0 && brace[1 + n] == '}' && !strchr(brace + 1, '{')))
        return true;
    return err_set(e, "subject: \"%s\" may only name the key {%s}, all that is known of a deleted row", o->subject,
                   o->key);
}

/* What belongs to `map`, and what does not go with it. */
static bool rule_check_map(const struct rule_options *o, struct err *e)
{
    const struct map_options *m = o->map.at;
    if (o->types.count || o->type_column || o->subject)
        return err_set(e, "%s: does not go with map; its entries have `type`, `when` and `subject`",
                       o->types.count ? "types"
                       : o->subject   ? "subject"
                                      : "type_column");
    for (size_t i = 0; i < o->map.count; i++)
        for (size_t k = 0; k < m[i].op.count; k++) {
            if (strcmp(m[i].op.at[k], "*") == 0 || !rule_can_report(o, m[i].op.at[k]))
                return rule_fail_op(o, m[i].op.at[k], e) || err_prefix(e, "map[%zu]", i);
            if (strcmp(m[i].op.at[k], "update") == 0 && !o->watch.count)
                return err_set(e, "map[%zu]: op: \"update\" needs watch: the columns whose change is an update", i);
        }
    return map_check(&o->data, o->map, e);
}

static bool rule_check_events(const struct rule_options *o, struct err *e)
{
    if (o->map.count)
        return rule_check_map(o, e);
    if (o->data.count || o->join || o->part || o->content_columns.count)
        return err_set(e, "%s: belongs to a rule with map",
                       o->data.count ? "data"
                       : o->join     ? "join"
                       : o->part     ? "part"
                                     : "content_columns");
    return rule_check_subject(o, e) && rule_check_types(o, e) && rule_check_templates(o, e);
}

static bool rule_check_tables(const struct rule_options *o, struct err *e)
{
    if (o->kind == KIND_OUTBOX && o->select)
        return err_set(e, "select: does not go with kind outbox, whose triggers stand at a table");
    if (o->kind == KIND_OUTBOX && !o->table)
        return err_set(e, "table is missing: the one that gets the triggers (kind outbox knows no `tables`)");
    if (!o->table && !o->select && !o->tables)
        return err_set(e, "needs a table or a select");
    if (o->tables && o->table)
        return err_set(e, "tables: does not go with table");
    if (o->tables && (!strchr(o->tables, '*') || strchr(o->tables, '*') != strrchr(o->tables, '*')))
        return err_set(e, "tables: \"%s\" is no pattern with one *; a table itself is `table`", o->tables);
    return true;
}

static bool rule_check_options(const struct rule_options *o, struct err *e)
{
    enum kind kind = o->kind;
    if (kind == KIND_OPEN_ROW && !o->done)
        return err_set(e, "done is missing: when is a row finished?");
    if (kind != KIND_OPEN_ROW && o->done)
        return err_set(e, "done: belongs to kind open_row");
    if ((kind == KIND_DIFF || kind == KIND_OUTBOX) && o->cursor)
        return err_set(e, "cursor: belongs to kinds append, open_row and updated");
    if (kind == KIND_UPDATED && !o->cursor)
        return err_set(e, "cursor is missing: which column says when a row was changed?");
    if (kind != KIND_APPEND && o->type_column)
        return err_set(e, "type_column: belongs to kind append");
    if (kind != KIND_DIFF && o->last)
        return err_set(e, "last: belongs to kind diff");
    if (kind != KIND_DIFF && kind != KIND_OPEN_ROW && kind != KIND_OUTBOX && o->keep.count)
        return err_set(e, "keep: belongs to kinds diff, open_row and outbox");
    if (kind != KIND_DIFF && kind != KIND_UPDATED && kind != KIND_OUTBOX && o->watch.count)
        return err_set(e, "watch: belongs to kinds diff, updated and outbox");
    return rule_check_tables(o, e) && rule_check_columns(o, e) && rule_check_events(o, e);
}

bool rule_check_zone(const char *name, struct err *e)
{
    if (name && !*name)
        return err_set(e, "time_zone: is empty; leave it out, or say UTC");
    struct zone *zone = name ? zone_new(name, e) : NULL;
    bool good = zone || !name;
    zone_free(zone);
    return good || err_prefix(e, "time_zone");
}

bool rule_check(const struct rule_options *o, struct err *e)
{
    if (!rule_is_name(o->name))
        return err_set(e, "name: \"%s\" is no name for a rule (1 to 40 of a-z 0-9 _ -)", o->name);
    return rule_check_zone(o->time_zone, e) && rule_check_options(o, e);
}
