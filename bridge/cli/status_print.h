/* SPDX-License-Identifier: MIT */
/* An account (delivery/account.h) as text for a person. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

int64_t status_print_number(const json_t *j, const char *key); /* -1: there is none */
char *status_print_text(const json_t *j, const char *key);     /* fit for a terminal; free() it */
/* How long ago (or, of what is to come, until then) the moment is: "3m"; false: there is none. */
bool status_print_when(const json_t *j, const char *key, bool to_come, char out[24]);
void status_print(const json_t *account, FILE *out);
