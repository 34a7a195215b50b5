/* SPDX-License-Identifier: MIT */
/* Answers of a token service, and what a JWT says of itself: what is taken can stand in a header, for a bounded time. */
#include <string.h>
#include "bridge/lib/mem.h"
#include "connectors/webhook/grant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char room[GRANT_BYTES];
    struct duration life = { 0 };
    struct err e = { "" };
    char member[] = "/access_token";
    struct grant g = { .member = member, .life_s = 3600 };
    if (!grant_read(&g, (struct str){ (const char *)data, n }, 1800000000000, room, &life, &e)) {
        CHECK(e.text[0]);
        return 0;
    }
    CHECK(memchr(room, '\0', sizeof room) && room[0]);
    for (const char *c = room; *c; c++)
        CHECK(*c > ' ' && *c <= '~');
    CHECK(life.ms >= 1000 && life.ms <= 30LL * 86400 * 1000);
    return 0;
}
