/* SPDX-License-Identifier: MIT */
/* Questions to answers. */
#include "connectors/http/question.h"
#include "bridge/lib/jscan.h"

enum { QUESTION_BYTES = 8192, QUESTION_MEMBERS = 16 };

bool question_answer(struct str body, struct buf *answer)
{
    struct jscan_member members[QUESTION_MEMBERS];
    struct err e;
    struct str challenge = STR_ABSENT;
    bool asks = false;
    int n = body.n <= QUESTION_BYTES ? jscan_object(body, members, QUESTION_MEMBERS, &e) : -1;
    for (int i = 0; i < n && i < QUESTION_MEMBERS; i++) {
        const struct jscan_value *v = &members[i].value;
        if (str_eq(members[i].name, STR("type")))
            asks = str_eq(v->raw, STR("\"url_verification\""));
        if (str_eq(members[i].name, STR("challenge")) && v->type == JSCAN_STRING)
            challenge = v->raw;
    }
    if (!asks || !challenge.at)
        return false;
    buf_reset(answer);
    buf_printf(answer, "{\"challenge\":%.*s}", STR_ARG(challenge));
    return true;
}
