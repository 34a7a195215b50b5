/* SPDX-License-Identifier: MIT */
/* What the files of the API share with each other, and with nobody else. */
#pragma once
#include "bridge/admin/api.h"

struct api_works;
struct api_works *api_works_new(void);
void api_works_free(struct api_works *works); /* accepts NULL; each work is answered */
int api_works_fd(const struct api_works *works);
void api_works_turn(struct api_works *works);
struct api_works *api_works(const struct api *a);
