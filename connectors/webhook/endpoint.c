/* SPDX-License-Identifier: MIT */
/* Receivers: options to what a transfer needs of them. */
#include "connectors/webhook/endpoint.h"

#include <stdlib.h>
#include "bridge/lib/log.h"
#include "bridge/lib/mem.h"

enum {
    LIMIT_FIRST = 16, /* requests at the same time */
    EASE_US = 5000,   /* what an answer may take longer and still be soon */
    FADE = 32,        /* rounds until the best answer is forgotten, about */
};

METRIC_COUNTER(aqueduct_webhook_responses_total, "Attempts by the class of the answer's status; none: no answer.",
               "sink", "class", "endpoint");

METRIC_COUNTER(aqueduct_webhook_batches_total, "Requests that carried a batch of events (batch), or a part of one.",
               "sink", "endpoint");
METRIC_COUNTER(aqueduct_webhook_batch_events_total, "Events in these requests, each time they went.", "sink",
               "endpoint");
METRIC_COUNTER(aqueduct_webhook_batch_splits_total,
               "Batches, or parts of one, that were refused and went on in halves.", "sink", "endpoint");

static const struct option_value endpoint_methods[] = {
    { METHOD_POST, "POST" }, { METHOD_PUT, "PUT" }, { METHOD_PATCH, "PATCH" }, { METHOD_DELETE, "DELETE" }, { 0 },
};

static const struct option_value endpoint_tls_versions[] = { { TLS_MIN_1_2, "1.2" }, { TLS_MIN_1_3, "1.3" }, { 0 } };

static const struct option_value endpoint_http_versions[] = { { HTTP_1_1, "1.1" }, { HTTP_2, "2" }, { 0 } };

