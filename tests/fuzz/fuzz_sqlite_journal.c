/* SPDX-License-Identifier: MIT */
/* Any bytes as the rollback journal of a database that is watched: it is read in bounded steps, and tells pages or nothing.
 *
 * Input: the first page of the database as it is now (512 bytes), then the journal. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/lib/mem.h"
#include "connectors/sqlite/journals.h"

enum { PAGE = 512 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take_page(void *ctx, uint32_t page)
{
    CHECK(page > 0);
    ++*(size_t *)ctx;
}

/* The page as it was before its last change: as the journal has it. */
static void go_back(uint8_t page[PAGE], const uint8_t *journal, size_t n)
{
    for (size_t at = 512; at + 4 + PAGE <= n; at += PAGE + 8)
        if (memcmp(journal + at, "\0\0\0\1", 4) == 0) {
            memcpy(page, journal + at + 4, PAGE);
            break;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[] = "/tmp/aqueduct-fuzz-XXXXXX";
    struct journals j = { .watched = true };
    uint8_t before[PAGE];
    size_t pages = 0;
    if (size < PAGE)
        return 0;
    memcpy(before, data, PAGE);
    go_back(before, data + PAGE, size - PAGE);
    CHECK(!journals_follow(&j, before, PAGE, take_page, &pages));
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, data + PAGE, size - PAGE) == (ssize_t)(size - PAGE));
    close(fd);
    journals_made(&j, path);
    journals_written(&j);
    CHECK(unlink(path) == 0);
    journals_gone(&j);
    bool told = journals_follow(&j, data, PAGE, take_page, &pages);
    CHECK(told ? pages > 0 : pages == 0);
    journals_free(&j);
    return 0;
}
