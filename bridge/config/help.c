/* SPDX-License-Identifier: MIT */
/* The option rows as text for people: `aqueduct help <name>`. */
#include "bridge/config/help_pages.h"
#include "bridge/config/help_preset.h"
#include "bridge/config/preset.h"
#include "bridge/config/private.h"
#include "bridge/lib/buf.h"
#include "bridge/lib/wrap.h"
#include "bridge/verify/about.h"
#include "bridge/verify/table.h"

enum { NAMES = 512, HELP_HEAD = 8192 };

static const char places_help[] =
    "\n"
    "${VAR}, ${VAR:-default} and ${file:/path} work in every value; $${ is a literal ${. A default is plain\n"
    "text, in which nothing is expanded; a secret that is a placeholder or a variable nobody replaced is refused.\n"
    "Durations: 250ms 30s 5m 2h 7d. Sizes: 500B 64KiB 1MiB 2GiB. Keys at the top that begin with x- are yours (for anchors).\n";

static const struct section {
    const char *name, *doc;
    const struct option *rows; /* NULL: an OPT_GROUP row of config_options of that name */
} sections[] = {
    { "broker", "The section `broker:`. ", NULL },
    { "topics", "An entry of `topics:` (a mapping by topic name). Topics that are not listed get the defaults.",
      topic_options },
    { "source", "What every entry of `sources:` (a mapping by name) takes, besides `type` and the options of its type.",
      source_options },
    { "sink", "What every entry of `sinks:` (a mapping by name) takes, besides `type` and the options of its type.",
      sink_options },
    { "routes", "An entry of the list `routes:`. The first route that matches takes the event.", route_options },
    { "admin", "The section `admin:`. ", NULL },
    { "log", "The section `log:`. ", NULL },
    { "traces", "The section `traces:`. ", NULL },
};
enum { SECTIONS = sizeof sections / sizeof sections[0] };

static const char *help_type(const struct option *row)
{
    switch (row->type) {
    case OPT_BOOL: return "true or false";
    case OPT_INT: return "whole number";
    case OPT_REAL: return "number";
    case OPT_STR: return "text";
    case OPT_ENUM: return "one of";
    case OPT_SECRET: return "secret";
    case OPT_DURATION: return "duration";
    case OPT_MOMENT: return "date or moment";
    case OPT_BYTES: return "size";
    case OPT_STRINGS: return "list of texts";
    case OPT_SECRETS: return "list of secrets";
    case OPT_DURATIONS: return "list of durations";
    case OPT_MAP: return "mapping of texts";
    case OPT_PRESET: return "name of a preset, or its file";
    case OPT_TREE: return row->values ? "template (aqueduct help template), or one of" : "mapping";
    case OPT_DEFAULTS: return "name of a receiver, or its file";
    case OPT_FILTER: return "filter (aqueduct help filter)";
    case OPT_LIST: return "list of mappings";
    case OPT_GROUP: return "mapping";
    }
    return "";
}

static bool help_has_length(const struct option *row)
{
    return row->type == OPT_STRINGS || row->type == OPT_SECRETS || row->type == OPT_DURATIONS || row->type == OPT_LIST;
}

static void help_print_row(const char *above, const struct option *row, FILE *out)
{
    char range[RANGE_TEXT];
    struct buf head = buf_new(HELP_HEAD);
    int used = fprintf(out, "\n  %s%s  ", above, row->key) - 1;
    buf_printf(&head, "(%s", help_type(row));
    for (const struct option_value *v = row->values; v && v->text; v++)
        buf_printf(&head, "%s%s", v == row->values ? " " : ", ", v->text);
    if (row->min || row->max)
        buf_printf(&head, ", %s%s", value_range(row, range), help_has_length(row) ? " entries" : "");
    for (const struct option_word *w = row->words; w && w->text; w++)
        buf_printf(&head, ", or %s", w->text);
    buf_add_c(&head, row->required ? ", required" : "");
    buf_add_c(&head, row->own ? ", own" : "");
    if (row->fallback)
        buf_printf(&head, ", default %s", *row->fallback ? row->fallback : "\"\"");
    buf_add_c(&head, ")");
    wrap_print_behind(buf_c(&head), used, DOC_INDENT, out);
    buf_free(&head);
    wrap_print(row->doc ? row->doc : "", DOC_INDENT, out);
}

static void help_print_rows(const char *above, const struct option *rows, FILE *out);

