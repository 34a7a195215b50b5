/* SPDX-License-Identifier: MIT */
/* What a path or a preset says of its map, as the user wrote it, and what follows from that alone. Any thread. */
#pragma once
#include "bridge/map/map.h"
#include "bridge/map/tell.h"

/* What becomes of a body that no entry fits. */
enum unmapped {
    UNMAPPED_STORE = 1, /* it is stored as it came */
    UNMAPPED_DROP,      /* the sender hears 2xx, and nothing is stored */
    UNMAPPED_REFUSE,
};

/* What the events have beside what is mapped. */
enum mapping_raw { MAPPING_RAW_NONE, MAPPING_RAW_BODY };

struct mapping_rules { /* of a path, or of a preset */
    char *each, *part, *id, *time;
    struct map data;
    struct list map; /* of struct map_options */
};

struct mapping_options {
    struct preset preset; /* of struct mapping_preset */
    struct mapping_rules rules;
    struct telling telling;
    enum unmapped unmapped;
    enum mapping_raw raw;
    struct strings mask;
};
struct mapping_preset {
    char *about, *app;
    char *type, *subject; /* of bodies that are not mapped */
    struct mapping_rules rules;
};
extern const struct option mapping_entry_rows[], mapping_preset_rows[];
extern const struct option_value mapping_unmapped[], mapping_raws[];

/* Option rows of struct mapping_rules, the member `in` of T. */
#define MAPPING_RULE_ROWS(T, in)                                                                                       \
    OPTION_IN(T, in, map, .of = mapping_entry_rows, .of_size = sizeof(struct map_options), .max = MAP_ENTRIES,         \
              .doc = "Events of the vocabulary that a body in JSON becomes: each entry that fits gives one."),         \
        OPTION_IN(T, in, data,                                                                                         \
                  .doc = "With `map`: the path of each value of the events' data and the SQL that gives it, over "     \
                         ":body and :headers (JSON texts; names of headers in small letters): output.text: "           \
                         ":body->>'$.answer'. The vocabulary says the form; what is NULL or \"\" is left out, and "    \
                         "what has no place in a type."),                                                              \
        OPTION_IN(T, in, each,                                                                                         \
                  .doc = "With `map`: JSON path of an array in the body, such as $.runs: its elements are mapped, "    \
                         "each for itself, as `r`: r.value->>'$.id'. All of their events are stored before the "       \
                         "sender hears 2xx."),                                                                         \
        OPTION_IN(T, in, part,                                                                                         \
                  .doc = "With `each`: SQL that tells the elements of a body apart; stands behind the id. Default: "   \
                         "the element's place (r.key), and nothing where `id` is of the element."),                    \
        OPTION_IN(                                                                                                     \
            T, in, id,                                                                                                 \
            .doc = "The sender's id, by which repeats are known: a template, {{body.event_id}}, or SQL, "              \
                   ":body->>'$.event_id'. Where it gives none, and by default: id_header. Without `id`, and where no " \
                   "header has one, a text event_id of the body is the id, together with the body."),                  \
        OPTION_IN(T, in, time,                                                                                         \
                  .doc = "The event's time (any usual format): a template, {{body.at}}, or SQL; default: when it "     \
                         "came.")

/* The path's own, or those of its preset. */
const struct mapping_rules *mapping_rules_of(const struct mapping_options *o);
bool mapping_is_asked(const struct mapping_options *o); /* is there anything to do with a body? */
bool mapping_has_map(const struct mapping_options *o);
/* The types of its events; with `content`, only of those that tell what people wrote as it is. */
void mapping_types(const struct mapping_options *o, bool content, void (*each)(void *ctx, const char *type), void *ctx);
const char *mapping_app(const struct mapping_options *o); /* what events call the application; NULL: nothing is said */

static inline bool mapping_is_set(const char *s)
{
    return s && *s;
}

bool mapping_is_sql(const char *s); /* an id or a time by SQL; by a template it is given in `like` */
