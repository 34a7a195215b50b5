/* SPDX-License-Identifier: MIT */
/* Tokens by a login: user name and password are posted as JSON, and the answer has the token. Where, in which form and
 * which member has it is for the file of a receiver to say (schemas/receivers); the user says the name and the password. */
#pragma once
#include "connectors/webhook/grant.h"
#include "connectors/webhook/target.h"

struct login { /* options */
    char *url;
    struct tree body;
    char *token;
    struct strings success;
};

extern const struct option login_rows[];

struct login_user { /* of a receiver whose URL is known */
    const struct transfer_target *receiver;
    const char *name, *password; /* NULL or "": not given */
};

bool login_is_used(const struct login_user *user); /* a token is wanted */
/* Are the options fit, whether there is a user or not? */
bool login_check(const struct login *l, const struct login_user *user, const struct address_rules *rules,
                 struct err *e);
void login_grant(const struct login *l, const struct login_user *user, struct grant *g); /* of what was checked */
