/* SPDX-License-Identifier: MIT */
/* Reads secrets again. */
#include "bridge/auth/secret_files.h"
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/expand.h"
#include "bridge/lib/mem.h"

void secret_files_open(struct secret_files *f, const struct secrets *written)
{
    *f = (struct secret_files){ .written = *written };
    for (size_t i = 0; i < written->count; i++) {
        struct str rest = str_of(written->at[i].written), path;
        while (rest.at && expand_next_file(&rest, &path)) {
            char *name = str_dup(path);
            watch_add(&f->watch, name);
            free(name);
        }
    }
    watch_begin(&f->watch);
}

static void secret_files_wipe(struct secrets *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->at[i].written && s->at[i].text) {
            crypto_wipe(s->at[i].text, strlen(s->at[i].text));
            free(s->at[i].text);
        }
    free(s->at);
    *s = (struct secrets){ 0 };
}

/* What one of them says now; NULL with *e. */
static char *secret_files_expand(const char *written, struct err *e)
{
    struct buf text = buf_new(2 * EXPAND_FILE_BYTES);
    struct err exposed = { "" };
    bool good = expand_text(str_of(written), &text, &exposed, e);
    if (good && exposed.text[0])
        good = err_set(e, "%s", exposed.text);
    char *copy = good ? str_dup(buf_str(&text)) : NULL;
    crypto_wipe_buf(&text);
    return copy;
}

/* A list whose texts that come from files are its own; false with *e, and there is none. */
static bool secret_files_read(const struct secret_files *f, struct secrets *out, struct err *e)
{
    size_t n = f->written.count;
    *out = (struct secrets){ mem_alloc(n * sizeof *out->at), n };
    memcpy(out->at, f->written.at, n * sizeof *out->at);
    for (size_t i = 0; i < n; i++)
        if (out->at[i].written)
            out->at[i].text = NULL;
    for (size_t i = 0; i < n; i++)
        if (out->at[i].written && !(out->at[i].text = secret_files_expand(out->at[i].written, e))) {
            secret_files_wipe(out);
            return err_prefix(e, "secrets[%zu]", i);
        }
    return true;
}

void secret_files_turn(struct secret_files *f, bool (*take)(void *ctx, const struct secrets *now, struct err *e),
                       void *ctx, const char *of)
{
    struct secrets fresh;
    struct err e = { "" };
    if (!watch_has_news(&f->watch))
        return;
    bool taken = secret_files_read(f, &fresh, &e) && take(ctx, &fresh, &e);
    watch_tell("secrets", of, taken ? NULL : &e);
    struct secrets before = f->now;
    if (taken)
        f->now = fresh;
    secret_files_wipe(taken ? &before : &fresh);
}

void secret_files_close(struct secret_files *f)
{
    watch_end(&f->watch);
    secret_files_wipe(&f->now);
}
