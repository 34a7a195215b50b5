/* SPDX-License-Identifier: MIT */
/* Requests as a person hands them to `aqueduct verify`: reading them and looking for what differs never crashes, and
 * nothing is found good that nobody signed. */
#include "bridge/lib/mem.h"
#include "bridge/auth/diagnose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static char secret[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                public[] = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", header[] = "X-Hook-Signature";
    const struct secret secrets[] = { { .text = secret }, { .text = public } };
    struct received r;
    if (!received_read(&r, (struct str){ (const char *)data, n }, NULL))
        return 0;
    for (int i = SIGNATURE_UNSET + 1; i < SIGNATURE_COUNT; i++) {
        struct diagnosis found = { 0 };
        bool boxed = signature_style((enum signature)i)->boxed;
        struct diagnose d = {
            .scheme = (enum signature)i,
            .header = boxed ? NULL : header,
            .secrets = secrets,
            .count = boxed ? 2 : 1,
            .now_s = 1614265330,
            .tolerance_s = 300,
            .url = STR("https://example.com:8443/in?a=b"),
        };
        CHECK(diagnose(&d, &r, &found, NULL));
        CHECK(found.part > DIFFERS_NOTHING && found.part < DIFFERS_COUNT && found.why.text[0]);
    }
    return 0;
}
