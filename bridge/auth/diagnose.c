/* SPDX-License-Identifier: MIT */
/* Verifies a request, and tries out what would make its signature right. */
#include "bridge/auth/diagnose.h"
#include <inttypes.h>
#include <stdlib.h>
#include "bridge/auth/fields.h"
#include "bridge/lib/mem.h"
#include "bridge/auth/retold.h"

enum { DIAGNOSE_UNPACKED = 1 << 20 }; /* of a compressed body */

struct judge {
    const struct diagnose *d;
    const struct received *r;
    const struct signature_style *style;
    struct key **keys; /* NULL in the place of a token */
    struct signed_parts parts;
    struct str value; /* of the signature's header */
    struct buf decoded, fields;
    const struct secret *by; /* whose key made the signature */
    bool by_live;            /* it has not ended */
    struct diagnosis *out;
};

const char *differs_name(enum differs part)
{
    static const char *const names[DIFFERS_COUNT] = {
        [DIFFERS_NOTHING] = "nothing",
        [DIFFERS_ID] = "id",
        [DIFFERS_TIMESTAMP] = "timestamp",
        [DIFFERS_SIGNATURE] = "signature",
        [DIFFERS_ENCODING] = "encoding",
        [DIFFERS_BODY] = "body",
        [DIFFERS_SCHEME] = "scheme",
        [DIFFERS_KEY] = "key",
        [DIFFERS_URL] = "url",
    };
    return names[part];
}

#define JUDGE_SAY(j, what, ...) ((j)->out->part = (what), err_set(&(j)->out->why, __VA_ARGS__))

/* ---- the request ---- */

bool received_read(struct received *r, struct str text, struct err *e)
{
    struct str line, name;
    *r = (struct received){ .body = STR("") };
    for (size_t number = 1; str_cut(&text, '\n', &line); number++) {
        if (line.n && line.at[line.n - 1] == '\r')
            line.n--;
        if (line.n == 0) {
            r->body = text.at ? text : STR("");
            return true;
        }
        bool colon = memchr(line.at, ':', line.n) != NULL;
        str_cut(&line, ':', &name);
        if (number == 1 && (!colon || memchr(name.at, ' ', name.n)))
            continue; /* POST /hooks HTTP/1.1 */
        if (!colon || name.n == 0)
            return err_set(e, "line %zu is no header: \"name: value\" is expected, and an empty line before a body",
                           number);
        if (r->header_count == RECEIVED_HEADERS)
            return err_set(e, "there are more than %d headers", RECEIVED_HEADERS);
        r->headers[r->header_count++] = (struct header){ name, str_trim(line) };
    }
    return true;
}

static size_t judge_header(const struct received *r, const char *name, struct str *out)
{
    size_t count = 0;
    for (size_t i = 0; i < r->header_count; i++)
        if (str_eq_nocase(r->headers[i].name, str_of(name)) && count++ == 0)
            *out = r->headers[i].value;
    return count;
}

static bool judge_take(struct judge *j, enum differs what, const char *name, struct str *out)
{
    size_t count = judge_header(j->r, name, out);
    if (count > 1)
        return JUDGE_SAY(j, what, "the header %s is there %zu times", name, count), false;
    return (count == 1 && out->n)
           || (JUDGE_SAY(j, what, "the header %s is %s", name, count ? "empty" : "missing"), false);
}

/* Another scheme whose signature it has. */
static enum signature judge_other_scheme(const struct judge *j)
{
    struct str value;
    for (int i = SIGNATURE_UNSET + 1; i < SIGNATURE_COUNT; i++) {
        const char *name = signature_style((enum signature)i)->headers.signature;
        if (i != (int)j->d->scheme && name && judge_header(j->r, name, &value))
            return (enum signature)i;
    }
    return SIGNATURE_UNSET;
}

