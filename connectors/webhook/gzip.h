/* SPDX-License-Identifier: MIT */
/* Bodies as gzip. One stream of zlib's, which is large, serves all requests of a sink. One thread. */
#pragma once
#include "bridge/lib/buf.h"

enum { GZIP_LEAST = 1024 }; /* bytes; shorter bodies gain nothing */

struct gzip; /* made with the first body */

/* Fills *out with the gzip of the body. *g may be NULL; free it with gzip_free. */
void gzip_body(struct gzip **g, struct str body, struct buf *out);
void gzip_free(struct gzip *g); /* accepts NULL */
