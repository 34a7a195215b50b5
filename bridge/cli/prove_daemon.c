/* SPDX-License-Identifier: MIT */
/* The daemon that is killed: this program, with a configuration, a folder and topics of its own. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bridge/broker/broker.h"
#include "bridge/cli/prove_private.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/file.h"
#include "bridge/lib/interrupt.h"
#include "bridge/lib/json.h"
#include "bridge/lib/mem.h"

enum { DAEMON_STOP_MS = 20000, DAEMON_LOOK_MS = 20, DAEMON_TEXT = 1 << 20 };

/* ---- its configuration ---- */

/* What was expanded is text: no ${ in it is a variable any more. */
static json_t *daemon_text(const char *text)
{
    struct buf out = buf_new(DAEMON_TEXT);
    for (const char *c = text; *c; c++) {
        if (c[0] == '$' && c[1] == '{')
            buf_add_char(&out, '$');
        buf_add_char(&out, *c);
    }
    json_t *j = json_of_text(buf_str(&out));
    buf_free(&out);
    return j;
}

static json_t *daemon_escape(json_t *j)
{
    const char *key;
    json_t *value;
    size_t i;
    void *next;
    if (json_is_string(j))
        return daemon_text(json_string_value(j));
    json_object_foreach_safe(j, next, key, value) json_object_set_new(j, key, daemon_escape(value));
    json_array_foreach(j, i, value) json_array_set_new(j, i, daemon_escape(value));
    return json_incref(j);
}

/* The user's, but for the names of what is its own. On Kafka it is a static member, as the user's is: one that is killed would else
 * be waited for until its session ends, and be killed again before anything is delivered. */
static json_t *daemon_broker(const struct prove_daemon *d)
{
    json_t *whole = config_broker_json(d->config), *broker = daemon_escape(whole);
    json_decref(whole);
    json_object_set_new(broker, "prefix", json_string(d->prefix));
    json_object_set_new(broker, "group_prefix", json_string(d->group_prefix));
    if (d->path)
        json_object_set_new(broker, "path", daemon_text(d->path));
    else
        json_object_set_new(broker, "instance", json_string("prove"));
    return broker;
}

static json_t *daemon_config(const struct prove_daemon *d, const struct prove_books *b)
{
    json_t *source = json_pack("{s:s,s:o,s:[{s:s,s:s,s:{s:s,s:[s]}}]}", "type", "http", "listen",
                               json_sprintf("unix:%s", b->socket), "paths", "path", "/prove", "ce_source", "any",
                               "verify", "scheme", "bearer", "secrets", b->token);
    json_t *sink = json_pack("{s:s,s:[s],s:o,s:[o],s:s,s:[s,s,s,s,s],s:s,s:s}", "type", "webhook", "topics", d->topic,
                             "url", json_sprintf("http://127.0.0.1:%d/", b->port), "secrets",
                             json_sprintf("%s-%s", b->token, d->run), "body", "binary", "retry", "100ms", "300ms", "1s",
                             "2s", "5s", "retry_memory", "200ms", "timeout", "5s");
    return json_pack("{s:o,s:{s:{s:i}},s:{s:o},s:[{s:s,s:s}],s:{s:o},s:{s:s,s:o},s:{s:s}}", "broker", daemon_broker(d),
                     "topics", d->topic, "partitions", 3, "sources", "sender", source, "routes", "topic", d->topic,
                     "key", "subject", "sinks", "receiver", sink, "admin", "listen", "", "control",
                     json_sprintf("%s/control", d->sockets), "log", "level", "warn");
}

static bool daemon_write(const struct prove_daemon *d, const struct prove_books *b, struct err *e)
{
    json_t *j = daemon_config(d, b);
    CHECK(j);
    int fd = file_open_own(d->file, e);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    bool ok = file && json_dumpf(j, file, JSON_INDENT(2)) == 0;
    ok = file && fclose(file) == 0 && ok;
    json_decref(j);
    return ok || err_set(e, "%s: cannot be written: %s", d->file, strerror(errno));
}

/* ---- what is its own ---- */

