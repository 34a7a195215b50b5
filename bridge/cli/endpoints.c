/* SPDX-License-Identifier: MIT */
/* `aqueduct endpoints`: endpoints of sinks, made and changed while the bridge runs, through its API. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bridge/cli/ask.h"
#include "bridge/cli/commands.h"
#include "bridge/cli/usage.h"
#include "bridge/config/config.h"
#include "bridge/lib/file.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

enum { OPTIONS_BYTES = 1 << 20, ENDPOINTS_PATH = 512 };

struct endpoints_flags {
    struct str sink, url, file, secret_file, overlap, data;
    struct strings types, set, unset;
    int64_t version;
    bool json, yes, unsigned_, paused;
};

static const struct flag endpoints_flags[] = {
    FLAG(struct endpoints_flags, sink, .name = "--sink", .value = "NAME",
         .doc = "list, export: only those of this sink"),
    FLAG(struct endpoints_flags, url, .name = "--url", .value = "URL", .doc = "add, change: where events are posted"),
    FLAG(struct endpoints_flags, types, .name = "--type", .value = "TYPE",
         .doc = "add, change: events of this type; a * may stand at its end; several times (test: the event's)"),
    FLAG(struct endpoints_flags, set, .name = "--set", .value = "KEY=VALUE",
         .doc = "add, change: any option of an endpoint, as in YAML: retry=[1s, 5s], signature.scheme=github"),
    FLAG(struct endpoints_flags, unset, .name = "--unset", .value = "KEY", .doc = "change: takes an option away"),
    FLAG(struct endpoints_flags, file, .name = "--file", .value = "FILE",
         .doc = "add, change: options as YAML or JSON; - is standard input"),
    FLAG(struct endpoints_flags, secret_file, .name = "--secret-file", .value = "FILE",
         .doc = "add, rotate: the secret, instead of one that is made and shown"),
    FLAG(struct endpoints_flags, unsigned_, .name = "--unsigned", .doc = "add: without a secret"),
    FLAG(struct endpoints_flags, paused, .name = "--paused", .doc = "add: it gets nothing until it is resumed"),
    FLAG(struct endpoints_flags, overlap, .name = "--overlap", .value = "TIME",
         .doc = "rotate: how long the old secret signs as well; without it 24h"),
    FLAG(struct endpoints_flags, data, .name = "--data", .value = "JSON", .doc = "test: the event's data"),
    FLAG(struct endpoints_flags, version, .name = "--version", .value = "N", .min = 1, .max = INT64_MAX,
         .doc = "change, remove: only if it has this version"),
    FLAG(struct endpoints_flags, yes, .name = "--yes", .doc = "remove: really"),
    FLAG(struct endpoints_flags, json, .name = "--json", .doc = "for programs: what the API answers"),
    { 0 },
};

/* ---- the API ---- */

/* What it answers, NULL with *e. */
static json_t *endpoints_ask(const struct command_call *call, const char *method, const char *path, const json_t *body,
                             struct err *e)
{
    const struct endpoints_flags *flags = call->flags;
    return ask_running(call,
                       (struct command_question){
                           .method = method, .path = path, .body = body, .version = flags->version },
                       e);
}

/* Of SINK/NAME. */
static bool endpoints_path(const char *word, const char *what, char out[ENDPOINTS_PATH], struct err *e)
{
    struct str name = str_of(word), sink;
    str_cut(&name, '/', &sink);
    bool plain = name.at && name.n && sink.n && !strpbrk(name.at, "/?#%");
    if (!plain)
        return err_set(e, "\"%s\": write SINK/NAME", word);
    snprintf(out, ENDPOINTS_PATH, "/api/v1/sinks/%.*s/endpoints/%.*s%s", STR_ARG(sink), STR_ARG(name), what);
    return true;
}

/* ---- options ---- */

