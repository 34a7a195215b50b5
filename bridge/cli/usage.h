/* SPDX-License-Identifier: MIT */
/* What is said about wrong usage, or of a command that failed, on stderr; each returns the exit code for it. */
#pragma once
#include "bridge/command.h"

/* Names the help that shows what is right; `command` NULL: that of all commands. */
int usage_wrong(const struct command *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* About a word that is none of the names (ends with NULL); suggests the nearest of them, or says
 * them when they are few. */
int usage_unknown(const char *what, const char *word, const char *const *names);
/* The command, by its name, failed for this reason. */
int usage_failed(const char *command, const struct err *e);
/* About a first word that is none of the command's verbs. */
int usage_verb(const struct command *command, const char *word);
