/* SPDX-License-Identifier: MIT */
/* A folder of a test's own below /tmp. */
#pragma once

enum { FOLDER_BYTES = 64 };

/* Makes it; its path goes to `path`. */
void folder_make(char path[FOLDER_BYTES]);
/* Removes it with all that is in it. */
void folder_remove(const char *path);
