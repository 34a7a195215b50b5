/* SPDX-License-Identifier: MIT */
/* A row of which no event can be made: counted, and told as an event that goes to no topic, but becomes a dead letter. */
#include "bridge/lib/jscan.h"
#include "bridge/lib/log.h"
#include "connectors/sqlite/sqlite.h"
#include <inttypes.h>
#include <stdio.h>

enum { REFUSE_DATA = 128 << 10, REFUSE_SUBJECT = 512 };

static void refuse_add(struct buf *out, const char *name, const char *text)
{
    if (!text)
        return;
    if (out->at[out->n - 1] != '{')
        buf_add_char(out, ',');
    jscan_add_string(out, str_of(name));
    buf_add_char(out, ':');
    jscan_add_string(out, str_of(text));
}

/* The same of the same row, so that it is no other dead letter when it is met again after a restart. */
static void refuse_id(const struct sqlite_source *s, const struct rule *r, const char *row, char id[UUID_TEXT])
{
    char epoch[32];
    snprintf(epoch, sizeof epoch, "refused %" PRId64, r->epoch);
    uuid_of((struct str[]){ str_of(s->identity), str_of(r->name), str_of(row), str_of(epoch) }, 4, id);
}

void refuse_tell(struct sqlite_source *s, const struct rule *r, const struct refusal *f)
{
    char id[UUID_TEXT], time[CLOCK_TEXT];
    char subject[REFUSE_SUBJECT];
    struct buf data = buf_new(REFUSE_DATA);
    struct err e = { "" };
    metric_add(s->refused, 1);
    buf_add_char(&data, '{');
    refuse_add(&data, "table", r->o->table);
    refuse_add(&data, "rule", r->name);
    refuse_add(&data, "row", f->row);
    refuse_add(&data, "operation", f->op);
    refuse_add(&data, "type", f->type);
    refuse_add(&data, "why", f->why);
    if (f->data.n && data.n + f->data.n + 16 < REFUSE_DATA) {
        buf_add_c(&data, ",\"data\":");
        buf_add_str(&data, f->data);
    }
    buf_add_char(&data, '}');
    snprintf(subject, sizeof subject, "%.200s/%.200s", r->o->table ? r->o->table : r->name, f->row);
    str_make_shown(subject);
    refuse_id(s, r, f->row, id);
    clock_text(clock_wall_ms(), time);
    struct event fields = {
        .id = f->id ? str_of(f->id) : str_of(id),
        .source = str_of(s->origin),
        .time = str_of(time),
        .datacontenttype = STR("application/json"),
        .type = STR(REFUSED_TYPE),
        .subject = str_of(subject),
        .data = buf_str(&data),
    };
    const struct event *ev = event_new(&fields, &e);
    if (ev)
        found_add(s, ev, f->why);
    else
        LOG(ERROR, "a refused row could not be made into a dead letter", LOG_C("source", s->base.id),
            LOG_C("rule", r->name), LOG_C("why", e.text));
    buf_free(&data);
}

void refuse_row(struct sqlite_source *s, const struct rule *r, const char *row, const char *why)
{
    LOG(WARN, "a row is refused and becomes a dead letter; the rows behind it go on", LOG_C("source", s->base.id),
        LOG_C("rule", r->name), LOG_C("table", r->o->table ? r->o->table : "(select)"), LOG_C("row", row),
        LOG_C("why", why));
    refuse_tell(s, r, &(struct refusal){ .row = row, .why = why });
}

void refuse_row_once(struct sqlite_source *s, struct rule *r, const char *row, const char *why)
{
    if (rule_is_new(r->refused, RULE_REFUSED, &r->refused_count, str_hash(str_of(row))))
        refuse_row(s, r, row, why);
}