/* Puts the value at "signature.scheme". */
static void endpoints_put(json_t *into, struct str key, json_t *value)
{
    struct str head;
    while (str_cut(&key, '.', &head) && key.at) {
        char *name = str_dup(head);
        json_t *inner = json_object_get(into, name);
        if (!json_is_object(inner)) {
            inner = json_object();
            json_object_set_new(into, name, inner);
        }
        free(name);
        into = inner;
    }
    char *last = str_dup(head);
    json_object_set_new(into, last, value);
    free(last);
}

static bool endpoints_set(json_t *body, const char *word, struct err *e)
{
    struct str value = str_of(word), key;
    if (!str_cut(&value, '=', &key) || !value.at || key.n == 0)
        return err_set(e, "--set %s: write KEY=VALUE", word);
    json_t *json = value.n ? config_json(value, e) : json_string("");
    if (!json)
        return err_prefix(e, "--set %.*s", STR_ARG(key));
    endpoints_put(body, key, json);
    return true;
}

static bool endpoints_read(struct str path, size_t most, struct buf *out, struct err *e)
{
    char *name = str_dup(path);
    bool fine = strcmp(name, "-") == 0 ? file_read_fd(STDIN_FILENO, most, out) : file_read(name, most, out);
    if (!fine)
        err_set(e, "%s: cannot be read, or is too long", name);
    free(name);
    return fine;
}

static bool endpoints_add_file(json_t *body, struct str path, struct err *e)
{
    struct buf text = buf_new(OPTIONS_BYTES + 1);
    bool fine = endpoints_read(path, OPTIONS_BYTES, &text, e);
    json_t *json = fine ? json_loadb(text.at ? text.at : "", text.n, 0, NULL) : NULL;
    if (fine && !json)
        json = config_json(buf_str(&text), e);
    if (fine && !json_is_object(json))
        fine = json ? err_set(e, "%.*s: must be a mapping of options", STR_ARG(path))
                    : err_prefix(e, "%.*s", STR_ARG(path));
    if (fine)
        json_object_update(body, json);
    json_decref(json);
    buf_free(&text);
    return fine;
}

static json_t *endpoints_secret(const struct endpoints_flags *flags, struct err *e)
{
    struct buf text = buf_new(8192);
    json_t *secret = NULL;
    if (endpoints_read(flags->secret_file, 4096, &text, e)) {
        struct str line = buf_str(&text);
        while (line.n && (line.at[line.n - 1] == '\n' || line.at[line.n - 1] == '\r'))
            line.n--;
        secret = json_stringn(line.at, line.n);
    }
    buf_free(&text);
    return secret;
}

/* The body of add and change; NULL with *e. */
static json_t *endpoints_options(const struct endpoints_flags *flags, struct err *e)
{
    json_t *body = json_object();
    bool fine = !flags->file.at || endpoints_add_file(body, flags->file, e);
    if (flags->url.at)
        json_object_set_new(body, "url", json_of_text(flags->url));
    if (flags->types.count) {
        json_t *types = json_array();
        for (size_t i = 0; i < flags->types.count; i++)
            json_array_append_new(types, json_string(flags->types.at[i]));
        json_object_set_new(body, "types", types);
    }
    for (size_t i = 0; fine && i < flags->set.count; i++)
        fine = endpoints_set(body, flags->set.at[i], e);
    for (size_t i = 0; fine && i < flags->unset.count; i++)
        endpoints_put(body, str_of(flags->unset.at[i]), json_null());
    if (flags->unsigned_)
        json_object_set_new(body, "unsigned", json_true());
    if (flags->paused)
        json_object_set_new(body, "paused", json_true());
    if (fine && flags->secret_file.at) {
        json_t *secret = endpoints_secret(flags, e);
        fine = secret;
        json_object_set_new(body, "secrets", json_pack("[o*]", secret));
    }
    if (fine)
        return body;
    json_decref(body);
    return NULL;
}

/* ---- to people ---- */

static void endpoints_print_json(json_t *json)
{
    json_dumpf(json, stdout, JSON_COMPACT);
    putchar('\n');
}

