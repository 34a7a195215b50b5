/* SPDX-License-Identifier: MIT */
/* `aqueduct init`: a first configuration, from few questions or flags. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/cli/commands.h"
#include "bridge/cli/init_find.h"
#include "bridge/cli/init_text.h"
#include "bridge/cli/usage.h"
#include "bridge/command/given.h"
#include "bridge/config/config.h"
#include "bridge/config/preset.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/file.h"
#include "bridge/net/listen.h"

enum { INIT_FOUND = 16, INIT_BYTES = 64 << 10, INIT_PORTS = 16, INIT_ADDRESS = 64, INIT_KEY = 32 };

struct init_flags {
    struct str database, app, http, url, receiver, kafka, content, out;
    bool force, json;
};

static const struct flag init_flags[] = {
    FLAG(struct init_flags, database, .name = "--database", .value = "FILE",
         .doc = "the application's SQLite database; without it, one is looked for in the usual places"),
    FLAG(struct init_flags, app, .name = "--app", .value = "PRESET",
         .doc = "whose database it is, where its tables do not say: anythingllm, n8n, ..."),
    FLAG(struct init_flags, http, .name = "--http", .value = "ADDRESS",
         .doc = "takes what others post there: 127.0.0.1:8080, or a port of this machine alone"),
    FLAG(struct init_flags, url, .name = "--url", .value = "URL",
         .doc = "the receiver of a webhook for each event; of Slack, Discord, Teams and others in their form"),
    FLAG(struct init_flags, receiver, .name = "--for", .value = "RECEIVER",
         .doc = "which form, where the URL does not say: slack, n8n, ...; none: events as they are, signed"),
    FLAG(struct init_flags, kafka, .name = "--kafka", .value = "SERVERS",
         .doc = "host:port,...: the topics are in Kafka, not in the embedded log"),
    FLAG(struct init_flags, content, .name = "--content", .value = "HOW", .choices = "full|hash|none",
         .doc = "what people wrote: as it is (full), its digest, its length alone"),
    FLAG(struct init_flags, out, .name = "--out", .value = "FILE", .doc = "what is written; bridge.yaml"),
    FLAG(struct init_flags, force, .name = "--force", .doc = "replaces a file that is there; its secrets stay"),
    FLAG(struct init_flags, json, .name = "--json", .doc = "asks nothing, and says what it did as one JSON object"),
    { 0 },
};

static const char init_notes[] =
    "On a terminal it asks: where events come from, and where they go. With --database or --http, and without a terminal,\n"
    "it asks nothing. Secrets are drawn, and lie in files of mode 0600 beside the configuration. Then it checks what it\n"
    "wrote: exit code 1 if that has mistakes. Of a file below /etc the daemon keeps what it writes in /var/lib/aqueduct, as\n"
    "the Debian package has it; as root, --force leaves the file's owner, group and rights, and its group reads the secrets.\n\n"
    "Examples:\n"
    "  aqueduct init && aqueduct run\n"
    "  aqueduct init --database ~/.n8n/database.sqlite --url https://hooks.slack.com/services/T0/B0/x\n"
    "  aqueduct init --http 8080 --kafka kafka-1:9092,kafka-2:9092 --out /etc/aqueduct/bridge.yaml --force\n";

struct init {
    const struct command_call *call;
    const struct init_flags *f;
    struct init_plan plan;
    struct init_found found[INIT_FOUND];
    size_t found_count;
    char *out;           /* the file */
    char *answers[4];    /* what was typed */
    char *database;      /* its whole path */
    char *folder, *stem; /* before the files, and the secrets' files */
    struct stat was;     /* the file that is replaced; st_mode 0: there is none */
    char http[INIT_ADDRESS], live[INIT_ADDRESS], admin[INIT_ADDRESS];
};

/* ---- questions ---- */

/* One line from the terminal, the default where it is empty; NULL: there is no more. The caller's. */
static char *init_ask(const char *question, const char *otherwise)
{
    char *line = NULL;
    size_t cap = 0;
    printf("%s [%s]: ", question, otherwise);
    fflush(stdout);
    ssize_t n = getline(&line, &cap, stdin);
    if (n < 0) {
        free(line);
        return NULL;
    }
    line[strcspn(line, "\r\n")] = '\0';
    struct str text = str_trim(str_of(line));
    char *answer = str_dup(text.n ? text : str_of(otherwise));
    free(line);
    return answer;
}

