/* SPDX-License-Identifier: MIT */
/* The configuration: what is wrong is said exactly, what is right arrives in the structs. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/config/config.h"
#include "bridge/lib/buf.h"
#include "tests/support/connector.h"
#include "tests/support/folder.h"
#include "tests/support/test.h"

/* ---- a source and two sinks with an option of every type ---- */

enum path_scheme { SCHEME_UNSET, SCHEME_BEARER, SCHEME_GITHUB, SCHEME_STANDARD };
static const struct option_value schemes[] = {
    { SCHEME_BEARER, "bearer" }, { SCHEME_GITHUB, "github" }, { SCHEME_STANDARD, "standard" }, { 0 }
};

struct verify {
    enum path_scheme scheme;
    struct secrets secrets;
};
static const struct option path_verify_rows[] = {
    OPTION(struct verify, scheme, .required = true, .values = schemes, .doc = "How."),
    OPTION(struct verify, secrets, .min = 1, .max = 3, .doc = "With what."),
    { 0 },
};

struct path {
    char *path;
    struct verify verify;
    int64_t weight;
};
static const struct option path_rows[] = {
    OPTION(struct path, path, .required = true, .doc = "Where."),
    OPTION_GROUP(struct path, verify, path_verify_rows, .doc = "Who."),
    OPTION(struct path, weight, .fallback = "7", .doc = "How much."),
    { 0 },
};

struct all_source {
    struct source base;
    char *listen, *preset;
    bool fast;
    int64_t helpers;
    double ratio;
    struct secret token;
    struct duration timeout;
    struct bytes body;
    struct strings tags;
    struct durations waits;
    struct map labels;
    struct filter *only;
    struct list paths;
};
static const struct option all_rows[] = {
    OPTION(struct all_source, listen, .doc = "Address."),
    OPTION(struct all_source, preset, .doc = "Name."),
    OPTION(struct all_source, fast, .fallback = "true", .doc = "Hurry."),
    OPTION(struct all_source, helpers, .fallback = "2", .min = 1, .max = 64, .doc = "Loops."),
    OPTION(struct all_source, ratio, .fallback = "0.5", .max = 1, .doc = "Share."),
    OPTION(struct all_source, token, .doc = "Secret."),
    OPTION(struct all_source, timeout, .fallback = "10s", .min = 100, .max = 600000, .doc = "Patience."),
    OPTION(struct all_source, body, .fallback = "1MiB", .min = 1024, .doc = "Limit."),
    OPTION(struct all_source, tags, .fallback = "[a, b]", .max = 3, .doc = "Words."),
    OPTION(struct all_source, waits, .doc = "Waits."),
    OPTION(struct all_source, labels, .doc = "Pairs."),
    OPTION(struct all_source, only, .doc = "Filter."),
    OPTION(struct all_source, paths, .of = path_rows, .of_size = sizeof(struct path), .doc = "Paths."),
    { 0 },
};

static bool check_preset(const struct source *s, struct err *e)
{
    const struct all_source *all = (const struct all_source *)s;
    if (all->fast && all->tags.count == 3)
        return err_set(e, "tags[2]: is too much when fast");
    return !all->preset || strcmp(all->preset, "known") == 0 || err_set(e, "there is no preset \"%s\"", all->preset);
}

struct web_sink {
    struct sink base;
    char *url, *listen;
};
static const struct option web_rows[] = {
    OPTION(struct web_sink, url, .required = true, .doc = "The receiver."),
    OPTION(struct web_sink, listen, .doc = "Address."),
    { 0 },
};
static const struct option no_rows[] = { { 0 } };

static const struct source_ops all_type = { .type = "all",
                                            .doc = "Every option.",
                                            .size = sizeof(struct all_source),
                                            .options = all_rows,
                                            .copies = true,
                                            .check = check_preset };
static const struct sink_ops web_type = {
    .type = "web", .doc = "Sends.", .size = sizeof(struct web_sink), .options = web_rows
};
static const struct sink_ops live_type = {
    .type = "live", .doc = "Shows.", .size = sizeof(struct sink), .options = no_rows, .broadcast = true
};
static const struct sink_ops dead_type = {
    .type = "dead", .doc = "Buries.", .size = sizeof(struct sink), .options = no_rows, .dead_letters = true
};
static const struct source_ops *const sources[] = { &all_type, NULL };
static const struct sink_ops *const sinks[] = { &web_type, &live_type, &dead_type, NULL };
static const struct connectors types = { .sources = sources, .sinks = sinks };

/* ---- files ---- */

static char folder[FOLDER_BYTES];

static int make_folder(void **state)
{
    (void)state;
    folder_make(folder);
    return chdir(folder);
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = { "a.yaml", "b.yaml", "secret", NULL };
    for (size_t i = 0; names[i]; i++)
        unlink(names[i]);
    return rmdir(folder);
}

static void write_file(const char *name, struct str text)
{
    FILE *f = fopen(name, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(text.at, 1, text.n, f), text.n);
    fclose(f);
}

/* What problems_print writes. */
static char *printed(const struct problems *p)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    problems_print(p, out);
    fclose(out);
    return text;
}

static const char *const one[] = { "a.yaml" }, *const two[] = { "a.yaml", "b.yaml" };

static struct config *load_ok(const char *const *files, size_t count)
{
    struct problems problems = { 0 };
    struct config *c = config_load(&types, files, count, &problems);
    if (!c) {
        char *text = printed(&problems);
        print_error("%s", text);
        free(text);
    }
    problems_free(&problems);
    assert_non_null(c);
    return c;
}

static struct config *load_text(const char *yaml)
{
    write_file("a.yaml", str_of(yaml));
    return load_ok(one, 1);
}

static void expect(const char *const *files, size_t count, const char *want)
{
    struct problems problems = { 0 };
    struct config *c = config_load(&types, files, count, &problems);
    char *text = printed(&problems);
    assert_string_equal(text, want);
    assert_null(c);
    free(text);
    problems_free(&problems);
}

static void expect_text(const char *yaml, const char *want)
{
    write_file("a.yaml", str_of(yaml));
    expect(one, 1, want);
}

/* ---- what is wrong ---- */

#define END "routes: [{topic: t}]\nsinks: {w: {type: web, url: u, topics: [t]}}\n"
#define SRC "sources:\n  s:\n    type: all\n"

