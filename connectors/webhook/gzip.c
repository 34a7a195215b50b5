/* SPDX-License-Identifier: MIT */
/* Compresses bodies. */
#include "connectors/webhook/gzip.h"

#include <stdlib.h>
#include <zlib.h>
#include "bridge/lib/mem.h"

enum { GZIP_WINDOW = 15 + 16, GZIP_MEMORY = 8 }; /* zlib's defaults; + 16: with gzip's header */

struct gzip {
    z_stream z;
};

void gzip_body(struct gzip **g, struct str body, struct buf *out)
{
    if (!*g) {
        *g = mem_alloc(sizeof **g);
        CHECK(deflateInit2(&(*g)->z, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY) == Z_OK);
    }
    z_stream *z = &(*g)->z;
    buf_reset(out);
    size_t most = deflateBound(z, body.n);
    out->max = most;
    CHECK(body.n <= UINT32_MAX && most <= UINT32_MAX && buf_room(out, most));
    z->next_in = (unsigned char *)(uintptr_t)body.at;
    z->avail_in = (unsigned)body.n;
    z->next_out = (unsigned char *)out->at;
    z->avail_out = (unsigned)most;
    CHECK(deflate(z, Z_FINISH) == Z_STREAM_END);
    out->n = z->total_out;
    CHECK(deflateReset(z) == Z_OK);
}

void gzip_free(struct gzip *g)
{
    if (g)
        deflateEnd(&g->z);
    free(g);
}
