/* SPDX-License-Identifier: MIT */
/* Prints events for people. */
#include "bridge/cli/show_event.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/auth/secret.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

#define SHOW_NAME  "\033[36m"
#define SHOW_TEXT  "\033[32m"
#define SHOW_PLAIN "\033[33m"
#define SHOW_END   "\033[0m"

static void show_event_mask(json_t *value)
{
    const char *name;
    json_t *member;
    size_t i;
    if (json_is_object(value)) {
        json_object_foreach(value, name, member)
        {
            if (json_is_string(member) && secret_is_name(str_of(name)))
                json_string_set(member, "***");
            show_event_mask(member);
        }
    } else {
        json_array_foreach(value, i, member) show_event_mask(member);
    }
}

json_t *show_event_json(const struct event *ev)
{
    struct buf text = buf_new(2 * EVENT_DATA_BYTES);
    event_to_json(ev, &text);
    json_t *json = text.failed ? NULL : json_loadb(text.at, text.n, JSON_ALLOW_NUL, NULL);
    if (!json && !text.failed) /* integers beyond ours */
        json = json_loadb(text.at, text.n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    buf_free(&text);
    show_event_mask(json);
    return json ? json : json_object();
}

/* One token of JSON at `at`: its length, and its colour or "". */
static size_t show_event_token(const char *at, const char **colour)
{
    size_t n = 1;
    *colour = "";
    if (*at == '"') {
        while (at[n] && at[n] != '"')
            n += at[n] == '\\' ? 2 : 1;
        n++;
        *colour = at[n] == ':' ? SHOW_NAME : SHOW_TEXT;
    } else if (!strchr("{}[]:, \n", *at)) {
        n = strcspn(at, "{}[]:, \n");
        *colour = SHOW_PLAIN;
    }
    return n;
}

void show_event(const struct event *ev, FILE *out)
{
    bool coloured = isatty(fileno(out)) && !getenv("NO_COLOR");
    json_t *json = show_event_json(ev);
    char *text = json_short(json, JSON_INDENT(2));
    CHECK(text);
    if (!coloured)
        fputs(text, out);
    for (const char *at = text; coloured && *at;) {
        const char *colour;
        size_t n = show_event_token(at, &colour);
        fprintf(out, "%s%.*s%s", colour, (int)n, at, *colour ? SHOW_END : "");
        at += n;
    }
    fputc('\n', out);
    free(text);
    json_decref(json);
}
