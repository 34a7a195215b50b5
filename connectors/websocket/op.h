/* SPDX-License-Identifier: MIT */
/* What a client says in the subprotocols aqueduct.v1+json and +cbor: one JSON object a message,
 * {"op":"sub","id":2,...}, or the same in CBOR (bridge/lib/cbor.h).
 *
 *   hello    id?, token?                                          welcome
 *   sub      id?, sub, topics?, type?, subject?, source?, filter?, from?, slow?, by?,
 *            name?, window?                                       ok, or err
 *   unsub    id?, sub                                             ok: nothing more of it follows
 *   ack      id?, sub, pos                                        ok when its name stands there durably
 *   pub      id?, event                                           ok when it is stored
 *   refresh  id?, token                                           ok
 *   ping     id?                                                  ok
 *
 * Whatever the message is, it is answered, and never a reason to close. An op points into the message. */
#pragma once
#include "bridge/lib/jscan.h"
#include "connectors/websocket/protocol.h"

enum op_kind { OP_HELLO = 1, OP_SUB, OP_UNSUB, OP_ACK, OP_PUB, OP_REFRESH, OP_PING };
enum { OP_MEMBERS = 16, OP_NAME = 64 };

struct op {
    enum op_kind kind;
    struct asked asked;
    struct jscan_member members[OP_MEMBERS];
    size_t count;
};

/* 0; or what is wrong, with *e: out->asked is set as far as it can be read. */
enum code op_parse(struct str json, struct op *out, struct err *e);
/* NULL: there is none. */
const struct jscan_value *op_member(const struct op *o, const char *name);
/* The whole number of a member in *out, which is left alone if there is none. False with *e: it is none, or not from `least` to
 * `most`. */
bool op_number(const struct op *o, const char *name, int64_t least, int64_t most, int64_t *out, struct err *e);
/* Appends the text of a member. False with *e: it is missing, none, empty, or longer than `most`. */
bool op_text(const struct op *o, const char *name, size_t most, struct buf *out, struct err *e);