static bool init_is_number(const char *text, int64_t *out)
{
    return str_to_i64(str_of(text), out);
}

static bool init_take_database(struct init *w, const char *path, struct err *e);
static bool init_take_http(struct init *w, const char *text, struct err *e);

static bool init_take_source(struct init *w, const char *answer, struct err *e)
{
    int64_t n;
    if (!init_is_number(answer, &n))
        return init_take_database(w, answer, e);
    if (n >= 1 && n <= (int64_t)w->found_count)
        return init_take_database(w, w->found[n - 1].path, e);
    if (n == (int64_t)w->found_count + 1)
        return init_take_http(w, "8080", e);
    return err_set(e, "there is no %" PRId64 " in the list", n);
}

/* True when it was answered: then `take` took it. */
static bool init_ask_until(struct init *w, size_t which, const char *question, const char *otherwise,
                           bool (*take)(struct init *w, const char *answer, struct err *e))
{
    for (;;) {
        struct err e;
        free(w->answers[which]);
        w->answers[which] = init_ask(question, otherwise);
        if (!w->answers[which]) {
            putchar('\n');
            given_say("init", COMMAND_FAILED, "nothing was written");
            return false;
        }
        if (take(w, w->answers[which], &e))
            return true;
        printf("  %s\n", e.text);
    }
}

/* Scheme, host and port of a URL: what is behind may be a secret. */
static struct str init_origin(const char *url)
{
    const char *host = strstr(url, "://");
    size_t scheme = host ? (size_t)(host - url) + 3 : 0;
    return (struct str){ url, scheme + strcspn(url + scheme, "/?#") };
}

static bool init_take_url(struct init *w, const char *answer, struct err *e)
{
    struct str origin = init_origin(answer);
    if (*answer && !str_starts(str_of(answer), STR("http://")) && !str_starts(str_of(answer), STR("https://")))
        return err_set(e, "a URL begins with http:// or https://");
    if (strpbrk(answer, " \t\r\n"))
        return err_set(e, "a blank or a line break is no part of a URL");
    if (origin.n && memchr(origin.at, '@', origin.n))
        return err_set(e,
                       "a user name and password stand in no URL: leave them away, and say them in the sink's basic:");
    w->plan.url = *answer ? answer : NULL;
    return true;
}

static bool init_take_kafka(struct init *w, const char *answer, struct err *e)
{
    if (*answer && (!strchr(answer, ':') || strchr(answer, '/')))
        return err_set(e, "servers are host:port, with commas between");
    w->plan.kafka = *answer ? answer : NULL;
    return true;
}

static bool init_take_content(struct init *w, const char *answer, struct err *e)
{
    static const char *const words[] = { "full", "hash", "none", NULL };
    for (size_t i = 0; words[i]; i++)
        if (strcmp(words[i], answer) == 0) {
            w->plan.content = words[i];
            return true;
        }
    return err_set(e, "full, hash or none");
}

static bool init_ask_all(struct init *w)
{
    printf("Where do events come from?\n");
    for (size_t i = 0; i < w->found_count; i++)
        printf("  %zu  %s: %s\n", i + 1, w->found[i].app->title, w->found[i].path);
    printf("  %zu  what others post (webhooks, CloudEvents)\n", w->found_count + 1);
    return init_ask_until(w, 0, "A number, or the path of a database", "1", init_take_source)
           && init_ask_until(
               w, 1,
               "A URL that gets each event (of Slack, Discord, Teams, n8n, Zapier, Flowise, Airflow in their form); nothing: "
               "only a page in the browser",
               "", init_take_url)
           && init_ask_until(w, 2, "Kafka's host:port,...; nothing: the embedded log", "", init_take_kafka)
           && (!w->plan.database
               || init_ask_until(w, 3, "What people wrote, in the events: full, hash, none", "full",
                                 init_take_content));
}

/* ---- the plan ---- */

