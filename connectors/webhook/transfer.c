/* SPDX-License-Identifier: MIT */
/* Runs attempts: libcurl's options, repeats on a fresh connection, and what the end of a transfer tells. */
#include "connectors/webhook/transfer.h"

#include "bridge/lib/descriptors.h"
#include "bridge/lib/mem.h"

enum {
    BODY_READ = 16 * 1024,     /* most bytes of an answer's body that are read */
    READ_BUFFER = 4 * 1024,    /* of a handle; answers are short */
    UPLOAD_BUFFER = 16 * 1024, /* the least that libcurl takes */
    ZIPPED_KEEP = 256 * 1024,  /* a buffer above this is given back */
    LATE_MS = 100,             /* how inexact libcurl's clock may be */
};

static size_t transfer_on_body(char *bytes, size_t one, size_t n, void *ctx)
{
    (void)one;
    struct transfer *t = ctx;
    size_t room = sizeof t->excerpt - t->excerpt_n;
    size_t keep = n < room ? n : room;
    memcpy(t->excerpt + t->excerpt_n, bytes, keep);
    t->excerpt_n += keep;
    if (t->whole)
        buf_add(t->whole, bytes, n);
    t->body_n += n;
    return t->body_n > BODY_READ ? 0 : n; /* 0 ends the transfer */
}

/* Makes the easy handle with the options that every attempt has. */
static void transfer_set_up(struct transfer *t)
{
    const struct transfer_target *to = t->target;
    CURL *c = t->easy = curl_easy_init();
    CHECK(c);
    curl_easy_setopt(c, CURLOPT_PRIVATE, t);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->text);
    transport_set_up(&to->transport, c);
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, (long)READ_BUFFER);
    curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, transfer_on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    multi_adopt(to->multi, c, &t->opened);
}

static void transfer_drop_handle(struct transfer *t)
{
    if (t->easy)
        curl_easy_cleanup(t->easy); /* its connection stays with the others */
    t->easy = NULL;
}

static void transfer_set_body(struct transfer *t)
{
    struct str body = t->request.body;
    struct curl_slist *lines = t->request.lines;
    if (t->target->gzip && body.n >= GZIP_LEAST) {
        static char encoding[] = "Content-Encoding: gzip";
        gzip_body(t->target->gzip, body, &t->zipped);
        body = buf_str(&t->zipped);
        t->encoding_line = (struct curl_slist){ encoding, lines };
        lines = &t->encoding_line;
    }
    if (t->authorization.n) {
        t->token_line = (struct curl_slist){ t->authorization.at, lines };
        lines = &t->token_line;
    }
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, body.at);
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, lines);
}

/* Hands the request to libcurl, with a handle that has nothing of another event in it. */
static void transfer_run(struct transfer *t)
{
    const struct transfer_target *to = t->target;
    if (t->easy && !t->reuse)
        transfer_drop_handle(t);
    if (!t->easy)
        transfer_set_up(t);
    if (t->repeat)
        curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
    t->excerpt_n = t->body_n = 0;
    if (t->whole)
        buf_reset(t->whole);
    t->text[0] = '\0';
    t->opened.rules = to->guard;
    curl_easy_setopt(t->easy, CURLOPT_CURLU, to->url);
    curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)to->timeout.ms);
    curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)to->connect_timeout.ms);
    transfer_set_body(t);
    t->in_flight = true;
    multi_start(t->target->multi, t->easy);
}

void transfer_authorize(struct transfer *t, const char *line, uint64_t generation)
{
    buf_reset(&t->authorization);
    if (!line)
        return;
    t->authorization.max = strlen(line) + 1;
    buf_add_c(&t->authorization, line);
    CHECK(buf_c(&t->authorization));
    t->generation = generation;
}

void transfer_start(struct transfer *t, struct transfer_target *to)
{
    t->reuse = t->reuse && t->target && transport_is_same(&t->target->transport, &to->transport);
    t->target = to;
    t->repeat = false;
    t->us = 0;
    transfer_run(t);
}

/* Did a kept connection turn out to be gone? libcurl repeats by itself in most such cases, but counts them over all
 * transfers of a handle and gives up at some. */
static bool transfer_was_on_a_dead_connection(const struct transfer *t, CURLcode code, long connects)
{
    long status = 0, header_bytes = 0;
    if (t->repeat || connects > 0 || t->body_n > 0
        || (code != CURLE_SEND_ERROR && code != CURLE_RECV_ERROR && code != CURLE_GOT_NOTHING && code != CURLE_HTTP2
            && code != CURLE_HTTP2_STREAM))
        return false;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_HEADER_SIZE, &header_bytes);
    return status == 0 && header_bytes == 0;
}

