/* SPDX-License-Identifier: MIT */
/* Judges receivers' answers. */
#include "connectors/webhook/answer.h"

#include <openssl/x509.h>
#include <stdio.h>
#include "bridge/net/http/http.h"

enum { DAY_S = 24 * 60 * 60 };

struct duration answer_patience(struct str retry_after, int64_t wall_ms)
{
    struct str text = str_trim(retry_after);
    uint64_t seconds;
    if (text.n && text.n <= 20 && strspn(text.at, "0123456789") >= text.n)
        return (struct duration){ (str_to_u64(text, &seconds) && seconds < DAY_S ? (int64_t)seconds : DAY_S) * 1000 };
    char date[64];
    if (text.n < 10 || text.n >= sizeof date)
        return (struct duration){ 0 };
    memcpy(date, text.at, text.n);
    date[text.n] = '\0';
    int64_t at_s = curl_getdate(date, NULL);
    if (at_s < 0)
        return (struct duration){ 0 };
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

/* "503 Service Unavailable: over capacity, try later" */
static void answer_say_status(const struct answer *a, struct result *out)
{
    char excerpt[ANSWER_EXCERPT];
    int n = answer_excerpt(a->body, excerpt);
    const char *phrase = http_status_text(a->status);
    const char *redirect = a->status / 100 == 3 ? ", redirects are not followed" : "";
    snprintf(out->why, sizeof out->why, "%d%s%s%s%s%.*s", a->status, *phrase ? " " : "", phrase, redirect,
             n ? ": " : "", n, excerpt);
}

static void answer_say_duration(struct duration d, char *out, size_t room)
{
    if (d.ms % 1000 == 0)
        snprintf(out, room, "%lld s", (long long)(d.ms / 1000));
    else
        snprintf(out, room, "%lld ms", (long long)d.ms);
}

/* Why there is no whole answer: "timeout after 10 s". */
static void answer_say_failure(const struct answer *a, struct result *out)
{
    char text[32], begun[64] = "";
    size_t room = sizeof out->why;
    if (a->status)
        snprintf(begun, sizeof begun, " (the answer began with %d and broke off)", a->status);
    switch ((int)a->code) { /* only the codes a person meets often get words of their own */
    case CURLE_OPERATION_TIMEDOUT:
        answer_say_duration(a->timeout, text, sizeof text);
        snprintf(out->why, room, "timeout after %s%s", text, begun);
        return;
    case CURLE_COULDNT_RESOLVE_HOST: snprintf(out->why, room, "the host name cannot be resolved"); return;
    case CURLE_COULDNT_CONNECT:
        snprintf(out->why, room, "no connection: %s",
                 a->os_errno ? strerror((int)a->os_errno) : "the receiver does not answer");
        return;
    case CURLE_PEER_FAILED_VERIFICATION:
        snprintf(out->why, room, "TLS: the certificate is not trusted: %s",
                 a->tls_verify ? X509_verify_cert_error_string(a->tls_verify) : "it is for another name");
        return;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE: snprintf(out->why, room, "connection lost before the end of the answer%s", begun); return;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY: snprintf(out->why, room, "what answers at this address does not speak HTTP"); return;
    default: snprintf(out->why, room, "%s%s", curl_easy_strerror(a->code), begun);
    }
}

void answer_judge(const struct answer *a, struct result *out)
{
    out->status = a->status;
    out->retry_after = (struct duration){ 0 };
    out->reason = REASON_NONE;
    out->why[0] = '\0';
    if (a->code != CURLE_OK && !(a->cut && a->status)) {
        out->verdict = VERDICT_RETRY;
        out->reason = a->code == CURLE_SSL_CACERT_BADFILE ? REASON_CONFIGURATION : REASON_UNAVAILABLE;
        answer_say_failure(a, out);
        return;
    }
    if (a->status >= 200 && a->status < 300) {
        out->verdict = VERDICT_DELIVERED;
        return;
    }
    out->verdict = a->status == 410 ? VERDICT_REJECT : VERDICT_RETRY;
    out->reason = REASON_REFUSED;
    out->retry_after = answer_patience(a->retry_after, clock_wall_ms());
    answer_say_status(a, out);
}
