/* SPDX-License-Identifier: MIT */
/* What the commands keys, sign and verify share: which scheme, header and secrets their flags name. Secrets come from files,
 * the environment or the configuration, never from the command line. Main thread. */
#pragma once
#include "bridge/command/given.h"
#include "connectors/webhook/signer.h"

enum { SEALING_BODY = 64 << 20 };

struct sealing_flags {
    struct given_flags given;
    struct str sink, endpoint;
};

#define SEALING_CHOICES GIVEN_CHOICES "v1a"
#define SEALING_FLAGS(T)                                                                                               \
    FLAG(T, sealing.given.scheme, .name = "--scheme", .value = "SCHEME", .choices = SEALING_CHOICES,                   \
         .doc = "standard (default), v1a, github, stripe, slack, langfuse, shopify, outpost, gitlab, twilio, "         \
                "hmac_hex, hmac_base64, hmac"),                                                                        \
        GIVEN_SECRET_FLAGS(T, sealing.given),                                                                          \
        FLAG(T, sealing.given.header, .name = "--header", .value = "NAME",                                             \
             .doc = "the signature's header, if not the scheme's"),                                                    \
        FLAG(T, sealing.given.url, .name = "--url", .value = "URL",                                                    \
             .doc = "with its query, as the sender sees it, where that is signed (twilio)"),                           \
        FLAG(T, sealing.sink, .name = "--sink", .value = "NAME",                                                       \
             .doc = "as this webhook sink of the configuration does"),                                                 \
        FLAG(T, sealing.endpoint, .name = "--endpoint", .value = "NAME", .doc = "the one of the sink's endpoints"),    \
        GIVEN_DESCRIBED_FLAGS(T, sealing.given)

struct sealing {
    struct signature_options options;
    struct secrets secrets;
    struct given given; /* of the flags */
};

bool sealing_needs_config(const void *flags); /* of a command whose flags begin with sealing_flags */
/* Returns COMMAND_DONE, or the exit code after saying why; sealing_close in any case. */
int sealing_open(struct sealing *s, const char *command, const struct sealing_flags *f,
                 const struct command_call *call);
void sealing_close(struct sealing *s); /* wipes the secrets */
