/* SPDX-License-Identifier: MIT */
/* Where requests go, and what all that go there share. */
#pragma once
#include "connectors/webhook/answer.h"
#include "connectors/webhook/gzip.h"
#include "connectors/webhook/hide.h"
#include "connectors/webhook/multi.h"
#include "connectors/webhook/direct.h"
#include "bridge/net/transport.h"

enum transfer_method { METHOD_POST, METHOD_PUT, METHOD_PATCH, METHOD_DELETE, METHOD_OPTIONS };

/* Fixed once it is open. */
struct transfer_target {
    struct multi *multi;
    CURLU *url;
    char *host;  /* of the URL, for messages */
    char *start; /* of a request without libcurl (direct.h), if that is spoken: its first line and Host */
    struct transport transport;
    enum transfer_method method;
    struct duration timeout, connect_timeout;
    struct hidden hidden; /* what no answer may show */
    struct answer_rules rules;
    struct direct *direct;             /* the sink's; NULL: requests go by libcurl */
    struct direct_owner connections;   /* kept there */
    struct gzip **gzip;                /* the sink's; NULL: bodies are sent as they are */
    const struct address_rules *guard; /* NULL: its host may be at any address */
};

/* Takes url, host and transport.tls from the text of an option. The error must not hold the URL: it may contain a token. */
bool target_set_url(struct transfer_target *to, const char *option, const char *text, struct err *e);
const char *target_method(const struct transfer_target *to);
/* Has requests go by `direct` if nothing but HTTP/1.1 is to be spoken there, with or without TLS; the method is known. */
void target_set_direct(struct transfer_target *to, struct direct *direct);
void target_free_url(struct transfer_target *to);
/* Is the URL's host itself an address that is blocked? For a name, the address is judged when it is known. */
bool target_check_address(const struct transfer_target *to, const char *option, const struct address_rules *rules,
                          struct err *e);
/* Has the addresses judged by these rules, which are the sink's, unless they let the host be anywhere. */
void target_set_guard(struct transfer_target *to, const struct address_rules *rules);
