/* SPDX-License-Identifier: MIT */
/* Asks receivers whether they want our events. */
#include "connectors/webhook/consent.h"

#include <stdio.h>

enum {
    CONSENT_LIFE_MS = 86400000,
    CONSENT_FIRST_MS = 1000, /* after a no, until it is asked again; twice as long each time */
    CONSENT_MOST_MS = 600000,
    CONSENT_ORIGIN = 253,
    CONSENT_SHOWN = 64,
    MINUTE_S = 60,
};

bool consent_check(const char *origin, struct err *e)
{
    static const char host[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
    size_t n = origin ? strlen(origin) : 1;
    return !origin || (n > 0 && n <= CONSENT_ORIGIN && strspn(origin, host) == n)
           || err_set(e, "validate_origin: \"%.64s\" is not the name of a host, such as events.example.com", origin);
}

void consent_open(struct consent *c, const char *origin, double most, const struct transfer_target *receiver)
{
    *c = (struct consent){ .origin = origin, .most = most };
    if (!origin)
        return;
    c->target = *receiver;
    c->target.method = METHOD_OPTIONS;
    c->target.direct = NULL;
    c->target.connections = (struct direct_owner){ 0 };
    c->target.gzip = NULL;
    c->target.start = NULL;
}

void consent_close(struct consent *c)
{
    *c = (struct consent){ 0 };
}

enum consent_state consent_ask(struct consent *c, int64_t now_ms)
{
    if (!c->origin || (c->given && (c->asking || now_ms < c->again_ms)))
        return CONSENT_GIVEN;
    if (c->asking)
        return CONSENT_COMING;
    if (now_ms < c->again_ms)
        return CONSENT_NONE;
    c->asking = true;
    return CONSENT_ASK;
}

void consent_start(struct consent *c, struct transfer *t)
{
    request_ask(&t->request, c->origin, c->most);
    transfer_start(t, &c->target);
}

/* The beginning of a header, as it may be shown; NUL-terminated. */
static const char *consent_shown(struct str value, const struct hidden *hidden, char out[CONSENT_SHOWN])
{
    size_t n = value.n < CONSENT_SHOWN - 1 ? value.n : CONSENT_SHOWN - 1;
    if (n)
        memcpy(out, value.at, n);
    out[n] = '\0';
    hide_in(hidden, out, n);
    str_make_shown(out);
    return out;
}

bool consent_read(const char *origin, struct str allowed_origin, struct str allowed_rate, const struct hidden *hidden,
                  double *rate, struct err *e)
{
    char shown[CONSENT_SHOWN];
    uint64_t in_a_minute = 0;
    *rate = 0;
    if (!allowed_origin.at)
        return err_set(e, "it answered without WebHook-Allowed-Origin");
    if (!str_eq(allowed_origin, STR("*")) && !str_eq_nocase(allowed_origin, str_of(origin)))
        return err_set(e, "it allows the origin \"%s\" alone", consent_shown(allowed_origin, hidden, shown));
    if (!allowed_rate.at || str_eq(allowed_rate, STR("*")))
        return true;
    if (!str_to_u64(allowed_rate, &in_a_minute) || in_a_minute == 0)
        return err_set(e, "its WebHook-Allowed-Rate \"%s\" is neither * nor a number of requests in a minute",
                       consent_shown(allowed_rate, hidden, shown));
    *rate = (double)in_a_minute / (double)MINUTE_S;
    return true;
}

/* What the end of the question says. */
static bool consent_judge(const struct consent *c, const struct transfer *t, double *rate, struct err *e)
{
    const struct result *r = &t->result;
    if (r->status / 100 != 2)
        return err_set(e, "%s", r->why);
    return consent_read(c->origin, transfer_header(t, "WebHook-Allowed-Origin"),
                        transfer_header(t, "WebHook-Allowed-Rate"), &c->target.hidden, rate, e);
}

void consent_heard(struct consent *c, const struct transfer *t, int64_t now_ms)
{
    struct err e;
    double rate = 0;
    const struct result *r = &t->result;
    c->asking = false;
    if (consent_judge(c, t, &rate, &e)) {
        c->given = true;
        c->allowed = rate;
        c->again_ms = now_ms + CONSENT_LIFE_MS;
        c->pause_ms = 0;
        return;
    }
    c->given = c->given && (r->away || r->verdict == VERDICT_UNTRIED);
    c->pause_ms = c->pause_ms ? 2 * c->pause_ms : CONSENT_FIRST_MS;
    c->pause_ms = c->pause_ms < CONSENT_MOST_MS ? c->pause_ms : CONSENT_MOST_MS;
    c->again_ms = now_ms + (r->retry_after.ms > c->pause_ms ? r->retry_after.ms : c->pause_ms);
    snprintf(c->why, sizeof c->why, "no consent to events of %.64s: %.*s", c->origin, (int)sizeof c->why - 100, e.text);
}

void consent_fail(const struct consent *c, int64_t now_ms, struct result *out)
{
    out->verdict = VERDICT_UNTRIED;
    out->away = true;
    if (c->given)
        return; /* at once, but at the rate that it allows */
    out->reason = REASON_REFUSED;
    out->retry_after.ms = c->again_ms > now_ms ? c->again_ms - now_ms : 0;
    why_copy(out->why, c->why);
}
