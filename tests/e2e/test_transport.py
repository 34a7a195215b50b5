# SPDX-License-Identifier: MIT
"""The ways to a receiver, each against a server of that kind: client certificates, versions of TLS, proxies, HTTP/2, gzip, access tokens."""
import base64
import contextlib
import http.server
import json
import re
import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import urllib.parse

import pytest

from conftest import DEAD_LETTERS, HTTP_SOURCE, ROOT, SECRET, event, post_ok, wait_for, webhook_sink


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """Makes a self-signed certificate: name -> (certificate file, key file)."""
    folder = tmp_path_factory.mktemp("pem")

    def make(name):
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out", certificate],
                       check=True, capture_output=True)
        key.chmod(0o600)
        return certificate, key
    return make


def server_tls(pair, client=None, most=None):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*pair)
    if client:
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_verify_locations(client[0])
    if most:
        tls.maximum_version = most
    return tls


def deliver(bridge, sinks, **more):
    """One event to all of these sinks, given as name -> (url, options); the daemon, which still runs."""
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + "".join(webhook_sink(name, *one) for name, one in sinks.items()) + DEAD_LETTERS)
    post_ok(daemon, event("event-on-its-way", **more))
    return daemon


def reasons(bridge, count):
    """sink -> (class, reason) of its dead letter, once there are so many."""
    dead = wait_for(lambda: (lambda found: found if len(found) >= count else None)(bridge.dead()), why=bridge.dead)
    return {letter["sink"]: (letter["class"], letter["reason"]) for letter in dead}


def test_a_certificate_of_our_own(local_bridge, receivers, pem):
    server, client, other = pem("server"), pem("client"), pem("other")
    receiver = receivers(tls=server_tls(server, client))
    both = client[0].parent / "both.pem"
    both.write_text(client[0].read_text() + client[1].read_text())
    both.chmod(0o600)
    trusted = f"retry: []\nca_file: {server[0]}\n"
    daemon = deliver(local_bridge, {"pair": (receiver.url, trusted + f"cert_file: {client[0]}\nkey_file: {client[1]}"),
                                    "both": (receiver.url, trusted + f"cert_file: {both}"),
                                    "none": (receiver.url, trusted),
                                    "other": (receiver.url, trusted + f"cert_file: {other[0]}\nkey_file: {other[1]}")})
    got = receiver.arrived(2)
    assert [dict(pair[0] for pair in r["peer"]["subject"])["commonName"] for r in got] == ["client", "client"]
    found = reasons(local_bridge, 2)
    assert set(found) == {"none", "other"}
    for kind, why in found.values():        # the server hangs up on what comes after the handshake, perhaps before its alert is read
        assert kind == "unavailable" and why.startswith(("TLS: the receiver demands", "TLS: tlsv1 alert unknown ca", "connection lost before")), found
    assert len(receiver.all()) == 2
    daemon.stop()


def test_authorities_that_are_replaced_are_taken_by_new_connections(local_bridge, receivers, pem, tmp_path):
    before, after, ca = pem("before"), pem("after"), tmp_path / "ca.pem"
    shutil.copy(before[0], ca)
    receiver = receivers(lambda _: (204, {"Connection": "close"}), tls=server_tls(before))
    daemon = deliver(local_bridge, {"crm": (receiver.url, f"ca_file: {ca}\nretry: [{', '.join(['1s'] * 10)}]")})
    receiver.arrived(1)
    receiver.close()
    renewed = receivers(tls=server_tls(after), port=receiver.port)
    shutil.copy(after[0], ca)
    post_ok(daemon, event("after"))
    assert [r["id"] for r in renewed.arrived(1)] == ["after"]


