/* SPDX-License-Identifier: MIT */
/* Who we are to the cluster: broker.tls and broker.sasl as librdkafka's properties, what is wrong with them, and the name
 * under which the cluster gives us rights.
 *
 * Whoever wants something else says it by broker.properties; no property may say what these sections say. */
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include "bridge/broker/kafka/private.h"
#include "bridge/lib/crypto.h"
#include "bridge/lib/expand.h"
#include "bridge/lib/file.h"
#include "bridge/lib/mem.h"
#include "bridge/net/certificate.h"
#include "bridge/net/fetch.h"

static const char *const login_mechanisms[] = {
    [SASL_PLAIN] = "PLAIN",
    [SASL_SCRAM_256] = "SCRAM-SHA-256",
    [SASL_SCRAM_512] = "SCRAM-SHA-512",
    [SASL_OAUTHBEARER] = "OAUTHBEARER",
};

/* Since then librdkafka does what Kafka 3.8.1 and 4 compare, and call invalid credentials when it is wrong. */
enum { LOGIN_SCRAM_FIXED = 0x020601ff };

static bool login_has(const char *text)
{
    return text && *text;
}

bool kafka_login_has_tls(const struct broker_config *c)
{
    const struct broker_tls *t = &c->tls;
    return t->enabled == BROKER_TLS_ON
           || (t->enabled == BROKER_TLS_UNSAID
               && (login_has(t->ca_file) || login_has(t->cert_file) || login_has(t->key_file)));
}

const char *kafka_login_mechanism(const struct broker_config *c)
{
    const char *said = kafka_conf_value(c, "sasl.mechanism");
    bool logs_in = str_starts_nocase(str_of(kafka_conf_value(c, "security.protocol")), STR("sasl"));
    if (c->sasl.mechanism)
        return login_mechanisms[c->sasl.mechanism];
    return !logs_in ? "" : *said ? said : kafka_conf_value(c, "sasl.mechanisms");
}

const char *kafka_login_username(const struct broker_config *c)
{
    return c->sasl.mechanism ? c->sasl.username : kafka_conf_value(c, "sasl.username");
}

bool kafka_login_shows_certificate(const struct broker_config *c)
{
    return (kafka_login_has_tls(c) && login_has(c->tls.cert_file)) || *kafka_conf_value(c, "ssl.certificate.location")
           || *kafka_conf_value(c, "ssl.certificate.pem") || *kafka_conf_value(c, "ssl.keystore.location");
}

bool kafka_login_scram_fails(const struct broker_config *c)
{
    return str_starts_nocase(str_of(kafka_login_mechanism(c)), STR("SCRAM")) && rd_kafka_version() < LOGIN_SCRAM_FIXED;
}

/* ---- secrets ---- */

bool kafka_login_read(const struct secret *s, char **out, struct err *e)
{
    struct str rest = str_of(s->written), path;
    *out = NULL;
    if (!s->text || !s->written || !expand_next_file(&rest, &path)) {
        *out = s->text ? str_dup(str_of(s->text)) : NULL;
        return true;
    }
    struct buf text = buf_new(2 * EXPAND_FILE_BYTES);
    struct err exposed = { "" };
    bool good = expand_text(str_of(s->written), &text, &exposed, e)
                && (!exposed.text[0] || err_set(e, "%s", exposed.text)) && (text.n || err_set(e, "the file is empty"));
    if (good)
        *out = str_dup(buf_str(&text));
    crypto_wipe_buf(&text);
    return good;
}

char *kafka_login_secret(const struct secret *s)
{
    char *now;
    return kafka_login_read(s, &now, NULL) ? now : str_dup(str_of(s->text));
}

void kafka_login_wipe(char *secret)
{
    if (secret)
        crypto_wipe(secret, strlen(secret));
    free(secret);
}

/* ---- the servers' certificates ---- */

