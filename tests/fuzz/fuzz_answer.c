/* SPDX-License-Identifier: MIT */
/* Receivers' answers as the webhook sink judges them: libcurl's code, status, flags (a byte each, the status two), then
 * Retry-After and libcurl's words (a line each) and the body. Every answer has one verdict, and a reason of one harmless
 * line. */
#include <string.h>
#include "bridge/lib/mem.h"
#include "connectors/webhook/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* By the rules 2xx, except those with the word "refused" in the body, and 4xx rejected. */
static void check_result(const struct answer *a, const struct result *r)
{
    bool whole = a->code == CURLE_OK || (a->cut && a->status);
    bool good = whole && a->status >= 200 && a->status < 300 && !memmem(a->body.at, a->body.n, "refused", 7);
    bool again = a->status == 408 || a->status == 425 || a->status == 429;
    bool aborted = !good && a->delivery.at && str_eq_nocase(str_trim(a->delivery), STR("disable"));
    bool rejected = whole && (aborted || (a->status / 100 == 4 && !again));
    CHECK((r->verdict == VERDICT_UNTRIED) == (a->lack != 0));
    CHECK(a->lack || (r->verdict == VERDICT_DELIVERED) == good);
    CHECK((r->verdict == VERDICT_REJECT) == (!a->lack && rejected));
    CHECK(r->verdict == VERDICT_DELIVERED || r->why[0]);
    CHECK((r->reason == REASON_NONE) == (r->verdict == VERDICT_DELIVERED || r->verdict == VERDICT_UNTRIED));
    CHECK(r->retry_after.ms >= 0 && r->retry_after.ms <= 86400000);
    CHECK(memchr(r->why, '\0', sizeof r->why));
    for (const char *c = r->why; *c; c++)
        CHECK((unsigned char)*c >= ' ' && *c != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 4)
        return 0;
    struct str rest = { (const char *)data + 4, n - 4 }, retry_after = STR(""), line = STR("");
    char text[CURL_ERROR_SIZE] = "";
    str_cut(&rest, '\n', &retry_after);
    str_cut(&rest, '\n', &line);
    if (line.n < sizeof text && line.n)
        memcpy(text, line.at, line.n);
    struct answer a = { .code = (CURLcode)(data[0] % CURL_LAST),
                        .status = (data[1] * 256 + data[2]) % 1000,
                        .cut = data[3] & 1,
                        .tls = data[3] & 2,
                        .lack = data[3] & 4 ? 24 : 0,
                        .phase = (enum answer_phase)(PHASE_RESOLVING + (data[3] >> 3) % 4),
                        .os_errno = data[3] & 32 ? 111 : 0,
                        .tls_verify = data[3] >> 6,
                        .limit = { data[0] * 100 },
                        .host = STR("example.com"),
                        .body = rest.at ? rest : STR(""),
                        .retry_after = data[3] & 1 ? STR_ABSENT : retry_after,
                        .delivery = data[3] & 1 ? retry_after : STR_ABSENT,
                        .text = text };
    struct result r = { 0 };
    struct err e;
    struct answer_rules rules;
    char *texts[] = { (char *)(uintptr_t) "2xx", (char *)(uintptr_t) "4xx", (char *)(uintptr_t) "refused" };
    rules.success_unless = (struct strings){ &texts[2], 1 };
    CHECK(statuses_load(&rules.statuses, &(struct strings){ &texts[0], 1 }, &(struct strings){ &texts[1], 1 }, &e));
    answer_judge(&a, &rules, &r);
    check_result(&a, &r);
    return 0;
}
