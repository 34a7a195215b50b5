/* SPDX-License-Identifier: MIT */
/* A file of tokens, each with whose it is and what that one may do. A line is one of them; what begins with # is none:
 *
 *   # role   name    token
 *   viewer   board   7Qm2kzv0Xw4r5n1pLd8sGg
 *   operator anna    hZ3tq9yB6uK0cVe2WfJxMA
 *
 *   token_file_open -> token_file_turn now and then, token_file_match per request -> token_file_close
 *
 * It follows the file: what that says by now is taken without a restart, and what is wrong with it is said in the log, while
 * what was read before stays. All users of the machine may not be able to read it. It keeps no token (token.h). One thread. */
#pragma once
#include "bridge/lib/err.h"
#include "bridge/lib/str.h"

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR };
const char *role_name(enum role role); /* "viewer"; "none" */

enum { TOKEN_FILE_NAME = 65 }; /* room for a name: up to 64 letters, digits and ._@- */
struct token_owner {
    enum role role;
    char name[TOKEN_FILE_NAME];
};

struct token_file;
struct token_file *token_file_open(const char *path, struct err *e); /* NULL with *e: the file, and its line */
void token_file_close(struct token_file *f);                         /* accepts NULL */
/* True: the file has changed and was read again, so that what an earlier one let in may be over. */
bool token_file_turn(struct token_file *f);
/* Whose token it is, borrowed until the next turn; NULL: nobody's. In constant time, as tokens_match. */
const struct token_owner *token_file_match(struct token_file *f, struct str token);
/* Does somebody of that name with that role still stand in it? */
bool token_file_has(const struct token_file *f, const struct token_owner *who);
