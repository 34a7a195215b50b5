/* SPDX-License-Identifier: MIT */
/* What is written to standard error between two calls. */
#pragma once

enum { STDERR_CAUGHT = 65536 }; /* most bytes that are kept */
void stderr_catch(void);
const char *stderr_caught(void); /* until the next call */
