/* SPDX-License-Identifier: MIT */
/* What a client says in CBOR: an error with a text, or JSON, of which the CBOR says the same JSON again. */
#include <stdint.h>
#include "bridge/lib/cbor.h"
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The same value once more through CBOR. */
static void again(struct str json, struct buf *cbor, struct buf *out)
{
    struct err e = { "" };
    cbor_add_json(cbor, json);
    CHECK(!cbor->failed);
    CHECK(cbor_to_json(buf_str(cbor), out, &e));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf json[3] = { buf_new(1 << 20), buf_new(1 << 22), buf_new(1 << 22) };
    struct buf cbor[2] = { buf_new(1 << 22), buf_new(1 << 22) };
    struct jscan_value value;
    struct err e = { "" };
    bool good = cbor_to_json((struct str){ (const char *)data, n }, &json[0], &e);
    CHECK(good == (e.text[0] == '\0'));
    if (good && jscan_check(buf_str(&json[0]), &value, &e)) { /* else JSON that was embedded made it too deep */
        again(buf_str(&json[0]), &cbor[0], &json[1]);
        again(buf_str(&json[1]), &cbor[1], &json[2]);
        CHECK(str_eq(buf_str(&json[1]), buf_str(&json[2])));
    }
    for (int i = 0; i < 3; i++)
        buf_free(&json[i]);
    for (int i = 0; i < 2; i++)
        buf_free(&cbor[i]);
    return 0;
}
