/* SPDX-License-Identifier: MIT */
/* JSON pointers against a walk through jansson's tree. The input is pointers, one a line, up to an empty line; then the
 * text. */
#include <jansson.h>
#include <stdlib.h>
#include "bridge/lib/jpointer.h"
#include "bridge/lib/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { POINTERS = 8, PLACES = 1 + POINTERS * JPOINTER_TOKENS };

/* The element of an array by a token, or NULL. */
static json_t *element(const json_t *array, struct str token)
{
    uint64_t index;
    bool fits = str_to_u64(token, &index) && (token.n == 1 || token.at[0] != '0') && index < json_array_size(array);
    return fits ? json_array_get(array, (size_t)index) : NULL;
}

static json_t *follow(json_t *json, struct str pointer)
{
    struct str rest = str_from(pointer, pointer.n > 0), token;
    if (pointer.n == 0)
        return json;
    while (json && str_cut(&rest, '/', &token)) {
        struct buf plain = buf_new(token.n + 1);
        for (size_t i = 0; i < token.n; i++) {
            bool escape = token.at[i] == '~';
            i += escape;
            buf_add_char(&plain, !escape ? token.at[i] : token.at[i] == '1' ? '/' : '~');
        }
        json = json_is_array(json) ? element(json, buf_str(&plain)) : json_object_get(json, buf_c(&plain));
        buf_free(&plain);
    }
    return json;
}

static void compare(const json_t *json, struct jscan_value value)
{
    static const enum jscan_type types[] = {
        [JSON_OBJECT] = JSCAN_OBJECT,  [JSON_ARRAY] = JSCAN_ARRAY, [JSON_STRING] = JSCAN_STRING,
        [JSON_INTEGER] = JSCAN_NUMBER, [JSON_REAL] = JSCAN_NUMBER, [JSON_TRUE] = JSCAN_TRUE,
        [JSON_FALSE] = JSCAN_FALSE,    [JSON_NULL] = JSCAN_NULL
    };
    CHECK(value.type == (json ? types[json_typeof(json)] : JSCAN_NONE));
    if (!json)
        return;
    json_t *same = json_loadb(value.raw.at, value.raw.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    CHECK(same && json_equal(same, json));
    json_decref(same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = { (const char *)data, size }, line, pointers[POINTERS];
    struct jpointers *ps = jpointers_new();
    struct jscan_value values[PLACES], whole;
    int numbers[POINTERS];
    size_t count = 0;
    while (str_cut(&rest, '\n', &line) && line.n > 0 && count < POINTERS)
        if (!memchr(line.at, '\0', line.n) && (numbers[count] = jpointers_add(ps, line, NULL)) >= 0)
            pointers[count++] = line;
    struct str text = rest.at ? rest : STR("");
    CHECK(jpointers_count(ps) <= PLACES);
    bool ok = jpointers_find(ps, text, values, NULL);
    CHECK(ok == jscan_check(text, &whole, NULL));
    json_t *json = ok ? json_loadb(text.at, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;
    for (size_t i = 0; i < count; i++)
        if (json || !ok) /* jansson refuses some numbers and names that we take */
            compare(json ? follow(json, pointers[i]) : NULL, values[numbers[i]]);
    json_decref(json);
    jpointers_free(ps);
    return 0;
}
