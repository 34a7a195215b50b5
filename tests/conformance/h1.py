#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""HTTP/1.1 cases over raw sockets (RFC 9110, 9112), each sent whole and byte by byte to the echo program.

A case is (name, bytes, expected answers). After a request that must be refused a second one follows in the same bytes; an answer
to it would be request smuggling."""
import socket
import sys

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST / HTTP/1.1\r\n" + HOST
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LINE = "aqueduct echo\n"


def good(name, request, *bodies):
    return name, request, [(200, body) for body in bodies]


def bad(name, request, status=400):
    return name, request + NEXT, [(status, None)]


CASES = [
    # Messages that must be taken.
    good("GET", GET + b"\r\n", LINE),
    good("an empty line before", b"\r\n" + GET + b"\r\n", LINE),
    good("names in any case", b"GET / HTTP/1.1\r\nhOST: a\r\n\r\n", LINE),
    good("no space behind the colon", b"GET / HTTP/1.1\r\nHost:a\r\n\r\n", LINE),
    good("spaces and tabs around a value", b"GET / HTTP/1.1\r\nHost:\t a \t\r\n\r\n", LINE),
    good("an empty value", GET + b"X:\r\n\r\n", LINE),
    good("bytes above ASCII in a value", GET + b"X: \xe4\xf6\r\n\r\n", LINE),
    good("unknown method", b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", LINE),
    good("methods are case-sensitive", b"post / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\nx", LINE),
    good("absolute form", b"GET http://a/b?c HTTP/1.1\r\n" + HOST + b"\r\n", LINE),
    ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", [(204, "")]),      # of the server itself, RFC 9110 9.3.7
    good("a later minor version", b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", LINE),
    good("percent-encoding", b"GET /%20%00%ff HTTP/1.1\r\n" + HOST + b"\r\n", LINE),
    good("a body", POST + b"Content-Length: 5\r\n\r\nhello", "hello"),
    good("an empty body", POST + b"Content-Length: 0\r\n\r\n", ""),
    good("no length means no body", POST + b"\r\n", ""),
    good("a body with a GET is read", GET + b"Content-Length: 5\r\n\r\nhello" + GET + b"\r\n", LINE, LINE),
    good("leading zeros", POST + b"Content-Length: 0005\r\n\r\nhello", "hello"),
    good("three requests in one packet", GET + b"\r\n" + POST + b"Content-Length: 2\r\n\r\nhi" + GET + b"\r\n", LINE, "hi", LINE),
    good("a request inside a body stays a body", POST + b"Content-Length: %d\r\n\r\n" % len(NEXT) + NEXT, NEXT.decode()),
    good("chunks", CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"),
    good("chunk sizes in either case, with zeros", CHUNKED + b"00A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
    good("chunk extensions", CHUNKED + b'2;a;b=c;d="e f"\r\nhi\r\n0;z\r\n\r\n', "hi"),
    good("trailers are dropped", CHUNKED + b"2\r\nhi\r\n0\r\nX: y\r\nContent-Length: 99\r\n\r\n" + GET + b"\r\n", "hi", LINE),
    good("a request behind chunks", CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + GET + b"\r\n", "hi", LINE),
    good("Chunked in any case", POST + b"transfer-encoding: CHUNKED\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "hi"),
    good("a chunk that looks like the end", CHUNKED + b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
    good("HTTP/1.0 ends the connection", b"GET / HTTP/1.0\r\n\r\n" + NEXT, LINE),
    good("HTTP/1.0 may keep it", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + GET + b"\r\n", LINE, LINE),
    good("Connection: close", GET + b"Connection: close\r\n\r\n" + NEXT, LINE),
    good("close in a list", GET + b"Connection: x, Close\r\n\r\n" + NEXT, LINE),
    good("Expect with the body at once", POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", "hi"),
    ("an incomplete head gets nothing", GET, []),
    ("an incomplete body gets nothing", POST + b"Content-Length: 5\r\n\r\nhell", []),
    ("incomplete chunks get nothing", CHUNKED + b"5\r\nhello\r\n", []),
    ("HEAD has no body", b"HEAD / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", [(200, "")]),
    # Line ends and characters.
    bad("bare LF everywhere", b"GET / HTTP/1.1\nHost: a\n\n"),
    bad("bare LF behind the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    bad("bare LF behind a header", GET + b"X: y\n\r\n"),
    bad("bare LF at the end of the head", GET + b"\n"),
    bad("bare CR in a value", GET + b"X: y\rZ: z\r\n\r\n"),
    bad("CR CR LF", GET + b"X: y\r\r\n\r\n"),
    bad("NUL in a value", GET + b"X: a\0b\r\n\r\n"),
    bad("NUL in a name", GET + b"X\0: b\r\n\r\n"),
    bad("NUL in the target", b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n"),
    bad("a control character in a value", GET + b"X: a\x07b\r\n\r\n"),
    bad("obs-fold", GET + b"X: a\r\n b\r\n\r\n"),
    bad("obs-fold with a tab", GET + b"X: a\r\n\tb\r\n\r\n"),
    bad("a space before the first header", b"GET / HTTP/1.1\r\n X: y\r\n" + HOST + b"\r\n"),
    bad("a space before the colon", GET + b"X : y\r\n\r\n"),
    bad("a tab before the colon", GET + b"X\t: y\r\n\r\n"),
    bad("no colon", GET + b"X\r\n\r\n"),
    bad("an empty name", GET + b": y\r\n\r\n"),
    bad("a name with a space", GET + b"X Y: z\r\n\r\n"),
    bad("a name with a quote", GET + b'"X": z\r\n\r\n'),
    # The request line.
    bad("HTTP/0.9", b"GET /\r\n"),
    bad("two spaces", b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n"),
    bad("a space in the target", b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n"),
    bad("a space behind the version", b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n"),
    bad("a lower case protocol", b"GET / http/1.1\r\n" + HOST + b"\r\n"),
    bad("a long minor version", b"GET / HTTP/1.10\r\n" + HOST + b"\r\n"),
    bad("HTTP/2.0", b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    bad("the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    bad("HTTP/0.9 in writing", b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", 505),
    bad("a fragment", b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n"),
    bad("a target without a slash", b"GET a HTTP/1.1\r\n" + HOST + b"\r\n"),
    bad("bytes above ASCII in the target", b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n"),
    bad("* for another method", b"GET * HTTP/1.1\r\n" + HOST + b"\r\n"),
    bad("CONNECT", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
    bad("a bracket in the method", b"G[T / HTTP/1.1\r\n" + HOST + b"\r\n"),
    bad("TLS to a plain port", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"),
    bad("a target of 9 KiB", b"GET /" + b"a" * 9216 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    bad("headers of 100 KiB", GET + b"X: " + b"a" * 102400 + b"\r\n\r\n", 431),
    bad("101 headers", GET + b"X: y\r\n" * 101 + b"\r\n", 431),
    # Host.
    bad("no Host", b"GET / HTTP/1.1\r\n\r\n"),
    bad("two Hosts", GET + HOST + b"\r\n"),
    bad("two different Hosts", GET + b"Host: b\r\n\r\n"),
    bad("an empty Host", b"GET / HTTP/1.1\r\nHost: \r\n\r\n"),
    bad("a list as Host", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    bad("a Host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    bad("a Host with user information", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    bad("absolute form of another host", b"GET http://b/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    # Smuggling: the length of a body.
    bad("CL.TE", POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX"),
    bad("TE.CL", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n8\r\nSMUGGLED\r\n0\r\n\r\n"),
    bad("CL.CL", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    bad("the same length twice", POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    bad("a list of lengths", POST + b"Content-Length: 5, 5\r\n\r\nhello"),
    bad("+5", POST + b"Content-Length: +5\r\n\r\nhello"),
    bad("-5", POST + b"Content-Length: -5\r\n\r\nhello"),
    bad("0x5", POST + b"Content-Length: 0x5\r\n\r\nhello"),
    bad("5e0", POST + b"Content-Length: 5e0\r\n\r\nhello"),
    bad("5.0", POST + b"Content-Length: 5.0\r\n\r\nhello"),
    bad("an empty length", POST + b"Content-Length: \r\n\r\n"),
    bad("a length in quotes", POST + b'Content-Length: "5"\r\n\r\nhello'),
    bad("a length above 2^63", POST + b"Content-Length: 9223372036854775808\r\n\r\n"),
    bad("a length that wraps at 2^64", POST + b"Content-Length: 18446744073709551621\r\n\r\nhello"),
    bad("a length that is too large", POST + b"Content-Length: 999999999999\r\n\r\n", 413),
    bad("a space before the length's colon", POST + b"Content-Length : 5\r\n\r\nhello"),
    bad("a folded length", POST + b"Content-Length:\r\n 5\r\n\r\nhello"),
    bad("TE: xchunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    bad("TE: chunked, identity", POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    bad("TE: identity, chunked", POST + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
    bad("TE: gzip, chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    bad("TE: gzip", POST + b"Transfer-Encoding: gzip\r\n\r\n"),
    bad("TE: identity", POST + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi"),
    bad("TE: \"chunked\"", POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n'),
    bad("TE: chunked;a=b", POST + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n"),
    bad("TE: with a vertical tab", POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    bad("TE: twice", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    bad("TE: chunked and then another", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n"),
    bad("TE with a space before the colon", POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    bad("TE folded", POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    bad("TE in HTTP/1.0", b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    # Smuggling: chunks.
    bad("a chunk size with a sign", CHUNKED + b"+2\r\nhi\r\n0\r\n\r\n"),
    bad("a chunk size with 0x", CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n"),
    bad("a chunk size with an underscore", CHUNKED + b"0_2\r\nhi\r\n0\r\n\r\n"),
    bad("a space before a chunk size", CHUNKED + b" 2\r\nhi\r\n0\r\n\r\n"),
    bad("a space behind a chunk size", CHUNKED + b"2 \r\nhi\r\n0\r\n\r\n"),
    bad("an empty chunk size", CHUNKED + b"\r\nhi\r\n0\r\n\r\n"),
    bad("a chunk size that wraps", CHUNKED + b"10000000000000002\r\nhi\r\n0\r\n\r\n"),
    bad("a chunk that is too large", CHUNKED + b"7fffffff\r\n", 413),
    bad("bare LF behind a chunk size", CHUNKED + b"2\nhi\r\n0\r\n\r\n"),
    bad("bare LF in a chunk extension", CHUNKED + b"2;x\nhi\r\n0\r\n\r\n"),
    bad("bare CR in a chunk extension", CHUNKED + b"2;x\ry\r\nhi\r\n0\r\n\r\n"),
    bad("bare LF behind a chunk", CHUNKED + b"2\r\nhi\n0\r\n\r\n"),
    bad("a chunk longer than its size", CHUNKED + b"2\r\nhiX\r\n0\r\n\r\n"),
    bad("a chunk shorter than its size", CHUNKED + b"3\r\nhi\r\n0\r\n\r\n"),
    bad("an endless chunk extension", CHUNKED + b"2;" + b"x" * 5000 + b"\r\nhi\r\n0\r\n\r\n"),
    bad("endless zeros in a chunk size", CHUNKED + b"0" * 5000 + b"2\r\nhi\r\n0\r\n\r\n"),
    bad("bare LF ends the chunks", CHUNKED + b"2\r\nhi\r\n0\r\n\n"),
    bad("a trailer without colon", CHUNKED + b"0\r\nX\r\n\r\n"),
    bad("a folded trailer", CHUNKED + b"0\r\nX: y\r\n z\r\n\r\n"),
    bad("a trailer with a space before the colon", CHUNKED + b"0\r\nX : y\r\n\r\n"),
    bad("endless trailers", CHUNKED + b"0\r\n" + b"X: y\r\n" * 5000 + b"\r\n"),
    bad("an unknown expectation", POST + b"Expect: the-unexpected\r\nContent-Length: 2\r\n\r\nhi", 417),
]


def talk(port, pieces):
    """All that the server answers until it ends the connection; our side ends after the last piece."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                s.sendall(piece)
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass        # refused before all was sent; the answer is there nevertheless
        got = b""
        while data := s.recv(65536):
            got += data
        return got


