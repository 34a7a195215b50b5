/* SPDX-License-Identifier: MIT */
/* Fuzzes the decoder of the embedded log's records: any bytes under a right checksum, and any bytes as they are. */
#include <stdlib.h>
#include <zlib.h>
#include "bridge/lib/mem.h"
#include "bridge/broker/local/private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What decodes must encode to something that decodes to the same. */
static void again(const struct record *r)
{
    struct err e;
    size_t n = local_record_size(r);
    unsigned char *blob = malloc(n);
    CHECK(blob);
    local_record_seal(blob, n, local_record_encode(r, blob), 1, 2);
    struct record *same = local_record_decode((struct str){ (char *)blob, n }, r->topic, 3, 1, 2, &e);
    CHECK(same && str_eq(same->key, r->key) && str_eq(same->value, r->value) && same->header_count == r->header_count);
    CHECK(!same->key.at == !r->key.at && !same->value.at == !r->value.at);
    for (size_t i = 0; i < r->header_count; i++)
        CHECK(str_eq(same->headers[i].name, r->headers[i].name) && str_eq(same->headers[i].value, r->headers[i].value));
    record_free(same);
    free(blob);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e;
    if (size < 2 || size > 65536)
        return 0;
    record_free(local_record_decode((struct str){ (const char *)data, size }, STR("t"), 0, 1, 2, &e));
    unsigned char *blob = malloc(size + 4);
    CHECK(blob);
    memcpy(blob, data, size);
    blob[0] = 1; /* the version that is known */
    local_record_seal(blob, size + 4, (uint32_t)crc32_z(0, blob, size), 1, 2);
    struct record *r = local_record_decode((struct str){ (char *)blob, size + 4 }, STR("t"), 0, 1, 2, &e);
    if (r)
        again(r);
    record_free(r);
    free(blob);
    return 0;
}