static void endpoints_print_events(const json_t *one)
{
    json_t *types = json_object_get(one, "types"), *type;
    size_t i;
    json_array_foreach(types, i, type) printf("%s%s", i ? "," : "", json_string_value(type));
    if (!types)
        fputs(json_object_get(one, "filter") ? "(filter)" : "*", stdout);
}

static void endpoints_print_one(const json_t *one)
{
    const char *problem = json_text(one, "problem");
    char place[160];
    snprintf(place, sizeof place, "%s/%s", json_text(one, "sink"), json_text(one, "name"));
    printf("%-32s %-8s %-5s %-40s ", place, json_text(one, "state"), json_text(one, "origin"), json_text(one, "url"));
    endpoints_print_events(one);
    putchar('\n');
    if (*problem)
        printf("    %s\n", problem);
}

static void endpoints_tell(const struct endpoints_flags *flags, json_t *one, const char *done)
{
    const char *secret = json_text(one, "secret"), *problem = json_text(one, "problem");
    if (flags->json) {
        endpoints_print_json(one);
        return;
    }
    printf("%s/%s %s (version %" JSON_INTEGER_FORMAT ")\n", json_text(one, "sink"), json_text(one, "name"), done,
           json_integer_value(json_object_get(one, "version")));
    if (*secret)
        printf("secret: %s\nIt is shown here, and never again: give it to the receiver now.\n", secret);
    if (*problem)
        printf("it gets nothing yet: %s\n", problem);
}

static void endpoints_tell_test(const struct endpoints_flags *flags, json_t *result)
{
    json_t *line;
    size_t i;
    if (flags->json) {
        endpoints_print_json(result);
        return;
    }
    printf("%s: status %" JSON_INTEGER_FORMAT " after %" JSON_INTEGER_FORMAT " ms%s%s\n", json_text(result, "verdict"),
           json_integer_value(json_object_get(result, "status")), json_integer_value(json_object_get(result, "ms")),
           *json_text(result, "reason") ? ": " : "", json_text(result, "reason"));
    json_array_foreach(json_object_get(result, "headers"), i, line) printf("  > %s\n", json_string_value(line));
    printf("  >\n  > %s\n", json_text(result, "body"));
    if (*json_text(result, "excerpt"))
        printf("  < %s\n", json_text(result, "excerpt"));
}

/* ---- export ---- */

struct exported {
    const char *sink, *name;
    int secrets;
};

/* ${CRM_BILLING_SECRET}, and so on: a secret is not shown, so it comes from the environment. */
static json_t *endpoints_variable(struct exported *x)
{
    char text[256];
    int n = snprintf(text, sizeof text, "${%s_%s_SECRET", x->sink, x->name);
    if (++x->secrets > 1)
        n += snprintf(text + n, sizeof text - (size_t)n, "_%d", x->secrets);
    for (char *at = text; *at; at++)
        *at = (char)(*at == '-' ? '_' : *at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at);
    snprintf(text + n, sizeof text - (size_t)n, "}");
    return json_string(text);
}

static json_t *endpoints_unhide(const json_t *json, struct exported *x)
{
    const char *key;
    json_t *value, *out;
    size_t i;
    if (json_is_string(json) && strcmp(json_string_value(json), "********") == 0)
        return endpoints_variable(x);
    if (json_is_array(json)) {
        out = json_array();
        json_array_foreach(json, i, value) json_array_append_new(out, endpoints_unhide(value, x));
        return out;
    }
    if (!json_is_object(json))
        return json_incref((json_t *)(uintptr_t)json);
    out = json_object();
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
        json_object_set_new(out, key, endpoints_unhide(value, x));
    return out;
}

/* The filter that `types` stand for; NULL: every event. */
static json_t *endpoints_filter(const json_t *types)
{
    json_t *any = json_array(), *type;
    size_t i;
    json_array_foreach(types, i, type)
    {
        struct str text = str_of(json_string_value(type));
        bool open = str_ends(text, STR("*"));
        text.n -= open;
        if (text.n == 0) {
            json_decref(any);
            return NULL;
        }
        json_array_append_new(any, json_pack("{s:{s:s%}}", open ? "prefix" : "exact", "type", text.at, text.n));
    }
    return json_pack("{s:o}", "any", any);
}

