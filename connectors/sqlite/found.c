/* SPDX-License-Identifier: MIT */
/* What one slice found: events and changes of state, kept until read() has handed them out. */
#include "bridge/lib/mem.h"
#include "connectors/sqlite/sqlite.h"
#include <stdlib.h>

void found_reset(struct sqlite_source *s)
{
    struct found *f = &s->found;
    for (size_t i = f->given; i < f->event_count; i++)
        event_unref(f->events[i].event);
    f->event_count = f->given = f->bytes = f->change_count = 0;
    f->barrier = false;
    buf_reset(&f->text);
}

void found_free(struct sqlite_source *s)
{
    found_reset(s);
    free(s->found.events);
    free(s->found.changes);
    free(s->found.out);
    buf_free(&s->found.text);
    s->found = (struct found){ 0 };
}

void found_add(struct sqlite_source *s, const struct event *ev, const char *refused)
{
    struct found *f = &s->found;
    if (f->event_count == f->event_cap) {
        f->event_cap = f->event_cap ? f->event_cap * 2 : 64;
        f->events = mem_grow(f->events, f->event_cap, sizeof *f->events);
    }
    f->events[f->event_count++] = (struct found_event){ ev, s->entry, f->text.n, refused != NULL };
    f->bytes += event_bytes(ev);
    if (refused)
        buf_add(&f->text, refused, strlen(refused) + 1);
    else
        metric_set(s->last_change, clock_wall_ms() / 1000);
}

void found_change(struct sqlite_source *s, const struct rule *r, const char *what, struct str key, struct str value,
                  bool ahead)
{
    struct found *f = &s->found;
    if (f->change_count == f->change_cap) {
        f->change_cap = f->change_cap ? f->change_cap * 2 : 64;
        f->changes = mem_grow(f->changes, f->change_cap, sizeof *f->changes);
    }
    struct found_change *c = &f->changes[f->change_count++];
    *c = (struct found_change){ .key = f->text.n, .forget = !value.at, .ahead = ahead };
    if (r)
        buf_printf(&f->text, "%s/", r->name);
    buf_add_c(&f->text, what);
    buf_add_str(&f->text, key);
    c->key_n = f->text.n - c->key;
    c->value = f->text.n;
    buf_add_str(&f->text, value);
    c->value_n = value.n;
    CHECK(!f->text.failed);
}

/* The changes as the contract wants them, now that `text` does not move any more. */
static void found_make_changes(struct found *f)
{
    if (f->change_count > f->out_cap) {
        f->out_cap = f->change_cap;
        f->out = mem_grow(f->out, f->out_cap, sizeof *f->out);
    }
    for (size_t i = 0; i < f->change_count; i++) {
        const struct found_change *c = &f->changes[i];
        f->out[i] = (struct change){
            .key = { f->text.at + c->key, c->key_n },
            .value = c->forget ? STR_ABSENT : (struct str){ f->text.at + c->value, c->value_n },
            .ahead = c->ahead,
        };
    }
}

int found_take(struct sqlite_source *s, struct emission *out, size_t room)
{
    struct found *f = &s->found;
    size_t n = 0;
    for (; n < room && f->given < f->event_count; n++) {
        const struct found_event *one = &f->events[f->given++];
        out[n] = (struct emission){ .event = one->event,
                                    .tag = ++s->tag,
                                    .refused = one->refused ? f->text.at + one->why : NULL };
    }
    if (f->given < f->event_count || !f->change_count || !room)
        return (int)n;
    if (n == 0)
        out[n++] = (struct emission){ .tag = ++s->tag };
    found_make_changes(f);
    out[n - 1].changes = f->out;
    out[n - 1].change_count = f->change_count;
    f->change_count = 0;
    return (int)n;
}