/* What of the body is signed beside the URL, if that is its scheme. */
static bool judge_read_fields(struct judge *j)
{
    struct str query = j->d->url, address;
    str_cut(&query, '?', &address);
    if (signature_signs(j->style, "{fields}") && !fields_add(query, j->r->body, &j->fields))
        return JUDGE_SAY(j, DIFFERS_BODY, "the body's SHA-256 is not the one that the URL names (bodySHA256)"), false;
    j->parts.fields = buf_str(&j->fields);
    return true;
}

/* Finds the parts that its headers hold. */
static bool judge_read(struct judge *j)
{
    const struct signature_headers *h = &j->style->headers;
    struct str ignored;
    if (j->style->other.signature && !judge_header(j->r, h->signature, &ignored)
        && judge_header(j->r, j->style->other.signature, &ignored))
        h = &j->style->other;
    const char *name = j->d->header ? j->d->header : h->signature;
    enum signature other = judge_header(j->r, name, &ignored) ? SIGNATURE_UNSET : judge_other_scheme(j);
    if (other)
        return JUDGE_SAY(j, DIFFERS_SCHEME, "there is no %s, but the signature of scheme %s (%s)", name,
                         signature_name(other), signature_style(other)->headers.signature),
               false;
    if (!judge_take(j, DIFFERS_SIGNATURE, name, &j->value)
        || (signature_signs(j->style, "{id}") && !judge_take(j, DIFFERS_ID, h->id, &j->parts.id))
        || (h->time && !judge_take(j, DIFFERS_TIMESTAMP, h->time, &j->parts.time)))
        return false;
    if (j->style->time_begin)
        j->parts.time = signature_time(j->style, j->value);
    j->parts.body = j->r->body;
    j->parts.url = j->d->url;
    return judge_read_fields(j);
}

static bool judge_check_time(struct judge *j)
{
    int64_t signed_at;
    if (!signature_signs(j->style, "{timestamp}"))
        return true;
    uint64_t ms;
    if (str_to_u64(j->parts.time, &ms) && ms > 100000000000)
        return JUDGE_SAY(j, DIFFERS_TIMESTAMP, "the timestamp is in milliseconds: seconds are expected"), false;
    if (!signature_read_time(j->parts.time, &signed_at))
        return JUDGE_SAY(j, DIFFERS_TIMESTAMP, "the timestamp is no number of seconds since 1970"), false;
    int64_t age = j->d->now_s - signed_at;
    if (age > j->d->tolerance_s)
        return JUDGE_SAY(j, DIFFERS_TIMESTAMP,
                         "the signature is right, but the timestamp is too old: %" PRId64 " s, where %" PRId64
                         " are tolerated; is it an old request, or is a clock wrong?",
                         age, j->d->tolerance_s),
               false;
    if (age < -j->d->tolerance_s)
        return JUDGE_SAY(j, DIFFERS_TIMESTAMP,
                         "the signature is right, but the timestamp is %" PRId64 " s in the future: is a clock wrong?",
                         -age),
               false;
    return true;
}

/* ---- does it match? ---- */

/* The parts by that style, signed by that key, against one of its signatures. */
static bool judge_matches_key(struct judge *j, const struct signature_style *style, const struct signed_parts *p,
                              struct key *key)
{
    enum key_kind kind;
    struct str text, parts[SIGNED_PARTS];
    struct signature_reader reader = { .rest = j->value };
    size_t n = signature_parts(style, p, parts);
    while (key && signature_next(j->style, &reader, &kind, &text)) {
        buf_reset(&j->decoded);
        if (kind == key_kind(key) && signature_decode(j->style, text, &j->decoded)
            && key_verify(key, parts, n, buf_str(&j->decoded)))
            return true;
    }
    return false;
}

static bool judge_matches(struct judge *j, const struct signature_style *style, const struct signed_parts *p)
{
    bool found = false;
    for (size_t i = 0; i < j->d->count && !(found && j->by_live); i++)
        if (judge_matches_key(j, style, p, j->keys[i])) {
            found = true;
            j->by = &j->d->secrets[i];
            j->by_live = !secret_has_ended(j->by, j->d->now_s * 1000);
        }
    return found;
}