static const struct bad {
    const char *yaml, *want;
} bad[] = {
    /* the file */
    { "", "a.yaml:1:1: is empty: write sources:, routes: and sinks: (`aqueduct --help` shows an example)\n" },
    { "# only a comment\n",
      "a.yaml:1:1: is empty: write sources:, routes: and sinks: (`aqueduct --help` shows an example)\n" },
    { "---\n", "a.yaml:1:1: is empty: write sources:, routes: and sinks: (`aqueduct --help` shows an example)\n" },
    { "%YAML 1.2\n---\n...\n",
      "a.yaml:1:1: is empty: write sources:, routes: and sinks: (`aqueduct --help` shows an example)\n" },
    { "\"\"\n", "a.yaml:1:1: must be a mapping of sections (sources:, routes:, sinks:, ...)\n" },
    { "--- >\nline1\n# no comment\nline3\n",
      "a.yaml:1:5: must be a mapping of sections (sources:, routes:, sinks:, ...)\n" },
    { "---\n---\n" END,
      "a.yaml:2:1: a second document begins here; write one document per file (several -c files merge)\n" },
    { "# c\n---\n...\n" END, "a.yaml:4:1: not valid YAML: did not find expected <document start>\n" },
    { "- a\n", "a.yaml:1:1: must be a mapping of sections (sources:, routes:, sinks:, ...)\n" },
    { "word\n", "a.yaml:1:1: must be a mapping of sections (sources:, routes:, sinks:, ...)\n" },
    { END "---\nunrouted: drop\n",
      "a.yaml:3:1: a second document begins here; write one document per file (several -c files merge)\n" },
    /* syntax */
    { "sinks:\n\tw: 1\n", "a.yaml:2:1: not valid YAML: a tab cannot indent; use spaces\n" },
    { "unrouted: \"drop\nlog: 1\n",
      "a.yaml:3:1: not valid YAML: found unexpected end of stream while scanning a quoted scalar that begins at line 1; is a "
      "closing quote missing in line 1?\n" },
    { "sinks: [a, b\n",
      "a.yaml:2:1: not valid YAML: did not find expected ',' or ']' while parsing a flow sequence that begins at line 1\n" },
    { "a: b: c\n", "a.yaml:1:5: not valid YAML: mapping values are not allowed in this context\n" },
    { "a: *nothing\n", "a.yaml:1:4: not valid YAML: found undefined alias\n" },
    { "a: @x\n",
      "a.yaml:1:4: not valid YAML: found character that cannot start any token while scanning for the next token\n" },
    { "log: {level: \x01}\n", "a.yaml:1:14: not valid YAML: control characters are not allowed\n" },
    { "unrouted: !mine drop\n" END, "a.yaml:1:11: tag !mine is not supported\n" },
    { "a: \"x\nb: \"y\"\n" END,
      "a.yaml:2:5: not valid YAML: did not find expected key while parsing a block mapping that begins at line 1; is a "
      "closing quote missing in line 1?\n" },
    { "a: [it's, \"${X}]\n# \"\n" END,
      "a.yaml:3:1: not valid YAML: did not find expected ',' or ']' while parsing a flow sequence that begins at line 1; is "
      "a closing quote missing in line 1?\n" },
    { "a: {b: c: d}\n" END,
      "a.yaml:1:9: not valid YAML: did not find expected ',' or '}' while parsing a flow mapping; a text with \": \", \", \" "
      "or a bracket in it stands in quotes\n" },
    { "? [a]\n: b\n" END,
      "a.yaml:1:3: a key must be plain text (a value that begins with { stands in quotes: \"{{body.id}}\")\n" },
    { "unrouted: \"a\\0b\"\n" END, "a.yaml:1:11: contains a NUL character\n" },
    /* keys */
    { "sink: {}\n" END, "a.yaml:1:1: unknown key \"sink\" (did you mean sinks?)\n" },
    { "zzzzzz: {}\n" END, "a.yaml:1:1: unknown key \"zzzzzz\"\n" },
    { "log: {levle: info}\n" END, "a.yaml:1:7: log: unknown key \"levle\" (did you mean level?)\n" },
    { SRC "    tiemout: 5s\n" END, "a.yaml:4:5: sources.s: unknown key \"tiemout\" (did you mean timeout?)\n" },
    { SRC "    in_fligt: 5\n" END, "a.yaml:4:5: sources.s: unknown key \"in_fligt\" (did you mean in_flight?)\n" },
    { SRC "    paths: [{path: /a, verfy: {}}]\n" END,
      "a.yaml:4:24: sources.s.paths[0]: unknown key \"verfy\" (did you mean verify?)\n" },
    { "unrouted: drop\nunrouted: drop\n" END, "a.yaml:2:1: duplicate key \"unrouted\", first at line 1\n" },
    { SRC "    tags: [x]\n    tags: [y]\n" END, "a.yaml:5:5: duplicate key \"tags\", first at line 4\n" },
    { "sinks:\n  w: {type: web, topics: [t]}\ntopics: {t: }\n",
      "a.yaml:2:6: sinks.w.url: is missing: The receiver.\n" },
    { SRC "    paths: [{weight: 1}]\n" END, "a.yaml:4:13: sources.s.paths[0].path: is missing: Where.\n" },
    { SRC "    paths: [{path: /a, verify: {}}]\n" END,
      "a.yaml:4:32: sources.s.paths[0].verify.scheme: is missing: How.\n" },
    { "routes: [{}]\n"
      "sinks: {w: {type: web, url: u, topics: [t]}}\n",
      "a.yaml:1:10: routes[0].topic: is missing: The topic that the events go to.\n" },
    /* types and names of connectors */
    { "sources: {s: {type: al}}\n" END, "a.yaml:1:21: sources.s.type: \"al\" is not one of all (did you mean all?)\n" },
    { "sources: {s: {}}\n" END, "a.yaml:1:14: sources.s.type: is missing: one of all\n" },
    { "sources: {s: all}\n" END, "a.yaml:1:14: sources.s: must be a mapping (key: value), not one value\n" },
    { "sinks: {w: {type: websocket}}\n", "a.yaml:1:19: sinks.w.type: \"websocket\" is not one of web, live, dead\n" },
    { "sinks: {w: {type: [web]}}\n", "a.yaml:1:19: sinks.w.type: \"\" is not one of web, live, dead\n" },
    { "sources: [all]\n" END, "a.yaml:1:10: sources: must be a mapping (key: value), not a list\n" },
    { "sources: {Shop: {type: all}}\n" END,
      "a.yaml:1:11: sources.Shop: is not a name: use a-z, 0-9, - and _, beginning with a letter or digit, at most 63 characters\n" },
    { "sources: {-s: {type: all}}\n" END,
      "a.yaml:1:11: sources.-s: is not a name: use a-z, 0-9, - and _, beginning with a letter or digit, at most 63 characters\n" },
    { "topics: {a/b: {}}\n" END,
      "a.yaml:1:10: topics.a/b: is not a topic name: use letters, digits, . _ and -, at most 249 characters\n" },
    { "topics: {..: {}}\n" END,
      "a.yaml:1:10: topics...: is not a topic name: use letters, digits, . _ and -, at most 249 characters\n" },
    /* values */
    { SRC "    timeout: 5 parsecs\n" END,
      "a.yaml:4:14: sources.s.timeout: \"5 parsecs\" is not a duration (examples: 250ms 30s 5m 2h 7d)\n" },
    { SRC "    timeout: 5\n" END,
      "a.yaml:4:14: sources.s.timeout: \"5\" is not a duration (examples: 250ms 30s 5m 2h 7d)\n" },
    { SRC "    timeout: -5s\n" END,
      "a.yaml:4:14: sources.s.timeout: \"-5s\" is not a duration (examples: 250ms 30s 5m 2h 7d)\n" },
    { SRC "    timeout: 1.5s\n" END,
      "a.yaml:4:14: sources.s.timeout: \"1.5s\" is not a duration (examples: 250ms 30s 5m 2h 7d)\n" },
    { SRC "    timeout: 99999999999999d\n" END,
      "a.yaml:4:14: sources.s.timeout: \"99999999999999d\" is not a duration (examples: 250ms 30s 5m 2h 7d)\n" },
    { SRC "    timeout: 11m\n" END,
      "a.yaml:4:14: sources.s.timeout: 11m is out of range: must be from 100ms to 10m\n" },
    { SRC "    timeout: 0\n" END, "a.yaml:4:14: sources.s.timeout: 0 is out of range: must be from 100ms to 10m\n" },
    { SRC "    timeout: [1s]\n" END, "a.yaml:4:14: sources.s.timeout: must be one value, not a list\n" },
    { SRC "    timeout: {a: 1s}\n" END, "a.yaml:4:14: sources.s.timeout: must be one value, not a mapping\n" },
    { SRC "    timeout:\n" END,
      "a.yaml:4:13: sources.s.timeout: has no value (leave the key out, or write \"\" for an empty text)\n" },
    { SRC "    body: 5MB\n" END,
      "a.yaml:4:11: sources.s.body: \"5MB\" is not a size (examples: 500B 64KiB 1MiB 2GiB)\n" },
    { SRC "    body: 99999999999TiB\n" END,
      "a.yaml:4:11: sources.s.body: \"99999999999TiB\" is not a size (examples: 500B 64KiB 1MiB 2GiB)\n" },
    { SRC "    body: 1023\n" END, "a.yaml:4:11: sources.s.body: 1023 is out of range: must be at least 1KiB\n" },
    { SRC "    fast: yes\n" END, "a.yaml:4:11: sources.s.fast: \"yes\" is not a boolean: write true\n" },
    { SRC "    fast: Off\n" END, "a.yaml:4:11: sources.s.fast: \"Off\" is not a boolean: write false\n" },
    { SRC "    fast: maybe\n" END, "a.yaml:4:11: sources.s.fast: \"maybe\" is not a boolean: write true or false\n" },
    { SRC "    threads: 9\n    in_flight: 8\n" END,
      "a.yaml:4:14: sources.s.threads: is more than in_flight, so that some of them could take nothing\n" },
    { SRC "    helpers: 0\n" END, "a.yaml:4:14: sources.s.helpers: 0 is out of range: must be from 1 to 64\n" },
    { SRC "    helpers: 65\n" END, "a.yaml:4:14: sources.s.helpers: 65 is out of range: must be from 1 to 64\n" },
    { SRC "    helpers: 0x10\n" END, "a.yaml:4:14: sources.s.helpers: \"0x10\" is not a whole number\n" },
    { SRC "    helpers: 99999999999999999999\n" END,
      "a.yaml:4:14: sources.s.helpers: \"99999999999999999999\" is not a whole number\n" },
    { SRC "    ratio: half\n" END, "a.yaml:4:12: sources.s.ratio: \"half\" is not a number\n" },
    { SRC "    ratio: 1.5\n" END, "a.yaml:4:12: sources.s.ratio: 1.5 is out of range: must be from 0 to 1\n" },
    { SRC "    ratio: nan\n" END, "a.yaml:4:12: sources.s.ratio: \"nan\" is not a number\n" },
    { SRC "    ratio: \"\"\n" END, "a.yaml:4:12: sources.s.ratio: \"\" is not a number\n" },
    { SRC "    tags: x\n" END, "a.yaml:4:11: sources.s.tags: must be a list ([a, b]), not one value\n" },
    { SRC "    tags: {x: y}\n" END, "a.yaml:4:11: sources.s.tags: must be a list ([a, b]), not a mapping\n" },
    { SRC "    tags: [a, b, c, d]\n" END, "a.yaml:4:11: sources.s.tags: has 4 entries: must be from 0 to 3\n" },
    { SRC "    tags: [a, [b]]\n" END, "a.yaml:4:15: sources.s.tags[1]: must be one value, not a list\n" },
    { SRC "    waits: [1s, soon]\n" END,
      "a.yaml:4:17: sources.s.waits[1]: \"soon\" is not a duration (examples: 250ms 30s 5m 2h 7d)\n" },
    { SRC "    labels: [a]\n" END, "a.yaml:4:13: sources.s.labels: must be a mapping (key: value), not a list\n" },
    { SRC "    labels: {a: [b]}\n" END, "a.yaml:4:17: sources.s.labels.a: must be one value, not a list\n" },
    { SRC "    paths: [{path: /a, verify: {scheme: gitub, secrets: [x]}}]\n" END,
      "a.yaml:4:41: sources.s.paths[0].verify.scheme: \"gitub\" is not one of bearer, github, standard (did you mean github?)\n" },
    { SRC "    paths: [{path: /a, verify: none}]\n" END,
      "a.yaml:4:32: sources.s.paths[0].verify: must be a mapping (key: value), not one value\n" },
    { SRC "    paths: {path: /a}\n" END, "a.yaml:4:12: sources.s.paths: must be a list ([a, b]), not a mapping\n" },
    /* secrets: the value is never shown */
    { SRC "    token: [hunter2]\n" END, "a.yaml:4:12: sources.s.token: must be one value, not a list\n" },
    { SRC "    token: \"\"\n" END,
      "a.yaml:4:12: sources.s.token: is empty: a secret must have at least one character\n" },
    { SRC "    token: \"${EMPTY:-}\"\n" END,
      "a.yaml:4:12: sources.s.token: is empty: a secret must have at least one character (without :- an unset variable is named)\n" },
    { SRC "    token: $TOKEN\n" END,
      "a.yaml:4:12: sources.s.token: is $ and a name, which nothing replaces: write ${NAME}\n" },
    { SRC "    paths: [{path: /a, verify: {scheme: bearer, secrets: [good, $OTHER]}}]\n" END,
      "a.yaml:4:65: sources.s.paths[0].verify.secrets[1]: is $ and a name, which nothing replaces: write ${NAME}\n" },
    { SRC "    labels: {authorization: $TOKEN}\n" END,
      "a.yaml:4:29: sources.s.labels.authorization: is $ and a name, which nothing replaces: write ${NAME}\n" },
    { SRC "    token: $(cat /run/token)\n" END,
      "a.yaml:4:12: sources.s.token: is the text $(...), which nothing replaces: write ${NAME} or ${file:/path}\n" },
    { SRC "    token: \"%TOKEN%\"\n" END,
      "a.yaml:4:12: sources.s.token: is a name between %, which nothing replaces: write ${NAME}\n" },
    { SRC "    token: file:/run/secrets/token\n" END,
      "a.yaml:4:12: sources.s.token: begins like a file or a variable, but nothing replaces it: write ${file:/path} or ${NAME}\n" },
    { SRC "    token: ${UNSET:-ChangeMe123}\n" END,
      "a.yaml:4:12: sources.s.token: is a placeholder that everybody can guess: write ${NAME} or ${file:/path}, without a default\n" },
    { SRC "    token: <your token>\n" END,
      "a.yaml:4:12: sources.s.token: is a placeholder that everybody can guess: write ${NAME} or ${file:/path}, without a default\n" },
    { SRC "    token: \"{{ token }}\"\n" END,
      "a.yaml:4:12: sources.s.token: is a placeholder that everybody can guess: write ${NAME} or ${file:/path}, without a default\n" },
    { SRC "    paths: [{path: /a, verify: {scheme: bearer, secrets: hunter2}}]\n" END,
      "a.yaml:4:58: sources.s.paths[0].verify.secrets: must be a list ([a, b]), not one value\n" },
    { SRC "    paths: [{path: /a, verify: {scheme: bearer, secrets: []}}]\n" END,
      "a.yaml:4:58: sources.s.paths[0].verify.secrets: has 0 entries: must be from 1 to 3\n" },
    { SRC "    timeout: ${SECRET}\n" END,
      "a.yaml:4:14: sources.s.timeout: \"${SECRET}\" is not a duration (examples: 250ms 30s 5m 2h 7d)\n" },
    /* expansion */
    { SRC "    listen: ${UNSET}\n" END,
      "a.yaml:4:13: the environment variable UNSET is not set (${UNSET:-default} gives it a default)\n" },
    { SRC "    timeout: ${UNSET}\n    tags: [\"a-${UNSET}\"]\n" END,
      "a.yaml:4:14: the environment variable UNSET is not set (${UNSET:-default} gives it a default)\n"
      "a.yaml:5:12: the environment variable UNSET is not set (${UNSET:-default} gives it a default)\n" },
    { SRC "    listen: ${file:/nowhere/to/be/found}\n" END,
      "a.yaml:4:13: cannot read file /nowhere/to/be/found: No such file or directory\n" },
    { SRC "    listen: ${file:/}\n" END, "a.yaml:4:13: cannot read file /: Is a directory\n" },
    { SRC "    listen: ${file:}\n" END, "a.yaml:4:13: ${file:...} names no file\n" },
    { SRC "    listen: ${file:/dev/zero}\n" END, "a.yaml:4:13: file /dev/zero is longer than 64 KiB\n" },
    { SRC "    listen: ${open\n" END,
      "a.yaml:4:13: ${ without }: write ${NAME}, or $${ for the characters themselves\n" },
    { SRC "    listen: \"${UNSET:-${SECRET}}\"\n" END,
      "a.yaml:4:13: ${ within ${...}: close the first one; its default is plain text, nothing in it is expanded\n" },
    { SRC "    listen: \"${SECRET:-${UNSET}}\"\n" END,
      "a.yaml:4:13: ${ within ${...}: close the first one; its default is plain text, nothing in it is expanded\n" },
    { SRC "    listen: \"${SECRET:-x ${SECRET}\"\n" END,
      "a.yaml:4:13: ${ within ${...}: close the first one; its default is plain text, nothing in it is expanded\n" },
    { SRC "    listen: \"${file:/run/${SECRET}}\"\n" END,
      "a.yaml:4:13: ${ within ${...}: close the first one; its default is plain text, nothing in it is expanded\n" },
    { SRC "    listen: \"${UNSET:-$SECRET}\"\n" END,
      "a.yaml:4:13: the default of ${UNSET:-...} is a variable, but a default is plain text: write ${SECRET} alone\n" },
    { SRC "    listen: \"${SECRET:-$UNSET}\"\n" END,
      "a.yaml:4:13: the default of ${SECRET:-...} is a variable, but a default is plain text: write ${UNSET} alone\n" },
    { SRC "    listen: \"${UNSET:-$SECRET-aaa}\"\n" END,
      "a.yaml:4:13: the default of ${UNSET:-...} holds $ and a name, but a default is plain text and nothing in it is replaced: leave the default away, or put ${NAME} behind the }\n" },
    { SRC "    listen: \"${SECRET:-aaa$(id)}\"\n" END,
      "a.yaml:4:13: the default of ${SECRET:-...} holds $ and a name, but a default is plain text and nothing in it is replaced: leave the default away, or put ${NAME} behind the }\n" },
    { SRC "    listen: \"${UNSET:-{}}\"\n" END,
      "a.yaml:4:13: the default of ${UNSET:-...} holds a {, but it ends at the first }\n" },
    { SRC "    listen: ${1X}\n" END,
      "a.yaml:4:13: ${ begins a variable: write ${NAME}, ${NAME:-default} or ${file:/path}, or $${ for the characters themselves\n" },
    { SRC "    only: {exact: {type: \"${UNSET}\"}}\n" END,
      "a.yaml:4:26: the environment variable UNSET is not set (${UNSET:-default} gives it a default)\n" },
    /* merge keys */
    { "x-a: &a word\nsinks: {w: {<<: *a, type: web, url: u, topics: [t]}}\ntopics: {t: }\n",
      "a.yaml:1:6: << merges a mapping, usually an alias (<<: *name)\n" },
    { "x-a: &a {url: u}\nsinks: {w: {<<: *a, type: web, url: u, url: v, topics: [t]}}\ntopics: {t: }\n",
      "a.yaml:2:40: duplicate key \"url\", first at line 2\n" },
    /* what the sections say about each other */
    { "unrouted: drop\n", "a.yaml:1:1: nothing to do: write at least one entry under sources: or sinks:\n" },
    { "sources: {s: {type: all}}\n",
      "a.yaml:1:1: routes: is missing: sources bring events, so say where they go, for example routes: [{topic: events}]\n" },
    { "routes: [{topic: a b}]\nsources: {s: {type: all}}\n",
      "a.yaml:1:18: routes[0].topic: \"a b\" is not a topic name: use letters, digits, . _ and -, at most 249 characters\n" },
    { "routes: [{topic: aqueduct.state}]\nsources: {s: {type: all}}\n",
      "a.yaml:1:18: routes[0].topic: \"aqueduct.state\" begins with aqueduct., which the bridge keeps for its own topics (broker.prefix)\n" },
    { "topics: {aqueduct.x: }\n" END,
      "a.yaml:1:10: topics.aqueduct.x: begins with aqueduct., which the bridge keeps for its own topics (broker.prefix)\n" },
    { "routes: [{topic: t, key: Data}]\nsources: {s: {type: all}}\n",
      "a.yaml:1:26: routes[0].key: \"Data\" is not the name of an attribute (a-z and 0-9, at most 20), for example subject\n" },
    { "routes: [{topic: t}, {topic: u}]\nsources: {s: {type: all}}\n",
      "a.yaml:1:22: routes[1]: is never reached: a route before it takes every event (`also: true` there lets them go on)\n" },
    { "routes: [{topic: t, filter: {exat: {type: x}}}]\nsources: {s: {type: all}}\n",
      "a.yaml:1:29: routes[0].filter: exat: no part of a filter, did you mean exact?\n" },
    { "routes: [{topic: t, filter: {data: {collection/key: hr}}}]\nsources: {s: {type: all}}\n",
      "a.yaml:1:29: routes[0].filter: data.collection/key: a JSON pointer begins with /\n" },
    { "routes: [{topic: t, filter: {any: [{data: {/a: [1]}}]}}]\nsources: {s: {type: all}}\n",
      "a.yaml:1:29: routes[0].filter: any[0].data./a: not a string, a number or a boolean, nor null\n" },
    { "routes: [{topic: t, encoding: json}]\nsources: {s: {type: all}}\n",
      "a.yaml:1:31: routes[0].encoding: \"json\" is not one of binary, structured, avro, avro-columns, json-schema\n" },
    { "routes: [{topic: chats}]\nsinks: {w: {type: web, url: u, topics: [chat]}}\n",
      "a.yaml:2:41: sinks.w.topics[0]: no route fills the topic \"chat\" and topics: does not list it (did you mean chats?)\n" },
    { "routes: [{topic: t}]\nsinks: {w: {type: web, url: u, topics: [t, t]}}\n",
      "a.yaml:2:44: sinks.w.topics[1]: \"t\" is listed twice\n" },
    { "routes: [{topic: t}]\nsinks: {w: {type: web, url: u, topics: [\"\"]}}\n",
      "a.yaml:2:41: sinks.w.topics[0]: \"\" is not a topic name: use letters, digits, . _ and -, at most 249 characters\n" },
    { "routes: [{topic: t}]\nsinks: {w: {type: web, url: u}}\n",
      "a.yaml:2:12: sinks.w.topics: is missing: which topics' events the sink gets\n" },
    { "routes: [{topic: t}]\nsinks: {w: {type: web, url: u, topics: []}}\n",
      "a.yaml:2:40: sinks.w.topics: is missing: which topics' events the sink gets\n" },
    { "routes: [{topic: t}]\nsinks: {d: {type: dead, topics: [t]}}\n",
      "a.yaml:2:33: sinks.d.topics: has no use here: a dead sink gets the dead letters\n" },
    { "routes: [{topic: t}]\nsinks: {l: {type: live, topics: [t], retry: [1s]}}\n",
      "a.yaml:2:45: sinks.l.retry: has no use here: a live sink shows what comes and never tries again\n" },
    { "routes: [{topic: t}]\nsinks: {w: {type: web, url: u, topics: [t], retry: soon, retry_jitter: 101}}\n",
      "a.yaml:2:52: sinks.w.retry: must be a list ([a, b]), not one value\n"
      "a.yaml:2:72: sinks.w.retry_jitter: 101 is out of range: must be from 0 to 100\n" },
    { "routes: [{topic: t}]\nsinks: {w: {type: web, url: u, topics: [t], retry: [1s, 8d]}}\n",
      "a.yaml:2:57: sinks.w.retry[1]: is longer than 7d\n" },
    { "routes: [{topic: t}]\nsinks: {v: {type: web, url: u, topics: [t]}, w: {type: web, url: u, topics: [t], formerly: [v]}}\n",
      "a.yaml:2:93: sinks.w.formerly[0]: \"v\" is a sink of this configuration: only a name that is no longer used can be taken over\n" },
    { "routes: [{topic: t}]\nsinks: {v: {type: web, url: u, topics: [t], formerly: [a]}, w: {type: web, url: u, topics: [t], formerly: [a]}}\n",
      "a.yaml:2:56: sinks.v.formerly[0]: \"a\" is taken over by another sink as well\na.yaml:2:108: sinks.w.formerly[0]: \"a\" is taken over by another sink as well\n" },
    { "routes: [{topic: t}]\nsinks: {w: {type: web, url: u, topics: [t], formerly: [a, A.b, a]}}\n",
      "a.yaml:2:59: sinks.w.formerly[1]: \"A.b\" is no name of a sink\na.yaml:2:64: sinks.w.formerly[2]: \"a\" is listed twice\n" },
    { "routes: [{topic: t}]\nsinks: {l: {type: live, topics: [t], formerly: [a]}}\n",
      "a.yaml:2:48: sinks.l.formerly: has no use here: a live sink shows what comes and never tries again\n" },
    { "routes: [{topic: t}]\nsinks: {w: {type: web, url: u, topics: [t], retry: [1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s]}}\n",
      "a.yaml:2:52: sinks.w.retry: has 21 entries: must be from 0 to 20\n" },
    { "broker: {type: kafka}\n" END,
      "a.yaml:1:9: broker.servers: is missing: the bootstrap servers, for example kafka-1:9092\n" },
    { "broker: {type: kafka, properties: {bootstrap.servers: k}}\n" END, /* which the broker refuses */
      "a.yaml:1:9: broker.servers: is missing: the bootstrap servers, for example kafka-1:9092\n" },
    { "broker:\n  type: kafka\n  servers: k:9092\n  properties: {securty.protocol: ssl}\n" END,
      "a.yaml:4:34: broker.properties.securty.protocol: librdkafka has no such property\n" },
    { "broker:\n  type: kafka\n  servers: k:9092\n  properties: {ssl.ca.location: /no/such.pem}\n" END,
      "a.yaml:4:33: broker.properties.ssl.ca.location: /no/such.pem cannot be read: No such file or directory\n" },
    { "broker:\n  type: kafka\n  servers: k:9092\n"
      "  properties: {security.protocol: sasl_ssl, sasl.mechanism: PLAIN}\n" END,
      "a.yaml:4:15: broker.properties.sasl.username: is missing, sasl.mechanism PLAIN needs it\n" },
    { "broker: {path: /no/such/folder}\n" END,
      "a.yaml:1:16: broker.path: \"/no/such/folder\" cannot be created, the folder above it does not exist\n" },
    { "broker: {path: /dev/null}\n" END, "a.yaml:1:16: broker.path: \"/dev/null\" is not a folder\n" },
    { "broker: {prefix: a/}\n" END,
      "a.yaml:1:18: broker.prefix: is no beginning of a topic name: use letters, digits, . _ and -, at most 100 characters\n" },
    { "broker: {type: kafak}\n" END,
      "a.yaml:1:16: broker.type: \"kafak\" is not one of local, kafka (did you mean kafka?)\n" },
    { "sources: {a: {type: all, listen: \"127.0.0.1:80\"}, b: {type: all, listen: \"127.0.0.1:80\"}}\n" END,
      "a.yaml:1:74: sources.b.listen: 127.0.0.1:80 is taken by sources.a\n" },
    { "sources: {a: {type: all, listen: \"127.0.0.1:80\"}}\nadmin: {listen: \"127.0.0.1:80\"}\n" END,
      "a.yaml:2:17: admin.listen: 127.0.0.1:80 is taken by sources.a\n" },
    { "admin: {tokens: [a token that is long, short]}\n" SRC END,
      "a.yaml:1:40: admin.tokens[1]: has 5 characters, the least is 16: a short one can be guessed (`openssl rand -base64 32` makes a good one)\n" },
    { "admin: {tls_key: key.pem}\n" SRC END,
      "a.yaml:1:8: admin: tls_certificate and tls_key belong together: set both or none\n" },
    { SRC "    listen: 127.0.0.1:9464\n" END, "a.yaml:1:1: admin.listen: 127.0.0.1:9464 is taken by sources.s\n" },
    { SRC "    listen: 8080\n" END,
      "a.yaml:4:13: sources.s.listen: \"8080\" is not an address: write 127.0.0.1:8080, [::1]:8080 or unix:/path\n" },
    { "admin: {listen: \"127.0.0.1:65536\"}\n" SRC END,
      "a.yaml:1:17: admin.listen: \"127.0.0.1:65536\" is not an address: the port must be 0 to 65535\n" },
    { SRC "    preset: unknown\n" END, "a.yaml:3:5: sources.s: there is no preset \"unknown\"\n" },
    { SRC "    tags: [a, b, c]\n" END, "a.yaml:4:18: sources.s.tags[2]: is too much when fast\n" },
};

