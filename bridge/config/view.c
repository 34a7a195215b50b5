/* SPDX-License-Identifier: MIT */
/* What the configuration says in effect, and where each value stands; without secrets. */
#include <stdlib.h>
#include <string.h>
#include "bridge/auth/secret.h"
#include "bridge/config/private.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/mem.h"

enum { VIEW_ENTRIES = 20000, VIEW_PATH = 1024, VIEW_VALUE = 4096 };

#define VIEW_HIDDEN "(hidden)"

static void view_path(struct buf *out, const struct where *at)
{
    if (!at)
        return;
    view_path(out, at->up);
    if (!at->key.at)
        buf_printf(out, "[%zu]", at->index);
    else {
        buf_add_c(out, out->n ? "." : "");
        buf_add_str(out, at->key);
    }
}

/* A scalar as it is written: variables and files are not expanded, and a password in a URL is left out. */
static void view_scalar(struct buf *out, struct str written)
{
    const char *scheme = written.n ? memmem(written.at, written.n, "://", 3) : NULL;
    struct str rest = scheme ? str_from(written, (size_t)(scheme - written.at) + 3) : STR_ABSENT;
    size_t host = 0;
    for (size_t i = 0; i < rest.n && !strchr("/?#", rest.at[i]); i++)
        host = rest.at[i] == '@' ? i + 1 : host;
    if (!host) {
        buf_add_str(out, written);
        return;
    }
    buf_add(out, written.at, (size_t)(rest.at - written.at));
    buf_add_c(out, VIEW_HIDDEN "@");
    buf_add_str(out, str_from(rest, host));
}

static void view_node(struct buf *out, const struct node *n, bool hidden)
{
    bool is_text = n->kind == NODE_MAPPING && n->text.at && hidden; /* a secret of a variable may look like one */
    if (n->kind == NODE_SCALAR || is_text) {
        if (hidden)
            buf_add_c(out, VIEW_HIDDEN);
        else
            view_scalar(out, n->written);
        return;
    }
    buf_add_char(out, n->kind == NODE_LIST ? '[' : '{');
    for (size_t i = 0; i < n->count; i++) {
        const struct entry *en = &n->at[i];
        buf_add_c(out, i ? ", " : "");
        if (en->key) {
            buf_add_str(out, en->key->written);
            buf_add_c(out, ": ");
        }
        view_node(out, en->value, hidden || (en->key && secret_is_name(en->key->text)));
    }
    buf_add_char(out, n->kind == NODE_LIST ? ']' : '}');
}

/* Values that may be anything, a header with a token, too. */
static bool view_hides(const struct option *row)
{
    return row->type == OPT_SECRET || row->type == OPT_SECRETS || row->type == OPT_MAP
           || secret_is_name(str_of(row->key));
}

static void view_add(struct fill *f, const struct where *at, struct str value, const struct node *n)
{
    struct config_view *v = f->view;
    struct buf path = buf_new(VIEW_PATH);
    view_path(&path, at);
    if (v->count == v->cap) {
        v->cap = v->cap ? 2 * v->cap : 64;
        v->at = mem_grow(v->at, v->cap, sizeof *v->at);
    }
    v->at[v->count++] = (struct config_value){ .path = arena_text(f->arena, buf_str(&path)),
                                               .value = arena_text(f->arena, value),
                                               .file = n ? arena_text(f->arena, str_of(n->file)) : NULL,
                                               .line = n ? n->line : 0,
                                               .column = n ? n->column : 0 };
    buf_free(&path);
}

void view_row(struct fill *f, const struct option *row, const struct node *n, const struct where *at)
{
    if (!f->view || row->type == OPT_GROUP || (row->type == OPT_LIST && n && n->count))
        return;
    if (f->view->count >= VIEW_ENTRIES) {
        f->view->cut = true;
        return;
    }
    struct buf value = buf_new(VIEW_VALUE);
    if (n)
        view_node(&value, n, view_hides(row));
    else
        buf_add_c(&value, row->fallback ? row->fallback : "");
    if (value.failed)
        view_add(f, at, STR("(long)"), n);
    else if (n || row->fallback)
        view_add(f, at, buf_str(&value), n);
    buf_free(&value);
}

void view_free(struct config_view *v)
{
    free(v->at);
}
