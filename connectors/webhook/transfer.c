/* SPDX-License-Identifier: MIT */
/* Runs attempts: libcurl's options, repeats on a fresh connection, and what the end of a transfer tells. */
#include "connectors/webhook/transfer.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <unistd.h>
#include "bridge/lib/descriptors.h"
#include "bridge/lib/mem.h"

enum {
    BODY_READ = 16 * 1024,     /* most bytes of an answer's body that are read */
    READ_BUFFER = 4 * 1024,    /* of a handle; answers are short */
    UPLOAD_BUFFER = 16 * 1024, /* the least that libcurl takes */
    HEAD_BYTES = 40 << 20,     /* a URL has 8 MB at most */
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
    if (t->easy && t->opened.fd >= 0) {
        close(t->opened.fd); /* opened to be kept, and not taken over */
        t->opened.fd = -1;
    }
    t->easy = NULL;
}

/* The body and the lines in front of the request's own, with what the target adds. */
static struct curl_slist *transfer_lines(struct transfer *t, struct str *out)
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
    *out = body;
    return lines;
}

static void transfer_set_body(struct transfer *t)
{
    struct str body;
    struct curl_slist *lines = transfer_lines(t, &body);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, body.at);
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, lines);
}

/* Where the request goes, and by which method: a URL of its own goes before the receiver's. */
static void transfer_aim(struct transfer *t)
{
    const struct transfer_target *to = t->target;
    const char *own = t->request.url.n > 0 ? t->request.url.at : NULL;
    curl_easy_setopt(t->easy, CURLOPT_CURLU, own ? NULL : to->url);
    curl_easy_setopt(t->easy, CURLOPT_URL, own);
    curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, to->method == METHOD_POST ? NULL : target_method(to));
}

/* ---- without libcurl ---- */

static bool transfer_take_plain_body(void *ctx, const char *bytes, size_t n)
{
    return transfer_on_body((char *)(uintptr_t)bytes, 1, n, ctx) == n;
}

/* A line as libcurl reads it: "Name: value"; "Name;" has no value; "Name:" is left out. */
static void transfer_add_line(struct buf *head, const char *line)
{
    size_t name = strcspn(line, ":;");
    const char *value = line[name] ? line + name + 1 : "";
    value += strspn(value, " ");
    if (line[name] == ':' && !*value)
        return;
    if (line[name] == ';' && !*value)
        buf_printf(head, "%.*s:\r\n", (int)name, line);
    else {
        buf_add_c(head, line);
        buf_add(head, "\r\n", 2);
    }
}

/* The first line and Host; a URL of the request's own goes before the receiver's. */
static void transfer_add_start(struct transfer *t)
{
    const char *start = t->target->start;
    if (t->request.url.n > 0) {
        const char *host = strstr(t->request.url.at, "://"), *path = host ? strchr(host + strlen("://"), '/') : NULL;
        CHECK(path); /* libcurl wrote what stands before the user's */
        buf_printf(&t->head, "%s %s HTTP/1.1", target_method(t->target), path);
        start += strcspn(start, "\r");
    }
    buf_add_c(&t->head, start);
}

/* Writes the request as it goes out. */
static void transfer_write_plain(struct transfer *t)
{
    bool named = false;
    struct direct_request *r = &t->direct;
    const struct curl_slist *lines = transfer_lines(t, &r->body);
    t->head.max = HEAD_BYTES;
    buf_reset(&t->head);
    transfer_add_start(t);
    for (const struct curl_slist *l = lines; l; l = l->next) {
        transfer_add_line(&t->head, l->data);
        named = named || str_starts_nocase(str_of(l->data), STR("user-agent:"));
    }
    if (!named)
        buf_add_c(&t->head, "User-Agent: Aqueduct/" AQUEDUCT_VERSION "\r\n");
    buf_printf(&t->head, "Content-Length: %zu\r\n\r\n", r->body.n);
    CHECK(!t->head.failed); /* the request's lines are bounded, and so is a URL */
    r->head = buf_str(&t->head);
    r->take = transfer_take_plain_body;
    r->ctx = t;
}

/* False: there is no connection for it. */
static bool transfer_send_direct(struct transfer *t)
{
    struct transfer_target *to = t->target;
    t->direct.due_us = t->began_us + to->timeout.ms * 1000;
    t->on_plain = direct_has(&to->connections);
    if (t->on_plain) {
        transfer_write_plain(t);
        t->in_flight = true;
        direct_send(to->direct, &to->connections, &t->direct);
    }
    return t->on_plain;
}

