/* SPDX-License-Identifier: MIT */
/* Why a filter does not match an event. */
#include "bridge/event/private.h"

enum { REASON_SHOWN = 60, REASON_OF_ANY = 3 }; /* bytes of a value; conditions of an `any` */

static void reason_add_text(struct buf *out, struct str text)
{
    bool cut = text.n > REASON_SHOWN;
    text.n = cut ? REASON_SHOWN : text.n;
    while (cut && text.n > 0 && !str_is_utf8(text))
        text.n--;
    buf_printf(out, "\"%.*s\"%s", STR_ARG(text), cut ? "..." : "");
}

/* What stands where the condition looks. */
static void reason_add_found(const struct filter *f, const struct filter_look *look, struct buf *out)
{
    if (!f->data) {
        struct str text = event_attribute(look->event, f->name);
        if (text.at)
            reason_add_text(out, text);
        return;
    }
    struct jscan_value v = look->values[f->place];
    if (v.type == JSCAN_STRING) {
        struct buf plain = buf_new(v.raw.n + 1);
        jscan_unescape(&plain, v.raw);
        reason_add_text(out, buf_str(&plain));
        buf_free(&plain);
    } else if (v.type == JSCAN_ARRAY || v.type == JSCAN_OBJECT) {
        buf_add_str(out, v.type == JSCAN_ARRAY ? STR("(a list)") : STR("(an object)"));
    } else if (v.type != JSCAN_NONE) {
        reason_add_text(out, v.raw);
    }
}

/* A condition: what it looks at, what is there, and how that stands to what is wanted. */
static void reason_add_leaf(const struct filter *f, const struct filter_look *look, bool holds, struct buf *out)
{
    static const char *const relations[][2] = {
        [EXACT] = { "is not", "is" },
        [PREFIX] = { "does not begin with", "begins with" },
        [SUFFIX] = { "does not end with", "ends with" },
    };
    buf_printf(out, "%s%.*s ", f->data ? "data " : "", STR_ARG(f->name));
    size_t before = out->n;
    reason_add_found(f, look, out);
    if (out->n == before) {
        buf_add_str(out, STR("is absent"));
        if (holds || !f->value.at)
            return;
        buf_add_str(out, STR(", and"));
    }
    buf_printf(out, " %s ", relations[f->dialect][holds]);
    if (f->value.at)
        reason_add_text(out, f->value);
    else
        buf_add_str(out, STR("absent"));
}

static void reason_add(const struct filter *f, struct filter_look *look, struct buf *out);

/* The first parts of a node that do not hold, or that do. */
static void reason_add_parts(const struct filter *f, struct filter_look *look, bool holds, size_t most, struct buf *out)
{
    size_t shown = 0, left = 0;
    for (size_t i = 0; i < f->count; i++) {
        if (filter_holds(f->below[i], look, NULL) != holds)
            continue;
        if (shown == most) {
            left++;
            continue;
        }
        if (shown++ > 0)
            buf_add_str(out, STR("; "));
        reason_add(f->below[i], look, out);
    }
    if (left > 0 && most > 1)
        buf_printf(out, "; and %zu more", left);
}

static void reason_add(const struct filter *f, struct filter_look *look, struct buf *out)
{
    bool holds = filter_holds(f, look, NULL);
    if (f->bytes)
        reason_add_leaf(f, look, holds, out);
    else if (f->dialect == NOT)
        reason_add(f->below[0], look, out);
    else if (f->count == 0)
        buf_add_str(out, holds ? STR("there is no condition") : STR("there is nothing of which one could hold"));
    else
        reason_add_parts(f, look, holds, (f->dialect == ALL) == holds ? REASON_OF_ANY : 1, out);
}

void filter_add_reason(const struct filter *f, const struct event *ev, struct buf *out)
{
    struct jscan_value values[FILTER_PLACES];
    struct filter_look look = { .event = ev, .values = values };
    if (!f || filter_match(f, ev))
        return;
    look.pointers = f->pointers;
    reason_add(f, &look, out);
}
