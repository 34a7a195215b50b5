/* SPDX-License-Identifier: MIT */
/* Long text for people, in lines. */
#pragma once
#include <stdio.h>

/* Prints the text as whole lines, each behind `indent` blanks: broken at blanks, at the terminal's width or, when `out` is
 * none, at 100 columns; a word longer than that stays whole. */
void wrap_print(const char *text, int indent, FILE *out);
