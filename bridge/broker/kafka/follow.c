/* SPDX-License-Identifier: MIT */
/* The login as its files are by now: a password, a certificate, a key, an authority that change are taken without a restart, and so is
 * any property of the configuration.
 *
 *   files change --the poller reads them--> good: they are kept, and each client follows, on its own thread
 *                                       `-> not, as a certificate whose key is still the old one: what was kept stays
 *
 * What was good last is kept in memory, and every client is made of that, also one that is made while the files are not good.
 * librdkafka takes a certificate with its chain by the name of a file alone, so they are files in memory. Clients that are there get
 * a new password as they are: their connections stay. Of everything else librdkafka keeps what a client was made with, so for that
 * each of those that live long makes itself another client. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/expand.h"
#include "bridge/lib/file.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/watch.h"

enum { FOLLOW_FILES = 16, FOLLOW_FILE_BYTES = 4 << 20 };

struct follow_file { /* in memory */
    int fd;
    char path[32];
};

struct follow_login { /* one that was good */
    const struct broker_config *said;
    struct broker_config now; /* of what the files said; with texts of its own, in tls, sasl.password and properties */
    struct follow_file files[FOLLOW_FILES];
    size_t file_count;
    unsigned char made_with[SHA256_BYTES]; /* of all that librdkafka keeps as a client was made with it */
    unsigned users;                        /* the lock's */
};

struct kafka_follow {
    const struct broker_config *_Atomic wanted; /* the configuration by now */
    const struct broker_config *watched;        /* the poller's, as is: */
    struct watch watch;
    atomic_uint version, clients; /* of the login; and the last one for which clients need a successor */
    pthread_mutex_t lock;         /* guards what follows */
    struct follow_login *now;
    struct err why; /* what the files say is not good; "": it is, or it was not looked at */
};

/* ---- reading ---- */

static void follow_free(struct follow_login *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->file_count; i++)
        close(l->files[i].fd);
    for (size_t i = 0; i < l->now.properties.count; i++)
        kafka_login_wipe(l->now.properties.at[i].value);
    free(l->now.properties.at);
    kafka_login_wipe(l->now.sasl.password.text);
    free(l);
}

/* What is mixed in makes it another login. */
static void follow_mix(struct follow_login *l, struct str name, struct str value)
{
    unsigned char sums[3][SHA256_BYTES];
    memcpy(sums[0], l->made_with, SHA256_BYTES);
    sha256_of(name, sums[1]);
    sha256_of(value, sums[2]);
    sha256_of((struct str){ (const char *)sums, sizeof sums }, l->made_with);
}

/* A copy of the file in memory, for us alone; its name there in `path`. */
static bool follow_keep(struct follow_login *l, const char *option, const char *name, const char **path, struct err *e)
{
    struct buf text = buf_new(FOLLOW_FILE_BYTES + 1);
    struct follow_file *f = &l->files[l->file_count];
    CHECK(l->file_count < FOLLOW_FILES);
    bool ok = file_check_regular_at(name, e)
              && (file_read(name, FOLLOW_FILE_BYTES, &text)
                  || err_set(e, "%s cannot be read: %s", name, strerror(errno)));
    if (ok) {
        f->fd = memfd_create("aqueduct-login", MFD_CLOEXEC);
        l->file_count += f->fd >= 0;
        snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", f->fd);
        *path = f->path;
        follow_mix(l, str_of(option), buf_str(&text));
        ok = (f->fd >= 0 && fchmod(f->fd, 0600) == 0 && write(f->fd, text.at, text.n) == (ssize_t)text.n)
             || err_set(e, "%s cannot be kept in memory: %s", name, strerror(errno));
    }
    crypto_wipe_buf(&text);
    return ok || err_prefix(e, "broker.%s", option);
}

static bool follow_read_tls(struct follow_login *l, struct err *e)
{
    const struct {
        const char *option;
        char **path;
    } files[] = { { "tls.ca_file", &l->now.tls.ca_file },
                  { "tls.cert_file", &l->now.tls.cert_file },
                  { "tls.key_file", &l->now.tls.key_file } };
    for (size_t i = 0; i < sizeof files / sizeof *files && kafka_login_has_tls(l->said); i++) {
        const char *path = *files[i].path;
        if (path && *path && !follow_keep(l, files[i].option, path, &path, e))
            return false;
        *files[i].path = (char *)(uintptr_t)path;
    }
    return true;
}