/* The row, and the rows below it. */
static void help_print_whole_row(const char *above, const struct option *row, FILE *out)
{
    help_print_row(above, row, out);
    if (!row->of || row->type == OPT_PRESET || row->folded)
        return;
    struct buf below = buf_new(512);
    buf_printf(&below, "%s%s%s.", above, row->key, row->type == OPT_GROUP ? "" : "[]");
    help_print_rows(buf_c(&below), row->of, out);
    buf_free(&below);
}

static void help_print_rows(const char *above, const struct option *rows, FILE *out)
{
    for (const struct option *row = rows; row->key; row++)
        help_print_whole_row(above, row, out);
}

/* The types of a kind of connector, when the section is about one. */
static void help_print_types(const struct connectors *connectors, const char *section, FILE *out)
{
    struct connector_type t;
    for (size_t k = 0; k < CONNECTOR_KINDS; k++) {
        if (strcmp(connector_kinds[k].name, section) != 0)
            continue;
        fputs("\nTypes (aqueduct help NAME):\n", out);
        for (size_t i = 0; connector_kinds[k].type(connectors, i, &t); i++)
            wrap_print_behind(t.doc, fprintf(out, "  %-12s ", t.type), 15, out);
    }
}

/* A section by its name, also as it is written in the file (`sources`) or of one entry (`topic`). */
static bool help_is_section(const struct section *s, const char *name)
{
    size_t n = strlen(s->name), m = strlen(name);
    bool more = m == n + 1 && name[n] == 's', less = n == m + 1 && s->name[m] == 's';
    return strncmp(s->name, name, n < m ? n : m) == 0 && (n == m || more || less);
}

static bool help_section(const struct connectors *connectors, const char *name, FILE *out)
{
    for (size_t i = 0; i < SECTIONS; i++) {
        const struct section *s = &sections[i];
        if (!help_is_section(s, name))
            continue;
        const struct option *group = s->rows ? NULL : option_find(config_options, s->name, OPT_GROUP);
        if (group)
            wrap_print_behind(group->doc, fprintf(out, "%s", s->doc), 0, out);
        else
            wrap_print(s->doc, 0, out);
        help_print_types(connectors, s->name, out);
        help_print_rows("", group ? group->of : s->rows, out);
        return true;
    }
    return false;
}

/* ---- types of brokers, sources and sinks ---- */

static const struct option_value *help_broker_types(void)
{
    return option_find(broker_options, "type", OPT_ENUM)->values;
}

/* Does the row's sentence begin with another type of broker ("kafka: ...")? */
static bool help_is_of_other_broker(const struct option *row, const char *name)
{
    for (const struct option_value *v = help_broker_types(); v->text; v++) {
        size_t n = strlen(v->text);
        if (strcmp(v->text, name) != 0 && row->doc && strncmp(row->doc, v->text, n) == 0 && row->doc[n] == ':')
            return true;
    }
    return false;
}

static bool help_broker(const char *name, FILE *out)
{
    for (const struct option_value *v = help_broker_types(); v->text; v++) {
        if (strcmp(v->text, name) != 0)
            continue;
        fprintf(out, "The broker %s (aqueduct help broker: of every type).\n\nbroker:\n  type: %s\n", name, name);
        for (const struct option *row = broker_options; row->key; row++)
            if (strcmp(row->key, "type") != 0 && !help_is_of_other_broker(row, name))
                help_print_whole_row("", row, out);
        return true;
    }
    return false;
}

static void help_print_endpoints(const struct connector_type *t, FILE *out)
{
    wrap_print_page(
        "\nIts receiver; one beside the others, or several, by name, below `endpoints:` (what stands beside that is the\n"
        "default of all of them, except what is marked as own):\n",
        out);
    help_print_rows("", t->endpoints->options, out);
    fputs("\nEach of several endpoints also takes:\n", out);
    help_print_rows("endpoints.<name>.", endpoint_options, out);
}

static bool help_connector(const struct connectors *connectors, const struct connector_kind *kind, const char *name,
                           FILE *out)
{
    struct connector_type t;
    for (size_t i = 0; kind->type(connectors, i, &t); i++) {
        if (strcmp(t.type, name) != 0)
            continue;
        wrap_print_behind(t.doc, fprintf(out, "A %s of type %s: ", kind->name, name), 0, out);
        fprintf(out, "\n%s:\n  <name>:\n    type: %s\n", kind->section, name);
        help_print_rows("", t.options, out);
        if (t.endpoints)
            help_print_endpoints(&t, out);
        fprintf(out, "\nAnd options of every %s (aqueduct help %s):\n", kind->name, kind->name);
        for (const struct option *row = kind->core; row->key; row++)
            if (!sections_no_use(&t, row->key))
                help_print_whole_row("", row, out);
        return true;
    }
    return false;
}

