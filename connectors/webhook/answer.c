/* SPDX-License-Identifier: MIT */
/* Judges receivers' answers. */
#include "connectors/webhook/answer.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include "bridge/net/http/http.h"
#include "connectors/webhook/lack.h"

enum { DAY_S = 24 * 60 * 60 };

static bool answer_is_digits(struct str s)
{
    size_t n = 0;
    while (n < s.n && s.at[n] >= '0' && s.at[n] <= '9')
        n++;
    return n == s.n;
}

struct duration answer_patience(struct str retry_after, int64_t wall_ms)
{
    struct str text = str_trim(retry_after);
    uint64_t seconds;
    if (text.n && text.n <= 20 && answer_is_digits(text))
        return (struct duration){ (str_to_u64(text, &seconds) && seconds < DAY_S ? (int64_t)seconds : DAY_S) * 1000 };
    char date[64];
    if (text.n < 10 || text.n >= sizeof date)
        return (struct duration){ 0 };
    memcpy(date, text.at, text.n);
    date[text.n] = '\0';
    int64_t at_s = curl_getdate(date, NULL);
    if (at_s < 0)
        return (struct duration){ 0 };
    if (at_s > wall_ms / 1000 + DAY_S) /* any year may stand there: in seconds it still fits */
        return (struct duration){ DAY_S * 1000LL };
    int64_t ms = at_s * 1000 - wall_ms;
    return (struct duration){ ms < 0 ? 0 : ms > DAY_S * 1000LL ? DAY_S * 1000LL : ms };
}

/* The beginning of the body on one line, without what could disturb a terminal; returns its length. */
static int answer_excerpt(struct str body, char out[ANSWER_EXCERPT])
{
    int n = 0;
    for (size_t i = 0; i < body.n && n < ANSWER_EXCERPT; i++) {
        unsigned char c = (unsigned char)body.at[i];
        bool blank = c <= ' ' || c == 0x7f;
        if (blank && (n == 0 || out[n - 1] == ' '))
            continue;
        out[n++] = blank ? ' ' : c < 0x7f ? (char)c : '?';
    }
    return n && out[n - 1] == ' ' ? n - 1 : n;
}

/* "503 Service Unavailable: over capacity, try later"; `but`: of a success that is none, or of the reply's own verdict. */
static void answer_say_status(const struct answer *a, const char *but, struct result *out)
{
    char excerpt[ANSWER_EXCERPT];
    int n = answer_excerpt(a->body, excerpt);
    const char *phrase = http_status_text(a->status);
    const char *redirect = a->status / 100 == 3 ? ", redirects are not followed" : "";
    snprintf(out->why, sizeof out->why, "%d%s%s%s%s%s%.*s", a->status, *phrase ? " " : "", phrase, redirect, but,
             n ? ": " : "", n, excerpt);
}

static void answer_say_duration(struct duration d, char *out, size_t room)
{
    if (d.ms % 1000 == 0)
        snprintf(out, room, "%lld s", (long long)(d.ms / 1000));
    else
        snprintf(out, room, "%lld ms", (long long)d.ms);
}

static void answer_say_timeout(const struct answer *a, const char *begun, struct result *out)
{
    char text[32];
    const char *where = a->status ? begun : " without an answer";
    switch (a->phase) {
    case PHASE_RESOLVING: where = " while resolving the host name"; break;
    case PHASE_CONNECTING: where = a->proxied ? " while connecting to the proxy" : " while connecting"; break;
    case PHASE_TLS:
        where = a->proxied ? " at the proxy, or in the TLS handshake behind it" : " in the TLS handshake";
        break;
    case PHASE_SENT: break;
    }
    answer_say_duration(a->limit, text, sizeof text);
    snprintf(out->why, sizeof out->why, "timeout after %s%s", text, where);
}

/* OpenSSL's code within libcurl's words ("error:0A00010B:SSL routines::wrong version number"); 0: there is none. */
static unsigned long answer_tls_code(const char *text)
{
    const char *at = strstr(text, "error:");
    return at ? strtoul(at + strlen("error:"), NULL, 16) : 0;
}