const struct option endpoint_rows[] = {
    OPTION(struct webhook_endpoint, url, .required = true, .own = true,
           .doc = "Where events are posted: http or https, without user name and password."),
    OPTION(
        struct webhook_endpoint, secrets, .own = true, .of = secret_rows,
        .doc =
            "Keys that sign: whsec_ and base64, whsk_ and base64 (Ed25519, v1a), or at least 24 characters that are used as they are (with another signature.scheme: 16 of any kind); all of them sign, the first one first."),
    { .key = "unsigned",
      .type = OPT_BOOL,
      .offset = offsetof(struct webhook_endpoint, unsigned_),
      .fallback = "false",
      .doc = "Sends without a signature; needed to have no secrets." },
    OPTION_GROUP(struct webhook_endpoint, signature, signature_rows,
                 .doc = "The scheme of the signatures; without it, Standard Webhooks."),
    { .key = "for",
      .type = OPT_DEFAULTS,
      .offset = offsetof(struct webhook_endpoint, for_),
      .folder = "receivers",
      .doc =
          "Who receives: slack, discord, teams, airflow, n8n, flowise or zapier (aqueduct help slack), or a file of your own (./x.yaml); sets the options that it wants, where nothing else is said." },
    OPTION(
        struct webhook_endpoint, body, .fallback = "standard", .values = shape_bodies,
        .doc =
            "The Standard Webhooks payload: one JSON with type, timestamp, data, id, source, subject and extensions (standard); the whole CloudEvent as one JSON (structured), or its attributes as headers and the data as it is (binary); the data alone, as it is (data); or a template: a text with {{expressions}}, or a mapping or list with such texts, which becomes JSON."),
    OPTION(
        struct webhook_endpoint, content_type,
        .doc =
            "Content-Type of the requests, which may have {{expressions}}; default: application/json with body standard and mappings, application/cloudevents+json with structured, the event's own with data. With binary it is always the event's own."),
    OPTION(struct webhook_endpoint, method, .fallback = "POST", .values = endpoint_methods,
           .doc = "Method of the requests."),
    OPTION(
        struct webhook_endpoint, path,
        .doc =
            "What comes behind the path of the url, with {{expressions}}, such as /dags/{{data.flow.id}}/runs: what they give is percent-encoded."),
    OPTION(struct webhook_endpoint, query, .own = true,
           .doc = "Parameters for the query of the url; values may have {{expressions}}; all is percent-encoded."),
    OPTION(struct webhook_endpoint, timeout, .fallback = "10s", .min = 1, .max = 600000,
           .doc = "Longest time for one attempt, connecting included."),
    OPTION(struct webhook_endpoint, connect_timeout, .fallback = "5s", .min = 1, .max = 600000,
           .doc = "Longest time to connect, TLS included."),
    OPTION(struct webhook_endpoint, concurrency, .fallback = "1024", .min = 1, .max = 1024,
           .doc = "Most requests at the same time. How many there are follows from how the receiver keeps up."),
    OPTION(struct webhook_endpoint, headers, .own = true,
           .doc = "More headers for each request, such as Authorization; values may have {{expressions}}."),
    OPTION(
        struct webhook_endpoint, success, .fallback = "[2xx]", .min = 1, .max = STATUS_END,
        .doc =
            "Statuses (409) and classes of them (2xx) by which the receiver says that it has the event. A status goes before a class."),
    OPTION(
        struct webhook_endpoint, success_unless, .max = 16,
        .doc =
            "Texts; a success whose body has one in its first 512 bytes is a failed attempt, for receivers that say so there (\"ok\":false)."),
    OPTION(
        struct webhook_endpoint, reject, .fallback = "[413, 414, 415, 422, 431]", .max = STATUS_END,
        .doc =
            "Statuses and classes that make an event a dead letter at once; 410 always does. 408, 425 and 429 are in no class. What is neither here nor in success is tried again."),
    OPTION(struct webhook_endpoint, ca_file,
           .doc = "PEM file of the authorities that https receivers are checked against, instead of the system's."),
    OPTION(struct webhook_endpoint, cert_file,
           .doc = "PEM file of a certificate of our own, for receivers that demand one; its chain behind it."),
    OPTION(struct webhook_endpoint, key_file,
           .doc = "PEM file of its key, without a password; default: it stands in cert_file, too."),
    OPTION(struct webhook_endpoint, tls_min, .fallback = "1.2", .values = endpoint_tls_versions,
           .doc = "Oldest version of TLS that is spoken."),
    OPTION(
        struct webhook_endpoint, http, .fallback = "1.1", .values = endpoint_http_versions,
        .doc =
            "Version of HTTP that https receivers are offered: 2 puts many requests on one connection; who does not know it gets 1.1."),
    OPTION(
        struct webhook_endpoint, gzip, .fallback = "false",
        .doc =
            "Compresses bodies of 1 KiB or more (Content-Encoding: gzip). The signature is of the body before that, as frameworks hand it over."),
    OPTION_GROUP(
        struct webhook_endpoint, batch, batches_rows,
        .doc =
            "Sends many events in one request, as a JSON array of what body says (structured: application/cloudevents-batch+json). One answer is for all of them; a batch that is refused is sent again in halves, until those events are found that are."),
    OPTION_GROUP(struct webhook_endpoint, basic, basic_rows, .own = true,
                 .doc = "User name and password in the header Authorization (HTTP Basic)."),
    OPTION_GROUP(struct webhook_endpoint, oauth, oauth_rows,
                 .doc = "OAuth 2.0 client credentials: a token in the header Authorization."),
    OPTION_GROUP(
        struct webhook_endpoint, login, login_rows,
        .doc =
            "How username and password give a token for the header Authorization; set by `for` of a receiver that wants it."),
    OPTION(struct webhook_endpoint, username, .own = true,
           .doc = "With it and the password the sink logs in (see login)."),
    OPTION(struct webhook_endpoint, password, .own = true, .doc = "Password of that user."),
    OPTION(
        struct webhook_endpoint, validate_origin,
        .doc =
            "The name of our host: before it gets events, and once a day, the receiver is asked whether it wants events of that origin (CloudEvents webhooks, OPTIONS with WebHook-Request-Origin); until it says so, they wait. Its WebHook-Allowed-Rate counts as rate does."),
    { 0 }
};

