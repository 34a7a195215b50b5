/* SPDX-License-Identifier: MIT */
/* A body through a path's `map`: the events of the vocabulary that it becomes (bridge/map/map.h), by SQL over :body and
 * :headers.
 *
 *   choose     one row for the body, or, with `each`, for each element `r` of an array in it: its id, time and part, and
 *              which entries fit
 *   an entry   the data and attributes of an event, of one such row
 *   request    id and time of the body itself: of what is no CloudEvent and was not mapped
 *
 * All are prepared once. An event's id is the row's, or that of the request and the row's part, so that a request that is
 * sent again makes the same ids; the second entry that fits one row adds its type. One thread. */
#pragma once
#include "bridge/event/event.h"
#include "bridge/lib/metrics.h"
#include "bridge/map/map.h"
#include "bridge/map/tell.h"
#include "connectors/http/sandbox.h"

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
        OPTION_IN(T, in, id,                                                                                           \
                  .doc = "The sender's id, by which repeats are known: a template, {{body.event_id}}, or SQL, "        \
                         ":body->>'$.event_id'. Where it gives none, and by default: id_header."),                     \
        OPTION_IN(T, in, time,                                                                                         \
                  .doc = "The event's time (any usual format): a template, {{body.at}}, or SQL; default: when it "     \
                         "came.")

/* The path's own, or those of its preset. */
const struct mapping_rules *mapping_rules_of(const struct mapping_options *o);
bool mapping_check(const struct mapping_options *o, struct err *e);
bool mapping_is_asked(const struct mapping_options *o); /* is there anything to do with a body? */
bool mapping_has_map(const struct mapping_options *o);
/* The types of its events; with `content`, only of those that tell what people wrote as it is. */
void mapping_types(const struct mapping_options *o, bool content, void (*each)(void *ctx, const char *type), void *ctx);

struct mapping;
/* Of options that were checked; borrows both. NULL: nothing is asked. */
struct mapping *mapping_new(const struct mapping_options *o, struct sandbox *b, const char *source, const char *path);
void mapping_free(struct mapping *m); /* accepts NULL */
bool mapping_has_id(const struct mapping *m);

struct mapping_call {
    struct str body; /* JSON that was checked */
    const struct header *headers;
    size_t header_count;
    const struct verify_options *verify; /* SQL is not shown the headers that prove who the sender is; or NULL */
    /* What its events are like: source, time, extensions (a trace), and the id where the body has none. */
    struct event like;
    const struct event **out;
    size_t room;
    bool by_like;    /* out: some event has the id of `like` */
    bool by_headers; /* out: of the id; or of anything: */
    bool of_headers;
};
/* Returns how many events the body has become; 0: no entry fits, or there is no map; -1: it cannot be mapped, and *e says
 * why. Either way like.id and like.time are then those of the body, as far as it has them, until the next call. */
int mapping_events(struct mapping *m, struct mapping_call *c, struct err *e);

enum mapping_miss { MISS_OTHER = 1, MISS_FAILED, MISS_NOT_JSON, MISS_COUNT };
/* Counts the body, and says of one that failed and is stored why (some lines a second). What becomes of it? */
enum unmapped mapping_miss(struct mapping *m, enum mapping_miss why, const char *text);
