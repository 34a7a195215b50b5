/* SPDX-License-Identifier: MIT */
/* The tables of the API's rows, one a file. */
#include "bridge/admin/api.h"

extern const struct api_row api_session_rows[];
extern const struct api_row api_status_rows[];
extern const struct api_row api_flow_rows[];
extern const struct api_row api_endpoints_rows[];
extern const struct api_row api_job_rows[];
extern const struct api_row api_attempt_rows[];
extern const struct api_row api_event_rows[];
extern const struct api_row api_dead_rows[];
extern const struct api_row api_tail_rows[];
extern const struct api_row api_config_rows[];
extern const struct api_row api_reload_rows[];

/* One a line, so that who adds one does not touch the others. */
/* clang-format off */
const struct api_row *const api_tables[] = {
    api_session_rows,
    api_status_rows,
    api_flow_rows,
    api_endpoints_rows,
    api_job_rows,
    api_attempt_rows,
    api_event_rows,
    api_dead_rows,
    api_tail_rows,
    api_config_rows,
    api_reload_rows,
    NULL,
};