def test_a_certificate_that_is_demanded_is_named_as_the_cause(local_bridge, pem):
    """The receiver says so behind its handshake, and is gone by the time libcurl looks who it was."""
    server, client = pem("server"), pem("client")
    tls, listener = server_tls(server, client), socket.create_server(("127.0.0.1", 0))

    def refuse():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    tls.wrap_socket(connection, server_side=True)

    thread = threading.Thread(target=refuse)
    thread.start()
    try:
        waits = ", ".join(["20ms"] * 11)
        deliver(local_bridge, {"none": (f"https://localhost:{listener.getsockname()[1]}/", f"retry: [{waits}]\nca_file: {server[0]}\n")})
        wait_for(lambda: len(local_bridge.command("log", "--json").stdout.splitlines()) >= 12)
        said = [json.loads(line)["reason"] for line in local_bridge.command("log", "--json").stdout.splitlines()]
        assert sum("demands a client certificate" in why for why in said) > 6, said      # else its words may be lost on the way
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_check_reads_the_certificates(local_bridge, pem):
    client, other = pem("client"), pem("other")
    seen, locked = client[0].parent / "seen.key", client[0].parent / "locked.key"
    seen.write_text(client[1].read_text())
    seen.chmod(0o644)
    subprocess.run(["openssl", "ec", "-aes256", "-passout", "pass:word", "-in", client[1], "-out", locked], check=True, capture_output=True)
    locked.chmod(0o600)
    sinks = {"good": f"key_file: {client[1]}", "other": f"key_file: {other[1]}", "missing": "key_file: /not/there.key", "none": "",
             "seen": f"key_file: {seen}", "locked": f"key_file: {locked}", "proxy": f"key_file: {client[1]}\nproxy: socks4://a-secret@127.0.0.1"}
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + "".join(
        webhook_sink(name, "https://127.0.0.1:9/", f"cert_file: {client[0]}\n{more}") for name, more in sinks.items()) + DEAD_LETTERS)
    done = local_bridge.command("check")
    found = dict(re.findall(r"sinks\.(\w+\.\w+): (.*)", done.stderr))
    unfit = "holds no key, or one that needs a password"
    assert found == {"other.key_file": f"{other[1]} holds the key of another certificate than the one in {client[0]}",
                     "missing.key_file": "/not/there.key cannot be read: No such file or directory", "none.cert_file": f"{client[0]} {unfit}",
                     "seen.key_file": f"all users of this machine can read {seen} (mode 0644): chmod o-rwx {seen}", "locked.key_file": f"{locked} {unfit}",
                     "proxy.proxy": "must be the URL of one: http://, https:// or socks5h://, a host and a port"}


def test_the_oldest_version_of_tls(local_bridge, receivers, pem):
    server = pem("server")
    old, new = receivers(tls=server_tls(server, most=ssl.TLSVersion.TLSv1_2)), receivers(tls=server_tls(server))
    wants = f"retry: []\nca_file: {server[0]}\ntls_min: 1.3"
    daemon = deliver(local_bridge, {"old": (old.url, wants), "new": (new.url, wants)})
    new.delivered({"event-on-its-way"})
    assert reasons(local_bridge, 1) == {"old": ("unavailable", "TLS: no version in common, 1.3 or newer is needed")}
    daemon.stop()


# ---- proxies ----

def splice(a, b):
    """Bytes both ways until one side ends."""
    while True:
        for one in select.select([a, b], [], [])[0]:
            data = one.recv(65536)
            if not data:
                return
            (b if one is a else a).sendall(data)


class Proxy(socketserver.ThreadingTCPServer):
    """HTTP (CONNECT, and requests with a whole URL) with basic authentication, or SOCKS 5 with a password; `asked` lists what for."""
    daemon_threads, allow_reuse_address = True, True

    def __init__(self, socks=False):
        self.asked, self.heads = [], []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError):
                    (outer.socks if socks else outer.http)(self.request)
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def http(self, client):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        self.heads.append(head.decode())
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        if f"Proxy-Authorization: Basic {base64.b64encode(b'bridge:let me out').decode()}".encode() not in head:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        self.asked.append(f"{method} {target}")
        host, port = target.removeprefix("http://").split("/")[0].split(":")
        with socket.create_connection((host, int(port))) as server:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                server.sendall(head.replace(f"http://{host}:{port}".encode(), b"", 1))
            splice(client, server)

    def socks(self, client):
        take = lambda n: client.recv(n, socket.MSG_WAITALL)  # noqa: E731
        take(take(2)[1])
        client.sendall(b"\x05\x02")
        take(1)
        name = take(take(1)[0])
        password = take(take(1)[0])
        client.sendall(b"\x01\x00" if (name, password) == (b"bridge", b"let me out") else b"\x01\x01")
        kind = take(4)[3]
        host = take(take(1)[0]).decode() if kind == 3 else socket.inet_ntoa(take(4))
        port = int.from_bytes(take(2), "big")
        self.asked.append(f"{host}:{port}")
        with socket.create_connection((host, port)) as server:
            client.sendall(b"\x05\x00\x00\x01" + bytes(6))
            splice(client, server)