/* What was wrong with the last one that was refused: librdkafka says of each that it "could not be verified". */
static struct {
    pthread_mutex_t lock; /* guards text */
    char text[WHY_BYTES];
} login_refused = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const char *login_advice(int error)
{
    switch (error) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "is for another host: name the servers, and what they advertise, as their certificates do";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return "was signed by an authority that we do not know: tls.ca_file is the file that has it";
    case X509_V_ERR_CERT_HAS_EXPIRED: return "has expired: the server needs a new one";
    case X509_V_ERR_CERT_NOT_YET_VALID: return "is not valid yet: are the clocks right?";
    default: return "is not good";
    }
}

/* Verification stays OpenSSL's; this only hears what it finds. */
static int login_on_certificate(rd_kafka_t *rk, const char *broker, int32_t id, int *error, int depth, const char *der,
                                size_t size, char *text, size_t room, void *opaque)
{
    (void)rk, (void)broker, (void)id, (void)depth, (void)opaque;
    if (*error == X509_V_OK)
        return 1;
    const unsigned char *at = (const unsigned char *)der;
    X509 *x = d2i_X509(NULL, &at, (long)size);
    struct buf subject = buf_new(128);
    if (x)
        certificate_subject(x, &subject);
    X509_free(x);
    snprintf(text, room, "%s", X509_verify_cert_error_string(*error));
    pthread_mutex_lock(&login_refused.lock);
    snprintf(login_refused.text, sizeof login_refused.text, "its certificate (%.*s) %s (%s)",
             STR_ARG(buf_str(&subject)), login_advice(*error), text);
    pthread_mutex_unlock(&login_refused.lock);
    buf_free(&subject);
    return 0;
}

bool kafka_login_refused(char out[WHY_BYTES])
{
    pthread_mutex_lock(&login_refused.lock);
    memcpy(out, login_refused.text, WHY_BYTES);
    pthread_mutex_unlock(&login_refused.lock);
    return out[0];
}

/* ---- properties ---- */

static bool login_set(rd_kafka_conf_t *conf, const char *key, const char *value, const char *option, struct err *e)
{
    char text[KAFKA_ERRSTR];
    if (!login_has(value) || rd_kafka_conf_set(conf, key, value, text, sizeof text) == RD_KAFKA_CONF_OK)
        return true;
    return err_set(e, "broker.%s: librdkafka does not accept it", option);
}

static bool login_set_tls(rd_kafka_conf_t *conf, const struct broker_tls *t, struct err *e)
{
    return login_set(conf, "ssl.ca.location", t->ca_file, "tls.ca_file", e)
           && login_set(conf, "ssl.certificate.location", t->cert_file, "tls.cert_file", e)
           && login_set(conf, "ssl.key.location", login_has(t->key_file) ? t->key_file : t->cert_file, "tls.key_file",
                        e);
}

static bool login_set_sasl(rd_kafka_conf_t *conf, const struct broker_sasl *s, struct err *e)
{
    if (!login_set(conf, "sasl.mechanism", login_mechanisms[s->mechanism], "sasl.mechanism", e))
        return false;
    if (s->mechanism == SASL_OAUTHBEARER)
        return true; /* by token.c */
    char *password = kafka_login_secret(&s->password);
    bool ok = login_set(conf, "sasl.username", s->username, "sasl.username", e)
              && login_set(conf, "sasl.password", password, "sasl.password", e);
    kafka_login_wipe(password);
    return ok;
}

bool kafka_login_conf(rd_kafka_conf_t *conf, const struct broker_config *c, struct err *e)
{
    bool tls = kafka_login_has_tls(c);
    if (!kafka_conf_has(c, "enable.ssl.certificate.verification"))
        rd_kafka_conf_set_ssl_cert_verify_cb(conf, login_on_certificate);
    if (!tls && !c->sasl.mechanism)
        return true; /* or by properties */
    const char *protocol = c->sasl.mechanism ? tls ? "sasl_ssl" : "sasl_plaintext" : "ssl";
    return login_set(conf, "security.protocol", protocol, "tls", e) && login_set_tls(conf, &c->tls, e)
           && (!c->sasl.mechanism || login_set_sasl(conf, &c->sasl, e));
}

