/* SPDX-License-Identifier: MIT */
/* The grammar of URIs (RFC 3986): is this one, or a reference to one? */
#pragma once
#include "bridge/lib/str.h"

bool uri_is_reference(struct str s); /* "https://a/b?c", "urn:x:y", "/a/b", "../b", "" */
bool uri_is_absolute(struct str s);  /* with a scheme; a fragment may follow */
