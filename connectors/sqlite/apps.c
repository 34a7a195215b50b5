/* SPDX-License-Identifier: MIT */
/* The applications whose databases are known: where they usually are, and by which tables they are told. */
#include <stdlib.h>
#include <string.h>
#include "bridge/lib/mem.h"
#include "connectors/sqlite/review.h"

/* Docker's named volumes are root's, who can look there. */
#define APPS_VOLUMES "/var/lib/docker/volumes/*/_data/"
static const char *const apps_anythingllm[] = {
    "~/.config/anythingllm-desktop/storage/anythingllm.db",
    "~/Library/Application Support/anythingllm-desktop/storage/anythingllm.db",
    "~/anythingllm/anythingllm.db",
    "~/anything-llm/server/storage/anythingllm.db",
    "/app/server/storage/anythingllm.db",
    APPS_VOLUMES "anythingllm.db",
    "./anythingllm.db",
    NULL
};
static const char *const apps_open_webui[] = { "~/open-webui/backend/data/webui.db",
                                               "~/.open-webui/webui.db",
                                               "~/open-webui/webui.db",
                                               "/app/backend/data/webui.db",
                                               APPS_VOLUMES "webui.db",
                                               "./webui.db",
                                               NULL };
static const char *const apps_n8n[] = { "~/.n8n/database.sqlite", "/home/node/.n8n/database.sqlite",
                                        APPS_VOLUMES "database.sqlite", "./database.sqlite", NULL };
static const char *const apps_kotaemon[] = { "~/kotaemon/ktem_app_data/user_data/sql.db",
                                             "/app/ktem_app_data/user_data/sql.db", APPS_VOLUMES "user_data/sql.db",
                                             "./ktem_app_data/user_data/sql.db", NULL };
static const char *const apps_flowise[] = { "~/.flowise/database.sqlite", "/root/.flowise/database.sqlite",
                                            APPS_VOLUMES "database.sqlite", "./database.sqlite", NULL };

const struct known_app apps_known[] = {
    { "anythingllm", "AnythingLLM", apps_anythingllm },
    { "open-webui", "Open WebUI", apps_open_webui },
    { "n8n", "n8n", apps_n8n },
    { "kotaemon", "Kotaemon", apps_kotaemon },
    { "flowise", "Flowise", apps_flowise },
    { 0 },
};
/* The tables that each has, in the same order. */
static const char *const apps_marks[][4] = {
    { "workspace_chats", "workspace_documents", "event_logs" },
    { "chat", "auth", "user", "file" },
    { "execution_entity", "workflow_entity" },
    { "ktem__index", "conversation", "settings" },
    { "chat_flow", "chat_message", "credential" },
};

const struct known_app *apps_find(bool (*has)(void *ctx, const char *table), void *ctx)
{
    for (size_t i = 0; i < sizeof apps_marks / sizeof *apps_marks; i++) {
        bool all = true;
        for (size_t k = 0; k < sizeof *apps_marks / sizeof **apps_marks && apps_marks[i][k]; k++)
            all = all && has(ctx, apps_marks[i][k]);
        if (all)
            return &apps_known[i];
    }
    return NULL;
}

static bool apps_has(void *ctx, const char *table)
{
    static const char sql[] = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
    sqlite3_stmt *stmt = NULL;
    bool has = sqlite3_prepare_v2(ctx, sql, -1, &stmt, NULL) == SQLITE_OK
               && sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW;
    sqlite3_finalize(stmt);
    return has;
}

const struct known_app *apps_recognise(const char *path, struct err *e)
{
    struct sqlite_source *s = mem_alloc(sizeof *s);
    const struct known_app *app = NULL;
    bool refused;
    *e = (struct err){ "" };
    s->base.id = "init";
    s->path = (char *)(uintptr_t)path; /* not written to */
    switch (review_open(s, &refused, e)) {
    case DB_OK:
        s->read_began_us = clock_mono_us();
        app = apps_find(apps_has, s->db);
        database_close(s);
        break;
    case DB_BUSY: err_set(e, "%s: is locked, as its application is writing; try again", path); break;
    case DB_GONE: break;
    }
    free(s);
    return app;
}