static bool endpoint_check_url(const struct sink *s, struct webhook_endpoint *ep, struct err *e)
{
    const struct webhook_base *w = (const struct webhook_base *)s;
    return target_set_url(&ep->target, "url", ep->url, e)
           && target_check_address(&ep->target, "url", &(struct address_rules){ w->guard, &w->allow }, e);
}

static bool endpoint_load_signer(struct webhook_endpoint *ep, struct err *e)
{
    const char *header = ep->signature.header, *receiver = ep->for_.name;
    bool loaded = signer_load(&ep->signer, &ep->signature, &ep->secrets, ep->unsigned_, e);
    if (loaded && (signature_signs(ep->signer.style, "{url}") || signature_signs(ep->signer.style, "{fields}")))
        return err_set(e, "signature.signs: {url} and {fields} are verified by sources, and signed by no sink");
    if (!loaded && receiver && *receiver && ep->unsigned_ && ep->secrets.count > 0)
        return err_set(e, "secrets: for: %.64s says unsigned: true; to sign, say unsigned: false beside it", receiver);
    return loaded
           && (!header || !*header || shape_header_ok(header, "signature", NULL)
               || err_set(
                   e, "signature.header: \"%.64s\" is not the name of a header, or of one that the bridge sets itself",
                   header));
}

static struct login_user endpoint_user(const struct webhook_endpoint *ep)
{
    return (struct login_user){ &ep->target, ep->username, ep->password.text };
}

/* What compressing and tokens take for themselves, and (by the signer) the signature; the rest is the shape's. */
static bool endpoint_check_header(const struct webhook_endpoint *ep, size_t i, struct err *e)
{
    const struct map_entry *h = &ep->headers.at[i];
    struct login_user user = endpoint_user(ep);
    if (ep->gzip && str_eq_nocase(str_of(h->key), STR("content-encoding")))
        return err_set(e, "headers: %s is set by the bridge (see gzip)", h->key);
    const char *token = ep->oauth.token_url         ? "oauth"
                        : login_is_used(&user)      ? "login"
                        : basic_is_used(&ep->basic) ? "basic"
                                                    : NULL;
    if (token && str_eq_nocase(str_of(h->key), STR("authorization")))
        return err_set(e, "headers: %s is set by the bridge (see %s)", h->key, token);
    if (ep->signer.count && signer_has_header(&ep->signer, h->key))
        return err_set(e, "headers: %s is set by the bridge: it belongs to the signature", h->key);
    return true;
}

static struct shape_options endpoint_shape(const struct webhook_endpoint *ep)
{
    return (struct shape_options){ .body = &ep->body,
                                   .content_type = ep->content_type,
                                   .path = ep->path,
                                   .query = &ep->query,
                                   .headers = &ep->headers };
}

static bool endpoint_check_batch(const struct webhook_endpoint *ep, struct err *e)
{
    struct shape_options o = endpoint_shape(ep);
    return batches_check(&ep->batch, &o, ep->for_.name, e);
}

