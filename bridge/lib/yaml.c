/* SPDX-License-Identifier: MIT */
/* Texts as YAML has them. */
#include "bridge/lib/yaml.h"
#include <ctype.h>
#include "bridge/lib/jscan.h"

void yaml_add_text(struct buf *out, const char *text)
{
    static const char *const reserved[] = { "y", "n", "yes", "no", "on", "off", "true", "false", "null" };
    bool plain = *text != '\0' && !isdigit((unsigned char)*text);
    for (const char *c = text; *c; c++)
        plain = plain && (isalnum((unsigned char)*c) || *c == '_');
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        plain = plain && !str_eq_nocase(str_of(text), str_of(reserved[i]));
    if (plain) {
        buf_add_c(out, text);
        return;
    }
    struct buf escaped = buf_new(64 << 10);
    for (const char *c = text; *c; c++) {
        if (c[0] == '$' && c[1] == '{')
            buf_add_char(&escaped, '$');
        buf_add_char(&escaped, *c);
    }
    jscan_add_string(out, buf_str(&escaped));
    out->failed = out->failed || escaped.failed;
    buf_free(&escaped);
}