/* The log is on the disk that the user's is on. */
static bool daemon_names(struct prove_daemon *d, struct prove_books *b, struct err *e)
{
    const struct broker_config *c = &d->config->broker;
    const char *tmp = getenv("TMPDIR");
    unsigned char random[4];
    crypto_random(random, sizeof random);
    snprintf(d->run, sizeof d->run, "%02x%02x%02x%02x", random[0], random[1], random[2], random[3]);
    char *sockets = str_join(tmp && tmp[0] ? tmp : "/tmp", "/aqueduct-prove-XXXXXX", "");
    if (!mkdtemp(sockets)) {
        err_set(e, "%s: cannot be made: %s", sockets, strerror(errno));
        free(sockets);
        return false;
    }
    char *own = str_join("prove-", d->run, ".");
    d->sockets = sockets;
    d->file = str_join(sockets, "/bridge.yaml", "");
    d->log = str_join(sockets, "/daemon.log", "");
    d->all = str_join(c->prefix, own, "");
    d->prefix = str_join(d->all, "own.", "");
    d->group_prefix = str_join(c->group_prefix, own, "");
    d->topic = str_join(d->all, "events", "");
    d->path = broker_facts(c).own_folder ? str_join(broker_facts(c).own_folder, "-prove-", d->run) : NULL;
    b->socket = str_join(sockets, "/in.sock", "");
    free(own);
    return true;
}

bool prove_daemon_open(struct prove_daemon *d, const struct config *config, struct prove_books *books, struct err *e)
{
    d->config = config;
    if (!broker_facts(&config->broker).own_folder && !broker_facts(&config->broker).is_shared)
        return err_set(e, "broker.path: a log in memory is gone with its process; there is nothing to prove");
    if (!daemon_names(d, books, e))
        return false;
    d->own = *config;
    d->own.broker.prefix = d->prefix;
    d->own.broker.group_prefix = d->group_prefix;
    d->own.broker.path = d->path ? d->path : config->broker.path;
    d->listed = (struct topic_config){ .name = d->topic };
    d->own.topics = (struct list){ &d->listed, 1 };
    return daemon_write(d, books, e);
}

/* ---- its lives ---- */

static void daemon_become(const struct prove_daemon *d, int log)
{
    size_t kept = 0;
    for (char **one = environ; *one; one++) /* what it says of a configuration is in the file, as far as it is wanted */
        if (!str_starts(str_of(*one), STR("AQUEDUCT__")))
            environ[kept++] = *one;
    environ[kept] = NULL;
    char *const words[] = { (char[]){ "aqueduct" }, (char[]){ "run" }, (char[]){ "-c" }, d->file, NULL };
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it does not outlive us */
    setpgid(0, 0);                    /* Ctrl-C is for us */
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv("/proc/self/exe", words);
    _exit(127);
}

bool prove_daemon_start(struct prove_daemon *d, struct err *e)
{
    int log = open(d->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    d->started = true;
    d->pid = log < 0 ? -1 : fork();
    if (d->pid == 0)
        daemon_become(d, log);
    int cause = errno;
    if (log >= 0)
        close(log);
    if (d->pid > 0)
        return true;
    d->pid = 0;
    return err_set(e, "no daemon can be started: %s", strerror(cause));
}

bool prove_daemon_runs(struct prove_daemon *d)
{
    if (d->pid && waitpid(d->pid, NULL, WNOHANG) == d->pid)
        d->pid = 0;
    return d->pid != 0;
}

void prove_daemon_kill(struct prove_daemon *d)
{
    if (!d->pid)
        return;
    kill(d->pid, SIGKILL);
    waitpid(d->pid, NULL, 0);
    d->pid = 0;
}

void prove_daemon_stop(struct prove_daemon *d)
{
    int64_t until = clock_mono_ms() + DAEMON_STOP_MS;
    if (d->pid)
        kill(d->pid, SIGTERM);
    while (prove_daemon_runs(d) && clock_mono_ms() < until)
        usleep(DAEMON_LOOK_MS * 1000);
    prove_daemon_kill(d);
}

/* ---- nothing is left ---- */

/* Its files, none of which is a folder; then itself. */
static bool daemon_remove_folder(const char *path, struct err *e)
{
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT || err_set(e, "%s: %s", path, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(dir));) {
        char *file = str_join(path, "/", entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlink(file);
        free(file);
    }
    closedir(dir);
    return rmdir(path) == 0 || err_set(e, "%s: cannot be removed: %s", path, strerror(errno));
}

bool prove_daemon_close(struct prove_daemon *d, bool keep, struct err *e)
{
    bool ok = true;
    struct broker_config all = d->own.broker;
    all.prefix = d->all;
    prove_daemon_kill(d);
    if (d->sockets && d->path && !keep)
        ok = daemon_remove_folder(d->path, e);
    else if (d->sockets && !d->path && d->started)
        ok = broker_remove(&all, e);
    if (d->sockets && !keep)
        ok = daemon_remove_folder(d->sockets, e) && ok;
    free(d->sockets);
    free(d->file);
    free(d->log);
    free(d->all);
    free(d->prefix);
    free(d->group_prefix);
    free(d->topic);
    free(d->path);
    return ok;
}
