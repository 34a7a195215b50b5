/* SPDX-License-Identifier: MIT */
/* The grammar of URIs (RFC 3986): is this one, or a reference to one? */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/str.h"

bool uri_is_reference(struct str s); /* "https://a/b?c", "urn:x:y", "/a/b", "../b", "" */
bool uri_is_absolute(struct str s);  /* with a scheme; a fragment may follow */
/* A reference as it is compared (RFC 3986, 6.2.2.1 and 6.2.2.2): scheme and host in lower case, %73 as s, other %XX in
 * capitals; dots are left. Writes at most s.n bytes; returns what it wrote. */
struct str uri_normal(struct str s, char *out);
/* Appends the text; of each URL in it what may be a token becomes ***: long parts of the path, and values of the query. */
void uri_veil(struct str text, struct buf *out);
