/* SPDX-License-Identifier: MIT */
/* Posts out over keep-alive connections: the webhook sink, and its raw limit: libcurl alone with the same loop and
 * handles, a fixed body, no event, no signature.
 *
 *   bench.webhook raw|sink|tls [in flight] [seconds] [bytes of data] [ms]     tls: the sink, over https; ms: until each answer
 *   bench.webhook receiver [ms [ids]]   prints its port, answers 204, each after so long, until its input ends (for a daemon).
 *                                  Behind each line of its input, and at the end, it prints how many it answered; with "ids"
 *                                  also how many came again, when the first new one came since the line before, and how old
 *                                  they were ("at" in the data). The line "refuse" lets it answer 503, "take" 204 again
 *   bench.webhook bad              prints the port of a receiver that misbehaves as the path says (tests/support/receiver.h)
 *
 * Prints one JSON object. CPU is the sender's process only. As much time goes by before it counts: connections are opened
 * then, and more of them the better the receiver keeps up. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "answerer.h"
#include "bridge/lib/log.h"
#include "bridge/lib/mailbox.h"
#include "bridge/lib/mem.h"
#include "connectors/webhook/multi.h"
#include "meter.h"
#include "tests/support/connector.h"
#include "tests/support/event.h"
#include "tests/support/folder.h"
#include "tests/support/receiver.h"
#include "tests/support/tls_receiver.h"

enum { ROOM = 256, MOST = 1024 };

extern const struct sink_ops webhook_sink;

static struct answerer *answerer;
static char folder[FOLDER_BYTES], certificate[FOLDER_BYTES + 32]; /* of https; "": plain */
static int in_flight;
static uint64_t delivered, failed;
static bool opening; /* connections; nothing counts */
static double cpu, wall;
static int64_t start_us, end_us, run_us;
static struct delays delays;
static int64_t started_us[MOST];

static void begin_to_count(void)
{
    opening = false;
    cpu = meter_cpu_s(0);
    start_us = clock_mono_us();
    end_us = start_us + run_us;
}

static void stop_counting(void)
{
    cpu = meter_cpu_s(0) - cpu;
    wall = (double)(clock_mono_us() - start_us) / 1e6;
}

static void ended(size_t slot, bool ok)
{
    if (opening) {
        failed += !ok;
        if (clock_mono_us() > start_us + run_us)
            begin_to_count();
        return;
    }
    delays_add(&delays, clock_mono_us() - started_us[slot]);
    delivered += ok;
    failed += !ok;
}

static char *make_data(size_t bytes)
{
    char *data = mem_alloc(bytes + 1);
    size_t head = (size_t)snprintf(data, bytes + 1, "{\"action\":\"opened\",\"number\":1347,\"text\":\"");
    CHECK(head + 2 < bytes);
    memset(data + head, 'x', bytes - head);
    memcpy(data + bytes - 2, "\"}", 2);
    return data;
}

/* ---- raw ---- */

static size_t ignore(char *bytes, size_t one, size_t n, void *ctx)
{
    (void)bytes, (void)one, (void)ctx;
    return n;
}

static void raw_start(struct multi *m, CURL *c, size_t slot)
{
    started_us[slot] = clock_mono_us();
    multi_start(m, c);
}

static void run_raw(const char *data, size_t n)
{
    struct multi m;
    struct err e;
    char url[64];
    CURL *easy[MOST] = { 0 };
    struct multi_opened opened[MOST];
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(curl_slist_append(headers, "Accept:"), "Expect:");
    CHECK(multi_open(&m, &e));
    curl_multi_setopt(m.curl, CURLMOPT_MAXCONNECTS, (long)in_flight);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/hook", answerer->port);
    for (size_t i = 0; i < (size_t)in_flight; i++) {
        CURL *c = easy[i] = curl_easy_init();
        curl_easy_setopt(c, CURLOPT_URL, url);
        curl_easy_setopt(c, CURLOPT_PRIVATE, (void *)i);
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, data);
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, 10000L);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, ignore);
        multi_adopt(&m, c, &opened[i]);
        raw_start(&m, c, i);
    }
    while (clock_mono_us() < end_us) {
        multi_run(&m, -1, (struct duration){ 100 });
        CURLcode code = CURLE_OK;
        for (CURL *c; (c = multi_done(&m, &code));) {
            long status = 0;
            void *slot = NULL;
            multi_take_out(&m, c);
            curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
            curl_easy_getinfo(c, CURLINFO_PRIVATE, &slot);
            ended((size_t)slot, code == CURLE_OK && status == 204);
            raw_start(&m, c, (size_t)slot);
        }
    }
    stop_counting();
    for (int i = 0; i < in_flight; i++) {
        curl_multi_remove_handle(m.curl, easy[i]);
        curl_easy_cleanup(easy[i]);
    }
    multi_close(&m);
    curl_slist_free_all(headers);
}

/* ---- sink ---- */

static void begin(struct sink *s, const struct event *ev, uint64_t slot)
{
    started_us[slot] = clock_mono_us();
    s->ops->send(s, &(struct message){ .event = ev, .attempt = 1, .tag = slot });
}

