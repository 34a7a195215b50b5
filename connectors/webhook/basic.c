/* SPDX-License-Identifier: MIT */
/* User name and password as a header. */
#include "connectors/webhook/basic.h"
#include <stdlib.h>
#include "bridge/lib/crypto.h"
#include "bridge/lib/mem.h"

#define BASIC_LINE "Authorization: Basic "

enum { BASIC_MOST = 1024 }; /* characters of either */

const struct option basic_rows[] = { OPTION(struct basic, username, .doc = "User name, without a colon; may be \"\"."),
                                     OPTION(struct basic, password, .doc = "Password of that user."),
                                     { 0 } };

bool basic_is_used(const struct basic *b)
{
    return b->username || b->password.text;
}

static bool basic_check_text(const char *text, const char *name, struct err *e)
{
    if (!text)
        return err_set(e, "basic.%s: is missing", name);
    if (strlen(text) > BASIC_MOST)
        return err_set(e, "basic.%s: is longer than %d characters", name, BASIC_MOST);
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            return err_set(e, "basic.%s: has a control character", name);
    return true;
}

bool basic_check(const struct basic *b, struct err *e)
{
    if (!basic_is_used(b))
        return true;
    if (!basic_check_text(b->username, "username", e) || !basic_check_text(b->password.text, "password", e))
        return false;
    return !strchr(b->username, ':') || err_set(e, "basic.username: has a colon, which ends it in the header");
}

char *basic_line(const struct basic *b, struct hidden *h)
{
    if (!basic_is_used(b))
        return NULL;
    struct buf pair = buf_new(2 * BASIC_MOST + 2), line = buf_new(4 * BASIC_MOST);
    buf_printf(&pair, "%s:%s", b->username, b->password.text);
    buf_add_c(&line, BASIC_LINE);
    base64_add(&line, buf_str(&pair));
    char *text = str_dup(buf_str(&line));
    hide_word(h, b->password.text);
    hide_word(h, text + strlen(BASIC_LINE));
    crypto_wipe_buf(&pair);
    crypto_wipe_buf(&line);
    return text;
}

void basic_wipe(char *line)
{
    if (line)
        crypto_wipe(line, strlen(line));
    free(line);
}