/* Is it given to clients as they are? */
static bool follow_is_credential(const struct broker_config *c, const char *key)
{
    const char *mechanism = kafka_login_mechanism(c);
    bool by_password = strcasecmp(mechanism, "PLAIN") == 0 || str_starts_nocase(str_of(mechanism), STR("SCRAM"));
    return by_password && (strcmp(key, "sasl.username") == 0 || strcmp(key, "sasl.password") == 0);
}

static bool follow_read_property(struct follow_login *l, const struct map_entry *said, struct err *e)
{
    char option[256];
    struct map_entry *now = &l->now.properties.at[l->now.properties.count++];
    const char *path = "";
    *now = (struct map_entry){ .key = said->key };
    snprintf(option, sizeof option, "properties.%s", said->key);
    if (!kafka_conf_check_file(said, e))
        return false;
    if (!kafka_login_read(&(struct secret){ .text = said->value, .written = said->written }, &now->value, e))
        return err_prefix(e, "broker.%s", option);
    if (!kafka_conf_is_kept(said->key, now->value)) {
        if (!follow_is_credential(l->said, said->key))
            follow_mix(l, str_of(option), str_of(now->value));
        return true;
    }
    if (!follow_keep(l, option, now->value, &path, e))
        return false;
    free(now->value);
    now->value = str_dup(str_of(path));
    return true;
}

/* NULL with *e: it is not good. The files are looked at by their names first, which are in the error then. */
static struct follow_login *follow_read(const struct broker_config *said, struct err *e)
{
    struct follow_login *l = mem_alloc(sizeof *l);
    *l = (struct follow_login){ .said = said, .now = *said };
    l->now.sasl.password.text = NULL;
    l->now.properties = (struct map){ .at = mem_alloc((said->properties.count + 1) * sizeof(struct map_entry)) };
    bool ok = kafka_login_check(said, e)
              && (kafka_login_read(&said->sasl.password, &l->now.sasl.password.text, e)
                  || err_prefix(e, "broker.sasl.password"));
    l->now.sasl.password.written = NULL;
    follow_mix(l, STR("tls"), kafka_login_has_tls(said) ? STR("on") : STR("off"));
    follow_mix(l, STR("mechanism"), str_of(kafka_login_mechanism(said)));
    if (said->sasl.mechanism == SASL_OAUTHBEARER) /* its clients ask for tokens by it */
        follow_mix(l, STR("said"), (struct str){ (const char *)&said, sizeof said });
    for (size_t i = 0; i < said->properties.count && ok; i++)
        ok = follow_read_property(l, &said->properties.at[i], e);
    if (ok && follow_read_tls(l, e) && kafka_login_check(&l->now, e))
        return l;
    follow_free(l);
    return NULL;
}

static void follow_on_log(const rd_kafka_t *rk, int level, const char *kind, const char *text)
{
    (void)rk, (void)level, (void)kind, (void)text;
}

/* Whether all of it goes together, as a key with a password and its certificate, only librdkafka knows. */
static bool follow_try(const struct broker_config *now, struct err *e)
{
    static const enum kafka_role roles[] = { KAFKA_PRODUCER, KAFKA_MEMBER };
    char text[KAFKA_ERRSTR];
    bool ok = true;
    for (size_t i = 0; i < sizeof roles / sizeof *roles && ok && now->properties.count; i++) {
        bool produces = roles[i] == KAFKA_PRODUCER;
        rd_kafka_conf_t *conf = kafka_conf(now, roles[i], produces ? NULL : "check", e);
        if (!conf)
            return false;
        rd_kafka_conf_set_log_cb(conf, follow_on_log);
        rd_kafka_conf_set(conf, "bootstrap.servers", NULL, NULL, 0); /* nobody is reached, or waited for at its end */
        rd_kafka_t *rk = rd_kafka_new(produces ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, text, sizeof text);
        if (rk)
            rd_kafka_destroy(rk);
        else
            rd_kafka_conf_destroy(conf);
        ok = rk || err_set(e, "broker: no client can be made of it: %s", text);
    }
    return ok;
}

bool kafka_follow_check(const struct broker_config *config, struct err *e)
{
    struct follow_login *l = follow_read(config, e);
    bool ok = l && follow_try(&l->now, e);
    follow_free(l);
    return ok;
}

/* ---- open and close ---- */

static void follow_watch_written(struct kafka_follow *f, const char *written)
{
    struct str rest = str_of(written), path;
    while (rest.at && expand_next_file(&rest, &path)) {
        char *name = str_dup(path);
        watch_add(&f->watch, name);
        free(name);
    }
}