/* ---- check ---- */

bool kafka_login_permits(const struct broker_config *c, const char *key, struct err *e)
{
    bool protocol = strcmp(key, "security.protocol") == 0;
    bool ssl = str_starts(str_of(key), STR("ssl.ca.")) || str_starts(str_of(key), STR("ssl.certificate."))
               || (str_starts(str_of(key), STR("ssl.key.")) && strcmp(key, "ssl.key.password") != 0);
    if (c->sasl.mechanism && (protocol || str_starts(str_of(key), STR("sasl."))))
        return err_set(e, "broker.properties.%s: broker.sasl says how to log in: leave it out", key);
    if (kafka_login_has_tls(c) && (protocol || ssl))
        return err_set(e, "broker.properties.%s: broker.tls says it: leave it out", key);
    return true;
}

static bool login_check_tls(const struct broker_config *c, struct err *e)
{
    const struct broker_tls *t = &c->tls;
    const char *key = login_has(t->key_file) ? t->key_file : login_has(t->cert_file) ? t->cert_file : NULL;
    const char *option = login_has(t->key_file) ? "key_file" : "cert_file";
    if (key && (!file_check_regular_at(key, e) || !file_check_secret_at(key, e)))
        return err_prefix(e, "broker.tls.%s", option);
    struct transport way = { .tls = true,
                             .ca_file = login_has(t->ca_file) ? t->ca_file : NULL,
                             .cert_file = login_has(t->cert_file) ? t->cert_file : NULL,
                             .key_file = login_has(t->key_file) ? t->key_file : NULL };
    if (kafka_conf_has(c, "ssl.key.password"))
        way.cert_file = way.key_file = NULL; /* librdkafka has the password */
    struct err inner;
    return transport_check(&way, &inner) || err_set(e, "broker.tls.%s", inner.text);
}

struct login_option {
    const char *name;
    bool said;
};

/* Each that the mechanism needs and has not, or has and does not know. */
static bool login_check_options(const char *mechanism, const struct login_option *of, const struct login_option * not,
                                struct err *e)
{
    for (; of->name; of++)
        if (!of->said)
            return err_set(e, "broker.sasl.%s: is missing, mechanism %s needs it", of->name, mechanism);
    for (; not ->name; not ++)
        if (not ->said)
            return err_set(e, "broker.sasl.%s: is of no use with mechanism %s", not ->name, mechanism);
    return true;
}

static bool login_check_oauth(const struct broker_sasl *s, struct err *e)
{
    bool given = s->token.text;
    const struct login_option needed[] = { { "token_url", given || login_has(s->token_url) },
                                           { "client_id", given || login_has(s->client_id) },
                                           { "client_secret", given || s->client_secret.text },
                                           { 0 } };
    const struct login_option useless[] = { { "username", login_has(s->username) },
                                            { "password", s->password.text },
                                            { "token", given && login_has(s->token_url) },
                                            { 0 } };
    struct err inner;
    struct transport way = { .tls = true, .ca_file = login_has(s->ca_file) ? s->ca_file : NULL };
    static const struct address_rules any = { .guard = GUARD_OFF };
    if (!login_check_options("OAUTHBEARER", needed, useless, e))
        return false;
    if (!given && !fetch_check_url(s->token_url, true, &any, &inner))
        return err_set(e, "broker.sasl.token_url: %s", inner.text);
    return transport_check(&way, &inner) || err_set(e, "broker.sasl.%s", inner.text);
}

static bool login_check_password(const struct broker_sasl *s, struct err *e)
{
    const struct login_option needed[] = { { "username", login_has(s->username) },
                                           { "password", s->password.text },
                                           { 0 } };
    const struct login_option useless[] = { { "token_url", login_has(s->token_url) },
                                            { "client_id", login_has(s->client_id) },
                                            { "client_secret", s->client_secret.text },
                                            { "scope", login_has(s->scope) },
                                            { "token", s->token.text },
                                            { 0 } };
    return login_check_options(login_mechanisms[s->mechanism], needed, useless, e);
}

