/* SPDX-License-Identifier: MIT */
/* What signatures over a URL and a form (Twilio's) are made of. Any thread. */
#pragma once
#include "bridge/lib/buf.h"

/* Appends what of the body is signed beside the URL: of a form its fields by name and value, each name and its value, with
 * nothing between them; nothing of a body whose SHA-256 stands in the query as bodySHA256. False: the body has another
 * one, or more fields than anybody sends. */
bool fields_add(struct str query, struct str body, struct buf *out);
/* Appends the same URL with the port that its scheme has when none is said, or without the one that it says: senders do not
 * agree which of the two they sign. */
void fields_add_other_port(struct str url, struct buf *out);