@pytest.fixture
def proxies():
    made = []

    def make(**more):
        made.append(Proxy(**more))
        return made[-1]
    yield make
    for one in made:
        one.shutdown()
        one.server_close()


def test_a_proxy_leads_to_the_receivers(local_bridge, receivers, proxies, pem):
    server = pem("server")
    plain, secure = receivers(), receivers(tls=server_tls(server))
    web, socks = proxies(), proxies(socks=True)
    gone = socket.create_server(("127.0.0.1", 0))
    by = {name: f"proxy: '{scheme}://bridge:let%20me%20out@127.0.0.1:{proxy.server_address[1]}'\n"
          for name, scheme, proxy in (("web", "http", web), ("socks", "socks5h", socks))}
    more = f"ca_file: {server[0]}\nretry: []\nheaders: {{X-Token: for-the-receiver-alone}}\n"
    host = f"https://localhost:{secure.port}/hook"
    daemon = deliver(local_bridge, {
        "plain": (plain.url, by["web"] + more), "secure": (host, by["web"] + more), "socks": (host, by["socks"] + more),
        "stranger": (host, by["web"].replace("bridge:let%20me%20out@", "") + more),
        "gone": (host, f"proxy: 'http://127.0.0.1:{gone.getsockname()[1]}'\n" + more + "connect_timeout: 300ms"),
        "refused": (host, "proxy: 'http://a-user:and-a-password@127.0.0.1:1'\n" + more)})
    plain.delivered({"event-on-its-way"})
    assert [r["headers"]["x-token"] for r in secure.arrived(2) + plain.arrived(1)] == ["for-the-receiver-alone"] * 3
    found = reasons(local_bridge, 3)
    assert found["stranger"] == ("unavailable", "the proxy refused: CONNECT tunnel failed, response 407")
    assert found["refused"] == ("unavailable", "no connection to the proxy: Connection refused")
    assert found["gone"][1] in ("timeout after 300 ms at the proxy, or in the TLS handshake behind it",
                                "timeout after 300 ms while connecting to the proxy")      # where a slow machine had got to
    assert sorted(web.asked) == [f"CONNECT localhost:{secure.port}", f"POST {plain.url}"]
    assert socks.asked == [f"localhost:{secure.port}"]
    assert not any("for-the-receiver-alone" in head for head in web.heads if head.startswith("CONNECT"))
    assert "and-a-password" not in daemon.log() and "let me out" not in daemon.log()
    daemon.stop()
    gone.close()


# ---- HTTP/2 ----

class Http2:
    """tests/e2e/verify/h2.mjs."""

    def __init__(self, *pair):
        self.process = subprocess.Popen(["node", ROOT / "tests/e2e/verify/h2.mjs", *pair], stdout=subprocess.PIPE, text=True)
        self.port, self.found = int(self.process.stdout.readline()), []
        threading.Thread(target=lambda: self.found.extend(map(json.loads, self.process.stdout)), daemon=True).start()

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def http2():
    with contextlib.ExitStack() as stack:
        yield lambda *pair: stack.enter_context(contextlib.closing(Http2(*pair)))


