/* SPDX-License-Identifier: MIT */
/* Reads trace headers by the grammar of W3C Trace Context, sections 3.2 and 3.3. */
#include "bridge/event/trace.h"

enum {
    MEMBERS = 32,       /* of a tracestate */
    MEMBER_LARGE = 128, /* beyond, a member is the first to go */
    KEY_BYTES = 256,
    TENANT_BYTES = 241,
    SYSTEM_BYTES = 14,
    VALUE_BYTES = 256,
    FLAGS_KNOWN = 0x03, /* sampled, random */
};

static bool trace_is_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.at[i] >= '0' && s.at[i] <= '9') || (s.at[i] >= 'a' && s.at[i] <= 'f')))
            return false;
    return true;
}

static bool trace_is_zero(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.at[i] != '0')
            return false;
    return true;
}

static unsigned trace_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* "<version>-<trace id>-<parent id>-<flags>", and with a later version "-<more>". */
static bool trace_parse_parent(struct trace *t, struct str s)
{
    if (s.n < TRACE_PARENT_BYTES || s.at[2] != '-' || s.at[35] != '-' || s.at[52] != '-')
        return false;
    struct str version = { s.at, 2 }, trace = { s.at + 3, 32 }, parent = { s.at + 36, 16 }, flags = { s.at + 53, 2 };
    if (!trace_is_hex(version) || !trace_is_hex(trace) || !trace_is_hex(parent) || !trace_is_hex(flags))
        return false;
    if (str_eq(version, STR("ff")) || trace_is_zero(trace) || trace_is_zero(parent))
        return false;
    if (s.n > TRACE_PARENT_BYTES && (trace_is_zero(version) || s.at[TRACE_PARENT_BYTES] != '-'))
        return false;
    memcpy(t->parent_text, s.at, TRACE_PARENT_BYTES);
    memcpy(t->parent_text, "00", 2);
    t->parent_text[53] = '0'; /* flags that nobody knows yet are not passed on */
    t->parent_text[54] = (char)('0' + (trace_digit(flags.at[1]) & FLAGS_KNOWN));
    return true;
}

static bool trace_is_key_part(struct str s, bool digit_first, size_t most)
{
    bool letter = s.n && s.at[0] >= 'a' && s.at[0] <= 'z';
    bool digit = s.n && s.at[0] >= '0' && s.at[0] <= '9';
    if (s.n > most || !(letter || (digit && digit_first)))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '*' || c == '/'))
            return false;
    }
    return true;
}

/* "name" or "tenant@system". */
static bool trace_is_key(struct str key)
{
    struct str rest = key, tenant;
    str_cut(&rest, '@', &tenant);
    if (!rest.at)
        return trace_is_key_part(key, false, KEY_BYTES);
    return trace_is_key_part(tenant, true, TENANT_BYTES) && trace_is_key_part(rest, false, SYSTEM_BYTES);
}

static bool trace_is_value(struct str value)
{
    for (size_t i = 0; i < value.n; i++)
        if (value.at[i] < ' ' || value.at[i] > '~' || value.at[i] == '=')
            return false;
    return value.n >= 1 && value.n <= VALUE_BYTES;
}

struct trace_members {
    struct str text[MEMBERS], key[MEMBERS];
    size_t count;
};

/* Adds the members of one header. False: the whole state is invalid. */
static bool trace_add_members(struct trace_members *m, struct str list)
{
    struct str text, rest, key;
    while (str_cut(&list, ',', &text)) {
        rest = text = str_trim(text);
        if (text.n == 0)
            continue;
        str_cut(&rest, '=', &key);
        if (m->count == MEMBERS || !rest.at || !trace_is_key(key) || !trace_is_value(rest))
            return false;
        for (size_t i = 0; i < m->count; i++)
            if (str_eq(m->key[i], key))
                return false;
        m->text[m->count] = text;
        m->key[m->count++] = key;
    }
    return true;
}

/* Joins the members, as many as there is room for. */
static void trace_join(struct trace *t, const struct trace_members *m)
{
    size_t total = 0, n = 0;
    for (size_t i = 0; i < m->count; i++)
        total += m->text[i].n + 1;
    bool small_only = total > TRACE_STATE_BYTES + 1;
    for (size_t i = 0; i < m->count; i++) {
        struct str text = m->text[i];
        if (small_only && text.n > MEMBER_LARGE)
            continue;
        if (n + (n > 0) + text.n > TRACE_STATE_BYTES)
            break;
        if (n > 0)
            t->state_text[n++] = ',';
        memcpy(t->state_text + n, text.at, text.n);
        n += text.n;
    }
    if (n > 0)
        t->state = (struct str){ t->state_text, n };
}

bool trace_is_header(struct str name)
{
    return str_eq_nocase(name, STR("traceparent")) || str_eq_nocase(name, STR("tracestate"));
}

void trace_read(struct trace *t, const struct header *headers, size_t count)
{
    t->parent = t->state = STR_ABSENT;
    size_t parents = 0;
    bool valid = false, stated = true;
    struct trace_members members = { .count = 0 };
    for (size_t i = 0; i < count; i++) {
        if (str_eq_nocase(headers[i].name, STR("traceparent")))
            valid = parents++ == 0 && trace_parse_parent(t, str_trim(headers[i].value));
        else if (stated && str_eq_nocase(headers[i].name, STR("tracestate")))
            stated = trace_add_members(&members, headers[i].value);
    }
    if (!valid)
        return;
    t->parent = (struct str){ t->parent_text, TRACE_PARENT_BYTES };
    if (stated)
        trace_join(t, &members);
}
