/* SPDX-License-Identifier: MIT */
/* Remembered rows: found, replaced by ones of another size, removed, whatever the order; and small. */
#include <stdio.h>
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "connectors/sqlite/rows.h"
#include "tests/support/test.h"

enum { KEYS = 300, OPERATIONS = 20000 };

static uint64_t seed = 1;

static uint32_t any(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static struct str key_of(char text[16], uint32_t i)
{
    return (struct str){ text, (size_t)snprintf(text, 16, "i%u", i * i) };
}

static struct row *make(struct str key, uint64_t version)
{
    static char kept[600];
    uint64_t hashes[3] = { version, version + 1, version + 2 };
    memset(kept, 'k', sizeof kept);
    return row_new(key, version, hashes, version % 4, (struct str){ kept, version % 5 ? 0 : 1 + version % 599 });
}

static void assert_row(const struct row *row, struct str key, uint64_t version)
{
    assert_true(str_eq(row_key(row), key));
    assert_true(row->version == version && row->count == version % 4);
    for (size_t i = 0; i < row->count; i++)
        assert_true(row->hashes[i] == version + i);
    assert_int_equal(row_kept(row) ? strlen(row_kept(row)) : 0, version % 5 ? 0 : 1 + version % 599);
}

TEST(found_replaced_removed)
{
    static uint64_t model[KEYS]; /* 0: not there */
    struct rows rows = { 0 };
    char text[16];
    assert_null(rows_find(&rows, STR("i1")));
    rows_remove(&rows, STR("i1"));
    for (uint64_t version = 1; version <= OPERATIONS; version++) {
        uint32_t i = any(KEYS);
        struct str key = key_of(text, i);
        if (any(3) == 0) {
            rows_remove(&rows, key);
            model[i] = 0;
            continue;
        }
        assert_row(rows_put(&rows, make(key, version)), key, version);
        if (any(50) == 0)
            rows_find(&rows, key)->ahead = make(key, version);
        model[i] = version;
    }
    size_t there = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        struct str key = key_of(text, i);
        const struct row *row = rows_find(&rows, key);
        assert_int_equal(row != NULL, model[i] > 0);
        if (row)
            assert_row(row, key, model[i]);
        there += row != NULL;
    }
    assert_int_equal(there, rows.count);
    rows_free(&rows);
}

/* At most 64 bytes a row of one watched column, with all that belongs to the table. */
TEST(small)
{
    enum { ROWS = 100000 };
    struct rows rows = { 0 };
    uint64_t hash = 7;
    for (uint32_t i = 0; i < ROWS; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "i%u", 1000000 + i);
        rows_put(&rows, row_new((struct str){ text, (size_t)n }, 0, &hash, 1, STR_ABSENT));
    }
    assert_in_range(rows_bytes(&rows) / ROWS, 40, 64);
    rows_free(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(found_replaced_removed), cmocka_unit_test(small) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
