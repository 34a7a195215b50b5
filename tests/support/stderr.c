/* SPDX-License-Identifier: MIT */
/* Puts a pipe in the place of standard error. */
#include "tests/support/stderr.h"
#include <fcntl.h>
#include <unistd.h>
#include "tests/support/test.h"

static char text[STDERR_CAUGHT + 1];
static int pipe_fds[2], saved;

void stderr_catch(void)
{
    assert_int_equal(pipe2(pipe_fds, O_NONBLOCK), 0);
    fcntl(pipe_fds[1], F_SETPIPE_SZ, 1 << 20); /* so that a line is never only half written */
    saved = dup(STDERR_FILENO);
    dup2(pipe_fds[1], STDERR_FILENO);
}

const char *stderr_caught(void)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipe_fds[1]);
    ssize_t n = read(pipe_fds[0], text, sizeof text - 1);
    close(pipe_fds[0]);
    text[n > 0 ? n : 0] = '\0';
    return text;
}
