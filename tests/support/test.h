/* SPDX-License-Identifier: MIT */
/* What every test program begins with: cmocka and the headers that it wants before it, and TEST. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* A test, named as a sentence. A fixture is in `state`; most tests have none. */
#define TEST(name) static void name(void **state __attribute__((unused)))

/* `text` has `part` in it. */
void assert_says(const char *text, const char *part);
