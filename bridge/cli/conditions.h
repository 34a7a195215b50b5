/* SPDX-License-Identifier: MIT */
/* What the flags that choose events say (--type, --subject, --source, --filter), as one filter: a JSON list of conditions, all
 * of which must hold (event/filter.h). Main thread. */
#pragma once
#include <jansson.h>
#include "bridge/lib/err.h"
#include "bridge/lib/str.h"

/* The attribute has this value; "chat.*": it begins so. Absent: nothing is added. */
void conditions_add_attribute(json_t *conditions, const char *name, struct str value);
/* A filter in YAML or JSON; absent: nothing is added. False with *e: it is none. */
bool conditions_add_filter(json_t *conditions, struct str text, struct err *e);