/* How far it came. libcurl does not tell the handshake from the connecting before it. */
static enum answer_phase transfer_phase(const struct transfer *t)
{
    curl_off_t sent_us = 0, resolved_us = 0;
    curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
    curl_easy_getinfo(t->easy, CURLINFO_NAMELOOKUP_TIME_T, &resolved_us);
    if (sent_us > 0)
        return PHASE_SENT;
    if (t->opened.connected)
        return PHASE_TLS;
    return resolved_us > 0 ? PHASE_CONNECTING : PHASE_RESOLVING;
}

/* The limit that a time-out of this phase ran into, or the time it took if something else was less patient. */
static struct duration transfer_limit(const struct transfer *t, enum answer_phase phase)
{
    const struct transfer_target *to = t->target;
    bool connecting = phase != PHASE_SENT && to->connect_timeout.ms < to->timeout.ms;
    struct duration limit = connecting ? to->connect_timeout : to->timeout;
    return limit.ms - t->us / 1000 > LATE_MS ? (struct duration){ t->us / 1000 } : limit;
}

/* Adds to *a what there is to know of a failure. */
static void transfer_look_at_failure(const struct transfer *t, struct answer *a)
{
    const struct transfer_target *to = t->target;
    long os_errno = 0;
    curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_errno);
    curl_easy_getinfo(t->easy, CURLINFO_SSL_VERIFYRESULT, &a->tls_verify);
    a->os_errno = (int)os_errno;
    a->phase = transfer_phase(t);
    a->limit = transfer_limit(t, a->phase);
    a->host = str_of(to->host);
    a->tls = to->transport.tls;
    a->proxied = to->transport.proxy != NULL;
    a->tls_min = to->transport.tls_min == TLS_MIN_1_3 ? "1.3" : "1.2";
    a->text = t->text;
    if (a->code == CURLE_COULDNT_CONNECT && t->opened.blocked && !t->opened.opened) {
        a->blocked = t->opened.blocked;
        address_text((const struct sockaddr *)&t->opened.address, a->blocked_at);
    }
    a->lack = lack_find(&(struct lack_clues){ .code = a->code,
                                              .os_errno = a->os_errno,
                                              .sent = a->phase == PHASE_SENT,
                                              .text = t->text,
                                              .ca_file = to->transport.ca_file,
                                              .opened = &t->opened });
    descriptors_out(a->lack); /* counted and told, if it is that */
}

/* A header of the answer; absent: it has none. */
static struct str transfer_header(const struct transfer *t, const char *name)
{
    struct curl_header *h;
    return curl_easy_header(t->easy, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK ? str_of(h->value) : STR_ABSENT;
}

bool transfer_end(struct transfer *t, CURLcode code)
{
    long status = 0, connects = 0;
    curl_off_t us = 0;
    t->in_flight = false;
    curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
    curl_easy_getinfo(t->easy, CURLINFO_TOTAL_TIME_T, &us);
    t->us += us;
    t->reuse = code == CURLE_OK && connects == 0;
    if (transfer_was_on_a_dead_connection(t, code, connects)) {
        t->repeat = true;
        transfer_run(t);
        return false;
    }
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    hide_in(&t->target->hidden, t->excerpt, t->excerpt_n);
    if (t->authorization.n)
        hide_line(t->authorization.at, t->excerpt, t->excerpt_n);
    struct answer a = {
        .code = code, .status = (int)status, .cut = t->body_n > BODY_READ, .body = { t->excerpt, t->excerpt_n }
    };
    if (status / 100 != 2) {
        a.retry_after = transfer_header(t, "Retry-After");
        a.delivery = transfer_header(t, "webhook-delivery");
    }
    if (code != CURLE_OK)
        transfer_look_at_failure(t, &a);
    answer_judge(&a, &t->target->rules, &t->result);
    t->result.took.ms = t->us / 1000;
    t->result.answer = a.body;
    return true;
}

void transfer_stop(struct transfer *t)
{
    multi_stop(t->target->multi, t->easy);
    t->in_flight = t->reuse = false;
}

void transfer_trim(struct transfer *t)
{
    request_trim(&t->request);
    if (t->zipped.cap > ZIPPED_KEEP)
        buf_free(&t->zipped);
}

void transfer_forget(struct transfer *t)
{
    transfer_drop_handle(t);
    t->target = NULL;
}

void transfer_free(struct transfer *t)
{
    if (t->in_flight)
        transfer_stop(t);
    transfer_drop_handle(t);
    request_free(&t->request);
    buf_free(&t->authorization);
    buf_free(&t->zipped);
}
