/* SPDX-License-Identifier: MIT */
/* A preset as text for people: what is captured or mapped by it, and the types of its events; a receiver: what it
 * sets. */
#include "bridge/config/help_preset.h"
#include "bridge/config/preset.h"
#include "bridge/config/private.h"
#include "bridge/lib/mem.h"

/* The type that an entry of a rule's `types` or `map` stands for. */
static struct str help_type_of(const struct node *entry)
{
    const struct node *type = entry->kind == NODE_MAPPING ? node_get(entry, "type") : entry;
    return type ? type->text : STR("");
}

/* The types of one capture rule, or of a map, each once. */
static void help_print_kinds(const struct node *types, FILE *out)
{
    for (size_t i = 0; types && i < types->count; i++) {
        struct str type = help_type_of(types->at[i].value);
        bool before = false;
        for (size_t k = 0; k < i; k++)
            before = before || str_eq(help_type_of(types->at[k].value), type);
        if (!before)
            fprintf(out, "      %.*s\n", STR_ARG(type));
    }
}

static void help_print_rule(const struct node *rule, FILE *out)
{
    const struct node *name = node_get(rule, "name"), *table = node_get(rule, "table"), *map = node_get(rule, "map");
    table = table ? table : node_get(rule, "tables");
    fprintf(out, "\n  %.*s  (table %.*s)\n", name ? (int)name->text.n : 0, name ? name->text.at : "",
            table ? (int)table->text.n : 1, table ? table->text.at : "?");
    help_print_kinds(map ? map : node_get(rule, "types"), out);
}

/* What a preset that is compiled in captures or maps, and the types of its events. */
static void help_print_preset(const struct preset_text *p, const char *name, FILE *out)
{
    struct arena tree = { 0 };
    struct problems none = { 0 };
    const struct node *root = tree_load(&tree, name, p->text, &none);
    const struct node *about = node_get(root, "about"), *rules = node_get(root, "capture");
    CHECK(none.count == 0);
    fprintf(out, "A preset of the source %s: %.*s\n\nsources:\n  <name>:\n    type: %s\n", rules ? "sqlite" : "http",
            about ? (int)about->text.n : 0, about ? about->text.at : "", rules ? "sqlite" : "http");
    if (rules)
        fprintf(out,
                "    preset: %s\n    path: <its database>\n\nIts rules, and the types of their events ({column}: "
                "what that column holds):\n",
                name);
    else
        fprintf(out,
                "    paths:\n      - path: <where it posts to>\n        preset: %s\n        verify: <aqueduct help "
                "http verify>\n\nThe types of its events:\n\n",
                name);
    for (size_t i = 0; rules && i < rules->count; i++)
        help_print_rule(rules->at[i].value, out);
    help_print_kinds(node_get(root, "map"), out);
    const struct node *plain = node_get(root, "type"); /* of what is not mapped */
    if (plain)
        fprintf(out, "      %.*s\n", STR_ARG(plain->text));
    arena_free(&tree);
}

/* What `for: name` sets, as its file says it. */
static void help_print_receiver(const struct preset_text *p, const char *name, FILE *out)
{
    fprintf(out,
            "A receiver that the sink webhook knows:\n\nsinks:\n  <name>:\n    type: webhook\n    topics: [<topic>]\n"
            "    for: %s\n    url: <its URL>\n\nWhat that sets, unless the sink (or endpoint) says otherwise:\n\n%.*s",
            name, STR_ARG(p->text));
}

static const char *const help_preset_folders[] = { PRESET_FOLDER, PRESET_INBOUND, PRESET_RECEIVERS, NULL };

bool help_preset(const char *name, FILE *out)
{
    bool found = false;
    for (size_t i = 0; help_preset_folders[i]; i++)
        for (const struct preset_text *p = preset_texts; p->name; p++) {
            const char *one = preset_name(p, help_preset_folders[i]);
            if (!one || strcmp(one, name) != 0)
                continue;
            if (found)
                fputc('\n', out);
            if (strcmp(help_preset_folders[i], PRESET_RECEIVERS) == 0)
                help_print_receiver(p, name, out);
            else
                help_print_preset(p, name, out);
            found = true;
        }
    return found;
}
