/* SPDX-License-Identifier: MIT */
/* The beginning of a body as it is shown: what is shown once is shown the same when it is masked again, and of JSON it is
 * JSON. The first byte says whether it is a form. */
#include <stdlib.h>
#include "bridge/lib/jscan.h"
#include "bridge/lib/mem.h"
#include "connectors/http/excerpt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *names[] = { (char[]){ "a" } };
    const struct strings mask = { names, 1 };
    if (size == 0)
        return 0;
    struct str type = data[0] == 'f' ? STR("application/x-www-form-urlencoded") : STR("application/json");
    struct str text = { (const char *)data + 1, size - 1 };
    struct buf once = buf_new(8 * size + 64), twice = buf_new(8 * size + 64);
    excerpt_add(text, type, &mask, &once);
    excerpt_add(buf_str(&once), type, &mask, &twice);
    CHECK(!once.failed && str_eq(buf_str(&once), buf_str(&twice)));
    struct jscan_value value;
    if (once.n && data[0] != 'f' && jscan_check(text, &value, NULL))
        CHECK(jscan_check(buf_str(&once), &value, NULL));
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
