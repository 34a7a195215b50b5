/* SPDX-License-Identifier: MIT */
/* Questions to the daemon, and what its answers mean. */
#include "bridge/cli/ask.h"
#include <stdlib.h>
#include "bridge/admin/control_client.h"
#include "bridge/lib/json.h"

enum { ASK_BYTES = 256 << 20 };

/* Whoever is not let in, or finds no API, is as well off as without a daemon. */
static enum command_asked ask_judge(const struct command_question *q, struct err *e)
{
    const char *detail = json_text(q->answer, "detail");
    if (q->status / 100 == 2)
        return q->answer || q->status == 204 ? ASKED_DONE
                                             : (err_set(e, "the daemon's answer is no JSON"), ASKED_FAILED);
    if (*detail)
        err_set(e, "%s", detail);
    else
        err_set(e, "the daemon answered %ld", q->status);
    bool closed = q->status == 401 || q->status == 403 || (q->status == 404 && !*detail);
    return closed ? ASKED_NOBODY : ASKED_REFUSED;
}

enum command_asked ask_daemon(const struct config *config, struct command_question *q, struct err *e)
{
    struct buf out = buf_new(ASK_BYTES);
    char *body = q->body ? json_dumps(q->body, JSON_COMPACT) : NULL;
    bool nobody = false;
    const struct control_call call = {
        .method = q->method, .path = q->path, .body = body, .version = q->version, .wait_ms = q->wait_ms
    };
    q->status = 0;
    q->answer = NULL;
    bool answered = control_call(config, &call, &q->status, &out, &nobody, e);
    if (answered)
        q->answer = json_loadb(out.at ? out.at : "", out.n, JSON_ALLOW_NUL, NULL);
    free(body);
    buf_free(&out);
    return answered ? ask_judge(q, e) : nobody ? ASKED_NOBODY : ASKED_FAILED;
}

json_t *ask_running(const struct command_call *call, struct command_question q, struct err *e)
{
    enum command_asked asked = ask_daemon(call->config, &q, e);
    if (asked == ASKED_DONE)
        return q.answer;
    json_decref(q.answer);
    if (asked == ASKED_NOBODY && q.status == 0)
        err_prefix(e, "no daemon runs with this configuration (aqueduct run starts one)");
    return NULL;
}
