/* SPDX-License-Identifier: MIT */
/* The state stored for sources and sinks, and the identity of the log, which is a row of it. */
#include <stdio.h>
#include <string.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/log.h"

static struct str state_column(sqlite3_stmt *s, int i)
{
    const char *at = sqlite3_column_blob(s, i);
    return (struct str){ at ? at : "", (size_t)sqlite3_column_bytes(s, i) };
}

static bool state_damaged(const struct local *b, const char *source, const char *what, struct err *e)
{
    char how[WHY_BYTES];
    snprintf(how, sizeof how, "the state of source %s: %s", source, what);
    return local_store_damaged(b->file ? b->file : ":memory:", how, e);
}

static bool state_unfit(const struct local *b, const char *source, struct str key, struct err *e)
{
    char what[96];
    snprintf(what, sizeof what, "checksum of key \"%.*s\"", (int)(key.n < 64 ? key.n : 64), key.at);
    return state_damaged(b, source, what, e);
}

static bool state_rows(const struct local *b, sqlite3_stmt *s, const char *source,
                       bool (*each)(void *, struct str, struct str, bool, struct err *), void *ctx, struct err *e)
{
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        struct str key = state_column(s, 0), value = state_column(s, 1);
        if (sqlite3_column_int64(s, 2) != (int64_t)local_state_crc(str_of(source), key, value))
            return state_unfit(b, source, key, e);
        if (!each(ctx, key, value, false, e))
            return false;
    }
    if ((rc & 0xff) == SQLITE_CORRUPT)
        return state_damaged(b, source, sqlite3_errstr(rc), e);
    return rc == SQLITE_DONE
           || err_set(e, "broker.path: reading the state of source \"%s\": %s", source, sqlite3_errstr(rc));
}

bool local_state(struct broker *base, const char *source,
                 bool (*each)(void *, struct str, struct str, bool, struct err *), void *ctx, struct err *e)
{
    struct local *b = (struct local *)base;
    struct link l;
    sqlite3_stmt *s = NULL;
    if (!local_link_open(b, &l, e))
        return false;
    local_link_lock(&l);
    bool ok = local_store_prepare(&l, &s, e, "SELECT key, value, crc FROM state WHERE source=?1");
    if (ok) {
        sqlite3_bind_text(s, 1, source, -1, SQLITE_STATIC);
        ok = state_rows(b, s, source, each, ctx, e);
    }
    sqlite3_finalize(s);
    local_link_unlock(&l);
    local_link_close(&l);
    return ok;
}

static bool state_list(sqlite3_stmt *s, bool (*each)(void *, const char *, struct err *), void *ctx, struct err *e)
{
    int rc;
    while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
        const char *source = (const char *)sqlite3_column_text(s, 0);
        if (source && !each(ctx, source, e))
            return false;
    }
    return rc == SQLITE_DONE || err_set(e, "broker.path: reading whose state there is: %s", sqlite3_errstr(rc));
}

bool local_scopes(struct broker *base, bool (*each)(void *, const char *, struct err *), void *ctx, struct err *e)
{
    struct local *b = (struct local *)base;
    struct link l;
    sqlite3_stmt *s = NULL;
    if (!local_link_open(b, &l, e))
        return false;
    local_link_lock(&l);
    bool ok = local_store_prepare(&l, &s, e, "SELECT DISTINCT source FROM state ORDER BY source")
              && state_list(s, each, ctx, e);
    sqlite3_finalize(s);
    local_link_unlock(&l);
    local_link_close(&l);
    return ok;
}

bool local_say_moved(const char *file, struct str to, struct err *e)
{
    return err_set(e,
                   "broker.path: what \"%s\" holds was moved to %.*s: start with that configuration. To use this log "
                   "again all the same, and deliver twice what both have: sqlite3 %s \"DELETE FROM state WHERE "
                   "source='" STATE_MOVE "'\"",
                   file, (int)(to.n < 100 ? to.n : 100), to.at, file);
}

static bool state_take_moved(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    (void)ahead;
    const struct local *b = ctx;
    return !str_eq(key, STR(STATE_MOVED_TO)) || local_say_moved(b->file, value, e);
}

bool local_check_moved(struct local *b, struct err *e)
{
    return local_state(&b->base, STATE_MOVE, state_take_moved, b, e);
}

static bool state_take_identity(void *ctx, struct str key, struct str value, bool ahead, struct err *e)
{
    struct local *b = ctx;
    (void)ahead, (void)e;
    if (str_eq(key, STR(STATE_IDENTITY)))
        b->identity = str_dup(value);
    b->keys_as_kafka = b->keys_as_kafka || (str_eq(key, STR(STATE_KEYS)) && str_eq(value, STR("murmur2")));
    return true;
}

static int state_say(struct local *b, const char *key, struct str value)
{
    struct str scope = str_of(STATE_LOG), name = str_of(key);
    sqlite3_bind_text(b->set_state, 1, scope.at, (int)scope.n, SQLITE_STATIC);
    sqlite3_bind_blob(b->set_state, 2, name.at, (int)name.n, SQLITE_STATIC);
    sqlite3_bind_blob(b->set_state, 3, value.at, (int)value.n, SQLITE_STATIC);
    sqlite3_bind_int64(b->set_state, 4, local_state_crc(scope, name, value));
    return local_store_run(b->set_state);
}

/* Where nothing lies in a partition that its key chose, keys may choose as on Kafka from now on. */
static void state_keys(struct local *b)
{
    bool chosen = false;
    for (size_t i = 0; i < b->topic_count; i++)
        chosen = chosen || b->topics[i]->partition_count > 1;
    if (!b->keys_as_kafka && !chosen)
        b->keys_as_kafka = state_say(b, STATE_KEYS, STR("murmur2")) == SQLITE_OK;
}

bool local_identify(struct local *b, struct err *e)
{
    char fresh[UUID_TEXT];
    bool known = local_state(&b->base, STATE_LOG, state_take_identity, b, e);
    if (known)
        state_keys(b);
    if (!known || b->identity)
        return known; /* false: a row is damaged */
    uuid_random(fresh);
    int rc = state_say(b, STATE_IDENTITY, str_of(fresh));
    b->identity = rc == SQLITE_OK ? str_dup(str_of(fresh)) : NULL;
    if (!b->identity)
        LOG(WARN, "the log's identity could not be stored: positions in it are not handed out until the next start",
            LOG_C("file", b->file ? b->file : ":memory:"), LOG_C("reason", sqlite3_errstr(rc)));
    return true;
}
