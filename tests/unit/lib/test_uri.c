/* SPDX-License-Identifier: MIT */
/* URIs and references to them: RFC 3986's own examples, and what is none. */
#include "bridge/lib/uri.h"
#include "tests/support/test.h"

TEST(absolute)
{
    static const char *const cases[] = {
        "ftp://ftp.is.co.za/rfc/rfc1808.txt",
        "http://www.ietf.org/rfc/rfc2396.txt",
        "ldap://[2001:db8::7]/c=GB?objectClass?one",
        "mailto:John.Doe@example.com",
        "news:comp.infosystems.www.servers.unix",
        "tel:+1-816-555-1212",
        "telnet://192.0.2.16:80/",
        "urn:oasis:names:specification:docbook:dtd:xml:4.1.2",
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "https://u:p@example.com:8443/a;b=c/d?q=/?&r#f/?",
        "http://example.com",
        "http://example.com:/",
        "http://[::1]:80",
        "file:///etc/hosts",
        "a+b-c.1:x",
        "x:",
        "HTTP://EXAMPLE.com/%7Efoo",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!uri_is_absolute(str_of(cases[i])) || !uri_is_reference(str_of(cases[i])))
            fail_msg("%s", cases[i]);
}

TEST(relative)
{
    static const char *const cases[] = { "/sqlite/anythingllm", "a/b",   "a",    "../b", ".", "?q", "#f", "",
                                         "//host/path",         "./a:b", "/a:b", "a/b:c" };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!uri_is_reference(str_of(cases[i])) || uri_is_absolute(str_of(cases[i])))
            fail_msg("%s", cases[i]);
}

TEST(neither)
{
    static const char *const cases[] = {
        "my app",
        "/a b",
        "/a\\b",
        "<x>",
        "{x}",
        "/a|b",
        "/a^",
        "/a`",
        "\"x\"",
        "/%zz",
        "/%4",
        "/%",
        "/a#b#c",
        "1a:b",
        ":a",
        "http://ex ample/",
        "/\xc3\xa9",
        "http://\xc3\xa9.de/",
        "http://host:80x/",
        "http://[::1/",
        "http://[]/",
        "http://[::1]x/",
        "http://a@b@c/",
        "/a[b]",
        "http://a]b/",
        "/a\x7f",
        "/a\t",
        "a_b:c",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (uri_is_reference(str_of(cases[i])) || uri_is_absolute(str_of(cases[i])))
            fail_msg("%s", cases[i]);
    assert_false(uri_is_reference((struct str){ "/a\0b", 4 }));
    assert_false(uri_is_reference((struct str){ "\0:b", 3 }));
}

TEST(as_it_is_compared)
{
    static const char *const cases[][2] = {
        { "", "" },
        { "/http/hooks/%73td", "/http/hooks/std" },
        { "/a%2fb%c3%a9/%7e%2E%2d%5F", "/a%2Fb%C3%A9/~.-_" },
        { "HTTP://User@EXAMPLE.com:80/Path?Query#F", "http://User@example.com:80/Path?Query#F" },
        { "HTTPS://%45xample.com", "https://example.com" },
        { "//HOST/A", "//host/A" },
        { "URN:Example:A", "urn:Example:A" },
        { "/A:B//C", "/A:B//C" },
        { "A", "A" },
        { "/%2573", "/%2573" }, /* once, not again */
        { "/%00%7f%41", "/%00%7FA" },
        { "/%", "/%" },
        { "/%4", "/%4" },
        { "/%zz", "/%zz" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        struct str got = uri_normal(str_of(cases[i][0]), out);
        if (!str_eq(got, str_of(cases[i][1])))
            fail_msg("%s: %.*s", cases[i][0], STR_ARG(got));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absolute),
        cmocka_unit_test(relative),
        cmocka_unit_test(neither),
        cmocka_unit_test(as_it_is_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
