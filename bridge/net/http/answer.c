/* SPDX-License-Identifier: MIT */
/* The head of an answer: status line, Date, the user's headers. */
#include <stdio.h>
#include <time.h>
#include "bridge/net/http/private.h"

struct status {
    int code;
    const char *text;
};
static const struct status statuses[] = {
    { 101, "Switching Protocols" },
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 204, "No Content" },
    { 206, "Partial Content" },
    { 300, "Multiple Choices" },
    { 301, "Moved Permanently" },
    { 302, "Found" },
    { 303, "See Other" },
    { 304, "Not Modified" },
    { 307, "Temporary Redirect" },
    { 308, "Permanent Redirect" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 402, "Payment Required" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 406, "Not Acceptable" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 410, "Gone" },
    { 411, "Length Required" },
    { 412, "Precondition Failed" },
    { 413, "Content Too Large" },
    { 414, "URI Too Long" },
    { 415, "Unsupported Media Type" },
    { 416, "Range Not Satisfiable" },
    { 417, "Expectation Failed" },
    { 421, "Misdirected Request" },
    { 422, "Unprocessable Content" },
    { 425, "Too Early" },
    { 426, "Upgrade Required" },
    { 428, "Precondition Required" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 502, "Bad Gateway" },
    { 503, "Service Unavailable" },
    { 504, "Gateway Timeout" },
    { 505, "HTTP Version Not Supported" },
    { 507, "Insufficient Storage" },
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i].code == status)
            return statuses[i].text;
    return "";
}

struct str http_answer_digits(uint64_t n, char room[HTTP_DIGITS])
{
    size_t at = HTTP_DIGITS;
    do
        room[--at] = (char)('0' + n % 10);
    while (n /= 10);
    return (struct str){ room + at, HTTP_DIGITS - at };
}

static void answer_add_number(struct buf *out, uint64_t n)
{
    char digits[HTTP_DIGITS];
    buf_add_str(out, http_answer_digits(n, digits));
}

/* What the client may do about it. */
static const char *answer_detail(int status)
{
    switch (status) {
    case 400: return "the request is not as RFC 9110 and RFC 9112 have it";
    case 408: return "the request came too slowly";
    case 413: return "the body is longer than is taken here";
    case 414: return "the target is longer than is taken here";
    case 417: return "no other expectation than 100-continue is known";
    case 429: return "there are too many connections from this address; try again later";
    case 431: return "the request's head is longer than is taken here";
    case 503: return "too much is under way; try again later";
    case 505: return "another version of HTTP is spoken here";
    }
    return http_status_text(status);
}

void http_answer_problem(int status, char out[HTTP_PROBLEM])
{
    snprintf(out, HTTP_PROBLEM, "{\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"}", http_status_text(status), status,
             answer_detail(status));
}

/* Written once a second. */
const char *http_answer_date(struct http_server *s)
{
    int64_t second = clock_wall_ms() / 1000;
    if (second == s->date_second)
        return s->date;
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t t = (time_t)second;
    struct tm tm = { .tm_mday = 1 };
    gmtime_r(&t, &tm);
    char text[64];
    snprintf(text, sizeof text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", days + 3 * tm.tm_wday, tm.tm_mday,
             months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(s->date, text, sizeof s->date - 1);
    s->date_second = second;
    return s->date;
}

static bool answer_breaks_lines(struct str s)
{
    return s.n && (memchr(s.at, '\r', s.n) || memchr(s.at, '\n', s.n) || memchr(s.at, 0, s.n));
}

/* A value may repeat what a client sent; it must never end the line. */
bool http_answer_takes(const struct header *h)
{
    return !answer_breaks_lines(h->name) && !answer_breaks_lines(h->value);
}

void http_answer_refused(struct http_server *s, int status)
{
    enum http_refused why = status == 408                                     ? REFUSED_TIMEOUT
                            : status == 413 || status == 414 || status == 431 ? REFUSED_SIZE
                            : status == 503                                   ? REFUSED_MEMORY
                                                                              : REFUSED_REQUEST;
    metric_add(s->refused[why], 1);
}

struct buf *http_answer_begin(struct http_server *s, int status, const struct header *headers, size_t count)
{
    struct buf *out = &s->output;
    buf_reset(out);
    buf_add_str(out, STR("HTTP/1.1 "));
    answer_add_number(out, (uint64_t)status);
    buf_add_char(out, ' ');
    buf_add_c(out, http_status_text(status));
    buf_add_str(out, STR("\r\nDate: "));
    buf_add_c(out, http_answer_date(s));
    buf_add_str(out, STR("\r\n"));
    for (size_t i = 0; i < count; i++) {
        if (!http_answer_takes(&headers[i]))
            continue;
        buf_add_str(out, headers[i].name);
        buf_add_str(out, STR(": "));
        buf_add_str(out, headers[i].value);
        buf_add_str(out, STR("\r\n"));
    }
    return out;
}

void http_answer_length(struct buf *out, size_t n)
{
    buf_add_str(out, STR("Content-Length: "));
    answer_add_number(out, n);
    buf_add_str(out, STR("\r\n"));
}