static bool init_take_database(struct init *w, const char *path, struct err *e)
{
    const struct known_app *app = init_recognise(w->call->connectors, path, e);
    char *real = realpath(path, NULL);
    struct buf apps = buf_new(512);
    if (!real)
        err_set(e, "%s: %s", path, strerror(errno));
    bool ok = real && (app || (w->f->app.at && !*e->text));
    if (real && !ok && !*e->text) {
        init_add_apps(w->call->connectors, &apps);
        err_set(
            e,
            "%s: its tables are of no application that is known (%.*s); say which by --app, or let `aqueduct sqlite "
            "inspect` propose rules for it",
            path, STR_ARG(buf_str(&apps)));
    }
    buf_free(&apps);
    if (!ok) {
        free(real);
        return false;
    }
    free(w->database);
    w->database = real;
    w->plan.database = real;
    w->plan.app = w->f->app.at ? w->f->app.at : app->preset;
    w->plan.title = app ? app->title : w->plan.app;
    return true;
}

static bool init_take_http(struct init *w, const char *text, struct err *e)
{
    int64_t port;
    snprintf(w->http, sizeof w->http, "%s%s", init_is_number(text, &port) ? "127.0.0.1:" : "", text);
    w->plan.http = w->http;
    return listen_check(w->http, e) || err_prefix(e, "--http");
}

/* The first port from there on that nobody has, also not the address that is given; where all are taken the check says so. */
static const char *init_free_port(char out[INIT_ADDRESS], int from, const char *given)
{
    struct err e;
    for (int i = 0; i < INIT_PORTS; i++) {
        snprintf(out, INIT_ADDRESS, "127.0.0.1:%d", from + i);
        const char *port = given ? strrchr(given, ':') : NULL;
        if (!(port && strcmp(port, strrchr(out, ':')) == 0) && listen_is_possible(out, &e))
            return out;
    }
    snprintf(out, INIT_ADDRESS, "127.0.0.1:%d", from);
    return out;
}

/* Where the files are: beside the configuration; by whole names, unless that is in the working folder. Below /etc nothing
 * is written: what the daemon keeps is where the package and its unit have it. */
static bool init_set_folder(struct init *w, struct err *e)
{
    w->out = w->f->out.at ? str_dup(w->f->out) : str_dup(STR("bridge.yaml"));
    if (!str_is_utf8(str_of(w->out)))
        return err_set(e, "--out is not UTF-8, as a configuration is, which names files beside it");
    char *slash = strrchr(w->out, '/');
    if (slash) {
        char *name = str_dup((struct str){ w->out, (size_t)(slash - w->out) + 1 }), *real = realpath(name, NULL);
        if (!real)
            err_set(e, "--out %s: %s", name, strerror(errno));
        free(name);
        if (!real)
            return false;
        w->folder = str_join(real, strcmp(real, "/") == 0 ? "" : "/", "");
        free(real);
    } else
        w->folder = str_dup(STR(""));
    struct str base = str_of(slash ? slash + 1 : w->out);
    base.n -= str_ends(base, STR(".yaml")) ? 5 : str_ends(base, STR(".yml")) ? 4 : 0;
    char *name = str_dup(base);
    w->stem = str_join(*w->folder ? w->folder : "./", name, "");
    free(name);
    w->plan.served = str_starts(str_of(w->folder), STR("/etc/"));
    w->plan.data = w->plan.served ? "/var/lib/aqueduct/" : w->folder;
    w->plan.stem = w->stem;
    if (stat(w->out, &w->was) == 0 && !w->f->force)
        return err_set(e, "%s is there already: --force replaces it, --out FILE writes another", w->out);
    return true;
}

static bool init_only_found(struct init *w, struct err *e)
{
    struct buf list = buf_new(sizeof e->text / 2);
    for (size_t i = 0; i < w->found_count; i++)
        buf_printf(&list, "%s%s", i ? ", " : ": ", w->found[i].path);
    if (w->found_count == 1)
        init_take_database(w, w->found[0].path, e);
    else
        err_set(e, "where do events come from? --database FILE or --http ADDRESS (%s in the usual places%.*s)",
                w->found_count ? "several databases are" : "no database of a known application is",
                STR_ARG(buf_str(&list)));
    buf_free(&list);
    return w->plan.database;
}

