/* SPDX-License-Identifier: MIT */
/* Fills a connector's options from YAML, as the configuration does. */
#pragma once
#include <stdlib.h>
#include "bridge/config/config.h"
#include "tests/support/test.h"

/* What is wrong with the options, free() it; NULL: nothing. */
static inline char *options_problem(const struct option *rows, void *obj, const char *yaml)
{
    struct problems p = { 0 };
    bool good = config_fill("test.yaml", str_of(yaml), rows, obj, NULL, &p);
    char *text = good ? NULL : str_dup(str_of(p.count ? p.at[0].text : "?"));
    problems_free(&p);
    return text;
}

static inline void options_fill(const struct option *rows, void *obj, const char *yaml)
{
    char *text = options_problem(rows, obj, yaml);
    if (text)
        print_error("options: %s\n", text);
    assert_null(text);
}