/* Are the problems of a.yaml exactly these? Says so if not, so that one run shows all that is different. */
static bool as_expected(const char *yaml, const char *want)
{
    struct problems problems = { 0 };
    write_file("a.yaml", str_of(yaml));
    struct config *c = config_load(&types, one, 1, &problems);
    char *text = printed(&problems);
    bool ok = !c && strcmp(text, want) == 0;
    if (!ok)
        print_error("---\n%s--- want\n%s--- got\n%s", yaml, want, text);
    config_free(c);
    free(text);
    problems_free(&problems);
    return ok;
}

TEST(test_problems)
{
    size_t wrong = 0;
    setenv("SECRET", "hunter2", 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        wrong += !as_expected(bad[i].yaml, bad[i].want);
    assert_int_equal(wrong, 0);
}

TEST(test_all_problems_at_once_in_order)
{
    expect_text("unrouted: dorp\nlog: {level: loud}\n" SRC "    helpers: 0\n    token: ${UNSET}\n    fast: yes\n" END,
                "a.yaml:1:11: unrouted: \"dorp\" is not one of error, drop (did you mean drop?)\n"
                "a.yaml:2:14: log.level: \"loud\" is not one of debug, info, warn, error\n"
                "a.yaml:6:14: sources.s.helpers: 0 is out of range: must be from 1 to 64\n"
                "a.yaml:7:12: the environment variable UNSET is not set (${UNSET:-default} gives it a default)\n"
                "a.yaml:8:11: sources.s.fast: \"yes\" is not a boolean: write true\n");
}

TEST(test_problems_are_bounded)
{
    struct buf b = buf_new(1 << 20);
    for (int i = 0; i < 300; i++)
        buf_printf(&b, "wrong%d: 1\n", i);
    write_file("a.yaml", buf_str(&b));
    buf_free(&b);
    struct problems problems = { 0 };
    assert_null(config_load(&types, one, 1, &problems));
    assert_int_equal(problems.count, 101);
    assert_string_equal(problems.at[0].text, "unknown key \"wrong0\"");
    assert_string_equal(problems.at[100].text, "there are more problems than these");
    problems_free(&problems);
}

TEST(test_alias_bomb)
{
    struct buf b = buf_new(1 << 20);
    buf_add_c(&b, "x0: &a0 [0]\n");
    for (int i = 1; i < 20; i++)
        buf_printf(&b, "x%d: &a%d [*a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1, i - 1, i - 1);
    write_file("a.yaml", buf_str(&b));
    buf_free(&b);
    expect(one, 1, "a.yaml:1:5: grows to more than 100000 values once aliases are followed\n");
    expect_text("a: &a [*a]\n", "a.yaml:1:4: nests deeper than 64 levels\n");
}

TEST(test_deep_and_long)
{
    struct buf b = buf_new(4 << 20);
    for (int i = 0; i < 900; i++) /* never closed: what stands behind the depth is not read */
        buf_add_c(&b, "[");
    write_file("a.yaml", buf_str(&b));
    buf_reset(&b);
    expect(one, 1, "a.yaml:1:66: nests deeper than 64 levels\n");
    for (int i = 0; i < 5000; i++)
        buf_printf(&b, "k%d: 1\n", i);
    write_file("a.yaml", buf_str(&b));
    expect(one, 1, "a.yaml:1:1: has more than 4096 keys\n");
    while (b.n <= 1 << 20)
        buf_add_c(&b, "# ...............................................................................\n");
    write_file("a.yaml", buf_str(&b));
    expect(one, 1, "a.yaml:1:1: is longer than 1024 KiB\n");
    buf_free(&b);
}

TEST(test_not_utf8)
{
    write_file("a.yaml", STR("log: {}\nunrouted: \xff\xfe\n"));
    expect(one, 1, "a.yaml:2:11: not valid YAML: invalid leading UTF-8 octet\n");
}

TEST(test_files_missing)
{
    static const char *const none[] = { "nothing.yaml" }, *const dir[] = { "/" };
    expect(none, 1, "nothing.yaml: cannot be read: No such file or directory\n");
    expect(dir, 1, "/: cannot be read: Is a directory\n");
    expect(
        NULL, 0,
        "no configuration file: name one with -c FILE or AQUEDUCT_CONFIG, or write ./bridge.yaml, or say it by the environment (aqueduct help environment)\n");
}

TEST(test_files_clash)
{
    write_file("a.yaml", STR("unrouted: drop\nsinks: {w: {type: web}}\nlog: {level: info}\n"));
    write_file("b.yaml", STR("log: {level: info}\nsinks: [a]\nunrouted: drop\n"));
    expect(two, 2,
           "a.yaml:2:12: sinks.w.url: is missing: The receiver.\n"
           "b.yaml:1:7: log.level: is set already at a.yaml:3:7\n"
           "b.yaml:2:1: sinks: is set already at a.yaml:2:1\n"
           "b.yaml:3:1: unrouted: is set already at a.yaml:1:1\n");
    write_file("a.yaml", STR("a: [\n"));
    write_file("b.yaml", STR("b: }\n"));
    expect(two, 2,
           "a.yaml:2:1: not valid YAML: did not find expected node content while parsing a flow node\n"
           "b.yaml:1:4: not valid YAML: did not find expected node content while parsing a block node\n");
}

/* ---- what is right ---- */

/* Where a secret is wanted, or a mapping may hold one; elsewhere a file is just a text. */
TEST(test_a_secret_that_all_users_can_read_is_refused)
{
    write_file("secret", STR("s3cret\n"));
    chmod("secret", 0644);
    expect_text(
        SRC "    token: ${file:secret}\n" END,
        "a.yaml:4:12: sources.s.token: all users of this machine can read secret (mode 0644): chmod o-rwx secret\n");
    expect_text(
        SRC "    labels: {key: \"x ${file:secret}\"}\n" END,
        "a.yaml:4:19: sources.s.labels.key: all users of this machine can read secret (mode 0644): chmod o-rwx secret\n");
    config_free(load_text(SRC "    tags: [\"${file:secret}\"]\n" END));
    chmod("secret", 0640);
    config_free(load_text(SRC "    token: ${file:secret}\n    labels: {key: \"${file:secret}\"}\n" END));
}

TEST(test_every_type)
{
    setenv("NAME", "world", 1);
    setenv("EMPTY", "", 1);
    write_file("secret", STR("s3cret\n"));
    chmod("secret", 0600);
    struct config *c = load_text(
        SRC
        "    listen: ${EMPTY:-127.0.0.1:1}\n    fast: false\n    helpers: \"64\"\n    ratio: 1e-1\n    token: ${file:secret}\n"
        "    timeout: 1m\n    body: 2GiB\n    tags: [\"hello ${NAME}\", \"$${NAME}\", \"${EMPTY}\"]\n    waits: [0, 250ms, 2h, 7d]\n"
        "    labels: {b: 1, a: \"x: y\"}\n    in_flight: 5\n"
        "    paths:\n      - path: /a\n      - {path: /b, weight: 0, verify: {scheme: github, secrets: [\"${file:secret}\", two]}}\n" END);
    assert_int_equal(c->source_count, 1);
    assert_int_equal(c->sources[0].in_flight, 5);
    assert_int_equal(c->sources[0].dedupe_size, 100000);
    const struct all_source *s = (const struct all_source *)c->sources[0].source;
    assert_ptr_equal(s->base.ops, &all_type);
    assert_string_equal(s->base.id, "s");
    assert_string_equal(s->listen, "127.0.0.1:1");
    assert_false(s->fast);
    assert_int_equal(s->helpers, 64);
    assert_true(s->ratio > 0.099 && s->ratio < 0.101);
    assert_string_equal(s->token.text, "s3cret");
    assert_int_equal(s->timeout.ms, 60000);
    assert_int_equal(s->body.n, INT64_C(2) << 30);
    assert_int_equal(s->tags.count, 3);
    assert_string_equal(s->tags.at[0], "hello world");
    assert_string_equal(s->tags.at[1], "${NAME}");
    assert_string_equal(s->tags.at[2], "");
    assert_int_equal(s->waits.count, 4);
    assert_int_equal(s->waits.at[1].ms, 250);
    assert_int_equal(s->waits.at[3].ms, 7 * 86400000);
    assert_int_equal(s->labels.count, 2);
    assert_string_equal(s->labels.at[0].key, "b");
    assert_string_equal(s->labels.at[1].value, "x: y");
    const struct path *paths = s->paths.at;
    assert_int_equal(s->paths.count, 2);
    assert_int_equal(paths[0].weight, 7);
    assert_int_equal(paths[1].weight, 0);
    assert_int_equal(paths[0].verify.scheme, SCHEME_UNSET);
    assert_int_equal(paths[1].verify.scheme, SCHEME_GITHUB);
    assert_string_equal(paths[1].verify.secrets.at[0].text, "s3cret");
    assert_string_equal(paths[1].verify.secrets.at[1].text, "two");
    config_free(c);
}

TEST(test_filter_into_the_data)
{
    struct config *c = load_text(
        "routes: [{topic: t, filter: {data: {/a: hr, /n: 1.50, /yes: true, /none: null, /empty: \"\"},"
        " prefix: {data: {/a: h}}}}, {topic: u}]\nsources: {s: {type: all}}\n");
    char *text = filter_text(((const struct route_config *)c->routes.at)->filter);
    assert_string_equal(text,
                        "{\"all\":[{\"exact\":{\"data\":{\"/a\":\"hr\"}}},{\"exact\":{\"data\":{\"/empty\":\"\"}}},"
                        "{\"exact\":{\"data\":{\"/n\":\"1.50\"}}},{\"exact\":{\"data\":{\"/none\":null}}},"
                        "{\"exact\":{\"data\":{\"/yes\":\"true\"}}},{\"prefix\":{\"data\":{\"/a\":\"h\"}}}]}");
    free(text);
    config_free(c);
}

TEST(test_a_word_stands_for_a_list)
{
    static const struct {
        const char *word;
        size_t count;
        int64_t first_ms, last_ms, sum_ms;
    } cases[] = {
        { "standard", 9, 5000, 86400000, 5000 + 300000 + 1800000 + (int64_t)75 * 3600000 },
        { "exponential", 20, 1000, 3600000, 4095000 + 8 * 3600000 },
        { "[]", 0, 0, 0, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char yaml[256];
        snprintf(yaml, sizeof yaml,
                 "routes: [{topic: t}]\nsinks: {w: {type: web, url: u, topics: [t], retry: %s, retry_jitter: 20, "
                 "retry_for: 2d}}\n",
                 cases[i].word);
        struct config *c = load_text(yaml);
        const struct sink_config *w = &c->sinks[0];
        int64_t sum = 0;
        for (size_t at = 0; at < w->retry.count; at++)
            sum += w->retry.at[at].ms;
        assert_int_equal(w->retry.count, cases[i].count);
        assert_int_equal(sum, cases[i].sum_ms);
        if (cases[i].count) {
            assert_int_equal(w->retry.at[0].ms, cases[i].first_ms);
            assert_int_equal(w->retry.at[cases[i].count - 1].ms, cases[i].last_ms);
        }
        assert_int_equal(w->retry_jitter, 20);
        assert_int_equal(w->retry_for.ms, 2 * 86400000);
        config_free(c);
    }
}

TEST(test_defaults)
{
    struct config *c = load_text(SRC "log:\ntopics: {u: }\n" END);
    const struct all_source *s = (const struct all_source *)c->sources[0].source;
    assert_null(s->listen);
    assert_true(s->fast);
    assert_int_equal(s->helpers, 2);
    assert_int_equal(s->timeout.ms, 10000);
    assert_int_equal(s->body.n, 1 << 20);
    assert_int_equal(s->tags.count, 2);
    assert_string_equal(s->tags.at[1], "b");
    assert_int_equal(s->paths.count, 0);
    const struct sink_config *w = &c->sinks[0];
    assert_int_equal(w->retry.count, 6);
    assert_int_equal(w->retry.at[5].ms, 3600000);
    assert_int_equal(w->retry_jitter, 0);
    assert_int_equal(w->retry_for.ms, 0);
    assert_int_equal(w->retry_memory.ms, 30000);
    assert_int_equal(w->window, 1024);
    assert_int_equal(w->order, ORDER_NONE);
    assert_int_equal(w->start, START_EARLIEST);
    assert_null(w->filter);
    assert_string_equal(w->topics.at[0], "t");
    const struct topic_config *topics = c->topics.at;
    assert_int_equal(c->topics.count, 1);
    assert_string_equal(topics[0].name, "u");
    assert_int_equal(topics[0].partitions, 0);
    assert_int_equal(topics[0].retention.ms, RETENTION_UNSAID);
    assert_int_equal(c->broker.type, BROKER_LOCAL);
    assert_string_equal(c->broker.prefix, "aqueduct.");
    assert_int_equal(c->broker.replication, -1);
    assert_true(c->broker.create_topics);
    assert_int_equal(c->unrouted, UNROUTED_ERROR);
    assert_string_equal(c->admin.listen, "127.0.0.1:9464");
    assert_int_equal(c->log.level, LOG_INFO);
    assert_int_equal(c->log.format, LOG_LOGFMT);
    assert_int_equal(c->drain.ms, 10000);
    config_free(c);
}

TEST(test_enums)
{
    struct config *c = load_text("log: {level: debug, format: json}\n" SRC END);
    assert_int_equal(c->log.level, LOG_DEBUG);
    assert_int_equal(c->log.format, LOG_JSON);
    config_free(c);
    c = load_text("log: {level: error}\n" SRC END);
    assert_int_equal(c->log.level, LOG_ERROR);
    config_free(c);
    expect_text("log: {level: DEBUG}\nunrouted: \"\"\n" SRC END,
                "a.yaml:1:14: log.level: \"DEBUG\" is not one of debug, info, warn, error (did you mean debug?)\n"
                "a.yaml:2:11: unrouted: \"\" is not one of error, drop\n");
}

TEST(test_anchors_and_merge_keys)
{
    struct config *c = load_text(
        "x-all: &all {window: 9, url: u}\nx-more: &more {window: 1, order: key}\n"
        "routes: [{topic: &t ai.chats}]\n"
        "sinks:\n  a: {type: web, topics: [*t], <<: [*all, *more]}\n  b: {type: web, topics: [*t], <<: *all, url: mine}\n");
    assert_int_equal(c->sinks[0].window, 9); /* the first of the list wins */
    assert_int_equal(c->sinks[0].order, ORDER_KEY);
    assert_string_equal(c->sinks[0].topics.at[0], "ai.chats");
    assert_string_equal(((const struct web_sink *)c->sinks[0].sink)->url, "u");
    assert_string_equal(((const struct web_sink *)c->sinks[1].sink)->url, "mine");
    config_free(c);
}

TEST(test_files_merge)
{
    write_file("a.yaml",
               STR("routes: [{topic: t, key: subject, also: true}]\nsinks: {w: {type: web, url: u, topics: [t]}}\n"));
    write_file("b.yaml",
               STR("routes: [{topic: u}]\nsinks: {w: {window: 7, topics: [u]}, x: {type: dead}}\nunrouted: drop\n"));
    struct config *c = load_ok(two, 2);
    const struct route_config *routes = c->routes.at;
    assert_int_equal(c->routes.count, 2);
    assert_string_equal(routes[0].key, "subject");
    assert_true(routes[0].also);
    assert_string_equal(routes[1].topic, "u");
    assert_int_equal(c->sink_count, 2);
    assert_int_equal(c->sinks[0].window, 7);
    assert_int_equal(c->sinks[0].topics.count, 2);
    assert_string_equal(c->sinks[0].topics.at[1], "u");
    assert_string_equal(c->sinks[1].sink->id, "x");
    assert_int_equal(c->unrouted, UNROUTED_DROP);
    config_free(c);
}

TEST(test_kafka_topics_may_be_foreign)
{
    struct config *c = load_text(
        "broker: {type: kafka, servers: \"k:9092\", properties: {linger.ms: 5}}\nsinks: {w: {type: web, url: u, topics: [foreign]}}\n");
    assert_string_equal(c->broker.properties.at[0].key, "linger.ms");
    assert_string_equal(c->broker.properties.at[0].value, "5");
    config_free(c);
    c = load_text("sinks: {w: {type: web, url: u, topics: [aqueduct.dead-letter]}}\n");
    config_free(c);
}

TEST(test_listeners_on_any_port)
{
    struct config *c = load_text(
        "sources: {a: {type: all, listen: \"127.0.0.1:0\"}, b: {type: all, listen: \"127.0.0.1:0\"}}\nadmin: {listen: \"\"}\n" END);
    assert_string_equal(c->admin.listen, "");
    config_free(c);
}

TEST(test_also_chain)
{
    struct buf b = buf_new(1 << 16);
    buf_add_c(&b, "sources: {s: {type: all}}\nroutes:\n");
    for (int i = 0; i < 15; i++)
        buf_printf(&b, "- {topic: t%d, also: true}\n", i);
    buf_add_c(&b, "- {topic: last}\n");
    config_free(load_text(buf_c(&b)));
    buf_reset(&b);
    buf_add_c(&b, "sources: {s: {type: all}}\nroutes:\n");
    for (int i = 0; i < 16; i++)
        buf_printf(&b, "- {topic: t%d, also: true}\n", i);
    expect_text(buf_c(&b), "a.yaml:18:3: routes[15]: is one `also` too many: an event goes to at most 16 topics\n");
    buf_free(&b);
}

/* ---- a part by itself ---- */

TEST(test_fill)
{
    struct path p = { 0 };
    struct problems problems = { 0 };
    assert_true(
        options_read("p.yaml", STR("path: /x\nverify: {scheme: bearer, secrets: [a]}\n"), path_rows, &p, &problems));
    assert_string_equal(p.path, "/x");
    assert_int_equal(p.weight, 7);
    assert_int_equal(problems.count, 0);
    p = (struct path){ 0 };
    assert_false(options_read("p.yaml", STR("pat: /x\n"), path_rows, &p, &problems));
    char *text = printed(&problems);
    assert_string_equal(text,
                        "p.yaml:1:1: unknown key \"pat\" (did you mean path?)\np.yaml:1:1: path: is missing: Where.\n");
    free(text);
    problems_free(&problems);
}

/* Of a part, only what it needs must be there: the sinks of its type, the log, and how topics are named. */
TEST(test_part)
{
    static const struct {
        const char *yaml, *want, *broker;
    } parts[] = {
        { "sinks: {w: {type: web, url: \"${UNSET}\", topics: [t]}, d: {type: dead}}\n" SRC "    token: ${UNSET}\n", "",
          NULL },
        { "broker: {properties: {a: \"${UNSET}\"}}\nsinks: {d: {type: dead}}\n", "",
          "the environment variable UNSET is not set (${UNSET:-default} gives it a default)" },
        { "sinks: {d: {type: dead, window: \"${UNSET}\"}}\n",
          "a.yaml:1:33: the environment variable UNSET is not set (${UNSET:-default} gives it a default)\n", NULL },
        { "broker: {prefix: \"${UNSET}\"}\nsinks: {d: {type: dead}}\n",
          "a.yaml:1:18: the environment variable UNSET is not set (${UNSET:-default} gives it a default)\n", NULL },
        { "log: {level: \"${UNSET}\"}\nsinks: {d: {type: dead}}\n",
          "a.yaml:1:14: the environment variable UNSET is not set (${UNSET:-default} gives it a default)\n", NULL },
        { "sinks: {w: {type: web, ulr: u}, d: {type: dead}}\n",
          "a.yaml:1:12: sinks.w.url: is missing: The receiver.\n"
          "a.yaml:1:24: sinks.w: unknown key \"ulr\" (did you mean url?)\n",
          NULL },
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct problems problems = { 0 };
        write_file("a.yaml", str_of(parts[i].yaml));
        struct config *c = config_load_part(&types, one, 1, "dead", &problems);
        char *text = printed(&problems);
        assert_string_equal(text, parts[i].want);
        assert_int_equal(c != NULL, parts[i].want[0] == '\0');
        if (c && parts[i].broker)
            assert_string_equal(c->broker_missing, parts[i].broker);
        else if (c)
            assert_null(c->broker_missing);
        config_free(c);
        free(text);
        problems_free(&problems);
    }
}

/* What is no regular file is read as far as it comes; what never comes is waited for only so long. */
TEST(test_pipe)
{
    static const char *const pipe_name[] = { "pipe" };
    struct problems problems = { 0 };
    assert_int_equal(mkfifo("pipe", 0600), 0);
    int fd = open("pipe", O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, END, strlen(END)), strlen(END)); /* and no end */
    assert_null(config_load(&types, pipe_name, 1, &problems));
    char *text = printed(&problems);
    assert_string_equal(text, "pipe: cannot be read: it is no regular file, and did not end within 5 s\n");
    free(text);
    problems_free(&problems);
    close(fd);
    unlink("pipe");
    int ends[2];
    char name[32];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], END, strlen(END)), strlen(END));
    close(ends[1]);
    snprintf(name, sizeof name, "/dev/fd/%d", ends[0]);
    config_free(load_ok((const char *const[]){ name }, 1));
    close(ends[0]);
}

