/* SPDX-License-Identifier: MIT */
/* The table of styles, and what follows from a row: what is signed, and how it stands in the header. */
#include "bridge/auth/signature.h"

#define SIGNATURE_NAME(VALUE, name, doc) [SIGNATURE_##VALUE] = #name,
static const char *const signature_names[SIGNATURE_COUNT] = { SIGNATURE_STYLES(SIGNATURE_NAME) };
#undef SIGNATURE_NAME

static const struct signature_style signature_styles[SIGNATURE_COUNT] = {
    [SIGNATURE_STANDARD] = {
        .headers = { "webhook-signature", "webhook-id", "webhook-timestamp" },
        .other = { "svix-signature", "svix-id", "svix-timestamp" },
        .begin = { [KEY_HMAC] = "v1,", [KEY_ED25519] = "v1a," },
        .between = ' ',
        .base64 = true,
        .mark = '.',
        .signs_id = true,
        .signs_time = true,
        .boxed = true,
        .type_pointers = { "/type" },
    },
    [SIGNATURE_GITHUB] = {
        .headers = { .signature = "X-Hub-Signature-256", .id = "X-GitHub-Delivery" },
        .begin = { [KEY_HMAC] = "sha256=" },
        .type = "github",
        .type_header = "X-GitHub-Event",
    },
    [SIGNATURE_STRIPE] = {
        .headers = { .signature = "Stripe-Signature" },
        .begin = { [KEY_HMAC] = "v1=" },
        .time_begin = "t=",
        .between = ',',
        .mark = '.',
        .signs_time = true,
        .type = "stripe",
        .type_pointers = { "/type" },
        .id_pointer = "/id",
    },
    [SIGNATURE_SLACK] = {
        .headers = { .signature = "X-Slack-Signature", .time = "X-Slack-Request-Timestamp" },
        .begin = { [KEY_HMAC] = "v0=" },
        .lead = "v0:",
        .mark = ':',
        .signs_time = true,
        .type = "slack",
        .type_pointers = { "/event/type", "/type" },
        .id_pointer = "/event_id",
    },
    [SIGNATURE_LANGFUSE] = {
        .headers = { .signature = "x-langfuse-signature" },
        .begin = { [KEY_HMAC] = "v1=" },
        .time_begin = "t=",
        .between = ',',
        .mark = '.',
        .signs_time = true,
        .type = "langfuse",
        .id_pointer = "/id",
    },
    [SIGNATURE_HMAC_HEX] = { .begin = { [KEY_HMAC] = "" } },
    [SIGNATURE_HMAC_BASE64] = { .begin = { [KEY_HMAC] = "" }, .base64 = true },
};

const struct signature_style *signature_style(enum signature which)
{
    return which == SIGNATURE_UNSET ? NULL : &signature_styles[which];
}

const char *signature_name(enum signature which)
{
    return signature_names[which];
}

size_t signature_parts(const struct signature_style *st, const struct signed_parts *p, struct str out[SIGNED_PARTS])
{
    size_t n = 0;
    struct str mark = { &st->mark, 1 };
    if (st->lead)
        out[n++] = str_of(st->lead);
    if (st->signs_id)
        out[n++] = p->id, out[n++] = mark;
    if (st->signs_time)
        out[n++] = p->time, out[n++] = mark;
    out[n++] = p->body;
    return n;
}

/* ---- to sign ---- */

void signature_add(const struct signature_style *st, struct key *const *keys, size_t count,
                   const struct signed_parts *p, struct buf *out)
{
    struct str parts[SIGNED_PARTS];
    size_t n = signature_parts(st, p, parts);
    if (st->time_begin) {
        buf_add_c(out, st->time_begin);
        buf_add_str(out, p->time);
    }
    for (size_t i = 0; i < count && (i == 0 || st->between); i++) {
        unsigned char bytes[KEY_SIGNATURE_MOST];
        struct str one = { (const char *)bytes, key_sign(keys[i], parts, n, bytes) };
        if (i > 0 || st->time_begin)
            buf_add_char(out, st->between);
        buf_add_c(out, st->begin[key_kind(keys[i])]);
        if (st->base64)
            base64_add(out, one);
        else
            hex_add(out, one);
    }
}

/* ---- to verify ---- */

bool signature_next(const struct signature_style *st, struct str *value, enum key_kind *kind, struct str *text)
{
    struct str one;
    while (value->at) {
        if (st->between)
            str_cut(value, st->between, &one);
        else
            one = *value, *value = STR_ABSENT;
        for (int k = 0; k < KEY_KINDS; k++) {
            if (!st->begin[k] || !str_starts(one, str_of(st->begin[k])))
                continue;
            *kind = (enum key_kind)k;
            *text = str_from(one, strlen(st->begin[k]));
            return true;
        }
    }
    return false;
}

bool signature_decode(const struct signature_style *st, struct str text, struct buf *out)
{
    return st->base64 ? base64_decode(out, text) : hex_decode(out, text);
}

struct str signature_time(const struct signature_style *st, struct str value)
{
    struct str one;
    while (str_cut(&value, st->between, &one))
        if (str_starts(one, str_of(st->time_begin)))
            return str_from(one, strlen(st->time_begin));
    return STR_ABSENT;
}

bool signature_read_time(struct str text, int64_t *seconds)
{
    uint64_t n;
    if (text.n > SIGNATURE_TIME_DIGITS || !str_to_u64(text, &n))
        return false;
    *seconds = (int64_t)n;
    return true;
}