bool kafka_login_check(const struct broker_config *c, struct err *e)
{
    const struct broker_sasl *s = &c->sasl;
    if (kafka_login_has_tls(c) && !login_check_tls(c, e))
        return false;
    switch (s->mechanism) {
    case SASL_PLAIN:
    case SASL_SCRAM_256:
    case SASL_SCRAM_512: return login_check_password(s, e);
    case SASL_OAUTHBEARER: return login_check_oauth(s, e);
    case SASL_NONE: break;
    }
    bool said = login_has(s->username) || s->password.text || login_has(s->token_url) || login_has(s->client_id)
                || s->client_secret.text || s->token.text;
    return !said || err_set(e, "broker.sasl.mechanism: is missing: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER");
}

/* Do all servers stand on this machine? */
static bool login_is_near(const char *servers)
{
    struct str rest = str_of(servers), one;
    while (str_cut(&rest, ',', &one)) {
        one = str_trim(one);
        if (!str_starts(one, STR("127.")) && !str_starts(one, STR("localhost")) && !str_starts(one, STR("[::1]")))
            return false;
    }
    return true;
}

/* What is said for a TLS that is off. */
static bool login_advise_off(const struct broker_tls *t, struct err *e)
{
    const struct login_option idle[] = { { "ca_file", login_has(t->ca_file) },
                                         { "cert_file", login_has(t->cert_file) },
                                         { "key_file", login_has(t->key_file) },
                                         { 0 } };
    for (const struct login_option *o = idle; t->enabled == BROKER_TLS_OFF && o->name; o++)
        if (o->said)
            return err_set(e, "broker.tls.%s: has no effect, since broker.tls.enabled is false: take one of them out",
                           o->name);
    return true;
}

bool kafka_login_advise(const struct broker_config *c, struct err *e)
{
    const struct broker_sasl *s = &c->sasl;
    bool open = s->mechanism && !kafka_login_has_tls(c) && !login_is_near(c->servers);
    if (open && (s->mechanism == SASL_PLAIN || s->mechanism == SASL_OAUTHBEARER))
        return err_set(e, "broker.sasl.mechanism: %s without TLS shows the %s to everybody on the way: say tls",
                       login_mechanisms[s->mechanism], s->mechanism == SASL_PLAIN ? "password" : "token");
    if (s->token_url && str_starts(str_of(s->token_url), STR("http:")) && !login_is_near(s->token_url + 7))
        return err_set(e, "broker.sasl.token_url: begins with http://: the secret is shown to everybody on the way");
    if (kafka_login_scram_fails(c))
        return err_set(e,
                       "broker.sasl.mechanism: librdkafka %s cannot log in by SCRAM to Kafka 3.7.2, 3.8.1 and later "
                       "(librdkafka before 2.6.1 does it wrong): use a newer librdkafka, or PLAIN over TLS",
                       rd_kafka_version_str());
    return login_advise_off(&c->tls, e);
}

/* ---- the name ---- */

/* The subject of the first certificate in the file. */
static bool login_subject(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "re");
    X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    if (f)
        fclose(f);
    if (x)
        certificate_subject(x, out);
    X509_free(x);
    return x && !out->failed && out->n;
}

bool kafka_login_name(const struct broker_config *c, char out[KAFKA_USER])
{
    struct buf text = buf_new(KAFKA_USER);
    const char *mechanism = kafka_login_mechanism(c), *cert = kafka_login_has_tls(c) ? c->tls.cert_file : NULL;
    const char *user = kafka_login_username(c);
    bool known = false;
    if (*mechanism && login_has(user))
        known = snprintf(out, KAFKA_USER, "%s", user) > 0;
    else if (!*mechanism
             && login_subject(login_has(cert) ? cert : kafka_conf_value(c, "ssl.certificate.location"), &text))
        known = snprintf(out, KAFKA_USER, "%s", buf_c(&text)) > 0;
    buf_free(&text);
    return known;
}