static void run_sink(const char *data, size_t n)
{
    char yaml[512];
    snprintf(
        yaml, sizeof yaml,
        "url: http%s://127.0.0.1:%d/hook\nsecrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]\nconcurrency: %d\n%s%s\n",
        *certificate ? "s" : "", answerer->port, in_flight, *certificate ? "ca_file: " : "", certificate);
    struct sink *s = sink_opened(&webhook_sink, "bench", yaml);
    const struct event *ev = event_born(&(struct event){ .id = STR("3e4c9b4a-7d8e-5f1a-9b2c-1234567890ab"),
                                                         .source = STR("/http/hooks"),
                                                         .type = STR("chat.response.generated"),
                                                         .subject = STR("workspace_chats/17"),
                                                         .time = STR("2026-11-20T10:00:00.123Z"),
                                                         .datacontenttype = STR("application/json"),
                                                         .data = { data, n } });
    int wake_fd = wake_new();
    for (int i = 0; i < in_flight; i++)
        begin(s, ev, (uint64_t)i);
    while (clock_mono_us() < end_us) {
        struct result out[ROOM];
        size_t count = s->ops->work(s, wake_fd, (struct duration){ 100 }, out, ROOM);
        for (size_t i = 0; i < count; i++) {
            ended((size_t)out[i].tag, out[i].verdict == VERDICT_DELIVERED);
            begin(s, ev, out[i].tag);
        }
    }
    stop_counting();
    sink_end(s);
    close(wake_fd);
    event_unref(ev);
}

static void report(void)
{
    printf("{\"answered\":%llu,\"again\":%llu,\"first_new_us\":%lld,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n",
           (unsigned long long)atomic_load(&answerer->answered), (unsigned long long)atomic_load(&answerer->again),
           (long long)atomic_load(&answerer->first_new_us), delays_ms(&answerer->age, 0.5),
           delays_ms(&answerer->age, 0.99));
    fflush(stdout);
}

static int misbehave(void)
{
    char line[64];
    receiver_open(&receiver);
    printf("%d\n", receiver.port);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin))
        ;
    receiver_close(&receiver);
    return 0;
}

static int receive(int delay_ms, bool knows)
{
    char line[64];
    answerer = answerer_start(delay_ms, knows, NULL);
    if (!answerer)
        return 1;
    printf("%d\n", answerer->port);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (line[0] != '\n')
            atomic_store(&answerer->refuses, line[0] == 'r');
        report();
        atomic_store(&answerer->first_new_us, 0);
    }
    child_stop(&answerer->child);
    report();
    return 0;
}

/* ---- measuring ---- */

static int measure(const char *mode, double seconds, size_t bytes, int delay_ms)
{
    SSL_CTX *tls = NULL;
    bool is_tls = !strcmp(mode, "tls");
    if (is_tls) {
        folder_make(folder);
        snprintf(certificate, sizeof certificate, "%s/receiver.pem", folder);
        tls = tls_server("IP:127.0.0.1", 3600, certificate);
    }
    answerer = answerer_start(delay_ms, false, tls);
    if (!answerer)
        return 1;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    char *data = make_data(bytes);
    opening = true;
    start_us = clock_mono_us();
    run_us = (int64_t)(seconds * 1e6);
    end_us = INT64_MAX;
    if (!strcmp(mode, "raw"))
        run_raw(data, bytes);
    else
        run_sink(data, bytes);
    child_stop(&answerer->child);
    if (is_tls)
        folder_remove(folder);
    SSL_CTX_free(tls);
    free(data);
    return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "bad"))
        return misbehave();
    log_setup(LOG_ERROR, LOG_LOGFMT);
    if (!strcmp(mode, "receiver"))
        return receive(argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0, argc > 3);
    in_flight = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 64;
    size_t bytes = argc > 4 ? strtoul(argv[4], NULL, 10) : 1024;
    if ((strcmp(mode, "raw") != 0 && strcmp(mode, "sink") != 0 && strcmp(mode, "tls") != 0) || in_flight < 1
        || in_flight > MOST || bytes < 64) {
        fprintf(
            stderr,
            "usage: bench.webhook raw|sink|tls [in flight, at most %d] [seconds] [bytes of data, at least 64] [ms] | receiver [ms [ids]] | bad\n",
            MOST);
        return 2;
    }
    int code = measure(mode, argc > 3 ? strtod(argv[3], NULL) : 5, bytes,
                       argc > 5 ? (int)strtol(argv[5], NULL, 10) : 0);
    printf(
        "{\"bench\":\"webhook\",\"mode\":\"%s\",\"in_flight\":%d,\"bytes\":%zu,\"delivered\":%llu,\"failed\":%llu,\"seconds\":%.2f,"
        "\"deliveries_per_s\":%.0f,\"cpu_us_per_delivery\":%.2f,\"deliveries_per_core_s\":%.0f,\"cpu_share\":%.2f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n",
        mode, in_flight, bytes, (unsigned long long)delivered, (unsigned long long)failed, wall,
        (double)delivered / wall, cpu / (double)delivered * 1e6, (double)delivered / cpu, cpu / wall,
        delays_ms(&delays, 0.5), delays_ms(&delays, 0.99));
    return code;
}