/* Takes what libcurl has connected; otherwise *a says why not. */
static bool transfer_take_connection(struct transfer *t, struct channel *c, struct answer *a)
{
    if (t->target->transport.tls) {
        a->code = channel_take(c, t->easy, t->text);
        if (a->code == CURLE_OK)
            t->easy = NULL; /* the channel's */
        else
            multi_take_out(t->target->multi, t->easy);
    } else {
        multi_take_out(t->target->multi, t->easy); /* which hands the descriptor over */
        a->code = t->opened.fd >= 0 ? CURLE_OK : CURLE_RECV_ERROR;
        a->text = "Recv failure: Connection reset by peer"; /* before libcurl let go of it */
        *c = channel_of(t->opened.fd);
        t->opened.fd = -1;
    }
    transfer_drop_handle(t);
    return a->code == CURLE_OK;
}

/* libcurl has connected: the request goes there. False: it ends as *a says. */
static bool transfer_go_on_plain(struct transfer *t, struct answer *a)
{
    struct transfer_target *to = t->target;
    struct channel c;
    if (!transfer_take_connection(t, &c, a))
        return false;
    if (direct_adopt(to->direct, &to->connections, c))
        return transfer_send_direct(t);
    a->lack = errno; /* epoll's */
    return false;
}

/* Hands the request to libcurl, with a handle that has nothing of another event in it. */
static void transfer_run(struct transfer *t)
{
    const struct transfer_target *to = t->target;
    t->began_us = clock_mono_us();
    t->excerpt_n = t->body_n = 0;
    if (t->whole)
        buf_reset(t->whole);
    if (to->direct && !t->repeat && transfer_send_direct(t))
        return;
    if (t->easy && !t->reuse)
        transfer_drop_handle(t);
    if (!t->easy)
        transfer_set_up(t);
    if (t->repeat)
        curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
    t->text[0] = '\0';
    t->opened.rules = to->guard;
    transfer_aim(t);
    curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)to->timeout.ms);
    curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)to->connect_timeout.ms);
    t->opened.keep = to->direct && !to->transport.tls;
    curl_easy_setopt(t->easy, CURLOPT_CONNECT_ONLY, (long)(to->direct != NULL));
    if (to->direct)
        curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
    else
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

/* What is known before it ends. */
static struct answer transfer_answer(const struct transfer *t, CURLcode code)
{
    const struct transfer_target *to = t->target;
    return (struct answer){ .code = code,
                            .host = str_of(to->host),
                            .tls = to->transport.tls,
                            .proxied = to->transport.proxy != NULL,
                            .tls_min = to->transport.tls_min == TLS_MIN_1_3 ? "1.3" : "1.2",
                            .text = t->text };
}

/* Adds to *a what libcurl knows of a failure. */
static void transfer_look_at_failure(const struct transfer *t, struct answer *a)
{
    const struct transfer_target *to = t->target;
    long os_errno = 0;
    curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os_errno);
    curl_easy_getinfo(t->easy, CURLINFO_SSL_VERIFYRESULT, &a->tls_verify);
    a->os_errno = (int)os_errno;
    a->phase = transfer_phase(t);
    a->limit = transfer_limit(t, a->phase);
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