def answers(raw, request):
    """[(status, body)]; raises ValueError when the bytes are not whole answers."""
    out = []
    while raw:
        head, mark, raw = raw.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        version, status, _ = lines[0].split(" ", 2)
        if mark and status == "100" and b"Expect: 100-continue" in request:    # RFC 9110 15.2: when the body comes later than the head
            continue
        if not mark or version != "HTTP/1.1" or "date" not in headers:
            raise ValueError("a broken head: %r" % head)
        if (status == "204") == ("content-length" in headers):     # RFC 9110 8.6: never in a 204
            raise ValueError("a length where there is none, or none: %r" % head)
        n = 0 if request.startswith(b"HEAD") or status == "204" else int(headers["content-length"])
        if len(raw) < n:
            raise ValueError("a body that was cut")
        if int(status) >= 400 and headers.get("connection") != "close":
            raise ValueError("an error that keeps the connection")
        out.append((int(status), raw[:n].decode()))
        raw = raw[n:]
    return out


def problem(port, request, expected, bytewise):
    pieces = [request[i:i + 1] for i in range(len(request))] if bytewise else [request]
    try:
        got = answers(talk(port, pieces), request)
    except (OSError, ValueError) as e:
        return str(e)
    matches = len(got) == len(expected) and all(g[0] == e[0] and e[1] in (None, g[1]) for g, e in zip(got, expected))
    return None if matches else "expected %r, got %r" % (expected, got)


def main(port):
    failures = 0
    for name, request, expected in CASES:
        for bytewise in (False, True):
            if bytewise and len(request) > 2000:
                continue
            why = problem(port, request, expected, bytewise)
            if why:
                failures += 1
                print("h1: %s%s: %s" % (name, " (byte by byte)" if bytewise else "", why))
    print("h1: %d cases: %s" % (len(CASES), "all ok" if failures == 0 else "%d failures" % failures))
    return failures == 0


if __name__ == "__main__":
    sys.exit(0 if main(int(sys.argv[1])) else 1)
