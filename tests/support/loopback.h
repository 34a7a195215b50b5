/* SPDX-License-Identifier: MIT */
/* TCP on 127.0.0.1: what fails here aborts. */
#pragma once

int loopback_listen(int *port); /* a listening socket on a port that was free */
int loopback_connect(int port);
int loopback_connect_from(const char *own, int port); /* own: 127.0.0.2 ... */
int loopback_free_port(void);                         /* nobody listens there now */
