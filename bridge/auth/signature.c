/* SPDX-License-Identifier: MIT */
/* The table of styles, and what follows from a row: what is signed, and how it stands in the header. */
#include "bridge/auth/signature.h"

#define SIGNATURE_NAME(VALUE, name, doc) [SIGNATURE_##VALUE] = #name,
static const char *const signature_names[SIGNATURE_COUNT] = { SIGNATURE_STYLES(SIGNATURE_NAME) };
#undef SIGNATURE_NAME

#define SIGNATURE_BODY .hash = HASH_SHA256, .content = "{body}"

static const struct signature_style signature_styles[SIGNATURE_COUNT] = {
    [SIGNATURE_STANDARD] = {
        .headers = { "webhook-signature", "webhook-id", "webhook-timestamp" },
        .other = { "svix-signature", "svix-id", "svix-timestamp" },
        .begin = { [KEY_HMAC] = "v1,", [KEY_ED25519] = "v1a," },
        .between = ' ',
        .hash = HASH_SHA256,
        .letters = NOTATION_BASE64,
        .content = "{id}.{timestamp}.{body}",
        .boxed = true,
        .type_pointers = { "/type" },
    },
    [SIGNATURE_GITHUB] = {
        .headers = { .signature = "X-Hub-Signature-256", .id = "X-GitHub-Delivery" },
        .begin = { [KEY_HMAC] = "sha256=" },
        SIGNATURE_BODY,
        .letters = NOTATION_HEX,
        .type = "github",
        .type_header = "X-GitHub-Event",
    },
    [SIGNATURE_STRIPE] = {
        .headers = { .signature = "Stripe-Signature" },
        .begin = { [KEY_HMAC] = "v1=" },
        .time_begin = "t=",
        .between = ',',
        .hash = HASH_SHA256,
        .letters = NOTATION_HEX,
        .content = "{timestamp}.{body}",
        .type = "stripe",
        .type_pointers = { "/type" },
        .id_pointer = "/id",
    },
    [SIGNATURE_SLACK] = {
        .headers = { .signature = "X-Slack-Signature", .time = "X-Slack-Request-Timestamp" },
        .begin = { [KEY_HMAC] = "v0=" },
        .hash = HASH_SHA256,
        .letters = NOTATION_HEX,
        .content = "v0:{timestamp}:{body}",
        .asks = true,
        .type = "slack",
        .type_pointers = { "/event/type", "/type" },
        .id_pointer = "/event_id",
    },
    [SIGNATURE_LANGFUSE] = {
        .headers = { .signature = "x-langfuse-signature" },
        .begin = { [KEY_HMAC] = "v1=" },
        .time_begin = "t=",
        .between = ',',
        .hash = HASH_SHA256,
        .letters = NOTATION_HEX,
        .content = "{timestamp}.{body}",
        .type = "langfuse",
        .id_pointer = "/id",
    },
    [SIGNATURE_SHOPIFY] = {
        .headers = { .signature = "X-Shopify-Hmac-SHA256", .id = "X-Shopify-Webhook-Id" },
        .other = { .signature = "Shopify-Hmac-Sha256", .id = "Shopify-Webhook-Id" },
        .begin = { [KEY_HMAC] = "" },
        SIGNATURE_BODY,
        .letters = NOTATION_BASE64,
        .type = "shopify",
        .type_header = "X-Shopify-Topic",
    },
    [SIGNATURE_OUTPOST] = {
        .headers = { .signature = "x-outpost-signature", .id = "x-outpost-event-id" },
        .begin = { [KEY_HMAC] = "v0=" },
        .between = ',',
        .begins_once = true,
        SIGNATURE_BODY,
        .letters = NOTATION_HEX,
        .type = "outpost",
        .type_header = "x-outpost-topic",
    },
    [SIGNATURE_HMAC_HEX] = { .begin = { [KEY_HMAC] = "" }, SIGNATURE_BODY, .letters = NOTATION_HEX },
    [SIGNATURE_HMAC_BASE64] = { .begin = { [KEY_HMAC] = "" }, SIGNATURE_BODY, .letters = NOTATION_BASE64 },
    [SIGNATURE_HMAC] = { .begin = { [KEY_HMAC] = "" }, SIGNATURE_BODY, .letters = NOTATION_HEX },
    [SIGNATURE_GITLAB] = {
        .headers = { "webhook-signature", "webhook-id", "webhook-timestamp" },
        .other = { .signature = "X-Gitlab-Token", .id = "Idempotency-Key" },
        .begin = { [KEY_HMAC] = "v1," },
        .between = ' ',
        .hash = HASH_SHA256,
        .letters = NOTATION_BASE64,
        .content = "{id}.{timestamp}.{body}",
        .boxed = true,
        .tokens = true,
        .type = "gitlab",
        .type_header = "X-Gitlab-Event",
    },
    [SIGNATURE_TWILIO] = {
        .headers = { .signature = "X-Twilio-Signature", .id = "I-Twilio-Idempotency-Token" },
        .begin = { [KEY_HMAC] = "" },
        .hash = HASH_SHA1,
        .letters = NOTATION_BASE64,
        .content = "{url}{fields}",
        .media = "application/x-www-form-urlencoded",
        .type = "twilio",
    },
};