/* "TLS: ...", when OpenSSL has said what was wrong; false when it has not. */
static bool answer_say_tls_code(const struct answer *a, unsigned long code, struct result *out)
{
    char version[64];
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    switch (ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_HTTP_REQUEST: reason = "the receiver does not speak TLS (is it an http address?)"; break;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        snprintf(version, sizeof version, "no version in common, %s or newer is needed", a->tls_min);
        reason = version;
        break;
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED: reason = "the receiver demands a client certificate"; break;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING: reason = "connection lost in the handshake: closed by the receiver"; break;
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        reason = "the receiver refused the handshake: no cipher in common, or it demands a client certificate";
        break;
    default: break;
    }
    if (reason)
        snprintf(out->why, sizeof out->why, "TLS: %s", reason);
    return reason != NULL;
}

/* Why a connection was lost, from libcurl's "Recv failure: Connection reset by peer"; it has no such words for an end. */
static const char *answer_cause(const struct answer *a)
{
    static const char mark[] = "failure: ";
    const char *cause = strstr(a->text, mark);
    return cause ? cause + strlen(mark) : "closed by the receiver";
}

/* The handshake failed, but not for the certificate. */
static void answer_say_handshake(const struct answer *a, struct result *out)
{
    if (!answer_say_tls_code(a, answer_tls_code(a->text), out))
        snprintf(out->why, sizeof out->why, "TLS: connection lost in the handshake: %s", answer_cause(a));
}

static void answer_say_certificate(const struct answer *a, struct result *out)
{
    if (a->tls_verify > X509_V_ERR_UNSPECIFIED)
        snprintf(out->why, sizeof out->why, "TLS: the certificate is not trusted: %s",
                 X509_verify_cert_error_string(a->tls_verify));
    else if (strstr(a->text, "target host name")) /* libcurl compares the names itself */
        snprintf(out->why, sizeof out->why, "TLS: the certificate is for another name than %.*s", STR_ARG(a->host));
    else
        snprintf(out->why, sizeof out->why, "TLS: the certificate is not trusted: %s", a->text);
}

/* "connection lost before an answer: Connection reset by peer" */
static void answer_say_lost(const struct answer *a, const char *begun, struct result *out)
{
    unsigned long tls = a->status == 0 ? answer_tls_code(a->text) : 0;
    if (ERR_GET_REASON(tls) > SSL_AD_REASON_OFFSET && answer_say_tls_code(a, tls, out))
        return; /* an alert: TLS 1.3 says behind the handshake what it thinks of our certificate */
    if (strstr(a->text, "CONNECT tunnel failed")) {
        snprintf(out->why, sizeof out->why, "the proxy refused: %s", a->text);
        return;
    }
    if (strstr(a->text, "response headers")) { /* "Too large response headers: 307220 > 307200" */
        snprintf(out->why, sizeof out->why, "the headers of the answer are too large%s", begun);
        return;
    }
    if (strstr(a->text, "chunked-encod")) { /* "Illegal or missing hexadecimal sequence in chunked-encoding" */
        snprintf(out->why, sizeof out->why, "the chunks of the answer are broken%s", begun);
        return;
    }
    if (a->status) {
        snprintf(out->why, sizeof out->why, "connection lost before the end of the answer%s", begun);
        return;
    }
    const char *broken = tls && ERR_GET_REASON(tls) != SSL_R_UNEXPECTED_EOF_WHILE_READING ? ERR_reason_error_string(tls)
                                                                                          : NULL;
    snprintf(out->why, sizeof out->why, "connection lost before an answer: %s", broken ? broken : answer_cause(a));
}

