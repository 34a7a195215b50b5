/* SPDX-License-Identifier: MIT */
/* What an answer must not show of the request. */
#include "connectors/webhook/hide.h"
#include <string.h>
#include "tests/support/test.h"

static void expect(const char *url, const char *header, const char *answer, const char *shown)
{
    char text[256] = "";
    struct hidden h;
    struct map_entry entry = { .key = (char *)(uintptr_t) "Authorization", .value = (char *)(uintptr_t)header };
    CURLU *u = curl_url();
    assert_int_equal(curl_url_set(u, CURLUPART_URL, url, 0), CURLUE_OK);
    hide_open(&h, u, &(struct map){ &entry, header ? 1 : 0 });
    memcpy(text, answer, strlen(answer));
    hide_in(&h, text, strlen(answer));
    assert_string_equal(text, shown);
    hide_close(&h);
    curl_url_cleanup(u);
}

TEST(the_users_headers_are_hidden)
{
    expect("http://h/hook", "Bearer abcdefgh12", "you sent Bearer abcdefgh12, twice abcdefgh12",
           "you sent Bearer **********, twice **********");
}

TEST(a_secret_that_the_end_cuts_is_hidden)
{
    expect("http://h/hook", "Bearer abcdefghijkl", "got abcdefghij", "got **********");
}

TEST(tokens_in_the_url_are_hidden_and_words_are_not)
{
    expect("http://h/services/T0123456789abcdefghi/x?key=0123456789&a=b", NULL,
           "Cannot POST /services/T0123456789abcdefghi/x?key=0123456789&a=b",
           "Cannot POST /services/********************/x?key=**********&a=b");
}

TEST(the_proxys_password_is_hidden)
{
    char text[] = "bridge-user, your password let me out is wrong";
    struct hidden h = { 0 };
    hide_proxy(&h, "http://bridge-user:let%20me%20out@127.0.0.1:3128");
    hide_in(&h, text, strlen(text));
    assert_string_equal(text, "***********, your password ********** is wrong");
    hide_close(&h);
}

TEST(without_secrets_nothing_changes)
{
    expect("http://h/hook", NULL, "Cannot POST /hook", "Cannot POST /hook");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_users_headers_are_hidden),
        cmocka_unit_test(a_secret_that_the_end_cuts_is_hidden),
        cmocka_unit_test(tokens_in_the_url_are_hidden_and_words_are_not),
        cmocka_unit_test(the_proxys_password_is_hidden),
        cmocka_unit_test(without_secrets_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
