/* SPDX-License-Identifier: MIT */
/* One receiver of the webhook sink: its options, what follows from them, and how many requests it gets at the same time. */
#pragma once
#include "connectors/webhook/transfer.h"

enum { ENDPOINT_CLASSES = 6 }; /* of answers: none, 1xx .. 5xx (whatever is above counts as 5xx) */

struct webhook_endpoint {
    struct endpoint base;
    char *url;
    struct secrets secrets;
    bool unsigned_;
    enum body_mode body;
    char *content_type;
    struct duration timeout, connect_timeout;
    int64_t concurrency;
    struct map headers;
    char *ca_file;

    struct request_template template;
    struct transfer_target target;
    struct metric *answers[ENDPOINT_CLASSES];
};

extern const struct option endpoint_rows[];

bool endpoint_check(const struct sink *s, const struct endpoint *ep, struct err *e);
/* The sink's own half of open and close is webhook.c's. */
bool endpoint_open(const struct sink *s, struct webhook_endpoint *ep, struct multi *m, struct err *e);
void endpoint_close(struct webhook_endpoint *ep);
/* Counts the end of an attempt. */
void endpoint_ended(struct webhook_endpoint *ep, const struct result *r);
