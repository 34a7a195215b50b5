/* SPDX-License-Identifier: MIT */
/* Long text for people, in lines: broken at blanks, at the terminal's width or, when `out` is none or a wide one, at 100
 * columns; a word longer than that stays whole. */
#pragma once
#include <stdio.h>

/* Prints the text as whole lines, each behind `indent` blanks. */
void wrap_print(const char *text, int indent, FILE *out);
/* The same behind what stands in the line already, `used` columns of it. */
void wrap_print_behind(const char *text, int used, int indent, FILE *out);
/* Prints lines as they are, but those that are too long: these are broken, a paragraph without blanks in front as a whole. */
void wrap_print_page(const char *text, FILE *out);
