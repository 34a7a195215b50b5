/* SPDX-License-Identifier: MIT */
/* Flags become the conditions of a filter. */
#include "bridge/cli/conditions.h"
#include "bridge/config/config.h"

void conditions_add_attribute(json_t *conditions, const char *name, struct str value)
{
    bool prefix = value.n && value.at[value.n - 1] == '*';
    size_t n = prefix ? value.n - 1 : value.n;
    if (value.at && !(prefix && n == 0))
        json_array_append_new(conditions, json_pack("{s:{s:s%}}", prefix ? "prefix" : "exact", name, value.at, n));
}

bool conditions_add_filter(json_t *conditions, struct str text, struct err *e)
{
    json_t *json = text.at ? config_json(text, e) : NULL;
    if (text.at && !json)
        return err_prefix(e, "--filter");
    if (json_is_array(json))
        json_array_extend(conditions, json);
    else if (json)
        json_array_append(conditions, json);
    json_decref(json);
    return true;
}
