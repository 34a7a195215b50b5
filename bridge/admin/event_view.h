/* SPDX-License-Identifier: MIT */
/* A stored event as the API shows it: its attributes, where it stands, and its data, as a text or in base64, cut to `most`
 * bytes. What is no event is shown by its place and data. Any thread. */
#pragma once
#include "bridge/admin/shape.h"
#include "bridge/event/record.h"

extern const struct shape event_view[];                       /* its members */
json_t *event_view_json(const struct record *r, size_t most); /* the caller's reference */
/* Sets data or data_base64, size and cut of an object. */
void event_view_set_data(json_t *into, struct str data, size_t most);
