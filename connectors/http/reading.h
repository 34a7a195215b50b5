/* SPDX-License-Identifier: MIT */
/* How the body of a request is read: as data to wrap, as CloudEvents in JSON, or as the data of a CloudEvent in headers.
 *
 * Where the scheme vouches for the whole request, its Content-Type decides. Where a signature covers the body alone,
 * whoever saw a request can send it again under another Content-Type; so there the configuration decides, once for all
 * requests of the path, and what does not fit is refused: one signed body is one event. Any thread. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"
#include "connectors/http/path_options.h"

enum reading { /* no zero on purpose */
               READING_DATA = 1,
               READING_EVENT,
               READING_BATCH,
               READING_HEADERS,
};

struct reader {              /* of one path */
    enum cloudevents takes;  /* never BY_SCHEME */
    bool fixed;              /* the Content-Type is nobody's word */
    bool unasked;            /* the user did not say what it takes */
    struct str content_type; /* of data; absent: what the request says */
    enum form_rule form;     /* never BY_SCHEME */
    const char *scheme;
};

/* Do the options go together? */
bool reader_check(const struct path_options *o, struct err *e);
/* False with *e: they go together, and take less than was probably meant. */
bool reader_is_sure(const struct path_options *o, struct err *e);
void reader_open(struct reader *d, const struct path_options *o); /* borrows o's texts */
/* How to read it, and its data's content type (absent: none). False: *status and *e are what the sender should know. */
bool reader_read(const struct reader *d, const struct http_request *r, enum reading *how, struct str *content_type,
                 int *status, struct err *e);
/* How it would be read; 0: not at all. */
enum reading reader_reading(const struct reader *d, const struct http_request *r);
/* May a body of that type come compressed? Where the content type is nobody's word, Content-Encoding is none, either: only
 * what is JSON once it is unpacked can be nothing else while it is packed. */
bool reader_unpacks(const struct reader *d, struct str content_type);
/* Makes JSON (in `out`) of data that is a form, where the path says so; JSON that is called a form stays, as JSON, where the
 * sender is trusted with the content type. False with *e. */
bool reader_unform(const struct reader *d, struct str *content_type, struct str *body, struct buf *out, struct err *e);