static void endpoints_export_one(const json_t *one)
{
    struct exported x = { json_text(one, "sink"), json_text(one, "name"), 0 };
    json_t *options = endpoints_unhide(json_object_get(one, "options"), &x), *types = json_object_get(options, "types"),
           *value;
    const char *key;
    if (types) {
        json_t *filter = endpoints_filter(types);
        json_object_del(options, "types");
        if (filter)
            json_object_set_new(options, "filter", filter);
    }
    if (json_is_true(json_object_get(one, "paused")))
        json_object_set_new(options, "paused", json_true());
    printf("      %s:\n", x.name);
    json_object_foreach(options, key, value)
    {
        char *text = json_short(value, JSON_ENCODE_ANY);
        printf("        %s: %s\n", key, text);
        free(text);
    }
    json_decref(options);
}

/* YAML that says the same: of what was made at run time alone, the rest is in the files already. */
static void endpoints_export(const json_t *items)
{
    const char *sink = "";
    json_t *one;
    size_t i;
    json_array_foreach(items, i, one)
    {
        if (strcmp(json_text(one, "origin"), "api") != 0)
            continue;
        if (!*sink)
            printf("sinks:\n");
        if (strcmp(sink, json_text(one, "sink")) != 0)
            printf("  %s:\n    endpoints:\n", sink = json_text(one, "sink"));
        endpoints_export_one(one);
    }
}

/* ---- the command ---- */

/* All of them, page by page; NULL with *e. */
static json_t *endpoints_all(const struct command_call *call, struct err *e)
{
    const struct endpoints_flags *flags = call->flags;
    json_t *items = json_array(), *page = NULL;
    char path[ENDPOINTS_PATH], after[64] = "";
    do {
        snprintf(path, sizeof path, "/api/v1/endpoints?limit=1000%s%s%.*s%s%s", *after ? "&after=" : "", after,
                 flags->sink.at ? 6 : 0, "&sink=", flags->sink.at ? flags->sink.at : "", "");
        page = endpoints_ask(call, "GET", path, NULL, e);
        if (!page) {
            json_decref(items);
            return NULL;
        }
        json_array_extend(items, json_object_get(page, "items"));
        snprintf(after, sizeof after, "%s", json_text(page, "next"));
        json_decref(page);
    } while (*after);
    return items;
}

static bool endpoints_list(const struct command_call *call, bool export, struct err *e)
{
    const struct endpoints_flags *flags = call->flags;
    json_t *items = endpoints_all(call, e), *one;
    size_t i;
    if (!items)
        return false;
    if (export)
        endpoints_export(items);
    else
        json_array_foreach(items, i, one)
        {
            if (flags->json)
                endpoints_print_json(one);
            else
                endpoints_print_one(one);
        }
    json_decref(items);
    return true;
}

static bool endpoints_add(const struct command_call *call, struct err *e)
{
    char path[ENDPOINTS_PATH];
    json_t *body = endpoints_path(call->words[1], "", path, e) ? endpoints_options(call->flags, e) : NULL;
    if (!body)
        return false;
    char *name = strrchr(path, '/');
    *name++ = '\0';
    json_object_set_new(body, "name", json_string(name));
    json_t *made = endpoints_ask(call, "POST", path, body, e);
    json_decref(body);
    if (made)
        endpoints_tell(call->flags, made, "was made");
    json_decref(made);
    return made;
}

/* One request about one endpoint, whose answer is the endpoint. */
static bool endpoints_order(const struct command_call *call, const char *method, const char *what, json_t *body,
                            const char *done, struct err *e)
{
    char path[ENDPOINTS_PATH];
    json_t *answer = endpoints_path(call->words[1], what, path, e) ? endpoints_ask(call, method, path, body, e) : NULL;
    json_decref(body);
    if (answer)
        endpoints_tell(call->flags, answer, done);
    json_decref(answer);
    return answer;
}