def test_http_2(local_bridge, receivers, http2, pem):
    """Many requests share a connection; a receiver that knows 1.1 only gets 1.1."""
    server, count = pem("server"), 60
    new, old = http2(*server), receivers(tls=server_tls(server))
    more = f"http: 2\nca_file: {server[0]}\nretry: []\n"
    url = f"https://127.0.0.1:{new.port}"
    daemon = deliver(local_bridge, {"new": (f"{url}/hook", more), "old": (old.url, more), "reset": (f"{url}/reset", more + "filter: {suffix: {id: way}}")})
    ids = {f"event-number-{i}-of-{count}" for i in range(count)} | {"event-on-its-way"}
    post_ok(daemon, *[event(one) for one in sorted(ids - {"event-on-its-way"})])
    old.delivered(ids)
    wait_for(lambda: ids <= {json.loads(r["body"])["id"] for r in new.found}, why=lambda: len(new.found))
    assert {r["version"] for r in new.found} == {"2.0"} and max(r["connections"] for r in new.found) <= 4
    assert all(r["signature"].startswith("v1,") and r["type"] == "application/json" for r in new.found)
    assert reasons(local_bridge, 1) == {"reset": ("unavailable", "HTTP/2 stream 1 was not closed cleanly: INTERNAL_ERROR (err 2)")}
    daemon.stop()


def test_gzip(local_bridge, receivers):
    receiver = receivers()
    daemon = deliver(local_bridge, {"crm": (receiver.url, "gzip: true")}, data={"text": "very much the same " * 1000})
    post_ok(daemon, event("event-of-few-bytes"))
    receiver.delivered({"event-on-its-way", "event-of-few-bytes"})      # the signature is of what was compressed
    got = {r["id"]: r for r in receiver.all()}
    assert got["event-on-its-way"]["headers"]["content-encoding"] == "gzip" and int(got["event-on-its-way"]["headers"]["content-length"]) < 1000
    assert json.loads(got["event-on-its-way"]["body"])["data"]["text"].startswith("very much the same very")
    assert "content-encoding" not in got["event-of-few-bytes"]["headers"]
    daemon.stop()



# ---- OAuth 2.0 ----

class TokenServer(http.server.ThreadingHTTPServer):
    """Gives token-number-N-of-many for bridge / "se:cret /+" and what `answer` says to the Nth request: None, or (status, text)."""
    daemon_threads = True

    def __init__(self, answer=lambda n: None, life=3600):
        self.asked, outer = [], self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode(), strict_parsing=True)
                kind, _, both = self.headers.get("Authorization", "").partition(" ")
                pair = tuple(map(urllib.parse.unquote, base64.b64decode(both).decode().split(":"))) if kind == "Basic" else (
                    form.pop("client_id", [None])[0], form.pop("client_secret", [None])[0])
                outer.asked.append((kind or "form", pair, form))
                good = {"access_token": f"token-number-{len(outer.asked)}-of-many", "token_type": "Bearer", "expires_in": life}
                status, text = answer(len(outer.asked)) or (200, json.dumps(good))
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/token"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def options(self, more=""):
        return f"oauth: {{token_url: '{self.url}', client_id: bridge, client_secret: 'se:cret /+'{more}}}\n"


@pytest.fixture
def token_servers():
    made = []

    def make(*args, **more):
        made.append(TokenServer(*args, **more))
        return made[-1]
    yield make
    for one in made:
        one.shutdown()
        one.server_close()


def bearer(request):
    return request["headers"].get("authorization")


