/* SPDX-License-Identifier: MIT */
/* A process that runs a replay, as JSON and back, and its life. */
#include "bridge/cli/replay_run.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/str.h"

enum { RUN_LINE = 1024, RUN_PLACE = 128, RUN_BEGAN = 22 /* the field of /proc/PID/stat, from 1 */ };

/* The first line of that file; "" when there is none. */
static void run_line(const char *path, char *out, size_t room)
{
    FILE *f = fopen(path, "re");
    out[0] = '\0';
    if (f && fgets(out, (int)room, f))
        out[strcspn(out, "\n")] = '\0';
    if (f)
        fclose(f);
}

/* 0: there is no such process, or it is not said. */
static int64_t run_began(int64_t pid)
{
    char path[64], line[RUN_LINE];
    int64_t ticks = 0;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    run_line(path, line, sizeof line);
    const char *name_end = strrchr(line, ')'); /* the name is the second field, and may have anything in it */
    struct str rest = str_of(name_end ? name_end + 1 : ""), word = STR_ABSENT;
    for (int field = 2; field <= RUN_BEGAN && str_cut(&rest, ' ', &word); field++)
        continue;
    return str_to_i64(word, &ticks) ? ticks : 0;
}

/* This start of the machine, and our numbering of processes. */
static void run_place(char out[RUN_PLACE])
{
    char boot[RUN_PLACE / 2], space[RUN_PLACE / 2];
    run_line("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    ssize_t n = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    space[n > 0 ? n : 0] = '\0';
    snprintf(out, RUN_PLACE, "%s %s", boot, space);
}

struct replay_run replay_run_new(void)
{
    char id[UUID_TEXT], host[HOST_NAME_MAX + 1] = "?", place[RUN_PLACE];
    uuid_random(id);
    gethostname(host, sizeof host - 1);
    run_place(place);
    return (struct replay_run){ .id = str_dup(str_of(id)),
                                .host = str_dup(str_of(host)),
                                .place = str_dup(str_of(place)),
                                .pid = getpid(),
                                .began = run_began(getpid()) };
}

void replay_run_free(struct replay_run *r)
{
    free(r->id);
    free(r->host);
    free(r->place);
    *r = (struct replay_run){ 0 };
}

json_t *replay_run_json(const struct replay_run *r)
{
    return json_pack("{s:s,s:o,s:o,s:I,s:I}", "id", r->id, "host", json_of_text(str_of(r->host)), "place",
                     json_of_text(str_of(r->place)), "process", (json_int_t)r->pid, "began", (json_int_t)r->began);
}

struct replay_run replay_run_of(const json_t *j)
{
    const char *id = json_string_value(json_object_get(j, "id")), *host = json_string_value(json_object_get(j, "host")),
               *place = json_string_value(json_object_get(j, "place"));
    if (!id)
        return (struct replay_run){ 0 };
    return (struct replay_run){ .id = str_dup(str_of(id)),
                                .host = str_dup(str_of(host ? host : "?")),
                                .place = str_dup(str_of(place ? place : "")),
                                .pid = json_integer_value(json_object_get(j, "process")),
                                .began = json_integer_value(json_object_get(j, "began")) };
}

enum replay_life replay_run_lives(const struct replay_run *r)
{
    char place[RUN_PLACE];
    run_place(place);
    if (strcmp(place, r->place) != 0 || r->pid <= 0)
        return REPLAY_ELSEWHERE;
    bool there = kill((pid_t)r->pid, 0) == 0 || errno == EPERM;
    return there && run_began(r->pid) == r->began ? REPLAY_RUNS : REPLAY_IS_OVER;
}
