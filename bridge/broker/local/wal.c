/* SPDX-License-Identifier: MIT */
/* Is the log's write-ahead log whole? SQLite itself stops without a word at the first frame that does not check, and so
 * drops every commit behind it.
 *
 * A commit is synced before the next one begins, so a crash can tear the last commit and no other. Frames chain
 * their checksums from the frame before, as it says itself; so commits behind a bad frame can still be recognised,
 * and more than one of them means damage, not a crash. Each start begins an empty write-ahead log (local_store_open), so
 * nothing older is mixed in. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bridge/broker/local/private.h"
#include "bridge/lib/mem.h"

enum {
    HEADER = 32,
    FRAME_HEADER = 24,
    FRAME = FRAME_HEADER + LOCAL_PAGE,
    MAGIC = 0x377f0682,
    LOCK_PAGE = 0x40000000 / LOCAL_PAGE + 1
};

struct sum {
    uint32_t a, b;
};

struct scan {
    int wal;
    bool big_endian; /* of the checksum's words */
    unsigned char salt[8];
    uint32_t have, want; /* pages in the main file; pages it says it has */
    bool *found;         /* per page behind `have`: is it in the write-ahead log? */
};

static uint32_t wal_get32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t wal_word(const unsigned char *p, bool big_endian)
{
    return big_endian ? wal_get32(p) : (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static struct sum wal_sum(struct sum s, const unsigned char *p, size_t n, bool big_endian)
{
    for (size_t i = 0; i < n; i += 8) {
        s.a += wal_word(p + i, big_endian) + s.b;
        s.b += wal_word(p + i + 4, big_endian) + s.a;
    }
    return s;
}

static bool wal_sum_is(struct sum s, const unsigned char *stored)
{
    return s.a == wal_get32(stored) && s.b == wal_get32(stored + 4);
}

static struct sum wal_stored_sum(const unsigned char *p)
{
    return (struct sum){ wal_get32(p), wal_get32(p + 4) };
}

static bool wal_read(int fd, unsigned char *out, size_t n, off_t at)
{
    return pread(fd, out, n, at) == (ssize_t)n;
}

static bool wal_is_zero(const unsigned char *p, size_t n)
{
    while (n--)
        if (*p++)
            return false;
    return true;
}

/* Is it of this round of the log? Frames of earlier rounds stand behind the end. */
static bool wal_is_current(const struct scan *s, const unsigned char *frame)
{
    return memcmp(frame + 8, s->salt, sizeof s->salt) == 0;
}

/* Does the frame check behind one with the checksum *before? Leaves there what it says of itself. */
static bool wal_frame_checks(const struct scan *s, const unsigned char *frame, struct sum *before)
{
    struct sum sum = *before;
    *before = wal_stored_sum(frame + 16);
    if (!wal_is_current(s, frame))
        return false;
    return wal_sum_is(wal_sum(wal_sum(sum, frame, 8, s->big_endian), frame + FRAME_HEADER, LOCAL_PAGE, s->big_endian),
                      frame + 16);
}

static void wal_mark_page(struct scan *s, uint32_t page)
{
    if (page > s->have && page <= s->want)
        s->found[page - s->have - 1] = true;
}

/* How many commits stand behind the first bad frame? Two prove damage. */
static int wal_commits_behind_break(struct scan *s, struct sum before)
{
    unsigned char frame[FRAME];
    int commits = 0;
    bool broken = false;
    for (off_t at = HEADER; commits < 2 && wal_read(s->wal, frame, sizeof frame, at); at += FRAME) {
        bool good = wal_frame_checks(s, frame, &before), commit = wal_get32(frame + 4) != 0;
        if (!broken && good)
            wal_mark_page(s, wal_get32(frame));
        if (broken && good && commit)
            commits++;
        if (!broken && !good) {
            broken = true;
            commits += commit && wal_is_current(s, frame);
        }
    }
    return commits;
}

static bool wal_damaged(const char *file, const char *what, struct err *e)
{
    return err_set(e,
                   "broker.path: \"%s\" is damaged (%s): restore the folder from a backup, save what can be read with "
                   "`sqlite3 FILE .recover`, or move it away to begin with an empty log",
                   file, what);
}

static bool wal_scan(struct scan *s, const char *file, struct err *e)
{
    unsigned char h[HEADER], first[FRAME_HEADER];
    if (s->wal < 0 || !wal_read(s->wal, h, sizeof h, 0))
        return true;
    s->big_endian = wal_get32(h) == MAGIC + 1;
    struct sum sum = wal_sum((struct sum){ 0, 0 }, h, 24, s->big_endian);
    if ((wal_get32(h) != MAGIC && !s->big_endian) || wal_get32(h + 8) != LOCAL_PAGE || !wal_sum_is(sum, h + 24)) {
        /* The header is synced before the first frame is written. */
        if (!wal_read(s->wal, first, sizeof first, HEADER) || wal_is_zero(first, sizeof first))
            return true;
        return wal_damaged(file, "the head of its write-ahead log does not check", e);
    }
    memcpy(s->salt, h + 16, sizeof s->salt);
    return wal_commits_behind_break(s, sum) < 2
           || wal_damaged(file, "its write-ahead log has a bad place with commits behind it", e);
}

/* A page that the main file lacks must be in the write-ahead log: a checkpoint was cut short. Else the file was. */
static bool wal_has_pages(const struct scan *s, const char *file, struct err *e)
{
    for (uint32_t page = s->have + 1; page <= s->want; page++)
        if (!s->found[page - s->have - 1] && page != LOCK_PAGE)
            return wal_damaged(file, "it was cut short", e);
    return true;
}

/* Reading the file raw is harmless only here: nobody in this process has it open yet, so there are no locks to lose. */
static bool wal_read_sizes(struct scan *s, const char *file, struct err *e)
{
    unsigned char size[4] = { 0 };
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set(e, "broker.path: \"%s\" cannot be read: %s", file, strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    /* What is no SQLite database at all is SQLite's to say. */
    unsigned char magic[16];
    if (wal_read(fd, magic, sizeof magic, 0) && memcmp(magic, "SQLite format 3", sizeof magic) == 0
        && wal_read(fd, size, sizeof size, 28))
        s->want = wal_get32(size);
    close(fd);
    s->have = (uint32_t)(st.st_size / LOCAL_PAGE);
    if (s->want > s->have && s->want - s->have > (64u << 20))
        return wal_damaged(file, "its size does not match its head", e);
    return true;
}

bool local_wal_check(const char *file, struct err *e)
{
    struct scan s = { .wal = -1 };
    char *wal = sqlite3_mprintf("%s-wal", file);
    CHECK(wal);
    if (!wal_read_sizes(&s, file, e)) {
        sqlite3_free(wal);
        return false;
    }
    s.found = mem_alloc(s.want > s.have ? s.want - s.have : 1);
    s.wal = open(wal, O_RDONLY | O_CLOEXEC);
    sqlite3_free(wal);
    bool ok = wal_scan(&s, file, e) && wal_has_pages(&s, file, e);
    if (s.wal >= 0)
        close(s.wal);
    free(s.found);
    return ok;
}
