/* SPDX-License-Identifier: MIT */
/* Reads lists of statuses and classes. */
#include "connectors/webhook/statuses.h"

enum { STATUS_TEXT = 3 }; /* characters of "404", "4xx" */

/* "404" gives 404 and *count 1, "4xx" 400 and 100; 0: neither. */
static int statuses_parse(const char *text, int *count)
{
    struct str s = str_of(text);
    uint64_t n;
    bool class = s.n == STATUS_TEXT && str_eq_nocase((struct str){ text + 1, 2 }, STR("xx"));
    *count = class ? 100 : 1;
    if (s.n != STATUS_TEXT || !str_to_u64((struct str){ text, class ? 1 : STATUS_TEXT }, &n))
        return 0;
    n *= class ? 100 : 1;
    return n >= STATUS_FIRST && n < STATUS_END ? (int)n : 0;
}

static bool statuses_ask_for_another_try(int status)
{
    return status == 408 || status == 425 || status == 429;
}

/* Gives v to each status or class of the list. `other` is the list of the other verdict: nothing stands in both. */
static bool statuses_set(struct statuses *st, enum verdict v, bool classes, const char *key, const struct strings *list,
                         const struct strings *other, struct err *e)
{
    for (size_t i = 0; i < list->count; i++) {
        int count, first = statuses_parse(list->at[i], &count);
        if (first == 0)
            return err_set(e, "%s[%zu]: \"%.32s\" is neither a status from 200 to 599 (404) nor a class of them (4xx)",
                           key, i, list->at[i]);
        for (size_t j = 0; other && j < other->count; j++)
            if (str_eq_nocase(str_of(list->at[i]), str_of(other->at[j])))
                return err_set(e, "%s[%zu]: %s stands in success, too", key, i, list->at[i]);
        for (int status = first; (count > 1) == classes && status < first + count; status++)
            if (!classes || !statuses_ask_for_another_try(status))
                st->of[status - STATUS_FIRST] = (uint8_t)v;
    }
    return true;
}

bool statuses_load(struct statuses *st, const struct strings *success, const struct strings *reject, struct err *e)
{
    for (int i = 0; i < STATUS_END - STATUS_FIRST; i++)
        st->of[i] = VERDICT_RETRY;
    st->of[410 - STATUS_FIRST] = VERDICT_REJECT;
    bool ok = true;
    for (int classes = 1; ok && classes >= 0; classes--)
        ok = statuses_set(st, VERDICT_REJECT, classes, "reject", reject, success, e)
             && statuses_set(st, VERDICT_DELIVERED, classes, "success", success, NULL, e);
    return ok;
}

enum verdict statuses_verdict(const struct statuses *st, int status)
{
    bool known = status >= STATUS_FIRST && status < STATUS_END;
    return known ? (enum verdict)st->of[status - STATUS_FIRST] : VERDICT_RETRY;
}
