/* SPDX-License-Identifier: MIT */
/* HTTP Basic (RFC 7617): a user name and a password in the header Authorization of each request. */
#pragma once
#include "connectors/webhook/hide.h"

struct basic { /* options */
    char *username;
    struct secret password;
};

extern const struct option basic_rows[];

bool basic_is_used(const struct basic *b);
bool basic_check(const struct basic *b, struct err *e); /* true as well when it is not used */
/* The header line of what was checked, whose secrets are added to *h; basic_wipe() it. NULL: it is not used. */
char *basic_line(const struct basic *b, struct hidden *h);
void basic_wipe(char *line); /* accepts NULL */
