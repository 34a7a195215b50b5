/* SPDX-License-Identifier: MIT */
/* Answers of a token service: what is taken can stand in a header, for a bounded time. */
#include <string.h>
#include "bridge/lib/mem.h"
#include "connectors/webhook/oauth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char room[OAUTH_BYTES];
    struct duration life = { 0 };
    struct err e = { "" };
    if (!oauth_read((struct str){ (const char *)data, n }, room, &life, &e)) {
        CHECK(e.text[0]);
        return 0;
    }
    CHECK(memchr(room, '\0', sizeof room) && room[0]);
    for (const char *c = room; *c; c++)
        CHECK(*c > ' ' && *c <= '~');
    CHECK(life.ms >= 1000 && life.ms <= 30LL * 86400 * 1000);
    return 0;
}
