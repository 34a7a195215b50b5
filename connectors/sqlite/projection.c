/* SPDX-License-Identifier: MIT */
/* Projections, made and freed. */
#include "connectors/sqlite/projection.h"
#include <stdlib.h>
#include "bridge/lib/mem.h"

struct projection *projection_new(const struct rule_options *o)
{
    struct projection *all = mem_alloc(o->map.count * sizeof *all);
    for (size_t i = 0; i < o->map.count; i++) {
        map_outline(&o->data, o->map, i, &all[i].of);
        all[i].fits = mem_alloc(all[i].of.count * sizeof *all[i].fits);
        all[i].cells = mem_alloc(all[i].of.count * sizeof *all[i].cells);
        all[i].before = mem_alloc(all[i].of.count * sizeof *all[i].before);
    }
    return all;
}

void projection_drop(struct projection *p, size_t count, bool schema)
{
    for (size_t i = 0; p && i < count; i++)
        for (int view = 0; view < VIEWS; view++) {
            sqlite3_finalize(p[i].stmt[view]);
            p[i].stmt[view] = NULL;
            if (schema)
                p[i].probed[view] = p[i].reads_known = false;
        }
}

void projection_free(struct projection *p, size_t count)
{
    projection_drop(p, count, false);
    for (size_t i = 0; p && i < count; i++) {
        map_end(&p[i].of);
        free(p[i].fits);
        free(p[i].cells);
        free(p[i].before);
    }
    free(p);
}
