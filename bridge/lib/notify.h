/* SPDX-License-Identifier: MIT */
/* What a service manager is told (sd_notify(3)): datagrams to the socket in NOTIFY_SOCKET; without one, nothing.
 *
 *   notify_open -> notify_say("READY=1") ... notify_turn again and again ... notify_say("STOPPING=1")
 *
 * Main thread only. */
#pragma once

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes them out of the environment. */
void notify_open(void);
/* Says lines of "KEY=value" with a newline between. What cannot be sent is logged once: the manager decides then. */
void notify_say(const char *lines);
/* RELOADING=1 with the clock that it goes with; READY=1 follows when it is over, whatever came of it. */
void notify_reloading(void);
/* The caller's loop turns: WATCHDOG=1 when half of the time that the manager allows is over. */
void notify_turn(void);
