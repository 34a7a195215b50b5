/* SPDX-License-Identifier: MIT */
/* Fuzzes cursors: any text, and any content under a right version and signature; what is read is written as it was. */
#include <stdlib.h>
#include "bridge/event/cursor.h"
#include "bridge/lib/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct hmac *key, struct str text)
{
    static const char *const topics[] = { "a", "b" };
    struct cursor *c = cursor_new(topics, 2), *again = cursor_new(topics, 2);
    struct buf out = buf_new(CURSOR_TEXT_MAX);
    struct err e = { "" };
    if (cursor_read(c, key, text, &e)) {
        cursor_write(c, key, &out);
        CHECK(!out.failed && cursor_read(again, key, buf_str(&out), &e) && again->newest_ms == c->newest_ms);
        for (size_t i = 0; i < 2; i++) {
            CHECK(again->topics[i].known == c->topics[i].known && again->topics[i].count == c->topics[i].count);
            for (int32_t p = 0; p < c->topics[i].count; p++)
                CHECK(c->topics[i].parts[p].next >= 0 && again->topics[i].parts[p].next == c->topics[i].parts[p].next);
        }
    } else {
        CHECK(e.text[0] && !c->read);
    }
    buf_free(&out);
    cursor_free(c);
    cursor_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hmac *key = hmac_new(str_of("fuzz"));
    check(key, (struct str){ (const char *)data, size });
    if (size > 0 && size < CURSOR_TEXT_MAX / 2) {
        struct buf raw = buf_new(CURSOR_TEXT_MAX), text = buf_new(CURSOR_TEXT_MAX);
        unsigned char mac[HASH_MOST];
        buf_add(&raw, data, size);
        hmac_sign(key, (const struct str[]){ str_of("aqueduct cursor"), buf_str(&raw) }, 2, mac);
        buf_add(&raw, mac, 8);
        base64url_add(&text, buf_str(&raw));
        check(key, buf_str(&text));
        buf_free(&raw);
        buf_free(&text);
    }
    hmac_free(key);
    return 0;
}
