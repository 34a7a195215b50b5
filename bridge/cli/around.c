/* SPDX-License-Identifier: MIT */
/* Looks around on this machine, and at the broker. */
#include "bridge/cli/around.h"
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <limits.h>
#include <linux/magic.h>
#include <netdb.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "bridge/admin/traces.h"
#include "bridge/broker/broker.h"
#include "bridge/lib/descriptors.h"
#include "bridge/lib/mem.h"
#include "bridge/net/listen.h"

enum {
    AROUND_TEXT = 512,
    AROUND_DESCRIPTORS = 4096,
    AROUND_SYNCS = 5,
    AROUND_SLOW_SYNC_US = 20000,
    AROUND_SLOW_BROKER_MS = 2000,
    AROUND_CONNECT_MS = 500,
    AROUND_DAYS = 14,
    AROUND_EPOCH = 1704067200, /* 2024: no clock of today says less */
};
#define AROUND_LOW  (100LL << 20) /* bytes of a file system: it is full soon */
#define AROUND_ROOM (1LL << 30)

/* ---- the machine ---- */

static void around_clock(finding_fn *each, void *ctx)
{
    struct timex t = { 0 };
    char now[CLOCK_TEXT];
    int64_t wall = clock_wall_ms();
    int state = adjtimex(&t);
    clock_text(wall, now);
    if (wall / 1000 < AROUND_EPOCH)
        each(ctx, FINDING_BROKEN, "clock", now,
             "set it: signatures carry the time, and receivers refuse those of another");
    else if (state == TIME_ERROR || (state >= 0 && (t.status & STA_UNSYNC)))
        each(ctx, FINDING_RISKY, "clock", "nothing keeps it right, as far as the kernel knows",
             "run chrony or systemd-timesyncd: a signature that is five minutes off is refused");
    else
        each(ctx, FINDING_OK, "clock", now, NULL);
}

void around_machine(const struct config *c, finding_fn *each, void *ctx)
{
    char how[AROUND_TEXT];
    int64_t limit = descriptors_limit();
    (void)c;
    around_clock(each, ctx);
    snprintf(how, sizeof how, "at most %" PRId64 " at the same time", limit);
    bool few = limit < AROUND_DESCRIPTORS;
    each(ctx, few ? FINDING_RISKY : FINDING_OK, "descriptors", how,
         few ? "raise it (LimitNOFILE= of systemd, ulimit -n): each connection takes one" : NULL);
    snprintf(how, sizeof how, "SQLite %s, librdkafka %s, %s, libcurl %s", sqlite3_libversion(), rd_kafka_version_str(),
             OpenSSL_version(OPENSSL_VERSION), curl_version_info(CURLVERSION_NOW)->version);
    each(ctx, FINDING_OK, "libraries", how, NULL);
}

/* ---- folders ---- */

static const char *around_file_system(const char *folder, const char **todo)
{
    struct statfs fs;
    if (statfs(folder, &fs) != 0)
        return NULL;
    *todo = "put it on a disk of this machine: SQLite's locks and fsync are not what they should be there";
    if (fs.f_type == NFS_SUPER_MAGIC)
        return "is on NFS";
    if (fs.f_type == SMB_SUPER_MAGIC || (unsigned long)fs.f_type == 0xff534d42 /* CIFS */)
        return "is on a share of Windows";
    *todo = "what is stored there is gone after a restart of the machine";
    return fs.f_type == TMPFS_MAGIC ? "is in memory (tmpfs)" : NULL;
}

static int around_by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The median of some durable writes; -1: errno says why it cannot be. */
static int64_t around_sync_us(const char *folder)
{
    static const char page[4096];
    int64_t took[AROUND_SYNCS];
    char *name = str_join(folder, "/.aqueduct-doctor.XXXXXX", "");
    int fd = mkostemp(name, O_CLOEXEC);
    bool ok = fd >= 0;
    for (int i = 0; ok && i < AROUND_SYNCS; i++) {
        int64_t before = clock_mono_us();
        ok = write(fd, page, sizeof page) == (ssize_t)sizeof page && fsync(fd) == 0;
        took[i] = clock_mono_us() - before;
    }
    int why = errno;
    if (fd >= 0) {
        unlink(name);
        close(fd);
    }
    free(name);
    errno = why;
    if (!ok)
        return -1;
    qsort(took, AROUND_SYNCS, sizeof *took, around_by_size);
    return took[AROUND_SYNCS / 2];
}

static const char around_more_room[] = "make room, or bound the topics (broker.max_size, retention)";