static bool endpoint_load_shape(struct webhook_endpoint *ep, struct err *e)
{
    struct shape_options o = endpoint_shape(ep);
    CHECK(curl_url_set(ep->target.url, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK
          && curl_url_get(ep->target.url, CURLUPART_URL, &ep->template.url, 0) == CURLUE_OK);
    return shape_open(&ep->shape, &o, e);
}

/* Fills what the URL does not say of the way there. */
static void endpoint_set_transport(const struct sink *s, struct webhook_endpoint *ep)
{
    struct transport *t = &ep->target.transport;
    const char *proxy = ((const struct webhook_base *)s)->proxy.text;
    t->ca_file = ep->ca_file;
    t->cert_file = ep->cert_file;
    t->key_file = ep->key_file;
    t->tls_min = ep->tls_min;
    t->http = ep->http;
    t->proxy = proxy && *proxy ? proxy : NULL;
}

static bool endpoint_check_transport(const struct sink *s, struct webhook_endpoint *ep, struct err *e)
{
    endpoint_set_transport(s, ep);
    return transport_check(&ep->target.transport, e);
}

static bool endpoint_check_token(const struct sink *s, const struct webhook_endpoint *ep, struct err *e)
{
    const struct webhook_base *w = (const struct webhook_base *)s;
    struct address_rules rules = { w->guard, &w->allow };
    struct login_user user = endpoint_user(ep);
    if (ep->oauth.token_url && login_is_used(&user))
        return err_set(e, "password: is for login, and oauth gives a token already");
    if (basic_is_used(&ep->basic) && (ep->oauth.token_url || login_is_used(&user)))
        return err_set(e, "basic: %s sets the header Authorization already", ep->oauth.token_url ? "oauth" : "login");
    return basic_check(&ep->basic, e) && oauth_check(&ep->oauth, &rules, e)
           && (!ep->target.host || login_check(&ep->login, &user, &rules, e));
}

static bool endpoint_load_rules(struct webhook_endpoint *ep, struct err *e)
{
    struct answer_rules *rules = &ep->target.rules;
    rules->success_unless = ep->success_unless;
    for (size_t i = 0; i < ep->success_unless.count; i++)
        if (!*ep->success_unless.at[i] || strlen(ep->success_unless.at[i]) > TRANSFER_EXCERPT)
            return err_set(e, "success_unless[%zu]: must have 1 to %d characters", i, TRANSFER_EXCERPT);
    return statuses_load(&rules->statuses, &ep->success, &ep->reject, e);
}

bool endpoint_load(const struct sink *s, struct webhook_endpoint *ep, struct err *e)
{
    bool ok = endpoint_check_url(s, ep, e) && endpoint_load_signer(ep, e) && endpoint_check_transport(s, ep, e)
              && endpoint_load_rules(ep, e) && endpoint_check_token(s, ep, e) && consent_check(ep->validate_origin, e)
              && endpoint_check_batch(ep, e) && endpoint_load_shape(ep, e);
    for (size_t i = 0; ok && i < ep->headers.count; i++)
        ok = endpoint_check_header(ep, i, e);
    return ok;
}

void endpoint_unload(struct webhook_endpoint *ep)
{
    hide_close(&ep->target.hidden);
    basic_wipe(ep->template.authorization);
    ep->template.authorization = NULL;
    target_free_url(&ep->target);
    signer_free(&ep->signer);
    curl_free(ep->template.url);
    shape_close(&ep->shape);
}

bool endpoint_check(const struct sink *s, const struct endpoint *ep, struct err *e)
{
    struct webhook_endpoint probe = *(const struct webhook_endpoint *)ep; /* nothing of it is open yet */
    bool ok = endpoint_load(s, &probe, e);
    endpoint_unload(&probe);
    return ok;
}

/* All that is wrong with the secrets; leaves the signer as loaded as it can be. */
static void endpoint_key_faults(struct webhook_endpoint *probe, fault_fn *each, void *ctx)
{
    struct err e;
    if (endpoint_load_signer(probe, &e))
        return;
    bool of_keys = false;
    for (size_t i = 0; i < probe->secrets.count; i++) {
        struct err why;
        struct key *key = key_new(str_of(probe->secrets.at[i].text), probe->signer.style->boxed,
                                  probe->signer.style->hash, KEY_SIGNS, &why);
        key_free(key);
        if (key)
            continue;
        err_prefix(&why, "secrets[%zu]", i);
        each(ctx, "", why.text);
        of_keys |= strcmp(why.text, e.text) == 0;
    }
    if (!of_keys)
        each(ctx, "", e.text);
}

void endpoint_faults(const struct sink *s, const struct endpoint *base, fault_fn *each, void *ctx)
{
    struct err e;
    const struct webhook_endpoint *ep = (const struct webhook_endpoint *)base;
    struct webhook_endpoint probe = *ep; /* nothing of it is open yet */
    if (!endpoint_check_url(s, &probe, &e))
        each(ctx, "", e.text);
    endpoint_key_faults(&probe, each, ctx);
    if (!endpoint_check_transport(s, &probe, &e))
        each(ctx, "", e.text);
    if (!endpoint_load_rules(&probe, &e))
        each(ctx, "", e.text);
    if (!endpoint_check_token(s, &probe, &e))
        each(ctx, "", e.text);
    if (!consent_check(ep->validate_origin, &e))
        each(ctx, "", e.text);
    if (!endpoint_check_batch(ep, &e))
        each(ctx, "", e.text);
    struct shape_options shape = endpoint_shape(ep);
    shape_faults(&shape, each, ctx);
    for (size_t i = 0; i < ep->headers.count; i++)
        if (!endpoint_check_header(&probe, i, &e))
            each(ctx, "", e.text);
    endpoint_unload(&probe);
}

void endpoint_review(const struct sink *s, const struct endpoint *base, fault_fn *wrong, fault_fn *doubtful, void *ctx)
{
    struct err e;
    const struct webhook_endpoint *ep = (const struct webhook_endpoint *)base;
    struct signer probe;
    (void)s, (void)wrong;
    if (signer_load(&probe, &ep->signature, &ep->secrets, ep->unsigned_, &e)
        && signer_warning(&probe, clock_wall_ms(), &e))
        doubtful(ctx, "", e.text);
    signer_free(&probe);
}

static void endpoint_warn_of_keys(const struct sink *s, const struct webhook_endpoint *ep, int64_t wall_ms)
{
    struct err why;
    if (signer_warning(&ep->signer, wall_ms, &why))
        LOG(WARN, "keys end", LOG_C("sink", s->id), LOG_SOME("endpoint", ep->base.name), LOG_C("reason", why.text));
}

bool endpoint_grant(const struct webhook_endpoint *ep, struct grant *g)
{
    struct login_user user = endpoint_user(ep);
    if (ep->oauth.token_url)
        oauth_grant(&ep->oauth, g);
    else if (login_is_used(&user))
        login_grant(&ep->login, &user, g);
    return ep->oauth.token_url || login_is_used(&user);
}

bool endpoint_may_sign(const struct sink *s, struct webhook_endpoint *ep, int64_t wall_ms, struct err *e)
{
    signer_refresh(&ep->signer, s->id);
    if (signer_turn(&ep->signer, wall_ms))
        endpoint_warn_of_keys(s, ep, wall_ms);
    return !signer_has_ended(&ep->signer) || !signer_warning(&ep->signer, wall_ms, e);
}

bool endpoint_batches(const struct webhook_endpoint *ep)
{
    return ep->batch.count > 1;
}

void endpoint_count_batch(struct webhook_endpoint *ep, size_t events)
{
    metric_add(ep->sent_batches, 1);
    metric_add(ep->sent_events, (int64_t)events);
}

void endpoint_count_split(struct webhook_endpoint *ep)
{
    metric_add(ep->splits, 1);
}

static void endpoint_open_metrics(const struct sink *s, struct webhook_endpoint *ep)
{
    static const char *const classes[ENDPOINT_CLASSES] = { "none", "1xx", "2xx", "3xx", "4xx", "5xx" };
    for (size_t i = 0; i < ENDPOINT_CLASSES; i++)
        ep->answers[i] = metric_get(&aqueduct_webhook_responses_total, LABELS(s->id, classes[i], ep->base.name));
    if (!endpoint_batches(ep))
        return;
    ep->sent_batches = metric_get(&aqueduct_webhook_batches_total, LABELS(s->id, ep->base.name));
    ep->sent_events = metric_get(&aqueduct_webhook_batch_events_total, LABELS(s->id, ep->base.name));
    ep->splits = metric_get(&aqueduct_webhook_batch_splits_total, LABELS(s->id, ep->base.name));
}

/* As many events as its requests can carry. */
static void endpoint_set_events(struct webhook_endpoint *ep)
{
    ep->base.limit = ep->at_once * (endpoint_batches(ep) ? (size_t)ep->batch.count : 1);
}

void endpoint_begin_template(struct webhook_endpoint *ep)
{
    hide_open(&ep->target.hidden, ep->target.url, &ep->headers);
    hide_more(&ep->target.hidden, ep->path, &ep->query);
    if (ep->target.transport.proxy)
        hide_proxy(&ep->target.hidden, ep->target.transport.proxy);
    ep->target.method = ep->method;
    ep->template.authorization = basic_line(&ep->basic, &ep->target.hidden);
    ep->template.signer = &ep->signer;
    ep->template.shape = &ep->shape;
    ep->template.origin = ep->validate_origin;
}

bool endpoint_open(const struct sink *s, struct webhook_endpoint *ep, struct multi *m, struct err *e)
{
    if (!endpoint_load(s, ep, e)) {
        endpoint_unload(ep);
        return false;
    }
    ep->base.host = ep->target.host;
    ep->target.multi = m;
    ep->target.timeout = ep->timeout;
    ep->target.connect_timeout = ep->connect_timeout;
    target_set_guard(&ep->target, &((const struct webhook_base *)s)->rules);
    endpoint_begin_template(ep);
    consent_open(&ep->consent, ep->validate_origin, ep->base.rate, &ep->target);
    ep->at_once = ep->concurrency < LIMIT_FIRST ? (size_t)ep->concurrency : LIMIT_FIRST;
    endpoint_set_events(ep);
    batches_open(&ep->batches, &ep->batch, &ep->template);
    ep->collecting = false;
    ep->flying = 0;
    ep->begun = ep->eased = ep->full = ep->faded = 0;
    ep->doubt = ep->credit = 0;
    ep->raised = false;
    ep->best_us = 0;
    endpoint_open_metrics(s, ep);
    endpoint_warn_of_keys(s, ep, clock_wall_ms());
    return true;
}

void endpoint_close(struct webhook_endpoint *ep)
{
    consent_close(&ep->consent);
    batches_close(&ep->batches);
    endpoint_unload(ep);
}

uint64_t endpoint_began(struct webhook_endpoint *ep)
{
    ep->begun++;
    if (++ep->flying >= ep->at_once)
        ep->full = ep->begun;
    return ep->begun;
}

/* Remembers how soon it answers at its best; the memory fades, so that a receiver may become slower for good. */
static void endpoint_learn(struct webhook_endpoint *ep, uint64_t number, int64_t us)
{
    if (ep->best_us == 0 || us < ep->best_us)
        ep->best_us = us > 0 ? us : 1;
    else if (number > ep->faded)
        ep->best_us += (us - ep->best_us) / FADE;
    if (number > ep->faded)
        ep->faded = ep->begun;
}

static void endpoint_raise_limit(struct webhook_endpoint *ep)
{
    bool doubtful = ep->doubt && ep->at_once >= ep->doubt;
    if (ep->at_once >= (size_t)ep->concurrency || (doubtful && ++ep->credit < ep->at_once))
        return;
    ep->credit = 0;
    ep->at_once++;
    endpoint_set_events(ep);
    ep->raised = true;
}

static void endpoint_lower_limit(struct webhook_endpoint *ep)
{
    ep->at_once = ep->at_once > 1 ? ep->at_once / 2 : 1;
    endpoint_set_events(ep);
    if (ep->raised)
        ep->doubt = ep->at_once;
    ep->raised = false;
    ep->credit = 0;
    ep->eased = ep->begun;
}

static void endpoint_set_limit(struct webhook_endpoint *ep, uint64_t number, const struct result *r, int64_t us)
{
    if (r->verdict == VERDICT_DELIVERED) {
        endpoint_learn(ep, number, us);
        if (number <= ep->full && number > ep->eased && us <= 2 * ep->best_us + EASE_US)
            endpoint_raise_limit(ep);
    } else if (r->away && number > ep->eased) {
        endpoint_lower_limit(ep);
    }
}

void endpoint_ended(struct webhook_endpoint *ep, uint64_t number, const struct result *r, int64_t us)
{
    if (r->verdict != VERDICT_UNTRIED) {
        int class = r->status / 100;
        metric_add(ep->answers[class >= ENDPOINT_CLASSES ? ENDPOINT_CLASSES - 1 : class], 1);
        endpoint_set_limit(ep, number, r, us);
    }
    ep->flying--;
}