struct str transfer_header(const struct transfer *t, const char *name)
{
    struct curl_header *h;
    return t->easy && curl_easy_header(t->easy, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK ? str_of(h->value)
                                                                                            : STR_ABSENT;
}

/* Judges the end of an attempt. */
static void transfer_judge(struct transfer *t, struct answer *a)
{
    hide_in(&t->target->hidden, t->excerpt, t->excerpt_n);
    if (t->authorization.n)
        hide_line(t->authorization.at, t->excerpt, t->excerpt_n);
    a->body = (struct str){ t->excerpt, t->excerpt_n };
    a->cut = t->body_n > BODY_READ;
    answer_judge(a, &t->target->rules, &t->result);
    t->gone = answer_is_of_receiver(a);
    t->result.took.ms = t->us / 1000;
    t->result.answer = a->body;
}

/* What libcurl would have called it. */
static CURLcode transfer_plain_code(struct transfer *t)
{
    const struct direct_request *r = &t->direct;
    switch (r->end) {
    case DIRECT_WHOLE: return CURLE_OK;
    case DIRECT_TIMED_OUT: return CURLE_OPERATION_TIMEDOUT;
    case DIRECT_STALE:
    case DIRECT_LOST:
        if (r->os_errno)
            snprintf(t->text, sizeof t->text, "Recv failure: %s", strerror(r->os_errno));
        else if (r->tls_error)
            ERR_error_string_n(r->tls_error, t->text, sizeof t->text);
        return r->status ? CURLE_PARTIAL_FILE : *t->text ? CURLE_RECV_ERROR : CURLE_GOT_NOTHING;
    case DIRECT_BAD: break;
    }
    switch (r->reply) {
    case REPLY_LONG_HEADER: return CURLE_OUT_OF_MEMORY;
    case REPLY_LONG_HEADERS: snprintf(t->text, sizeof t->text, "Too large response headers"); return CURLE_RECV_ERROR;
    case REPLY_ENOUGH: return CURLE_WRITE_ERROR;
    case REPLY_BROKEN: snprintf(t->text, sizeof t->text, "bad chunked-encoding"); return CURLE_RECV_ERROR;
    case REPLY_MORE:
    case REPLY_WHOLE:
    case REPLY_GARBAGE: break;
    }
    return CURLE_WEIRD_SERVER_REPLY;
}

static bool transfer_end_plain(struct transfer *t)
{
    struct direct_request *r = &t->direct;
    t->in_flight = t->on_plain = false;
    t->us += clock_mono_us() - t->began_us;
    if (r->end == DIRECT_STALE && !t->repeat) {
        t->repeat = true;
        transfer_run(t);
        return false;
    }
    t->text[0] = '\0';
    struct answer a = transfer_answer(t, transfer_plain_code(t));
    a.status = r->status;
    a.phase = PHASE_SENT;
    a.limit = t->target->timeout;
    a.retry_after = r->retry_after[0] ? str_of(r->retry_after) : STR_ABSENT;
    a.delivery = r->delivery[0] ? str_of(r->delivery) : STR_ABSENT;
    transfer_judge(t, &a);
    return true;
}

bool transfer_end(struct transfer *t, CURLcode code)
{
    long status = 0, connects = 0;
    curl_off_t us = 0;
    if (t->on_plain)
        return transfer_end_plain(t);
    t->in_flight = false;
    curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
    curl_easy_getinfo(t->easy, CURLINFO_TOTAL_TIME_T, &us);
    t->reuse = code == CURLE_OK && connects == 0;
    struct answer a = transfer_answer(t, code);
    bool goes_on = t->target->direct && code == CURLE_OK;
    if (!goes_on)
        multi_take_out(t->target->multi, t->easy);
    else if (transfer_go_on_plain(t, &a))
        return false;
    t->us += us;
    if (a.code == CURLE_NOT_BUILT_IN) {
        t->target->direct = NULL; /* libcurl's TLS cannot be taken over */
        transfer_run(t);
        return false;
    }
    if (!t->easy) {
        transfer_judge(t, &a);
        return true;
    }
    if (transfer_was_on_a_dead_connection(t, code, connects)) {
        t->repeat = true;
        transfer_run(t);
        return false;
    }
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    a.status = status < 200 ? 0 : (int)status; /* 100: an answer was announced, and none came */
    if (status / 100 != 2) {
        a.retry_after = transfer_header(t, "Retry-After");
        a.delivery = transfer_header(t, "webhook-delivery");
    }
    if (code != CURLE_OK)
        transfer_look_at_failure(t, &a);
    transfer_judge(t, &a);
    return true;
}

void transfer_stop(struct transfer *t)
{
    if (t->on_plain)
        direct_stop(t->target->direct, &t->direct);
    else
        multi_stop(t->target->multi, t->easy);
    t->in_flight = t->reuse = t->on_plain = false;
}

void transfer_trim(struct transfer *t)
{
    request_trim(&t->request);
    if (t->zipped.cap > ZIPPED_KEEP)
        buf_free(&t->zipped);
    if (t->head.cap > ZIPPED_KEEP)
        buf_free(&t->head);
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
    buf_free(&t->head);
    buf_free(&t->zipped);
}