void around_folder(const char *path, finding_fn *each, void *ctx)
{
    char how[AROUND_TEXT], folder[PATH_MAX];
    const char *todo = NULL, *where;
    struct statvfs fs;
    snprintf(folder, sizeof folder, "%s", path);
    for (char *slash; access(folder, F_OK) != 0 && errno == ENOENT;) { /* the start makes it */
        slash = strrchr(folder, '/');
        snprintf(slash ? slash : folder, sizeof folder - (size_t)(slash ? slash - folder : 0), "%s",
                 !slash            ? "."
                 : slash == folder ? "/"
                                   : "");
    }
    int64_t us = around_sync_us(folder);
    if (us < 0) {
        bool is_full = errno == ENOSPC || errno == EDQUOT;
        snprintf(how, sizeof how, "cannot be written: %s", strerror(errno));
        each(ctx, FINDING_BROKEN, path, how,
             is_full ? around_more_room : "run as the user who may, or give it to him (chown)");
        return;
    }
    int64_t free_bytes = statvfs(folder, &fs) == 0 ? (int64_t)(fs.f_bavail * fs.f_frsize) : INT64_MAX;
    snprintf(how, sizeof how, "%" PRId64 " MiB free", free_bytes >> 20);
    each(ctx,
         free_bytes < AROUND_LOW    ? FINDING_BROKEN
         : free_bytes < AROUND_ROOM ? FINDING_RISKY
                                    : FINDING_OK,
         path, how, free_bytes < AROUND_ROOM ? around_more_room : NULL);
    bool slow = us > AROUND_SLOW_SYNC_US;
    snprintf(how, sizeof how, "a durable write takes %" PRId64 ".%" PRId64 " ms", us / 1000, us % 1000 / 100);
    each(ctx, slow ? FINDING_SLOW : FINDING_OK, path, how,
         slow ? "each group of events waits for one: a faster disk is a faster bridge" : NULL);
    if ((where = around_file_system(folder, &todo)))
        each(ctx, FINDING_RISKY, path, where, todo);
}

/* ---- listeners ---- */

static bool around_answers_at(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0;
    socklen_t n = sizeof error;
    if (fd < 0)
        return false;
    bool ok = connect(fd, a->ai_addr, a->ai_addrlen) == 0;
    if (!ok && errno == EINPROGRESS) {
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        ok = poll(&p, 1, AROUND_CONNECT_MS) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0;
    }
    close(fd);
    return ok;
}

/* Does somebody accept connections there? */
static bool around_answers(const char *address)
{
    struct str host = str_of(address);
    while (host.n && host.at[host.n - 1] != ':')
        host.n--;
    const char *port = host.at + host.n;
    host.n -= host.n > 0;
    if (host.n >= 2 && host.at[0] == '[')
        host = (struct str){ host.at + 1, host.n - 2 };
    char *name = str_dup(host.n == 0 || str_eq(host, STR("*")) ? STR("0.0.0.0") : host);
    struct addrinfo *list = NULL, hints = { .ai_socktype = SOCK_STREAM };
    bool answers = getaddrinfo(name, port, &hints, &list) == 0 && list && around_answers_at(list);
    if (list)
        freeaddrinfo(list);
    free(name);
    return answers;
}

void around_port(const char *address, bool runs, finding_fn *each, void *ctx)
{
    struct err e = { "" };
    if (str_starts(str_of(address), STR("unix:")) || str_ends(str_of(address), STR(":0")))
        return;
    bool answers = around_answers(address);
    if (answers && !runs)
        each(ctx, FINDING_BROKEN, address, "another program listens there",
             "end that (ss -ltnp says which it is), or choose another address");
    else if (answers)
        each(ctx, FINDING_OK, address, "the running daemon listens there", NULL);
    else if (runs)
        each(ctx, FINDING_BROKEN, address, "the running daemon does not listen there",
             "was it started with this configuration? else restart it");
    else if (!listen_is_possible(address, &e))
        each(ctx, FINDING_BROKEN, address, e.text, "choose another address");
    else
        each(ctx, FINDING_OK, address, "free", NULL);
}

void around_collector(const struct traces_config *t, struct duration limit, finding_fn *each, void *ctx)
{
    char why[CURL_ERROR_SIZE] = "", how[AROUND_TEXT];
    curl_off_t us = 0;
    struct err e = { "" };
    struct transport way = traces_way(t);
    if (!transport_check(&way, &e)) {
        each(ctx, FINDING_BROKEN, "TLS", e.text, NULL);
        return;
    }
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    CURL *c = curl_easy_init();
    CHECK(c);
    transport_set_up(&way, c);
    curl_easy_setopt(c, CURLOPT_URL, t->endpoint);
    curl_easy_setopt(c, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)limit.ms);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
    CURLcode code = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_TOTAL_TIME_T, &us);
    snprintf(how, sizeof how, "the collector of traces accepts connections, after %d ms", (int)(us / 1000));
    if (code == CURLE_OK)
        each(ctx, FINDING_OK, "connection", how, NULL);
    else
        each(ctx, FINDING_RISKY, "connection", *why ? why : curl_easy_strerror(code),
             "is the collector up, and traces.endpoint right? events go on without it, and their spans are lost");
    curl_easy_cleanup(c);
    curl_global_cleanup();
}

