/* SPDX-License-Identifier: MIT */
/* The description of the API, made of its rows: OpenAPI 3.1. */
#pragma once
#include <jansson.h>

json_t *openapi_new(void); /* the caller's reference */
