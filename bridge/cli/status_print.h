/* SPDX-License-Identifier: MIT */
/* An account (delivery/account.h) as text for a person. */
#pragma once
#include <jansson.h>
#include <stdio.h>

void status_print(const json_t *account, FILE *out);