void around_certificate(const char *file, finding_fn *each, void *ctx)
{
    FILE *f = fopen(file, "re");
    X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    int days = 0, seconds = 0;
    char how[AROUND_TEXT];
    if (x && ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x))) {
        bool over = days < 0 || seconds < 0;
        snprintf(how, sizeof how, over ? "ended %d days ago" : "is good for %d days", over ? -days : days);
        each(ctx,
             over                 ? FINDING_BROKEN
             : days < AROUND_DAYS ? FINDING_RISKY
                                  : FINDING_OK,
             file, how, over || days < AROUND_DAYS ? "renew it; the file is read anew by itself" : NULL);
    } /* what is no certificate, the check says */
    X509_free(x);
    if (f)
        fclose(f);
}

/* ---- the broker ---- */

static const char *around_broker_todo(const char *why)
{
    static const struct {
        const char *part, *todo;
    } known[] = {
        { "no token for the login", "look at broker.sasl: token_url, ca_file, client_id, client_secret, or token" },
        { "refuses the login", "look at broker.sasl: mechanism, and username and password, or whose the token is" },
        { "no TLS connection", "look at broker.tls: ca_file, cert_file, key_file; and at the servers' certificates" },
        { "ends every connection", "look at broker.tls and broker.sasl: what does that port want?" },
        { "is not found", "are the names in `servers` spelt right, and known to this machine's DNS?" },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strstr(why, known[i].part))
            return known[i].todo;
    return "does it run, are `servers` right, and can this machine reach also what it advertises (advertised.listeners)?";
}

/* What is wrong; what says how to allow it is what to do. */
static void around_broker_broken(const char *what, const struct err *e, finding_fn *each, void *ctx)
{
    static const char allow[] = "; to allow it: ";
    char how[AROUND_TEXT];
    const char *line = strstr(e->text, allow);
    snprintf(how, sizeof how, "%.*s", (int)(line ? (size_t)(line - e->text) : strlen(e->text)), e->text);
    each(ctx, FINDING_BROKEN, what, how, line ? line + sizeof allow - 1 : around_broker_todo(e->text));
}

static void around_count(void *ctx, const struct standing *s)
{
    (void)s;
    ++*(size_t *)ctx;
}

static void around_topic_missing(const struct config *c, const char *topic, finding_fn *each, void *ctx)
{
    struct err e = { "" };
    if (broker_can_make(&c->broker, topic, &e))
        each(ctx, FINDING_OK, topic, "is not there yet; the start makes it", NULL);
    else
        around_broker_broken(topic, &e, each, ctx);
}

/* False: the cluster itself does not answer. */
static bool around_group(const struct config *c, const struct sink_config *s, const char *topic, finding_fn *each,
                         void *ctx)
{
    struct err e = { "" };
    char *group = str_join(c->broker.group_prefix, s->sink->id, ""), how[AROUND_TEXT];
    size_t partitions = 0;
    bool ok = broker_standing(&c->broker, group, topic, around_count, &partitions, &e);
    if (!ok) {
        around_broker_broken(topic, &e, each, ctx);
    } else if (partitions == 0) {
        around_topic_missing(c, topic, each, ctx);
    } else {
        snprintf(how, sizeof how, "%zu partition%s, read by group %s", partitions, partitions == 1 ? "" : "s", group);
        each(ctx, FINDING_OK, topic, how, NULL);
    }
    free(group);
    return ok || strstr(e.text, "denies access");
}

static void around_log(const struct config *c, struct duration limit, finding_fn *each, void *ctx)
{
    struct err how;
    bool whole = broker_is_whole(&c->broker, (struct duration){ limit.ms / 2 }, &how);
    if (how.text[0])
        each(ctx, whole ? FINDING_OK : FINDING_BROKEN, "log", how.text, NULL);
}

void around_broker(const struct config *c, struct duration limit, finding_fn *each, void *ctx)
{
    char how[AROUND_TEXT];
    struct err e = { "" };
    size_t partitions = 0;
    if (!broker_facts(&c->broker).needs_servers) {
        around_log(c, limit, each, ctx);
        return;
    }
    int64_t before = clock_mono_ms();
    char *group = str_join(c->broker.group_prefix, "doctor", "");
    bool ok = broker_standing(&c->broker, group, group, around_count, &partitions, &e)
              || strstr(e.text, "denies access");
    int64_t ms = clock_mono_ms() - before;
    free(group);
    if (!ok) {
        around_broker_broken("cluster", &e, each, ctx);
        return;
    }
    snprintf(how, sizeof how, "answers after %" PRId64 " ms", ms);
    bool slow = ms > AROUND_SLOW_BROKER_MS;
    each(ctx, slow ? FINDING_SLOW : FINDING_OK, "cluster", how, slow ? "look at the way to it, and at its load" : NULL);
    for (size_t i = 0; i < c->sink_count; i++)
        for (size_t k = 0; !c->sinks[i].sink->ops->broadcast && k < c->sinks[i].topics.count; k++)
            if (!around_group(c, &c->sinks[i], c->sinks[i].topics.at[k], each, ctx))
                return;
}
