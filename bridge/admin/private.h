/* SPDX-License-Identifier: MIT */
/* What the files of the API share with each other, and with nobody else. */
#pragma once
#include "bridge/admin/api.h"

struct api_works;
struct api_works *api_works_new(void);
void api_works_free(struct api_works *works); /* accepts NULL; each work is answered */
int api_works_fd(const struct api_works *works);
void api_works_turn(struct api_works *works);
bool api_works_any(const struct api_works *works);
struct api_works *api_works(const struct api *a);

struct paged *api_paged(const struct api *a);
/* What a ticket's request did is told by the audit, besides what its answer told. */
void api_tell(struct api_ticket *t, int status, const json_t *result);

struct tails *api_tails(const struct api *a);
/* Answers with a stream that goes on, of whom `user` is told by the server's callbacks. NULL: it is answered otherwise. From
 * within the request alone. */
struct http_stream *api_stream(const struct api_ticket *t, const struct http_request *r, const char *media, void *user);
