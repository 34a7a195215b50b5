/* SPDX-License-Identifier: MIT */
/* The life of a record that came in; looking up a header. */
#include "bridge/event/record.h"

struct record *record_ref(struct record *r)
{
    atomic_fetch_add_explicit(&r->share->others, 1, memory_order_relaxed);
    return r;
}

void record_free(struct record *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->share->others, 1, memory_order_acq_rel) > 0)
        return;
    struct record_view *v = atomic_load_explicit(&r->share->view, memory_order_acquire);
    if (v)
        v->end(v);
    r->release(r);
}

struct str record_header(const struct record *r, const char *name)
{
    struct str wanted = str_of(name);
    for (size_t i = r->header_count; i > 0; i--)
        if (str_eq(r->headers[i - 1].name, wanted))
            return r->headers[i - 1].value;
    return STR_ABSENT;
}

struct str record_without_schema(struct str value)
{
    return value.n >= SCHEMA_HEAD && value.at[0] == 0 ? str_from(value, SCHEMA_HEAD) : value;
}