static void follow_watch(struct kafka_follow *f, const struct broker_config *said)
{
    const char *const files[] = { said->tls.ca_file, said->tls.cert_file, said->tls.key_file };
    watch_end(&f->watch);
    for (size_t i = 0; i < sizeof files / sizeof *files && kafka_login_has_tls(said); i++)
        watch_add(&f->watch, files[i]);
    follow_watch_written(f, said->sasl.password.written);
    for (size_t i = 0; i < said->properties.count; i++) {
        const struct map_entry *p = &said->properties.at[i];
        follow_watch_written(f, p->written);
        if (kafka_conf_is_kept(p->key, p->value))
            watch_add(&f->watch, p->value);
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
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* ---- what changes ---- */

void kafka_follow(struct broker *base, const struct broker_config *config)
{
    struct kafka *b = (struct kafka *)base;
    atomic_store(&b->follow->wanted, config);
    kafka_registry_follow(b);
    kafka_wave_wake(b);
}

static const char *follow_password(const struct broker_config *c)
{
    return c->sasl.mechanism ? c->sasl.password.text : kafka_conf_value(c, "sasl.password");
}

static bool follow_text_differs(const char *a, const char *b)
{
    return a != b && (!a || !b || strcmp(a, b) != 0);
}

/* From here on clients are made of it; false with *e: none could be. */
static bool follow_adopt(struct kafka *b, struct follow_login *fresh, struct err *e)
{
    struct kafka_follow *f = b->follow;
    struct follow_login *old = f->now;
    bool clients = memcmp(old->made_with, fresh->made_with, SHA256_BYTES) != 0;
    bool changed = clients || follow_text_differs(follow_password(&old->now), follow_password(&fresh->now))
                   || follow_text_differs(kafka_login_username(&old->now), kafka_login_username(&fresh->now));
    if ((!changed && old->said == fresh->said) || (clients && !follow_try(&fresh->now, e))) {
        follow_free(fresh);
        return !e->text[0];
    }
    pthread_mutex_lock(&f->lock);
    f->now = fresh;
    atomic_store(&b->config, fresh->said);
    unsigned version = atomic_load(&f->version) + changed;
    if (clients)
        atomic_store(&f->clients, version);
    atomic_store(&f->version, version);
    bool used = old->users > 0; /* then the last of them frees it */
    pthread_mutex_unlock(&f->lock);
    if (!used)
        follow_free(old);
    return true;
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
    bool good = fresh && follow_adopt(b, fresh, &why);
    watch_tell("login", "broker", good ? NULL : &why);
    pthread_mutex_lock(&f->lock);
    f->why = why;
    pthread_mutex_unlock(&f->lock);
}

/* ---- who follows ---- */

const struct broker_config *kafka_follow_take(const struct kafka *b)
{
    struct kafka_follow *f = b->follow;
    if (!f)
        return b->config;
    pthread_mutex_lock(&f->lock);
    f->now->users++;
    const struct broker_config *taken = &f->now->now;
    pthread_mutex_unlock(&f->lock);
    return taken;
}

void kafka_follow_give(const struct kafka *b, const struct broker_config *taken)
{
    struct kafka_follow *f = b->follow;
    if (!f)
        return;
    struct follow_login *l = (struct follow_login *)((uintptr_t)taken - offsetof(struct follow_login, now));
    pthread_mutex_lock(&f->lock);
    bool over = --l->users == 0 && l != f->now;
    pthread_mutex_unlock(&f->lock);
    if (over)
        follow_free(l);
}

const struct broker_config *kafka_follow_wanted(const struct kafka *b)
{
    return atomic_load(&b->follow->wanted);
}

unsigned kafka_follow_version(const struct kafka *b)
{
    return atomic_load(&b->follow->version);
}

bool kafka_follow_is_over(const struct kafka *b, unsigned version)
{
    return (int)(atomic_load(&b->follow->clients) - version) > 0;
}

bool kafka_follow_is_old(const struct kafka *b, rd_kafka_t *rk, unsigned *version)
{
    struct kafka_follow *f = b->follow;
    unsigned newest = atomic_load(&f->version);
    if (*version == newest)
        return false;
    if (kafka_follow_is_over(b, *version))
        return true;
    const struct broker_config *now = kafka_follow_take(b);
    if (follow_is_credential(now, "sasl.password"))
        rd_kafka_error_destroy(rd_kafka_sasl_set_credentials(rk, kafka_login_username(now), follow_password(now)));
    kafka_follow_give(b, now);
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
