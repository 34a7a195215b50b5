/* SPDX-License-Identifier: MIT */
/* Prints what the SQLite source captures, one structured CloudEvent a line, without a core: for tests that judge the
 * events.
 *
 *   sqlite-events app.db anythingllm [now|snapshot]
 *
 * Says {"ready":true} once it watches; ends when standard input does. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/config/config.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "tests/support/connector.h"
#include "tests/support/sqlite_rig.h"

static void print(const struct event *ev)
{
    struct buf json = buf_new(64 << 20);
    event_to_json(ev, &json);
    fwrite(json.at, 1, json.n, stdout);
    fputc('\n', stdout);
    fflush(stdout);
    buf_free(&json);
}

static struct source *source_new(const char *path, const char *preset, const char *start)
{
    struct problems problems = { 0 };
    struct err e = { 0 };
    struct buf yaml = buf_new(4096);
    struct source *s = mem_alloc(sqlite_source.size);
    s->ops = &sqlite_source;
    s->id = "app";
    buf_printf(&yaml, "path: %s\npreset: %s\nstart: %s\n", path, preset, start);
    if (!options_read("arguments", buf_str(&yaml), sqlite_source.options, s, &problems)) {
        problems_print(&problems, stderr);
        exit(2);
    }
    buf_free(&yaml);
    if (!sqlite_source.open(s, &e)) {
        fprintf(stderr, "%s\n", e.text);
        exit(2);
    }
    return s;
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: sqlite-events app.db preset [now|snapshot]\n");
        return 2;
    }
    struct source *s = source_new(argv[1], argv[2], argc > 3 ? argv[3] : "now");
    struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
    int quiet = wake_new(); /* never written: standard input wakes us until it ends */
    bool ready = false, ending = false;
    while (!ending || !sqlite_is_idle((struct sqlite_source *)s)) {
        struct emission out[64];
        struct err e = { 0 };
        int n = s->ops->read(s, ending ? quiet : STDIN_FILENO, out, 64, &e);
        if (n < 0)
            fprintf(stderr, "%s\n", e.text);
        for (int i = 0; i < n; i++) {
            if (out[i].event)
                print(out[i].event);
            event_unref(out[i].event);
        }
        for (int i = 0; i < n; i++)
            s->ops->settle(s, out[i].tag, OUTCOME_STORED, "");
        if (!ready && sqlite_is_idle((struct sqlite_source *)s)) {
            ready = true;
            puts("{\"ready\":true}");
            fflush(stdout);
        }
        ending = ending || (poll(&in, 1, 0) > 0);
    }
    s->ops->close(s);
    free(s);
    close(quiet);
    return 0;
}