const struct signature_style *signature_style(enum signature which)
{
    return which == SIGNATURE_UNSET ? NULL : &signature_styles[which];
}

const char *signature_name(enum signature which)
{
    return signature_names[which];
}

/* ---- what is signed ---- */

static const struct {
    const char *name;
    size_t offset;
} signature_places[] = {
    { "{body}", offsetof(struct signed_parts, body) },     { "{timestamp}", offsetof(struct signed_parts, time) },
    { "{id}", offsetof(struct signed_parts, id) },         { "{url}", offsetof(struct signed_parts, url) },
    { "{fields}", offsetof(struct signed_parts, fields) },
};
enum { SIGNATURE_PLACES = sizeof signature_places / sizeof *signature_places };

/* The place that the text begins with; SIGNATURE_PLACES: none. */
static size_t signature_place(struct str text)
{
    size_t i = 0;
    while (i < SIGNATURE_PLACES && !str_starts(text, str_of(signature_places[i].name)))
        i++;
    return i;
}

/* Takes the next part of a content; *place: SIGNATURE_PLACES where it is a text. */
static struct str signature_part(struct str *rest, size_t *place)
{
    *place = signature_place(*rest);
    size_t n = 1;
    if (*place < SIGNATURE_PLACES)
        n = strlen(signature_places[*place].name);
    else
        while (n < rest->n && rest->at[n] != '{')
            n++;
    struct str part = { rest->at, n };
    *rest = str_from(*rest, n);
    return part;
}

size_t signature_parts(const struct signature_style *st, const struct signed_parts *p, struct str out[SIGNED_PARTS])
{
    struct str rest = str_of(st->content);
    size_t n = 0, place;
    while (rest.n && n < SIGNED_PARTS) {
        struct str part = signature_part(&rest, &place);
        out[n++] = place == SIGNATURE_PLACES
                       ? part
                       : *(const struct str *)(const void *)((const char *)p + signature_places[place].offset);
    }
    return n;
}

bool signature_signs(const struct signature_style *st, const char *place)
{
    return strstr(st->content, place) != NULL;
}

struct str signature_check(const char *content, size_t *parts)
{
    struct str rest = str_of(content), none = STR_ABSENT;
    size_t place;
    for (*parts = 0; rest.n; ++*parts) {
        struct str part = signature_part(&rest, &place);
        const char *end = part.at[0] == '{' ? memchr(part.at, '}', part.n) : NULL;
        if (place == SIGNATURE_PLACES && end && !none.at)
            none = (struct str){ part.at, (size_t)(end - part.at) + 1 };
    }
    return none;
}

/* ---- to sign ---- */

static void signature_encode(const struct signature_style *st, struct str bytes, struct buf *out)
{
    switch (st->letters) {
    case NOTATION_HEX: hex_add(out, bytes); break;
    case NOTATION_BASE64: base64_add(out, bytes); break;
    case NOTATION_BASE64URL: base64url_add(out, bytes); break;
    }
}

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
        if (i == 0 || !st->begins_once)
            buf_add_c(out, st->begin[key_kind(keys[i])]);
        signature_encode(st, one, out);
    }
}

/* ---- to verify ---- */

bool signature_next(const struct signature_style *st, struct signature_reader *r, enum key_kind *kind, struct str *text)
{
    struct str one;
    while (r->rest.at) {
        if (st->between)
            str_cut(&r->rest, st->between, &one);
        else
            one = r->rest, r->rest = STR_ABSENT;
        one = str_trim(one);
        for (int k = 0; k < KEY_KINDS; k++) {
            bool begins = st->begin[k] && str_starts(one, str_of(st->begin[k]));
            if (!begins && !(k == KEY_HMAC && r->begun))
                continue;
            r->begun = st->begins_once;
            *kind = (enum key_kind)k;
            *text = begins ? str_from(one, strlen(st->begin[k])) : one;
            return true;
        }
    }
    return false;
}

bool signature_decode(const struct signature_style *st, struct str text, struct buf *out)
{
    switch (st->letters) {
    case NOTATION_HEX: return hex_decode(out, text);
    case NOTATION_BASE64: return base64_decode(out, text);
    case NOTATION_BASE64URL: return base64url_decode(out, text);
    }
    return false;
}

struct str signature_time(const struct signature_style *st, struct str value)
{
    struct str one;
    while (str_cut(&value, st->between, &one))
        if (str_starts(str_trim(one), str_of(st->time_begin)))
            return str_from(str_trim(one), strlen(st->time_begin));
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