/* ---- options by their keys ---- */

struct help_key {
    const char *key, *below; /* NULL: wherever it stands, else below an option of that key */
};

/* Prints the rows of that key, here and below, each time under the heading; returns how many. */
static size_t help_print_key(const char *heading, const char *above, const struct option *rows,
                             const struct help_key *want, FILE *out)
{
    size_t found = 0;
    for (const struct option *row = rows; row->key; row++) {
        struct buf below = buf_new(512);
        buf_printf(&below, "%s%s%s.", above, row->key, row->type == OPT_LIST ? "[]" : "");
        bool nested = (row->type == OPT_LIST || row->type == OPT_GROUP) && !row->folded;
        const struct help_key inside = { want->key, NULL };
        bool met = want->below && strcmp(row->key, want->below) == 0;
        if (!want->below && strcmp(row->key, want->key) == 0) {
            fprintf(out, "%s:\n", heading);
            help_print_row(above, row, out);
            if (nested)
                help_print_rows(buf_c(&below), row->of, out);
            fputc('\n', out);
            found++;
        } else if (nested) {
            found += help_print_key(heading, buf_c(&below), row->of, met ? &inside : want, out);
        }
        buf_free(&below);
    }
    return found;
}

/* `endpoints` is no option of a sink, but a mapping of its receivers. Returns how many it printed. */
static size_t help_endpoints(const struct connector_type *t, const char *key, FILE *out)
{
    if (!t->endpoints || strcmp(key, "endpoints") != 0)
        return 0;
    fprintf(out, "A part of the sink %s: its receivers, by name.\n\nsinks:\n  <name>:\n    type: %s\n    endpoints:\n",
            t->type, t->type);
    fputs("      <name>:  (these; one that is missing stands beside endpoints:, except what is marked as own)\n", out);
    help_print_rows("", t->endpoints->options, out);
    help_print_rows("", endpoint_options, out);
    return 1;
}

/* "An option of every sink", but of the types that have no use for it. */
static void help_head_core(const struct connectors *connectors, const struct connector_kind *kind, const char *key,
                           size_t size, char *heading)
{
    struct connector_type t;
    const char *between = " but ";
    struct buf out = buf_new(size - 1);
    buf_printf(&out, "An option of every %s", kind->name);
    for (size_t i = 0; kind->type(connectors, i, &t); i++)
        if (sections_no_use(&t, key)) {
            buf_printf(&out, "%s%s", between, t.type);
            between = ", ";
        }
    snprintf(heading, size, "%s", buf_c(&out));
    buf_free(&out);
}

static size_t help_print_key_of_connectors(const struct connectors *connectors, const char *owner,
                                           const struct help_key *want, FILE *out)
{
    size_t found = 0;
    struct connector_type t;
    char heading[128];
    for (size_t k = 0; k < CONNECTOR_KINDS; k++) {
        const struct connector_kind *kind = &connector_kinds[k];
        bool core = !owner || strcmp(owner, kind->name) == 0 || strcmp(owner, kind->section) == 0;
        for (size_t i = 0; kind->type(connectors, i, &t); i++) {
            snprintf(heading, sizeof heading, "An option of the %s %s", kind->name, t.type);
            bool named = owner && strcmp(owner, t.type) == 0;
            if (!owner || named)
                found += help_print_key(heading, "", t.options, want, out)
                         + (t.endpoints ? help_print_key(heading, "", t.endpoints->options, want, out) : 0)
                         + (want->below ? 0 : help_endpoints(&t, want->key, out));
            core = core || (named && !sections_no_use(&t, want->key));
        }
        help_head_core(connectors, kind, want->key, sizeof heading, heading);
        if (core)
            found += help_print_key(heading, "", kind->core, want, out);
    }
    return found;
}

