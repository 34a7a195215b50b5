/* SPDX-License-Identifier: MIT */
/* Reads tokens with their roles from a file, and again when it changes. */
#include "bridge/auth/token_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge/auth/secret.h"
#include "bridge/auth/token.h"
#include "bridge/lib/file.h"
#include "bridge/lib/mem.h"
#include "bridge/lib/watch.h"

enum { TOKEN_FILE_BYTES = 256 << 10, TOKEN_FILE_LINES = 1000 };

struct token_file {
    char *path;
    struct watch watch;
    struct tokens *tokens; /* each by its place in owners */
    struct token_owner *owners;
    size_t count;
};

const char *role_name(enum role role)
{
    switch (role) {
    case ROLE_NONE: return "none";
    case ROLE_VIEWER: return "viewer";
    case ROLE_OPERATOR: return "operator";
    }
    return "";
}

static bool token_file_role(struct str word, enum role *out)
{
    *out = str_eq(word, STR("viewer")) ? ROLE_VIEWER : str_eq(word, STR("operator")) ? ROLE_OPERATOR : ROLE_NONE;
    return *out != ROLE_NONE;
}

static bool token_file_is_name(struct str s)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@-";
    for (size_t i = 0; i < s.n; i++)
        if (!memchr(letters, s.at[i], sizeof letters - 1))
            return false;
    return s.n > 0 && s.n < TOKEN_FILE_NAME;
}

/* The next word of the line, which moves on; absent: there is none. */
static struct str token_file_word(struct str *line)
{
    size_t n = 0;
    *line = str_trim(*line);
    while (n < line->n && line->at[n] != ' ' && line->at[n] != '\t')
        n++;
    struct str word = { n ? line->at : NULL, n };
    *line = str_from(*line, n);
    return word;
}

static bool token_file_line(struct token_file *f, struct str line, struct err *e)
{
    struct token_owner owner = { ROLE_NONE, "" };
    struct str role = token_file_word(&line), name = token_file_word(&line), token = token_file_word(&line);
    if (!token.at || str_trim(line).n)
        return err_set(e, "is not of the form: role name token");
    if (!token_file_role(role, &owner.role))
        return err_set(e, "begins with another word than viewer or operator");
    if (!token_file_is_name(name))
        return err_set(e, "has a name that is longer than %d, or has other characters than letters, digits and ._@-",
                       TOKEN_FILE_NAME - 1);
    if (!secret_check(token, SECRET_LEAST, e))
        return err_prefix(e, "the token");
    if (tokens_match(f->tokens, token, NULL))
        return err_set(e, "has the token of an earlier line");
    if (f->count == TOKEN_FILE_LINES)
        return err_set(e, "is one more than the %d that there may be", TOKEN_FILE_LINES);
    memcpy(owner.name, name.at, name.n);
    f->owners = mem_grow(f->owners, f->count + 1, sizeof *f->owners);
    tokens_add(f->tokens, token, f->count);
    f->owners[f->count++] = owner;
    return true;
}

static bool token_file_lines(struct token_file *f, struct str text, struct err *e)
{
    struct str line;
    for (int number = 1; str_cut(&text, '\n', &line); number++) {
        if (str_ends(line, STR("\r")))
            line.n--;
        line = str_trim(line);
        if (line.n && line.at[0] != '#' && !token_file_line(f, line, e))
            return err_prefix(e, "%s:%d", f->path, number);
    }
    return f->count > 0 || err_set(e, "%s: no token stands in it (a line: operator NAME TOKEN)", f->path);
}

static void token_file_forget(struct token_file *f)
{
    tokens_free(f->tokens);
    free(f->owners);
    f->owners = NULL;
    f->count = 0;
}

static bool token_file_text(const char *path, struct buf *text, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_set(e, "%s: %s", path, strerror(errno));
    bool good = file_check_secret(fd, path, e);
    if (good && !file_read_fd(fd, TOKEN_FILE_BYTES, text))
        good = err_set(e, "%s: %s", path, strerror(errno));
    close(fd);
    return good;
}

/* Reads all of it into *f, or leaves what was there. */
static bool token_file_read(struct token_file *f, struct err *e)
{
    struct token_file fresh = { .path = f->path, .tokens = tokens_new() };
    struct buf text = buf_new(TOKEN_FILE_BYTES + 1);
    bool good = token_file_text(f->path, &text, e) && token_file_lines(&fresh, buf_str(&text), e);
    crypto_wipe_buf(&text);
    if (!good) {
        token_file_forget(&fresh);
        return false;
    }
    token_file_forget(f);
    f->tokens = fresh.tokens;
    f->owners = fresh.owners;
    f->count = fresh.count;
    return true;
}

struct token_file *token_file_open(const char *path, struct err *e)
{
    struct token_file *f = mem_alloc(sizeof *f);
    f->path = str_dup(str_of(path));
    watch_add(&f->watch, path);
    watch_begin(&f->watch);
    if (token_file_read(f, e))
        return f;
    token_file_close(f);
    return NULL;
}

void token_file_close(struct token_file *f)
{
    if (!f)
        return;
    token_file_forget(f);
    watch_end(&f->watch);
    free(f->path);
    free(f);
}

bool token_file_turn(struct token_file *f)
{
    struct err e = { "" };
    if (!watch_has_news(&f->watch))
        return false;
    bool taken = token_file_read(f, &e);
    watch_tell("tokens", "admin", taken ? NULL : &e);
    return taken;
}

const struct token_owner *token_file_match(struct token_file *f, struct str token)
{
    size_t which = 0;
    return tokens_match(f->tokens, token, &which) ? &f->owners[which] : NULL;
}

bool token_file_has(const struct token_file *f, const struct token_owner *who)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->owners[i].role == who->role && strcmp(f->owners[i].name, who->name) == 0)
            return true;
    return false;
}