/* Is one of the keys that made it valid still? */
static bool judge_check_key(struct judge *j)
{
    char text[CLOCK_TEXT];
    if (!j->by || j->by_live)
        return true;
    clock_text(j->by->until.ms, text);
    return JUDGE_SAY(j, DIFFERS_KEY, "the signature is right, but its key has ended (until: %s)", text), false;
}

/* ---- what would make it right? ---- */

static bool judge_try_body(struct judge *j)
{
    struct buf body = buf_new(2 * j->r->body.n + DIAGNOSE_UNPACKED);
    bool found = false;
    enum retold end = j->d->quick ? RETOLD_CHEAP : RETOLD_COUNT;
    for (enum retold how = RETOLD_FIRST; how < end && !found; how++) {
        struct signed_parts p = j->parts;
        buf_reset(&body);
        if (!retold(j->r->body, how, &body))
            continue;
        p.body = buf_str(&body);
        found = judge_matches(j, j->style, &p);
        if (found)
            JUDGE_SAY(j, DIFFERS_BODY, "the body was changed: the signature is that of %s", retold_name(how));
    }
    buf_free(&body);
    return found;
}

/* A time that stands in another header than the scheme's. */
static bool judge_try_time(struct judge *j)
{
    int64_t seconds;
    for (size_t i = 0; i < j->r->header_count && signature_signs(j->style, "{timestamp}"); i++) {
        const struct header *h = &j->r->headers[i];
        struct signed_parts p = j->parts;
        p.time = h->value;
        if (h->value.n < 9 || !signature_read_time(h->value, &seconds) || str_eq(h->value, j->parts.time)
            || !judge_matches(j, j->style, &p))
            continue;
        JUDGE_SAY(j, DIFFERS_TIMESTAMP, "the timestamp that is signed stands in the header %.*s",
                  (int)(h->name.n < 64 ? h->name.n : 64), h->name.at);
        return true;
    }
    return false;
}

/* The address with another port, or scheme. */
static bool judge_try_url(struct judge *j)
{
    struct buf url = buf_new(j->d->url.n + 16);
    struct str secure = STR("https://"), plain = STR("http://");
    bool found = false, is_secure = str_starts(j->d->url, secure);
    for (int way = 0; j->d->url.n && way < 2 && !found; way++) {
        struct signed_parts p = j->parts;
        buf_reset(&url);
        if (way == 0) {
            fields_add_other_port(j->d->url, &url);
        } else {
            buf_add_str(&url, is_secure ? plain : secure);
            buf_add_str(&url, str_from(j->d->url, is_secure ? secure.n : plain.n));
        }
        p.url = buf_str(&url);
        found = judge_matches(j, j->style, &p);
        if (found)
            JUDGE_SAY(j, DIFFERS_URL, "it is signed for %.*s", (int)(p.url.n < 160 ? p.url.n : 160), p.url.at);
    }
    buf_free(&url);
    return found;
}

static bool judge_try_scheme(struct judge *j)
{
    static const struct {
        const char *content, *what;
    } ways[] = { { "{body}", "the body alone" },
                 { "{id}.{body}", "id and body, without the timestamp" },
                 { "{timestamp}.{body}", "timestamp and body, with a dot between them" },
                 { "{timestamp}:{body}", "timestamp and body, with a colon between them" },
                 { "v0:{timestamp}:{body}", "\"v0:\", timestamp and body, as Slack's" },
                 { "{timestamp}{body}", "timestamp and body, with nothing between them" },
                 { "{id}.{timestamp}.{body}", "id, timestamp and body" } };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct signature_style other = *j->style;
        other.content = ways[i].content;
        if (strcmp(j->style->content, other.content) == 0 || !judge_matches(j, &other, &j->parts))
            continue;
        bool described = j->d->scheme == SIGNATURE_HMAC;
        JUDGE_SAY(j, DIFFERS_SCHEME, "the signature is over %s, %s%s%s", ways[i].what,
                  described ? "not as it is described: signs: \"" : "which scheme ",
                  described ? ways[i].content : signature_name(j->d->scheme),
                  described ? "\" would be" : " does not sign like that");
        return true;
    }
    return false;
}

