/* SPDX-License-Identifier: MIT */
/* Flags from the command line into structs, by rows (command.h): --flag, --flag VALUE, --flag=VALUE, -f VALUE. */
#pragma once
#include <stdio.h>
#include "bridge/command.h"

struct flag_target {         /* one command line may fill several structs: the command's own and the command line's */
    const struct flag *rows; /* NULL: none */
    void *into;
};

struct flags_all { /* what every command takes */
    struct strings files;
    bool help;
};
extern const struct flag flags_of_all[];

/* Takes the flags out of the words wherever they stand, up to `--`; with `front` only up to the first other word. The
 * other words move to the front of argv; returns how many they are, or -1 with *e for a flag that is unknown or has a
 * wrong value. Texts point into argv. The struct was zeroed; flags_free, also after a failure. */
int flags_parse(const struct flag_target *targets, size_t count, bool front, int argc, char **argv, struct err *e);
void flags_free(const struct flag *rows, void *from); /* the lists of FLAG_TEXTS */

/* The rows as text for the help, one line each; `width`: of the column of names. */
void flags_print(const struct flag *rows, int width, FILE *out);