/* Why there is no whole answer: "timeout after 10 s without an answer". */
static void answer_say_failure(const struct answer *a, struct result *out)
{
    char begun[64] = "";
    size_t room = sizeof out->why;
    if (a->status)
        snprintf(begun, sizeof begun, " (the answer began with %d and broke off)", a->status);
    switch ((int)a->code) {
    case CURLE_OPERATION_TIMEDOUT: answer_say_timeout(a, begun, out); return;
    case CURLE_COULDNT_RESOLVE_HOST:
        snprintf(out->why, room, "the host name %.*s cannot be resolved", STR_ARG(a->host));
        return;
    case CURLE_COULDNT_CONNECT:
        snprintf(out->why, room, "no connection%s: %s", a->proxied ? " to the proxy" : "",
                 a->os_errno ? strerror(a->os_errno) : a->text);
        return;
    case CURLE_PEER_FAILED_VERIFICATION: answer_say_certificate(a, out); return;
    case CURLE_SSL_CONNECT_ERROR: answer_say_handshake(a, out); return;
    case CURLE_SSL_CLIENTCERT: snprintf(out->why, room, "TLS: the receiver demands a client certificate"); return;
    case CURLE_SSL_CACERT_BADFILE: snprintf(out->why, room, "TLS: the file of the authorities cannot be read"); return;
    case CURLE_OUT_OF_MEMORY: /* libcurl's word for it; a real want of memory would be a lack */
        snprintf(out->why, room, "a header of the answer is too large%s", begun);
        return;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE: answer_say_lost(a, begun, out); return;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        if (a->status) {
            snprintf(out->why, room, "a header of the answer is broken%s", begun);
            return;
        }
        snprintf(out->why, room, "what answers at this address does not speak HTTP%s",
                 a->tls ? "" : " (is it an https address?)");
        return;
    default: snprintf(out->why, room, "%s%s", *a->text ? a->text : curl_easy_strerror(a->code), begun);
    }
}

/* libcurl may quote what a receiver sent. */
static void answer_make_harmless(char *why)
{
    for (; *why; why++)
        if ((unsigned char)*why < ' ' || *why == 0x7f)
            *why = '?';
}

static bool answer_has_one_of(struct str body, const struct strings *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        if (body.n && memmem(body.at, body.n, texts->at[i], strlen(texts->at[i])))
            return true;
    return false;
}

bool answer_is_of_receiver(const struct answer *a)
{
    return a->status == 410 || (a->delivery.at && str_eq_nocase(str_trim(a->delivery), STR("disable")));
}

/* The verdict on a whole answer. */
static void answer_judge_whole(const struct answer *a, const struct answer_rules *rules, struct result *out)
{
    const char *but = "";
    struct str delivery = a->delivery.at ? str_trim(a->delivery) : STR("");
    out->verdict = statuses_verdict(&rules->statuses, a->status);
    if (out->verdict == VERDICT_DELIVERED && answer_has_one_of(a->body, &rules->success_unless)) {
        out->verdict = VERDICT_RETRY;
        but = ", but its body has what success_unless names";
    }
    if (out->verdict == VERDICT_DELIVERED)
        return;
    bool abort = str_eq_nocase(delivery, STR("abort-message"));
    if (abort || str_eq_nocase(delivery, STR("disable"))) {
        out->verdict = VERDICT_REJECT;
        but = abort ? ", webhook-delivery: abort-message" : ", webhook-delivery: disable";
    }
    out->reason = REASON_REFUSED;
    out->retry_after = answer_patience(a->retry_after, clock_wall_ms());
    answer_say_status(a, but, out);
}

void answer_judge(const struct answer *a, const struct answer_rules *rules, struct result *out)
{
    out->status = a->status;
    out->retry_after = (struct duration){ 0 };
    out->reason = REASON_NONE;
    out->away = a->status == 0 || a->status == 429 || (a->status >= 502 && a->status <= 504);
    out->why[0] = '\0';
    if (a->lack) {
        out->verdict = VERDICT_UNTRIED;
        out->away = false;
        why_copy(out->why, lack_text(a->lack));
        return;
    }
    if (a->blocked) {
        out->verdict = VERDICT_REJECT;
        out->reason = REASON_BLOCKED;
        out->away = false;
        snprintf(out->why, sizeof out->why, "blocked address: %.*s is at %s (%s); see guard and allow",
                 STR_ARG(a->host), a->blocked_at, a->blocked);
        answer_make_harmless(out->why);
        return;
    }
    if (a->code != CURLE_OK && !(a->cut && a->status)) {
        out->verdict = VERDICT_RETRY;
        out->reason = a->code == CURLE_SSL_CACERT_BADFILE ? REASON_CONFIGURATION : REASON_UNAVAILABLE;
        answer_say_failure(a, out);
        answer_make_harmless(out->why);
        return;
    }
    answer_judge_whole(a, rules, out);
}