static bool endpoints_change(const struct command_call *call, struct err *e)
{
    json_t *body = endpoints_options(call->flags, e);
    return body && endpoints_order(call, "PATCH", "", body, "was changed", e);
}

static bool endpoints_rotate(const struct command_call *call, struct err *e)
{
    const struct endpoints_flags *flags = call->flags;
    json_t *body = json_object();
    if (flags->overlap.at)
        json_object_set_new(body, "overlap", json_of_text(flags->overlap));
    json_t *secret = flags->secret_file.at ? endpoints_secret(flags, e) : NULL;
    if (flags->secret_file.at && !secret) {
        json_decref(body);
        return false;
    }
    if (secret)
        json_object_set_new(body, "secret", secret);
    return endpoints_order(call, "POST", "/rotate", body, "signs with another secret", e);
}

static bool endpoints_test(const struct command_call *call, struct err *e)
{
    const struct endpoints_flags *flags = call->flags;
    char path[ENDPOINTS_PATH];
    json_t *body = json_object(), *result = NULL, *data = NULL;
    if (flags->types.count)
        json_object_set_new(body, "type", json_string(flags->types.at[0]));
    if (flags->data.at) {
        data = json_loadb(flags->data.at, flags->data.n, JSON_DECODE_ANY, NULL);
        if (!data)
            err_set(e, "--data: is no JSON");
        else
            json_object_set(body, "data", data);
    }
    if ((data || !flags->data.at) && endpoints_path(call->words[1], "/test", path, e))
        result = endpoints_ask(call, "POST", path, body, e);
    json_decref(data);
    json_decref(body);
    bool delivered = result && strcmp(json_text(result, "verdict"), "delivered") == 0;
    if (result)
        endpoints_tell_test(flags, result);
    if (result && !delivered)
        err_set(e, "it was not delivered");
    json_decref(result);
    return delivered;
}

static bool endpoints_remove(const struct command_call *call, struct err *e)
{
    const struct endpoints_flags *flags = call->flags;
    char path[ENDPOINTS_PATH];
    if (!endpoints_path(call->words[1], "", path, e))
        return false;
    if (!flags->yes)
        return err_set(e, "nothing was done; --yes removes %s: what waits for it becomes dead letters", call->words[1]);
    json_t *gone = endpoints_ask(call, "DELETE", path, NULL, e);
    if (gone && flags->json)
        endpoints_print_json(gone);
    else if (gone)
        printf("%s was removed; of what was on its way, %" JSON_INTEGER_FORMAT
               " at most become dead letters now, what waits on the broker when it is due\n",
               call->words[1], json_integer_value(json_object_get(gone, "pending")));
    json_decref(gone);
    return gone;
}

static bool endpoints_reseal(const struct command_call *call, struct err *e)
{
    json_t *done = endpoints_ask(call, "POST", "/api/v1/endpoints/reseal", NULL, e);
    if (done)
        printf("the secrets of %" JSON_INTEGER_FORMAT " endpoints are stored under the key %s\n",
               json_integer_value(json_object_get(done, "sealed")), json_text(done, "key"));
    json_decref(done);
    return done;
}

static bool endpoints_show(const struct command_call *call, struct err *e)
{
    char path[ENDPOINTS_PATH];
    json_t *one = endpoints_path(call->words[1], "", path, e) ? endpoints_ask(call, "GET", path, NULL, e) : NULL;
    if (one)
        json_dumpf(one, stdout, ((const struct endpoints_flags *)call->flags)->json ? JSON_COMPACT : JSON_INDENT(2));
    if (one)
        putchar('\n');
    json_decref(one);
    return one;
}

