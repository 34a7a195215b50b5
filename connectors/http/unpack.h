/* SPDX-License-Identifier: MIT */
/* Compressed bodies: gzip (one member or several) and deflate (zlib's format, as RFC 9110 8.4.1 means it), unpacked in memory
 * that is bounded whatever comes: the text by a length and by a multiple of what it was packed in. One thread. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"

struct unpacker;

struct unpacker *unpacker_new(void);
void unpacker_free(struct unpacker *u); /* accepts NULL */
/* Can a body with this Content-Encoding be unpacked? */
bool unpack_knows(struct str encoding);
/* Does it begin like one that can be, and is it no text? */
bool unpack_looks_packed(struct str body);
/* 0 with *text, good until the next call; else the status to refuse with, and *e. `raw`: deflate may also be without the head
 * of zlib's format (RFC 1951), which nothing tells from other bytes. */
int unpack(struct unpacker *u, struct str encoding, struct str packed, bool raw, size_t most, struct str *text,
           struct err *e);