static bool judge_try_key(struct judge *j, struct str bytes, const char *what)
{
    struct key *key = key_of_bytes(j->style->hash, bytes);
    bool found = judge_matches_key(j, j->style, &j->parts, key);
    key_free(key);
    if (found)
        JUDGE_SAY(j, DIFFERS_KEY, "the secret is read in another way: the key of the signature is %s", what);
    return found;
}

static bool judge_try_secret(struct judge *j, struct str secret)
{
    bool prefix = secret_has_prefix(secret);
    struct str behind = prefix ? str_from(secret, 6) : secret;
    struct buf bytes = buf_new(secret.n + 2);
    buf_add_str(&bytes, secret);
    buf_add_char(&bytes, '\n');
    bool found = judge_try_key(j, buf_str(&bytes), "the secret with a line break at its end")
                 || judge_try_key(j, secret,
                                  prefix ? "the text of the secret with whsec_, which was not decoded" : "its text")
                 || (prefix && judge_try_key(j, behind, "the text behind whsec_, which was not decoded"));
    buf_reset(&bytes);
    if (!found && base64_decode(&bytes, behind))
        found = judge_try_key(j, buf_str(&bytes), "what the secret is when it is decoded from base64");
    buf_reset(&bytes);
    if (!found && hex_decode(&bytes, behind))
        found = judge_try_key(j, buf_str(&bytes), "what the secret is when it is decoded from hex");
    crypto_wipe_buf(&bytes);
    return found;
}

/* Base64 with the letters of URLs, or as it is. */
static bool judge_decode(struct str text, int how, struct buf *out)
{
    buf_reset(out);
    return how == 0 ? hex_decode(out, text) : how == 1 ? base64_decode(out, text) : base64url_decode(out, text);
}

/* What stands before a signature by that key; NULL: it makes none. */
static const char *judge_begin(const struct judge *j, size_t key)
{
    return j->keys[key] ? j->style->begin[key_kind(j->keys[key])] : NULL;
}

/* Is one of the header's texts the right signature, in whatever way it is written? */
static bool judge_try_encoding(struct judge *j)
{
    static const char *const ways[] = { "hex", "base64", "the base64 of URLs (- and _)" };
    struct str one, value = j->value, parts[SIGNED_PARTS];
    size_t n = signature_parts(j->style, &j->parts, parts);
    while (j->style->between ? str_cut(&value, j->style->between, &one)
                             : (one = value, value = STR_ABSENT, one.at != NULL))
        for (int how = 0; how < 3; how++)
            for (size_t i = 0; i < j->d->count; i++) {
                const char *begin = judge_begin(j, i);
                bool begins = begin && str_starts(one, str_of(begin));
                struct str text = begins ? str_from(one, strlen(begin)) : one;
                if (!begin || !judge_decode(text, how, &j->decoded)
                    || !key_verify(j->keys[i], parts, n, buf_str(&j->decoded)))
                    continue;
                if (begins)
                    JUDGE_SAY(j, DIFFERS_ENCODING, "the signature is right, but written in %s: %s is expected",
                              ways[how], ways[j->style->letters - 1]);
                else
                    JUDGE_SAY(j, DIFFERS_ENCODING, "the signature is right, but \"%s\" is missing in front of it",
                              begin);
                return true;
            }
    return false;
}