/* Nobody writes to it: that is what is wrong, not that a secret is empty. */
TEST(test_secret_from_a_pipe)
{
    static const char *const name[] = { "a.yaml" };
    struct problems problems = { 0 };
    assert_int_equal(mkfifo("pipe", 0600), 0);
    write_file("a.yaml", STR(SRC "    token: ${file:pipe}\n" END));
    for (int i = 0; i < 2; i++) { /* without a writer, and with one that writes nothing */
        int fd = i ? open("pipe", O_RDWR | O_CLOEXEC) : -1;
        assert_null(config_load(&types, name, 1, &problems));
        char *text = printed(&problems);
        assert_string_equal(text, "a.yaml:4:12: file pipe is no regular file but a pipe, and nothing came from it\n");
        free(text);
        problems_free(&problems);
        if (fd >= 0)
            close(fd);
    }
    unlink("pipe");
}

TEST(test_print_json)
{
    char file[] = "a \"b\".yaml", what[] = "x: \"y\" is\\ wrong";
    struct problem list[] = { { file, 1, 2, what, false }, { NULL, 0, 0, what, true } };
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    problems_print_json(&(struct problems){ list, 2 }, NULL, out);
    problems_print_json(&(struct problems){ 0 }, NULL, out);
    problems_print_json(&(struct problems){ list + 1, 1 }, NULL, out);
    fclose(out);
    assert_string_equal(
        text,
        "{\"ok\":false,\"problems\":[{\"file\":\"a \\\"b\\\".yaml\",\"line\":1,\"column\":2,\"severity\":\"error\",\"text\":\"x: \\\"y\\\" is\\\\ wrong\"},"
        "{\"file\":null,\"line\":0,\"column\":0,\"severity\":\"warning\",\"text\":\"x: \\\"y\\\" is\\\\ wrong\"}]}\n{\"ok\":true,\"problems\":[]}\n"
        "{\"ok\":true,\"problems\":[{\"file\":null,\"line\":0,\"column\":0,\"severity\":\"warning\",\"text\":\"x: \\\"y\\\" is\\\\ wrong\"}]}\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_problems),
        cmocka_unit_test(test_all_problems_at_once_in_order),
        cmocka_unit_test(test_problems_are_bounded),
        cmocka_unit_test(test_alias_bomb),
        cmocka_unit_test(test_deep_and_long),
        cmocka_unit_test(test_not_utf8),
        cmocka_unit_test(test_files_missing),
        cmocka_unit_test(test_files_clash),
        cmocka_unit_test(test_a_secret_that_all_users_can_read_is_refused),
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_filter_into_the_data),
        cmocka_unit_test(test_a_word_stands_for_a_list),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_enums),
        cmocka_unit_test(test_anchors_and_merge_keys),
        cmocka_unit_test(test_files_merge),
        cmocka_unit_test(test_kafka_topics_may_be_foreign),
        cmocka_unit_test(test_listeners_on_any_port),
        cmocka_unit_test(test_also_chain),
        cmocka_unit_test(test_fill),
        cmocka_unit_test(test_part),
        cmocka_unit_test(test_pipe),
        cmocka_unit_test(test_secret_from_a_pipe),
        cmocka_unit_test(test_print_json),
    };
    return cmocka_run_group_tests_name("config", tests, make_folder, remove_folder);
}
