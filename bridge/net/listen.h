/* SPDX-License-Identifier: MIT */
/* Listening sockets, TCP and unix, by their address in text: "127.0.0.1:8080", "[::1]:8080" or "unix:/path".
 *
 * The descriptors are non-blocking and the caller's: what listen_open returned goes to listen_close, what
 * listen_accept returned usually to conn_open. */
#pragma once
#include "bridge/lib/err.h"
#include "bridge/net/networks.h"

enum { LISTEN_PEER = 64, LISTEN_NETWORK = 64 };

bool listen_check(const char *address, struct err *e); /* is it such an address? */
/* Does it stay on this machine (127.0.0.0/8, [::1], localhost, unix)? */
bool listen_is_private(const char *address);
/* Could this user listen there on this machine, once nobody else does? Binds a TCP address for a moment and does not listen;
 * of a unix socket it says nothing. */
bool listen_is_possible(const char *address, struct err *e);
/* Opens a listening socket (a unix one with mode 0600; a socket file left behind by a dead process is replaced).
 * Returns the fd or -1. *port is set for TCP, 0 otherwise. */
int listen_open(const char *address, int *port, struct err *e);
/* Accepts one connection: fd, or -1 with errno. Writes "127.0.0.1:5000", "[::1]:5000" or "unix" to peer, and who is
 * behind it for limits, "127.0.0.1", "2001:db8:1:2::/64" or "unix", to network: one host has a whole /64 of IPv6. */
int listen_accept(int fd, char peer[LISTEN_PEER], char network[LISTEN_NETWORK]);
/* The same of an address from elsewhere; port 0: nobody knows it ("127.0.0.1", "[::1]"). */
void listen_name(const struct address *a, int port, char peer[LISTEN_PEER], char network[LISTEN_NETWORK]);
/* The network of an IPv6 address of 16 bytes: its /64, or the IPv4 address that is mapped in it. */
void listen_network_v6(const unsigned char address[16], char network[LISTEN_NETWORK]);
void listen_close(int fd, const char *address); /* removes a unix socket's file */
/* From listen_hold(true) on what is closed stays open unseen, and listen_open of the same address takes it over: who connects
 * in between waits, and is not refused. listen_hold(false) closes what nobody took. Any thread. */
void listen_hold(bool on);