static size_t help_print_key_everywhere(const struct connectors *connectors, const char *owner,
                                        const struct help_key *want, FILE *out)
{
    size_t found = help_print_key_of_connectors(connectors, owner, want, out);
    char heading[128];
    for (size_t i = 0; i < SECTIONS; i++) {
        const struct section *s = &sections[i];
        bool core = s->rows == source_options || s->rows == sink_options;
        if (core || (owner && !help_is_section(s, owner)))
            continue;
        snprintf(heading, sizeof heading, "An option of the section %s", s->name);
        const struct option *group = s->rows ? NULL : option_find(config_options, s->name, OPT_GROUP);
        found += help_print_key(heading, "", group ? group->of : s->rows, want, out);
    }
    for (const struct option *row = config_options; !owner && row->key; row++)
        if (!row->of)
            found += help_print_key("An option of the configuration", "", (const struct option[]){ *row, { 0 } }, want,
                                    out);
    return found;
}

bool config_help_option(const struct connectors *connectors, const char *owner, const char *key, FILE *out)
{
    return help_print_key_everywhere(connectors, owner, &(struct help_key){ key, NULL }, out)
           || (owner && help_print_key_everywhere(connectors, NULL, &(struct help_key){ key, owner }, out));
}

/* ---- names ---- */

/* A scheme of `verify`; a receiver, a preset or an option may have its name, too. */
static bool help_scheme(const char *name, bool behind, FILE *out)
{
    bool known = false;
    for (const struct option_value *v = table_names; v->text; v++)
        known = known || strcmp(v->text, name) == 0;
    if (known && behind)
        fputc('\n', out);
    return known && verify_about(name, out);
}

bool config_help(const struct connectors *connectors, const char *name, FILE *out)
{
    if (help_page(name, out))
        return true;
    if (strcmp(name, "config") == 0) {
        wrap_print_page(
            "The configuration: these, and the mappings `topics:`, `sources:` and `sinks:` (aqueduct help topics, source, sink).\n",
            out);
        help_print_rows("", config_options, out);
        wrap_print_page(places_help, out);
        return true;
    }
    bool found = help_section(connectors, name, out) || help_broker(name, out) || help_preset(name, out);
    if (found)
        return help_scheme(name, true, out) || found;
    bool source = help_connector(connectors, &connector_kinds[KIND_SOURCE], name, out),
         sink = help_connector(connectors, &connector_kinds[KIND_SINK], name, out); /* one name may be both */
    found = source || sink || config_help_option(connectors, NULL, name, out);
    return help_scheme(name, found, out) || found;
}

void config_help_add_section(const struct connectors *connectors, const char *name, FILE *out)
{
    for (size_t i = 0; i < SECTIONS; i++)
        if (help_is_section(&sections[i], name)) {
            fputc('\n', out);
            help_section(connectors, name, out);
            return;
        }
}

static void help_add_keys(const char **names, size_t *count, const struct option *rows)
{
    for (const struct option *row = rows; row->key && *count < NAMES - 1; row++) {
        names[(*count)++] = row->key;
        if (row->type == OPT_LIST || row->type == OPT_GROUP)
            help_add_keys(names, count, row->of);
    }
}

const char *const *config_help_names(const struct connectors *connectors)
{
    static const char *names[NAMES];
    size_t count = 0;
    names[count++] = "config";
    for (size_t i = 0; help_page_name(i); i++)
        names[count++] = help_page_name(i);
    names[count++] = "endpoints";
    for (size_t i = 0; i < SECTIONS; i++)
        names[count++] = sections[i].name;
    for (const struct option_value *v = help_broker_types(); v->text; v++)
        names[count++] = v->text;
    for (const struct preset_text *p = preset_texts; p->name && count < NAMES / 2; p++)
        names[count++] = strchr(p->name, '/') + 1;
    for (const struct option_value *v = table_names; v->text; v++)
        names[count++] = v->text;
    struct connector_type t;
    for (size_t k = 0; k < CONNECTOR_KINDS; k++)
        for (size_t i = 0; count < NAMES - 1 && connector_kinds[k].type(connectors, i, &t); i++)
            names[count++] = t.type;
    for (size_t k = 0; k < CONNECTOR_KINDS; k++) {
        help_add_keys(names, &count, connector_kinds[k].core);
        for (size_t i = 0; connector_kinds[k].type(connectors, i, &t); i++)
            help_add_keys(names, &count, t.options);
        for (size_t i = 0; connector_kinds[k].type(connectors, i, &t); i++)
            if (t.endpoints)
                help_add_keys(names, &count, t.endpoints->options);
    }
    names[count] = NULL;
    return names;
}
