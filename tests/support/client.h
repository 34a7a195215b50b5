/* SPDX-License-Identifier: MIT */
/* A raw HTTP and WebSocket client for tests: writes bytes, collects what comes back, never blocks for long. */
#pragma once
#include "bridge/lib/buf.h"

struct client {
    int fd;
    struct buf in; /* received, not taken yet */
    bool ended;    /* the server closed its side */
};

struct answer { /* points into the client's buffer until the next call */
    int status;
    struct str head, body;
};

/* A path for a unix socket in a fresh folder; folder and socket go with client_forget_path. */
const char *client_path(void);
void client_forget_path(void);

struct client client_on(int fd); /* connected; it is the client's now, and does not block */
struct client client_connect(const char *unix_path);
void client_close(struct client *c);
void client_write(struct client *c, struct str bytes); /* all of it; fails the test when it would block */
bool client_read(struct client *c);                    /* what is there now; true when something came */
/* A whole answer with Content-Length at the start of `in`? */
bool client_answer(const struct client *c, struct answer *out);
void client_drop(struct client *c, const struct answer *a); /* takes it away */
struct str answer_header(const struct answer *a, const char *name);
