/* SPDX-License-Identifier: MIT */
/* ${VAR}, ${VAR:-default}, ${file:/path} and $${ (a literal ${) in a text. No value ever gets into an error. Any thread, as
 * long as nobody changes the environment. */
#pragma once
#include "bridge/lib/buf.h"
#include "bridge/lib/err.h"

enum { EXPAND_FILE_BYTES = 64 << 10 }; /* longest ${file:...} */

/* Appends what `in` says once expanded to out; false with *e when a part cannot be. *exposed is set when a file in it is
 * not fit for a secret (file_check_secret). */
bool expand_text(struct str in, struct buf *out, struct err *exposed, struct err *e);
bool expand_is_variable(struct str s); /* may it be the name of an environment variable? */
/* Cuts `*rest` behind its first ${file:...}, whose path is *path; false: there is none. */
bool expand_next_file(struct str *rest, struct str *path);
