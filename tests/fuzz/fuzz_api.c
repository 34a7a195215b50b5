/* SPDX-License-Identifier: MIT */
/* Whatever is asked of the JSON API: "<row><query>\n<body>". A query and a body are refused, or are what their row says; a part
 * of a path is text. */
#include <stdint.h>
#include <string.h>
#include "bridge/admin/api.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/query.h"

static bool nothing_else(void *ctx, struct str name)
{
    (void)ctx;
    (void)name;
    return false;
}

/* The n-th of all rows, in a circle. */
static const struct api_row *row_at(size_t n)
{
    for (;;)
        for (const struct api_row *const *table = api_tables; *table; table++)
            for (const struct api_row *row = *table; row->method; row++)
                if (n-- == 0)
                    return row;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str rest = { (const char *)data, n }, query = STR("");
    struct err e;
    if (n == 0)
        return 0;
    const struct api_row *row = row_at(data[0]);
    rest = str_from(rest, 1);
    str_cut(&rest, '\n', &query);
    json_t *asked = shape_query(row->query, query, nothing_else, NULL, &e);
    CHECK(!asked || !row->query || shape_check(row->query, asked, &e));
    json_decref(asked);
    struct buf part = buf_new(1024);
    if (path_decode(query, &part))
        CHECK(str_is_utf8(buf_str(&part)) && !memchr(part.n ? part.at : "-", '\0', part.n ? part.n : 1));
    buf_free(&part);
    json_t *body = rest.at ? json_loadb(rest.at, rest.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (body && row->body && shape_check(row->body, body, &e))
        CHECK(json_is_object(body));
    json_decref(body);
    return 0;
}
