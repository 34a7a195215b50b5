/* SPDX-License-Identifier: MIT */
/* An event as a line: for people time, type, subject and the beginning of its data; as JSON the whole CloudEvent. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "bridge/cli/show_event.h"
#include "bridge/cli/tail_private.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

#define TAIL_DIM   "\033[2m"
#define TAIL_NAME  "\033[36m"
#define TAIL_THING "\033[33m"
#define TAIL_END   "\033[0m"

enum {
    TAIL_CELL = 40,  /* columns of type and subject, at most */
    TAIL_TIGHT = 20, /* columns that are left for the data in any case */
    TAIL_GAP = 2,    /* behind each of them */
};

void tail_say(const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    str_make_shown(text);
    fflush(stdout); /* what came before it stands before it */
    fprintf(stderr, "aqueduct tail: %s\n", text);
}

/* Columns of the terminal; 0: it is none, and nothing is cut. */
static int tail_columns(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO))
        return 0;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

/* How many bytes the first `columns` characters have. */
static size_t tail_cut(const char *text, int columns)
{
    size_t n = 0;
    for (int i = 0; i < columns && text[n]; i++) {
        size_t one = str_utf8_length(str_of(text + n));
        n += one ? one : 1;
    }
    return n;
}

static int tail_length(const char *text)
{
    int n = 0;
    for (; *text; n++)
        text += tail_cut(text, 1);
    return n;
}

/* A cell that is padded to the widest so far. */
static void tail_cell(struct str value, int *width, const char *colour)
{
    char *text = str_dup(value.at ? value : STR("-"));
    str_make_shown(text);
    int n = tail_length(text);
    int most = n < TAIL_CELL ? n : TAIL_CELL;
    *width = most > *width ? most : *width;
    printf("%s%s%s%*s  ", colour, text, *colour ? TAIL_END : "", n < *width ? *width - n : 0, "");
    free(text);
}

/* The data as one line of JSON without secrets; free() it. */
static char *tail_data(const struct event *ev)
{
    json_t *json = show_event_json(ev), *data = json_object_get(json, "data");
    data = data ? data : json_object_get(json, "data_base64");
    char *text = data ? json_short(data, JSON_COMPACT | JSON_ENCODE_ANY) : str_dup(STR("-"));
    json_decref(json);
    text = text ? text : str_dup(STR("?"));
    str_make_shown(text);
    return text;
}

/* "ai.events/0@87" and the id: what status, explain and resend are asked by. Returns how many columns they take. */
static int tail_ids(struct tail *t, const struct event *ev, const struct record *r)
{
    struct buf place = buf_new(TAIL_URL_BYTES);
    if (!t->flags->ids)
        return 0;
    if (r)
        buf_printf(&place, "%.*s/%d@%lld", STR_ARG(r->topic), (int)r->partition, (long long)r->offset);
    tail_cell(r ? buf_str(&place) : STR_ABSENT, &t->place_width, "");
    tail_cell(ev->id, &t->id_width, "");
    buf_free(&place);
    return t->place_width + t->id_width + 2 * TAIL_GAP;
}

static void tail_line(struct tail *t, const struct event *ev, const struct record *r)
{
    char at[CLOCK_TEXT];
    int columns = tail_columns();
    bool coloured = columns && !getenv("NO_COLOR");
    struct str time = ev->time;
    if (!time.at) {
        clock_text(r ? r->timestamp_ms : clock_wall_ms(), at);
        time = str_of(at);
    }
    char *data = tail_data(ev);
    printf("%s%.*s%s  ", coloured ? TAIL_DIM : "", STR_ARG(time), coloured ? TAIL_END : "");
    tail_cell(ev->type, &t->type_width, coloured ? TAIL_NAME : "");
    tail_cell(ev->subject, &t->subject_width, coloured ? TAIL_THING : "");
    int left = columns - tail_ids(t, ev, r) - (int)time.n - t->type_width - t->subject_width - 3 * TAIL_GAP;
    printf("%.*s\n", columns ? (int)tail_cut(data, left > TAIL_TIGHT ? left : TAIL_TIGHT) : (int)strlen(data), data);
    free(data);
}

/* The event as it is, in one line, and the position behind it as one more attribute. */
static void tail_json(const struct event *ev, struct str position)
{
    struct buf text = buf_new(2 * EVENT_DATA_BYTES);
    event_to_json(ev, &text); /* not read again: its numbers may be beyond ours */
    CHECK(!text.failed && text.n && text.at[text.n - 1] == '}');
    if (position.n) {
        text.n--;
        json_add_text(&text, "position", position);
        buf_add_char(&text, '}');
    }
    for (size_t i = 0; i < text.n; i++) /* no string has them as they are */
        if (text.at[i] == '\n' || text.at[i] == '\r')
            text.at[i] = ' ';
    buf_add_char(&text, '\n');
    fwrite(text.at, 1, text.n, stdout);
    buf_free(&text);
}

bool tail_show(struct tail *t, const struct event *ev, const struct record *r, struct str position)
{
    if (!filter_match(t->filter, ev))
        return true;
    if (t->flags->json)
        tail_json(ev, position);
    else
        tail_line(t, ev, r);
    t->failed = t->failed || fflush(stdout) != 0;
    t->shown++;
    return !t->failed && !(t->flags->count && t->shown >= t->flags->count);
}
