/* SPDX-License-Identifier: MIT */
/* The login as its files are by now: a password, a certificate, a key, an authority that change are taken without a restart.
 *
 *   files change --the poller reads them--> good: they are kept, and each client follows, on its own thread
 *                                       `-> not, as a certificate whose key is still the old one: what was kept stays
 *
 * What was good last is kept in memory, and every client is made of that, also one that is made while the files are not good.
 * librdkafka takes a certificate with its chain by the name of a file alone, so they are files in memory. Clients that are there get
 * a new password as they are: their connections stay. Of certificates librdkafka keeps what a client was made with, so for new
 * ones each of those that live long makes itself another client. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/expand.h"
#include "bridge/lib/file.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/watch.h"

enum { FOLLOW_FILES = 3, FOLLOW_FILE_BYTES = 4 << 20 };

struct follow_login { /* one that was good */
    const struct broker_config *said;
    int fds[FOLLOW_FILES]; /* ca_file, cert_file, key_file in memory; -1: there is none */
    char paths[FOLLOW_FILES][32];
    unsigned char sums[FOLLOW_FILES][SHA256_BYTES]; /* of what is in them */
    char *password;                                 /* NULL: none */
};

struct kafka_follow {
    const struct broker_config *_Atomic wanted; /* the configuration by now */
    const struct broker_config *watched;        /* the poller's, as is: */
    struct watch watch;
    atomic_uint version, clients;      /* of the login; and the last one for which clients need a successor */
    pthread_mutex_t lock;              /* guards what follows */
    struct follow_login *now, *before; /* before: of which somebody may still be making a client */
    struct err why;                    /* what the files say is not good; "": it is, or it was not looked at */
};

/* ---- reading ---- */

static void follow_free(struct follow_login *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < FOLLOW_FILES; i++)
        if (l->fds[i] >= 0)
            close(l->fds[i]);
    kafka_login_wipe(l->password);
    free(l);
}

/* A copy of the file in memory, for us alone. */
static bool follow_read_file(struct follow_login *l, size_t i, const char *path, struct err *e)
{
    if (!path || !*path)
        return true;
    struct buf text = buf_new(FOLLOW_FILE_BYTES + 1);
    bool ok = file_check_regular_at(path, e)
              && (file_read(path, FOLLOW_FILE_BYTES, &text)
                  || err_set(e, "%s cannot be read: %s", path, strerror(errno)));
    if (ok) {
        l->fds[i] = memfd_create("aqueduct-login", MFD_CLOEXEC);
        snprintf(l->paths[i], sizeof l->paths[i], "/proc/self/fd/%d", l->fds[i]);
        sha256_of(buf_str(&text), l->sums[i]);
        ok = (l->fds[i] >= 0 && fchmod(l->fds[i], 0600) == 0 && write(l->fds[i], text.at, text.n) == (ssize_t)text.n)
             || err_set(e, "%s cannot be kept in memory: %s", path, strerror(errno));
    }
    crypto_wipe_buf(&text);
    return ok;
}

static bool follow_read_password(struct follow_login *l, const struct secret *s, struct err *e)
{
    return kafka_login_read(s, &l->password, e) || err_prefix(e, "broker.sasl.password");
}

static void follow_fill(const struct follow_login *l, struct broker_config *out)
{
    char **const files[FOLLOW_FILES] = { &out->tls.ca_file, &out->tls.cert_file, &out->tls.key_file };
    for (size_t i = 0; i < FOLLOW_FILES; i++)
        if (l->fds[i] >= 0)
            *files[i] = (char *)(uintptr_t)l->paths[i];
    out->sasl.password = (struct secret){ .text = l->password };
}

/* Whether a key with a password fits its certificate, only librdkafka knows, which has the password. */
static bool follow_try(const struct broker_config *now, struct err *e)
{
    if (!kafka_conf_has(now, "ssl.key.password"))
        return true;
    rd_kafka_conf_t *conf = kafka_conf(now, KAFKA_PRODUCER, NULL, e);
    rd_kafka_t *rk = conf ? kafka_client_begin(RD_KAFKA_PRODUCER, conf, e) : NULL;
    if (rk)
        rd_kafka_destroy(rk);
    return rk || err_prefix(e, "broker.tls");
}

/* NULL with *e: it is not good. The files are looked at by their names first, which are in the error then. */
static struct follow_login *follow_read(const struct broker_config *said, struct err *e)
{
    static const char *const options[FOLLOW_FILES] = { "ca_file", "cert_file", "key_file" };
    const char *const files[FOLLOW_FILES] = { said->tls.ca_file, said->tls.cert_file, said->tls.key_file };
    struct broker_config now = *said;
    struct follow_login *l = mem_alloc(sizeof *l);
    *l = (struct follow_login){ .said = said, .fds = { -1, -1, -1 } };
    bool ok = kafka_login_check(said, e) && follow_read_password(l, &said->sasl.password, e);
    for (size_t i = 0; i < FOLLOW_FILES && ok; i++)
        ok = follow_read_file(l, i, files[i], e) || err_prefix(e, "broker.tls.%s", options[i]);
    follow_fill(l, &now);
    if (ok && kafka_login_check(&now, e) && follow_try(&now, e))
        return l;
    follow_free(l);
    return NULL;
}

