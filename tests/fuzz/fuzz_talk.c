/* SPDX-License-Identifier: MIT */
/* What is said in aqueduct.v1+json: whatever it is, it is an error with a text, or an op whose subscription is an error with a
 * text, or has a key. */
#include <stdlib.h>
#include "bridge/lib/mem.h"
#include "connectors/websocket/subscription.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *names[] = { (char[]){ "a" }, (char[]){ "b" } };
    const struct strings topics = { names, 2 };
    struct op o;
    struct subscription s;
    struct err e = { "" };
    struct jscan_value id;
    enum code code = op_parse((struct str){ (const char *)data, n }, &o, &e);
    CHECK((code != 0) == (e.text[0] != '\0'));
    CHECK(!o.asked.id[0] || jscan_check(str_of(o.asked.id), &id, NULL));
    if (code || o.kind != OP_SUB)
        return 0;
    code = subscription_of_op(&s, &o, "\"x\"", &topics, &e);
    CHECK(code ? e.text[0] != '\0' : s.key && *s.key);
    if (!code)
        subscription_free(&s);
    return 0;
}
