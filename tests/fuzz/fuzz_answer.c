/* SPDX-License-Identifier: MIT */
/* Receivers' answers as the webhook sink judges them: libcurl's code, status, flags (a byte each, the status two), then
 * Retry-After and libcurl's words (a line each) and the body. Every answer has one verdict, and a reason of one harmless
 * line. */
#include <string.h>
#include "bridge/lib/mem.h"
#include "connectors/webhook/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_result(const struct answer *a, const struct result *r)
{
    bool whole = a->code == CURLE_OK || (a->cut && a->status);
    bool good = whole && a->status >= 200 && a->status < 300;
    CHECK((r->verdict == VERDICT_UNTRIED) == (a->lack != 0));
    CHECK(a->lack || (r->verdict == VERDICT_DELIVERED) == good);
    CHECK((r->verdict == VERDICT_REJECT) == (!a->lack && whole && a->status == 410));
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
                        .text = text };
    struct result r = { 0 };
    answer_judge(&a, &r);
    check_result(&a, &r);
    return 0;
}
