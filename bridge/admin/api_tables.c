/* SPDX-License-Identifier: MIT */
/* The tables of the API's rows, one a file. */
#include "bridge/admin/api.h"

extern const struct api_row api_endpoints_rows[], api_flow_rows[], api_session_rows[], api_status_rows[];

const struct api_row *const api_tables[] = { api_session_rows, api_status_rows, api_flow_rows, api_endpoints_rows,
                                             NULL };
