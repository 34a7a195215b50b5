/* SPDX-License-Identifier: MIT */
/* Writes a log line as logfmt or JSON in one write(). */
#include "bridge/lib/log.h"
#include <inttypes.h>
#include <unistd.h>
#include "bridge/lib/buf.h"
#include "bridge/lib/clock.h"
#include "bridge/lib/jscan.h"

enum {
    VALUE_BYTES = 512,
    FIELDS = 32,
    LINE_BYTES = 256 * 1024, /* so that the longest line fits, each byte escaped */
    LINES_A_SECOND = 20,
};

static atomic_int least_level = LOG_INFO;
static atomic_bool json_lines;
static _Thread_local bool as_json; /* of the line that this thread writes */
static const char *const level_names[] = { "debug", "info", "warn", "error" };

void log_setup(enum log_level least, enum log_format format)
{
    atomic_store(&least_level, (int)least);
    atomic_store(&json_lines, format == LOG_JSON);
}

bool log_shows(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&least_level, memory_order_relaxed);
}

/* At most VALUE_BYTES, and not in the middle of a character. */
static struct str log_cut(struct str s)
{
    if (s.n <= VALUE_BYTES)
        return s;
    s.n = VALUE_BYTES;
    for (int i = 0; i < 3 && ((unsigned char)s.at[s.n] & 0xc0) == 0x80; i++)
        s.n--;
    return s;
}

static bool log_needs_quotes(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.at[i] <= ' ' || s.at[i] >= 0x7f || s.at[i] == '"' || s.at[i] == '=' || s.at[i] == '\\')
            return true;
    return s.n == 0;
}

static void log_add_key(struct buf *line, const char *key)
{
    if (as_json)
        buf_printf(line, "%s\"%s\":", line->n > 0 ? "," : "{", key);
    else
        buf_printf(line, "%s%s=", line->n > 0 ? " " : "", key);
}

/* Quoted values of logfmt are written as JSON strings, too. */
static void log_add_text(struct buf *line, const char *key, struct str text)
{
    text = log_cut(text);
    log_add_key(line, key);
    if (as_json || log_needs_quotes(text))
        jscan_add_string(line, text);
    else
        buf_add_str(line, text);
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields)
{
    if (!log_shows(level))
        return;
    as_json = atomic_load_explicit(&json_lines, memory_order_relaxed);
    char time[CLOCK_TEXT];
    clock_text(clock_wall_ms(), time);
    struct buf line = buf_new(LINE_BYTES);
    log_add_text(&line, "level", str_of(level_names[level]));
    log_add_text(&line, "time", str_of(time));
    log_add_text(&line, "msg", str_of(msg));
    for (size_t i = 0; i < FIELDS && fields[i].key; i++) {
        const struct log_field *f = &fields[i];
        if (f->kind == LOG_KIND_INT) {
            log_add_key(&line, f->key);
            buf_printf(&line, "%" PRId64, f->number);
        } else if (f->kind == LOG_KIND_STR || f->text.at)
            log_add_text(&line, f->key, f->text);
    }
    buf_add_c(&line, as_json ? "}\n" : "\n");
    ssize_t written = write(STDERR_FILENO, line.at, line.n);
    (void)written; /* there is nowhere to say that the log is broken */
    buf_free(&line);
}

bool log_limit_pass(struct log_limit *l, int64_t *left_out)
{
    int_least64_t second = clock_mono_ms() / 1000, before = atomic_load(&l->second);
    *left_out = 0;
    if (second != before && atomic_compare_exchange_strong(&l->second, &before, second)) {
        *left_out = atomic_exchange(&l->left_out, 0);
        atomic_store(&l->lines, 0);
    }
    if (atomic_fetch_add(&l->lines, 1) < LINES_A_SECOND)
        return true;
    atomic_fetch_add(&l->left_out, 1);
    return false;
}