/* Has it any signature that one of the keys could have made? */
static bool judge_has_kind(struct judge *j)
{
    bool has[KEY_KINDS] = { false }, wanted[KEY_KINDS] = { false };
    enum key_kind kind;
    struct str text;
    struct signature_reader reader = { .rest = j->value };
    while (signature_next(j->style, &reader, &kind, &text))
        has[kind] = true;
    for (size_t i = 0; i < j->d->count; i++)
        if (j->keys[i])
            wanted[key_kind(j->keys[i])] = true;
    if ((has[KEY_HMAC] && wanted[KEY_HMAC]) || (has[KEY_ED25519] && wanted[KEY_ED25519]))
        return true;
    if (has[KEY_ED25519])
        JUDGE_SAY(j, DIFFERS_KEY, "its signatures are by pairs of keys (v1a): the public half, whpk_..., is needed");
    else if (has[KEY_HMAC])
        JUDGE_SAY(j, DIFFERS_KEY, "its signatures are by secrets (%s...): a half of a pair verifies none of them",
                  j->style->begin[KEY_HMAC]);
    else
        JUDGE_SAY(j, DIFFERS_SIGNATURE, "the header has no signature: \"%s...\" is expected",
                  j->style->begin[KEY_HMAC]);
    return false;
}

static void judge_look_for_cause(struct judge *j)
{
    if (judge_try_encoding(j) || !judge_has_kind(j) || judge_try_body(j) || judge_try_time(j) || judge_try_url(j)
        || judge_try_scheme(j))
        return;
    for (size_t i = 0; i < j->d->count; i++)
        if (judge_try_secret(j, str_of(j->d->secrets[i].text)))
            return;
    JUDGE_SAY(
        j, DIFFERS_KEY,
        "it is signed with another secret, or over another body%s than these %zu bytes: none of the usual changes "
        "explains it",
        signature_signs(j->style, "{id}")          ? ", id or timestamp"
        : signature_signs(j->style, "{timestamp}") ? " or timestamp"
        : signature_signs(j->style, "{url}")       ? " or URL"
                                                   : "",
        j->r->body.n);
}

/* Is it proved by a token, in a header of its own, where some of the secrets are such? */
static bool judge_token(struct judge *j)
{
    struct str token, ignored;
    bool has_key = false;
    for (size_t i = 0; i < j->d->count; i++)
        has_key |= j->keys[i] != NULL;
    if (!j->style->tokens || (has_key && judge_header(j->r, j->style->headers.signature, &ignored)))
        return false;
    if (!judge_take(j, DIFFERS_KEY, j->style->other.signature, &token))
        return true;
    JUDGE_SAY(j, DIFFERS_KEY, "the token in %s is another one", j->style->other.signature);
    for (size_t i = 0; i < j->d->count; i++)
        if (!j->keys[i] && crypto_equal(token, str_of(j->d->secrets[i].text)))
            JUDGE_SAY(j, DIFFERS_NOTHING, "%s", "");
    return true;
}

static void judge(struct judge *j)
{
    if (judge_token(j) || !judge_read(j))
        return;
    if (!judge_matches(j, j->style, &j->parts))
        judge_look_for_cause(j);
    else if (judge_check_time(j) && judge_check_key(j))
        JUDGE_SAY(j, DIFFERS_NOTHING, "%s", "");
}

bool diagnose(const struct diagnose *d, const struct received *r, struct diagnosis *out, struct err *e)
{
    struct judge j = { .d = d, .r = r, .style = d->style, .out = out, .decoded = buf_new(65536) };
    j.fields = buf_new(r->body.n + 1);
    if (!j.style)
        j.style = signature_style(d->scheme);
    bool ok = true;
    j.keys = mem_alloc((d->count + 1) * sizeof *j.keys);
    for (size_t i = 0; i < d->count && ok; i++) {
        struct str secret = str_of(d->secrets[i].text);
        enum key_use use = str_starts(secret, STR("whsk_")) ? KEY_SIGNS : KEY_VERIFIES;
        if (j.style->tokens && !secret_has_prefix(secret))
            continue;
        j.keys[i] = key_new(secret, j.style->boxed, j.style->hash, use, e);
        ok = j.keys[i] || err_prefix(e, "the secret");
    }
    if (ok)
        judge(&j);
    for (size_t i = 0; i < d->count; i++)
        key_free(j.keys[i]);
    free(j.keys);
    buf_free(&j.decoded);
    buf_free(&j.fields);
    return ok;
}
