/* SPDX-License-Identifier: MIT */
/* Versions of a body: line breaks and JSON written anew. */
#include "bridge/auth/retold.h"
#include <jansson.h>
#include <zlib.h>
#include "bridge/lib/form.h"

enum { RETOLD_PIECE = 16 << 10, RETOLD_WINDOW = 15 + 32 }; /* either format */

const char *retold_name(enum retold how)
{
    static const char *const names[RETOLD_COUNT] = {
        [RETOLD_BREAK_ADDED] = "the body with a line break at its end",
        [RETOLD_BREAK_TAKEN] = "the body without the line break at its end",
        [RETOLD_CR_ADDED] = "the body with CR LF for each LF",
        [RETOLD_CR_TAKEN] = "the body with LF for each CR LF",
        [RETOLD_BOM_TAKEN] = "the body without the byte order mark",
        [RETOLD_EMPTY] = "an empty body",
        [RETOLD_PAYLOAD] = "the field payload of the form, decoded",
        [RETOLD_UNPACKED] = "the body before it was compressed; what is signed must be what is sent",
        [RETOLD_JSON_COMPACT] = "the same JSON without blanks; something has parsed it and written it anew",
        [RETOLD_JSON_SPACED] =
            "the same JSON with a blank behind , and : ; something has parsed it and written it anew",
        [RETOLD_JSON_ASCII] =
            "the same JSON with \\u for what is not ASCII and a blank behind , and : ; something has parsed it and written it anew",
        [RETOLD_JSON_INDENTED] = "the same JSON on indented lines; something has parsed it and written it anew",
    };
    return names[how];
}

static bool retold_breaks(struct str body, bool add, struct buf *out)
{
    for (size_t i = 0; i < body.n; i++) {
        bool pair = body.at[i] == '\r' && i + 1 < body.n && body.at[i + 1] == '\n';
        if (add && body.at[i] == '\n' && (i == 0 || body.at[i - 1] != '\r'))
            buf_add_char(out, '\r');
        if (add || !pair)
            buf_add_char(out, body.at[i]);
    }
    return true;
}

static bool retold_json(struct str body, size_t flags, struct buf *out)
{
    json_t *j = json_loadb(body.at, body.n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    char *text = j ? json_dumps(j, flags | JSON_ENCODE_ANY) : NULL;
    if (text)
        buf_add_c(out, text);
    free(text);
    json_decref(j);
    return text != NULL;
}

/* What gzip or zlib made of it, as far as there is room. */
static bool retold_unpack(struct str body, struct buf *out)
{
    z_stream z = { .next_in = (Bytef *)(uintptr_t)body.at, .avail_in = (uInt)body.n };
    int done = body.n > UINT32_MAX ? Z_DATA_ERROR : inflateInit2(&z, RETOLD_WINDOW);
    if (done != Z_OK)
        return false;
    for (char *room; done == Z_OK && (room = buf_room(out, RETOLD_PIECE));) {
        z.next_out = (Bytef *)room;
        z.avail_out = RETOLD_PIECE;
        done = inflate(&z, Z_NO_FLUSH);
        out->n += RETOLD_PIECE - z.avail_out;
    }
    inflateEnd(&z);
    return done == Z_STREAM_END && z.avail_in == 0;
}

static bool retold_write(struct str body, enum retold how, struct buf *out)
{
    switch (how) {
    case RETOLD_BREAK_ADDED:
        buf_add_str(out, body);
        buf_add_char(out, '\n');
        return true;
    case RETOLD_BREAK_TAKEN:
        body.n -= str_ends(body, STR("\n"));
        body.n -= str_ends(body, STR("\r"));
        buf_add_str(out, body);
        return true;
    case RETOLD_CR_ADDED: return retold_breaks(body, true, out);
    case RETOLD_CR_TAKEN: return retold_breaks(body, false, out);
    case RETOLD_BOM_TAKEN:
        buf_add_str(out, str_starts(body, STR("\xef\xbb\xbf")) ? str_from(body, 3) : body);
        return true;
    case RETOLD_EMPTY: return true;
    case RETOLD_PAYLOAD: return form_find(out, body, "payload");
    case RETOLD_UNPACKED: return retold_unpack(body, out);
    case RETOLD_JSON_COMPACT: return retold_json(body, JSON_COMPACT, out);
    case RETOLD_JSON_SPACED: return retold_json(body, 0, out);
    case RETOLD_JSON_ASCII: return retold_json(body, JSON_ENSURE_ASCII, out);
    case RETOLD_JSON_INDENTED: return retold_json(body, JSON_INDENT(2), out);
    case RETOLD_COUNT: break;
    }
    return false;
}

bool retold(struct str body, enum retold how, struct buf *out)
{
    return retold_write(body, how, out) && !out->failed && !str_eq(buf_str(out), body);
}