static bool endpoints_do(const struct command_call *call, struct err *e)
{
    const char *verb = call->words[0];
    bool all = strcmp(verb, "list") == 0 || strcmp(verb, "export") == 0 || strcmp(verb, "reseal") == 0;
    if (all != (call->word_count == 1))
        return err_set(e, all ? "%s takes no SINK/NAME (--sink NAME)" : "%s needs SINK/NAME", verb);
    if (strcmp(verb, "list") == 0 || strcmp(verb, "export") == 0)
        return endpoints_list(call, verb[0] == 'e', e);
    if (strcmp(verb, "reseal") == 0)
        return endpoints_reseal(call, e);
    if (strcmp(verb, "show") == 0)
        return endpoints_show(call, e);
    if (strcmp(verb, "add") == 0)
        return endpoints_add(call, e);
    if (strcmp(verb, "change") == 0)
        return endpoints_change(call, e);
    if (strcmp(verb, "pause") == 0)
        return endpoints_order(call, "POST", "/pause", NULL, "is paused", e);
    if (strcmp(verb, "resume") == 0)
        return endpoints_order(call, "POST", "/resume", NULL, "goes on", e);
    if (strcmp(verb, "rotate") == 0)
        return endpoints_rotate(call, e);
    return strcmp(verb, "test") == 0 ? endpoints_test(call, e) : endpoints_remove(call, e);
}

static int endpoints_run(struct command_call *call)
{
    struct err e = { "" };
    return endpoints_do(call, &e) ? COMMAND_DONE : usage_failed("endpoints", &e);
}

static const char *const endpoints_verbs[] = { "list", "show",   "add",    "change", "pause",  "resume",
                                               "test", "rotate", "remove", "export", "reseal", NULL };

static const char endpoints_usage
    [] = "usage: aqueduct endpoints [-c FILE]... list|export [--sink NAME] [--json]\n"
         "       aqueduct endpoints [-c FILE]... add SINK/NAME --url URL [--type TYPE]... [--set KEY=VALUE]...\n"
         "       aqueduct endpoints [-c FILE]... show|change|pause|resume|test|rotate|remove SINK/NAME [flags]\n"
         "       aqueduct endpoints [-c FILE]... reseal\n"
         "\n"
         "Endpoints of sinks while the bridge runs: makes, changes, tests and removes them, without a restart.\n";

static const char endpoints_notes[] =
    "A sink can have them when the configuration gives it `endpoints:`, which may be empty (endpoints: {}). What the\n"
    "configuration names is read-only here, and wins over one of the same name.\n"
    "\n"
    "  aqueduct endpoints add crm/billing --url https://billing.example/hooks --type 'order.*'\n"
    "  aqueduct endpoints test crm/billing               # one signed event now; it counts nowhere\n"
    "  aqueduct endpoints change crm/billing --set timeout=3s --unset retry\n"
    "  aqueduct endpoints rotate crm/billing --overlap 2d   # both secrets sign for two days\n"
    "  aqueduct endpoints export > more.yaml             # to move them into the configuration\n"
    "\n"
    "They are kept in the bridge's state, and their secrets under the key of admin.key_file, without which one that\n"
    "signs is refused. A secret is shown when it is made, and never again: export names a variable in its place. After\n"
    "another key was put above the old one in that file, reseal stores all of them under it; then the old one can go.\n"
    "\n"
    "The running daemon does it: over its control socket (local broker, its own user alone), or else its API, with\n"
    "admin.api: true, where the first of admin.tokens must be an operator's.\n"
    "\n"
    "Exit code 1: it was refused, nobody runs, or a test was not delivered; 2: wrong usage.\n";

const struct command command_endpoints = {
    .name = "endpoints",
    .doc = "Make, change, pause, test and remove endpoints while the bridge runs.",
    .usage = endpoints_usage,
    .notes = endpoints_notes,
    .flags = endpoints_flags,
    .size = sizeof(struct endpoints_flags),
    .min_words = 1,
    .max_words = 2,
    .verbs = endpoints_verbs,
    .config = true,
    .sinks = "",
    .run = endpoints_run,
};