def test_receivers_with_the_same_settings_share_a_token(local_bridge, receivers, token_servers):
    tokens, receiver = token_servers(), receivers()
    endpoints = "".join(f"      {name}: {{url: '{receiver.url}', secrets: [{SECRET}], {options}}}\n" for name, options in (
        ("one", ""), ("two", ""), ("other", tokens.options(", auth: body, scope: 'write read', audience: api").strip())))
    daemon = local_bridge.run(HTTP_SOURCE + f"sinks:\n  crm:\n    type: webhook\n    topics: [$EVENTS]\n    {tokens.options()}    endpoints:\n{endpoints}" + DEAD_LETTERS)
    ids = [f"event-number-{i}-of-many" for i in range(20)]
    post_ok(daemon, *map(event, ids))
    got = receiver.arrived(3 * len(ids))
    assert len(got) == 3 * len(ids) and {r["answer"] for r in got} == {204}
    both = ("bridge", "se:cret /+")
    grant = {"grant_type": ["client_credentials"]}
    assert sorted(tokens.asked, key=repr) == sorted([("Basic", both, grant), ("form", both, {**grant, "scope": ["write read"], "audience": ["api"]})], key=repr)
    assert {bearer(r) for r in got} == {"Bearer token-number-1-of-many", "Bearer token-number-2-of-many"}
    assert daemon.metric("aqueduct_webhook_tokens_total", sink="crm", outcome="fetched") == 2
    daemon.stop()


def test_a_token_is_fetched_anew_before_it_ends(local_bridge, receivers, token_servers):
    tokens, receiver = token_servers(life=2), receivers()
    daemon = deliver(local_bridge, {"crm": (receiver.url, tokens.options() + "retry: []")})
    numbers = iter(range(1 << 20))

    def renewed():
        post_ok(daemon, event(f"event-number-{next(numbers)}-of-many"))
        return any(bearer(r) == "Bearer token-number-2-of-many" for r in receiver.all())
    wait_for(renewed)
    receiver.delivered({"event-on-its-way"} | {f"event-number-{i}-of-many" for i in range(next(numbers))})
    assert local_bridge.dead() == []
    daemon.stop()


def test_a_token_that_is_refused_is_replaced_within_the_attempt(local_bridge, receivers, token_servers):
    tokens = token_servers()
    receiver = receivers(lambda r: 401 if bearer(r) == "Bearer token-number-1-of-many" or r["id"] == "event-for-nobody" else 204)
    daemon = deliver(local_bridge, {"crm": (receiver.url, tokens.options() + "retry: []")})
    receiver.delivered({"event-on-its-way"})
    assert [bearer(r)[-9:] for r in receiver.all()] == ["1-of-many", "2-of-many"]
    wait_for(lambda: daemon.metric("aqueduct_sink_delivered_total", sink="crm") == 1)
    assert daemon.metric("aqueduct_sink_attempts_total", sink="crm") == 1
    post_ok(daemon, event("event-for-nobody"))          # the new one is as good as it gets: 401 is the receiver's answer
    assert reasons(local_bridge, 1) == {"crm": ("refused", "401 Unauthorized")}
    assert len(tokens.asked) == 2 and len(receiver.all()) == 3
    daemon.stop()


def test_without_a_token_an_event_is_tried_again(local_bridge, receivers, token_servers):
    first_fails = token_servers(lambda n: (503, "later, se:cret /+") if n == 1 else None)
    refuses, lies = token_servers(lambda n: (401, '{"error": "invalid_client", "got": "se:cret /+"}')), token_servers(lambda n: (200, '{"access_token": "a b"}'))
    receiver = receivers()
    daemon = deliver(local_bridge, {"patient": (receiver.url, first_fails.options() + "retry: [50ms, 50ms]"),
                                    "refused": (receiver.url, refuses.options() + "retry: [10ms]"), "lied": (receiver.url, lies.options() + "retry: []"),
                                    "gone": (receiver.url, refuses.options().replace(f":{refuses.server_address[1]}/", ":1/") + "retry: []")})
    receiver.delivered({"event-on-its-way"})
    found = reasons(local_bridge, 3)
    assert found == {"refused": ("configuration", 'no access token from 127.0.0.1: 401 Unauthorized: {"error": "invalid_client", "got": "**********"}'),
                     "lied": ("unavailable", "no access token from 127.0.0.1: the answer has no access_token that can stand in a header"),
                     "gone": ("unavailable", "no access token from 127.0.0.1: no connection: Connection refused")}
    assert len(receiver.all()) == 1 and len(first_fails.asked) == 2 and len(refuses.asked) == 2
    assert "se:cret" not in daemon.log()
    daemon.stop()