/* The plan by flags. */
static bool init_take_flags(struct init *w, struct err *e)
{
    const struct init_flags *f = w->f;
    w->plan.kafka = f->kafka.at;
    w->plan.content = f->content.at ? f->content.at : "full";
    if (f->url.at && !init_take_url(w, f->url.at, e))
        return err_prefix(e, "--url");
    if (f->database.at && !init_take_database(w, f->database.at, e))
        return false;
    if (f->http.at && !init_take_http(w, f->http.at, e))
        return false;
    return true;
}

/* ---- the files ---- */

static void init_draw(enum init_secret which, const struct init_plan *p, struct buf *out)
{
    unsigned char bytes[INIT_KEY];
    struct str drawn = { (const char *)bytes, sizeof bytes };
    crypto_random(bytes, sizeof bytes);
    if (which == INIT_URL) {
        buf_add_c(out, p->url);
    } else if (which == INIT_WEBHOOK) {
        buf_add_c(out, "whsec_");
        base64_add(out, drawn);
    } else {
        hex_add(out, drawn);
    }
    buf_add_char(out, '\n');
    crypto_wipe(bytes, sizeof bytes);
}

/* Root changes nothing of who may read the file: it is the package's, for the group that its daemon runs as, or another user's. */
static bool init_is_others(const struct init *w)
{
    return w->was.st_mode && geteuid() == 0;
}

static bool init_put_file(const struct init *w, const char *file, const struct buf *text, unsigned mode, bool replace,
                          struct err *e)
{
    return file_put_for(init_is_others(w) ? &w->was : NULL, file, buf_str(text), mode, replace, e);
}

/* What is there already may be known to a receiver: it stays, but for a URL. The group that reads the configuration reads its
 * secrets, unless everybody does. */
static bool init_put_secret(const struct init *w, enum init_secret which, struct err *e)
{
    const struct init_plan *p = &w->plan;
    bool grouped = init_is_others(w) && !(w->was.st_mode & S_IRWXO);
    char *file = init_secret_file(p, which);
    struct buf text = buf_new(INIT_BYTES);
    bool ok = which != INIT_URL && access(file, F_OK) == 0;
    init_draw(which, p, &text);
    ok = ok || init_put_file(w, file, &text, 0600 | (grouped ? w->was.st_mode & S_IRGRP : 0), which == INIT_URL, e);
    crypto_wipe_buf(&text);
    free(file);
    return ok;
}

static bool init_put_all(const struct init *w, struct err *e)
{
    struct buf text = buf_new(INIT_BYTES);
    bool ok = true;
    for (int i = 0; ok && i < INIT_SECRETS; i++)
        ok = !init_wants(&w->plan, (enum init_secret)i) || init_put_secret(w, (enum init_secret)i, e);
    init_write(&w->plan, &text);
    ok = ok && (!text.failed || err_set(e, "the names are too long for a configuration"));
    ok = ok && init_put_file(w, w->out, &text, init_is_others(w) ? w->was.st_mode & 0777 : 0644, w->f->force, e);
    buf_free(&text);
    return ok;
}

/* ---- what is said ---- */

static void init_say_json(const struct init *w, const struct problems *problems)
{
    json_t *secrets = json_array();
    for (int i = 0; i < INIT_SECRETS; i++)
        if (init_wants(&w->plan, (enum init_secret)i)) {
            char *file = init_secret_file(&w->plan, (enum init_secret)i);
            json_array_append_new(secrets, json_string(file));
            free(file);
        }
    json_t *all = json_pack("{s:s, s:s?, s:s?, s:s?, s:s?, s:s, s:o}", "file", w->out, "database", w->plan.database,
                            "app", w->plan.app, "http", w->plan.http, "receiver", w->plan.receiver, "live",
                            w->plan.live, "secrets", secrets);
    problems_print_json(problems, all, stdout);
    json_decref(all);
}

