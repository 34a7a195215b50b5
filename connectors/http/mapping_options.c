/* SPDX-License-Identifier: MIT */
/* The rows of a map's options, and what follows from them. */
#include "connectors/http/mapping_options.h"
#include <stdlib.h>
#include "bridge/event/template.h"
#include "bridge/lib/mem.h"

const struct option mapping_entry_rows[] = {
    MAP_ROWS("SQL condition: only these bodies, or elements of `each`: :body->>'$.type' = 'response.completed'.",
             "Paths and SQL besides those of the path's `data`, or instead of one of the same path."),
    { 0 },
};

const struct option mapping_preset_rows[] = {
    OPTION(struct mapping_preset, about, .doc = "One sentence about the preset."),
    OPTION(struct mapping_preset, app, .doc = "What events call the application: app.name."),
    OPTION(struct mapping_preset, type, .doc = "As in a path: the type of bodies that no entry of `map` fits."),
    OPTION(struct mapping_preset, subject, .doc = "As in a path: the subject of such bodies."),
    MAPPING_RULE_ROWS(struct mapping_preset, rules),
    { 0 },
};

const struct option_value mapping_unmapped[] = {
    { UNMAPPED_STORE, "store" }, { UNMAPPED_DROP, "drop" }, { UNMAPPED_REFUSE, "refuse" }, { 0 }
};

const struct option_value mapping_raws[] = { { MAPPING_RAW_NONE, "none" }, { MAPPING_RAW_BODY, "body" }, { 0 } };

const struct mapping_rules *mapping_rules_of(const struct mapping_options *o)
{
    const struct mapping_preset *preset = o->preset.content;
    return preset ? &preset->rules : &o->rules;
}

const char *mapping_app(const struct mapping_options *o)
{
    const struct mapping_preset *preset = o->preset.content;
    return o->telling.app && *o->telling.app ? o->telling.app : preset ? preset->app : NULL;
}

bool mapping_is_sql(const char *s)
{
    return mapping_is_set(s) && !template_has_expressions(str_of(s));
}

bool mapping_has_map(const struct mapping_options *o)
{
    return mapping_rules_of(o)->map.count > 0;
}

bool mapping_is_asked(const struct mapping_options *o)
{
    const struct mapping_rules *r = mapping_rules_of(o);
    return r->map.count || mapping_is_sql(r->id) || mapping_is_sql(r->time);
}

void mapping_types(const struct mapping_options *o, bool content, void (*each)(void *ctx, const char *type), void *ctx)
{
    const struct mapping_rules *r = mapping_rules_of(o);
    const struct map_options *m = r->map.at;
    for (size_t i = 0; i < r->map.count; i++) {
        if (content && (o->telling.content != TELL_FULL || !map_tells_content(&r->data, &m[i])))
            continue;
        char *type = str_join(o->telling.type_prefix ? o->telling.type_prefix : "", m[i].type, "");
        each(ctx, type);
        free(type);
    }
}
