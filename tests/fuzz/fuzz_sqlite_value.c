/* SPDX-License-Identifier: MIT */
/* Any bytes in a column become valid JSON, and no masked value gets through; any bytes of stored state are read or
 * refused. */
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"
#include "connectors/sqlite/sqlite.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static sqlite3_stmt *statement(void)
{
    static sqlite3_stmt *stmt;
    sqlite3 *db;
    if (!stmt)
        CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK
              && sqlite3_prepare_v2(db, "SELECT ?1", -1, &stmt, NULL) == SQLITE_OK);
    return stmt;
}

static void check_value(const uint8_t *bytes, size_t n, bool blob)
{
    static char *names[] = { "secret" };
    const struct strings mask = { names, 1 }, none = { 0 };
    sqlite3_stmt *row = statement();
    if (blob)
        sqlite3_bind_blob(row, 1, bytes, (int)n, SQLITE_TRANSIENT);
    else
        sqlite3_bind_text(row, 1, (const char *)bytes, (int)n, SQLITE_TRANSIENT);
    CHECK(sqlite3_step(row) == SQLITE_ROW);
    for (int form = FORM_VALUE; form <= FORM_TIME; form++)
        for (int masked = 0; masked <= 1; masked++) {
            struct buf out = buf_new(1 << 20);
            struct jscan_value json;
            bool repaired = false;
            value_json(&out, row, 0, (enum form)form, masked ? &mask : &none, NULL, &repaired);
            CHECK(jscan_check(buf_str(&out), &json, NULL));
            if (masked && form == FORM_JSON && json.type == JSCAN_OBJECT) {
                struct jscan_member members[64];
                int count = jscan_object(json.raw, members, 64, NULL);
                for (int i = 0; i < count && i < 64; i++)
                    CHECK(!str_eq(members[i].name, STR("secret")) || str_eq(members[i].value.raw, STR("\"***\"")));
            }
            buf_free(&out);
        }
    struct buf key = buf_new(4096);
    value_key(&key, row, 0);
    CHECK(!key.failed && key.n > 0 && key.n <= KEY_BYTES + 1);
    buf_free(&key);
    sqlite3_reset(row);
}

static void check_state(struct str text)
{
    static const char *const keys[] = { "r/row/i1", "r/open/i1", "r/cursor", "r/ready", "r/epoch", "r/top" };
    struct sqlite_source s = { 0 };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        state_restore(&s, str_of(keys[i]), text, false);
        state_restore(&s, str_of(keys[i]), text, true);
    }
    rule_free(s.rules[0]);
    free(s.rules);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n > 64 << 10)
        return 0;
    check_value(bytes, n, false);
    check_value(bytes, n, true);
    check_state((struct str){ n ? (const char *)bytes : "", n });
    return 0;
}
