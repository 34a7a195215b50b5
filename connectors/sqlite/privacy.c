/* SPDX-License-Identifier: MIT */
/* How much of what people wrote, and of who they are, a source tells: is it what the options say, for every rule? */
#include "bridge/map/map.h"
#include "connectors/sqlite/sqlite.h"

bool privacy_check(const struct sqlite_source *s, struct err *e)
{
    if (!tell_check(&s->telling, e))
        return false;
    if (s->raw == RAW_ROW && s->telling.personal != TELL_FULL)
        return err_set(e,
                       "raw: row tells who people are in the application's own columns; it does not go with personal: "
                       "hash or none");
    return true;
}

/* Does the rule name what people wrote? */
static bool privacy_reads_content(const struct rule_options *o)
{
    const struct map_options *m = o->map.at;
    for (size_t k = 0; k <= o->map.count; k++) {
        const struct map *data = k ? &m[k - 1].data : &o->data;
        for (size_t i = 0; i < data->count; i++) {
            const struct vocabulary_path *path = vocabulary_path(str_of(data->at[i].key));
            if (path && path->content)
                return true;
        }
    }
    return false;
}

bool privacy_check_rule(const struct sqlite_source *s, const struct rule_options *o, struct err *e)
{
    if (!o->map.count)
        return tell_is_full(&s->telling)
               || err_set(e,
                          "columns: a rule without map tells columns as they are; with content or personal other than "
                          "full, rules need `map`");
    if (!s->app_name)
        return err_set(e, "map: the source's `app` is missing: what events call the application (app.name)");
    if (s->raw == RAW_ROW && s->telling.content != TELL_FULL && !o->content_columns.count && privacy_reads_content(o))
        return err_set(e, "content_columns: is missing: the columns that raw must not tell, as content is not full");
    return true;
}

void privacy_open(struct sqlite_source *s)
{
    s->hmac = tell_key(&s->telling);
}

void privacy_close(struct sqlite_source *s)
{
    hmac_free(s->hmac);
    s->hmac = NULL;
}