static void init_say(const struct init *w, bool good, const struct problems *problems)
{
    const struct init_plan *p = &w->plan;
    bool named = strcmp(w->out, "bridge.yaml") != 0;
    char *origin = str_dup(p->url ? init_origin(p->url) : STR(""));
    problems_print(problems, stderr);
    printf("%s: %s%s%s%s%s -> topic ai.events (%s) -> %s%sa page at http://%s/\n", w->out, p->database ? p->title : "",
           p->database ? " " : "", p->database ? p->database : "", p->database && p->http ? " and " : "",
           p->http ? "what is posted" : "", p->kafka ? "Kafka" : "embedded", p->receiver ? p->receiver : origin,
           p->url ? ", and " : "", p->live);
    free(origin);
    for (int i = 0; i < INIT_SECRETS; i++)
        if (init_wants(p, (enum init_secret)i)) {
            static const char *const what[] = { "the token of who posts", "what signs; the receiver verifies with it",
                                                "the receiver's URL", "the key of the digests" };
            char *file = init_secret_file(p, (enum init_secret)i);
            printf("%s: %s\n", file, what[i]);
            free(file);
        }
    if (!good) {
        printf("mend what is said above, then: aqueduct check%s%s\n", named ? " -c " : "", named ? w->out : "");
        return;
    }
    if (p->served)
        printf(
            "next: systemctl enable aqueduct && systemctl restart aqueduct; without the package: aqueduct run -c %s\n",
            w->out);
    else
        printf("next: aqueduct run%s%s\n", named ? " -c " : "", named ? w->out : "");
    if (p->http)
        printf("then: aqueduct send%s%s /v1/events --type test.greeting --data '{\"hello\": \"world\"}'\n",
               named ? " -c " : "", named ? w->out : "");
}

static int init_check(const struct init *w)
{
    struct problems problems = { 0 };
    const char *files[] = { w->out };
    struct config *c = config_load_reviewed(w->call->connectors, files, 1, NULL, &problems);
    if (w->f->json)
        init_say_json(w, &problems);
    else
        init_say(w, c != NULL, &problems);
    config_free(c);
    problems_free(&problems);
    return c ? COMMAND_DONE : COMMAND_FAILED;
}

/* ---- the command ---- */

/* Which form the receiver gets; false with *e: --for says none that there is. */
static bool init_take_receiver(struct init *w, struct err *e)
{
    struct str form = w->f->receiver;
    char file[PRESET_FILE];
    struct buf text = buf_new(PRESET_BYTES + 1);
    bool is_form = form.at && !str_eq(form, STR("none"));
    w->plan.receiver = is_form ? form.at : !form.at && w->plan.url ? init_receiver(w->plan.url) : NULL;
    bool ok = !is_form || preset_find(PRESET_RECEIVERS, form.at, &text, file, e) || err_prefix(e, "--for");
    buf_free(&text);
    return ok && (!form.at || w->plan.url || err_set(e, "--for is of use only with a receiver: --url is missing"));
}

static int init_all(struct init *w)
{
    struct err e = { "" };
    if (!init_set_folder(w, &e) || !init_take_flags(w, &e))
        return usage_failed("init", &e);
    bool unsaid = !w->plan.database && !w->plan.http;
    if (unsaid) {
        w->found_count = init_find(w->call->connectors, w->found, INIT_FOUND);
        bool asks = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !w->f->json;
        if (asks && !init_ask_all(w))
            return COMMAND_FAILED;
        if (!asks && !init_only_found(w, &e))
            return usage_failed("init", &e);
    }
    if (!init_take_receiver(w, &e))
        return usage_failed("init", &e);
    w->plan.live = init_free_port(w->live, 8081, w->plan.http);
    w->plan.admin = init_free_port(w->admin, 9464, w->plan.http);
    return init_put_all(w, &e) ? init_check(w) : usage_failed("init", &e);
}

static int init_run(struct command_call *call)
{
    struct init w = { .call = call, .f = call->flags };
    int code = init_all(&w);
    for (size_t i = 0; i < sizeof w.answers / sizeof *w.answers; i++)
        free(w.answers[i]);
    init_free_found(w.found, w.found_count);
    free(w.database);
    free(w.folder);
    free(w.stem);
    free(w.out);
    return code;
}

const struct command command_init = {
    .name = "init",
    .synopsis = "[--database FILE | --http ADDRESS] [--url URL] [--out FILE] [--json]",
    .doc = "Write a first configuration: asks what to watch and where to deliver, and checks it.",
    .notes = init_notes,
    .flags = init_flags,
    .size = sizeof(struct init_flags),
    .run = init_run,
};