/* ---- open and close ---- */

static void follow_watch(struct kafka_follow *f, const struct broker_config *said)
{
    const char *const files[FOLLOW_FILES] = { said->tls.ca_file, said->tls.cert_file, said->tls.key_file };
    struct str rest = str_of(said->sasl.password.written), path;
    watch_end(&f->watch);
    for (size_t i = 0; i < FOLLOW_FILES; i++)
        watch_add(&f->watch, files[i]);
    while (rest.at && expand_next_file(&rest, &path)) {
        char *name = str_dup(path);
        watch_add(&f->watch, name);
        free(name);
    }
    watch_begin(&f->watch);
    f->watched = said;
}

struct kafka_follow *kafka_follow_open(const struct broker_config *config, struct err *e)
{
    struct kafka_follow *f = mem_alloc(sizeof *f);
    *f = (struct kafka_follow){ .wanted = config };
    pthread_mutex_init(&f->lock, NULL);
    follow_watch(f, config);
    f->now = follow_read(config, e);
    if (f->now)
        return f;
    kafka_follow_close(f);
    return NULL;
}

void kafka_follow_close(struct kafka_follow *f)
{
    if (!f)
        return;
    watch_end(&f->watch);
    follow_free(f->now);
    follow_free(f->before);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* ---- what changes ---- */

void kafka_follow(struct broker *base, const struct broker_config *config)
{
    struct kafka *b = (struct kafka *)base;
    atomic_store(&b->follow->wanted, config);
    kafka_wave_wake(b);
}

/* Of what librdkafka keeps as a client was made with it. */
static bool follow_needs_clients(const struct follow_login *a, const struct follow_login *b)
{
    const struct broker_config *x = a->said, *y = b->said;
    bool other = x != y
                 && (x->sasl.mechanism != y->sasl.mechanism || y->sasl.mechanism == SASL_OAUTHBEARER
                     || kafka_login_has_tls(x) != kafka_login_has_tls(y));
    return other || memcmp(a->sums, b->sums, sizeof a->sums) != 0;
}

static bool follow_text_differs(const char *a, const char *b)
{
    return a != b && (!a || !b || strcmp(a, b) != 0);
}

/* From here on clients are made of it. */
static void follow_adopt(struct kafka *b, struct follow_login *fresh)
{
    struct kafka_follow *f = b->follow;
    bool clients = follow_needs_clients(f->now, fresh);
    bool changed = clients || follow_text_differs(f->now->password, fresh->password)
                   || follow_text_differs(f->now->said->sasl.username, fresh->said->sasl.username);
    if (!changed && f->now->said == fresh->said) {
        follow_free(fresh);
        return;
    }
    pthread_mutex_lock(&f->lock);
    follow_free(f->before);
    f->before = f->now;
    f->now = fresh;
    atomic_store(&b->config, fresh->said);
    unsigned version = atomic_load(&f->version) + changed;
    if (clients)
        atomic_store(&f->clients, version);
    atomic_store(&f->version, version);
    pthread_mutex_unlock(&f->lock);
}

void kafka_follow_turn(struct kafka *b)
{
    struct kafka_follow *f = b->follow;
    const struct broker_config *wanted = atomic_load(&f->wanted);
    struct err why = { "" };
    if (wanted != f->watched)
        follow_watch(f, wanted);
    else if (!watch_has_news(&f->watch))
        return;
    struct follow_login *fresh = follow_read(wanted, &why);
    watch_tell("login", "broker", fresh ? NULL : &why);
    if (fresh)
        follow_adopt(b, fresh);
    pthread_mutex_lock(&f->lock);
    f->why = why;
    pthread_mutex_unlock(&f->lock);
}

/* ---- who follows ---- */

void kafka_follow_fill(const struct kafka *b, struct broker_config *config)
{
    struct kafka_follow *f = b->follow;
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    *config = *f->now->said;
    follow_fill(f->now, config);
    pthread_mutex_unlock(&f->lock);
}

unsigned kafka_follow_version(const struct kafka *b)
{
    return atomic_load(&b->follow->version);
}

bool kafka_follow_is_old(const struct kafka *b, rd_kafka_t *rk, unsigned *version)
{
    struct kafka_follow *f = b->follow;
    unsigned newest = atomic_load(&f->version);
    if (*version == newest)
        return false;
    if ((int)(atomic_load(&f->clients) - *version) > 0)
        return true;
    pthread_mutex_lock(&f->lock);
    if (f->now->password)
        rd_kafka_error_destroy(rd_kafka_sasl_set_credentials(rk, f->now->said->sasl.username, f->now->password));
    pthread_mutex_unlock(&f->lock);
    *version = newest;
    return false;
}

void kafka_follow_note(const struct kafka *b, struct err *why)
{
    if (!why)
        return;
    pthread_mutex_lock(&b->follow->lock);
    if (b->follow->why.text[0])
        err_set(why, "the login's files are not good, and what was read before stays in use: %s", b->follow->why.text);
    else
        why->text[0] = '\0';
    pthread_mutex_unlock(&b->follow->lock);
}
