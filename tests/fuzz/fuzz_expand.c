/* SPDX-License-Identifier: MIT */
/* ${...} in any text: what is escaped comes out as it was, what has no ${ is left alone, a failure has a text, and no
 * text of a failure holds a value. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/lib/expand.h"
#include "bridge/lib/mem.h"

enum { MOST = 4096 };
#define VALUE "the-value-of-it"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int back, here; /* the folder of the process, which the names of its inputs start from, and ours */

static char folder[] = "/tmp/aqueduct-fuzz-XXXXXX";

static void clean_up(void)
{
    unlinkat(here, "secret", 0);
    unlinkat(here, "nul", 0);
    unlinkat(here, "long", 0);
    rmdir(folder);
}

/* An environment and a folder of our own: values, an empty one, a secret's file, one with a NUL and one too long. */
static void set_up(void)
{
    back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(mkdtemp(folder) && chdir(folder) == 0);
    here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(back >= 0 && here >= 0);
    setenv("A", VALUE, 1);
    setenv("EMPTY", "", 1);
    setenv("NESTED", "${A}$${", 1);
    unsetenv("NONE");
    FILE *f = fopen("secret", "w");
    CHECK(f && fputs(VALUE "\r\n", f) >= 0 && fclose(f) == 0);
    f = fopen("nul", "w");
    CHECK(f && fwrite("a\0b", 1, 3, f) == 3 && fclose(f) == 0);
    f = fopen("long", "w");
    CHECK(f && ftruncate(fileno(f), EXPAND_FILE_BYTES + 1) == 0 && fclose(f) == 0);
    CHECK(fchdir(back) == 0);
    atexit(clean_up);
}

static bool expand(struct str in, struct buf *out, struct err *e)
{
    struct err exposed = { "" };
    *out = buf_new(MOST);
    CHECK(fchdir(here) == 0);
    bool good = expand_text(in, out, &exposed, e);
    CHECK(fchdir(back) == 0);
    return good;
}

static void check_text(struct str in)
{
    struct err e = { "" };
    struct buf out;
    bool good = expand(in, &out, &e), marked = in.n && memmem(in.at, in.n, "${", 2);
    CHECK(out.n <= MOST);
    CHECK(good || e.text[0]);
    CHECK(memmem(in.at, in.n, VALUE, strlen(VALUE)) || !strstr(e.text, VALUE));
    CHECK(marked || (good ? str_eq(buf_str(&out), in) : in.n > MOST));
    buf_free(&out);
}

/* Every ${ escaped: the text comes out as it is. */
static void check_escaped(struct str in)
{
    struct buf escaped = buf_new(4 * MOST), out;
    struct err e = { "" };
    for (size_t i = 0; i < in.n; i++) {
        if (str_starts(str_from(in, i), STR("${")))
            buf_add_char(&escaped, '$');
        buf_add_char(&escaped, in.at[i]);
    }
    CHECK(expand(buf_str(&escaped), &out, &e) && str_eq(buf_str(&out), in));
    buf_free(&escaped);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct str in = { (const char *)data, size };
    if (!ready)
        set_up();
    ready = true;
    /* Devices are not for reading here. */
    if (memmem(in.at, in.n, "file:/", 6) || memmem(in.at, in.n, "..", 2))
        return 0;
    check_text(in);
    if (in.n <= MOST)
        check_escaped(in);
    return 0;
}
