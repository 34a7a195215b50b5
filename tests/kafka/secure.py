# SPDX-License-Identifier: MIT
"""What a secure broker of the rig has besides: listeners, certificates, users, and a server of tokens.

  listener     who comes in                                             as
  sasl         PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER         User:alice (USER, PASSWORD); the token's `sub`
  sasl_tls     the same over TLS                                        the same
  tls          anybody who trusts tls.pem                               User:ANONYMOUS, who may all, as on the plain listener
  mtls         who shows a certificate that tls.pem signed              User:CN=bridge,O=Example (client.pem, client-key.pem)
  plain_only   PLAIN alone                                              User:alice
  expired      nobody: its certificate has ended                        -
  elsewhere    nobody: its certificate is for another host              -

Files in the broker's folder: tls.pem (the CA), client.pem and client-key.pem, client-sealed-key.pem (its key with KEY_PASSWORD), next.pem and next-key.pem (User:CN=next,O=Example), stranger.pem and stranger-key.pem (a certificate, also to
trust, that no one here knows), token-key.pem. All are made with openssl."""
import base64
import http.server
import json
import os
import struct
import subprocess
import threading
import time
import urllib.parse

USER, PASSWORD = "alice", "alice-secret"
CLIENT = "CN=bridge,O=Example"
KEY_PASSWORD = "password of the key"
SCRAM = [word for kind in ("SCRAM-SHA-256", "SCRAM-SHA-512") for word in ("--add-scram", f"{kind}=[name={USER},password={PASSWORD}]")]
LISTENERS = {"sasl": "SASL_PLAINTEXT", "sasl_tls": "SASL_SSL", "tls": "SSL", "mtls": "SSL", "plain_only": "SASL_PLAINTEXT",
             "expired": "SSL", "elsewhere": "SSL"}
CERTIFICATES = {"sasl_tls": "server", "tls": "server", "mtls": "server", "expired": "expired", "elsewhere": "elsewhere"}
MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
JAAS = {
    "PLAIN": f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "OAUTHBEARER": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
}
AUDIENCE, CLIENT_ID, CLIENT_SECRET = "kafka", "bridge-client", "secret of the bridge's client"


def properties(folder, port, controller, ports):
    listeners = ",".join([f"PLAINTEXT://127.0.0.1:{port}"] + [f"{name.upper()}://127.0.0.1:{ports[name]}" for name in LISTENERS])
    lines = [f"listeners={listeners},CONTROLLER://127.0.0.1:{controller}", f"advertised.listeners={listeners}",
             "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
             + ",".join(f"{name.upper()}:{kind}" for name, kind in LISTENERS.items()),
             "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS"]
    for name, kind in LISTENERS.items():
        start = f"listener.name.{name}."
        if "SASL" in kind:
            mechanisms = MECHANISMS[:1] if name == "plain_only" else MECHANISMS
            lines.append(f"{start}sasl.enabled.mechanisms={','.join(mechanisms)}")
            lines += [f"{start}{one.lower()}.sasl.jaas.config={JAAS[one]}" for one in mechanisms]
            if "OAUTHBEARER" in mechanisms:
                lines += [f"{start}oauthbearer.sasl.server.callback.handler.class="
                          "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
                          f"{start}oauthbearer.sasl.oauthbearer.jwks.endpoint.url={jwks(folder)}",
                          f"{start}oauthbearer.sasl.oauthbearer.expected.audience={AUDIENCE}"]
        if name in CERTIFICATES:
            lines += [f"{start}ssl.keystore.type=PEM", f"{start}ssl.keystore.location={folder}/{CERTIFICATES[name]}-both.pem",
                      f"{start}ssl.truststore.type=PEM", f"{start}ssl.truststore.location={folder}/tls.pem"]
        if name == "mtls":
            lines.append(f"{start}ssl.client.auth=required")
    return "\n".join(lines) + "\n"


def jwks(folder):
    return f"file://{folder}/jwks.json"


def java(folder):
    return [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={jwks(folder)}"]


# ---- certificates ----

def openssl(folder, *words, **more):
    return subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, **more).stdout


def signed(folder, name, subject, names="", days=2):
    """NAME.pem and NAME-key.pem, signed by the CA; NAME-both.pem: both."""
    (folder / f"{name}.ext").write_text(f"subjectAltName={names}\n" if names else "")
    openssl(folder, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}-key.pem",
            "-out", f"{name}.csr", "-subj", subject)
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "tls.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", str(days),
            "-extfile", f"{name}.ext", "-out", f"{name}.pem")
    os.chmod(folder / f"{name}-key.pem", 0o600)
    (folder / f"{name}-both.pem").write_text((folder / f"{name}-key.pem").read_text() + (folder / f"{name}.pem").read_text())


def authority(folder, certificate, key, subject):
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", certificate,
            "-days", "2", "-subj", subject)
    os.chmod(folder / key, 0o600)


def files(folder):
    authority(folder, "tls.pem", "ca-key.pem", "/CN=the CA of the tests")
    authority(folder, "stranger.pem", "stranger-key.pem", "/O=Example/CN=stranger")
    signed(folder, "server", "/CN=127.0.0.1", "IP:127.0.0.1")
    signed(folder, "expired", "/CN=127.0.0.1", "IP:127.0.0.1", 0)
    signed(folder, "elsewhere", "/CN=elsewhere.example", "DNS:elsewhere.example")
    signed(folder, "client", "/O=Example/CN=bridge")
    signed(folder, "next", "/O=Example/CN=next")
    openssl(folder, "pkey", "-in", "client-key.pem", "-aes256", "-passout", f"pass:{KEY_PASSWORD}", "-out", "client-sealed-key.pem")
    os.chmod(folder / "client-sealed-key.pem", 0o600)
    openssl(folder, "genrsa", "-out", "token-key.pem", "2048")
    modulus = openssl(folder, "rsa", "-in", "token-key.pem", "-noout", "-modulus", text=True).strip().partition("=")[2]
    key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one", "e": "AQAB", "n": base64url(bytes.fromhex(modulus))}
    (folder / "jwks.json").write_text(json.dumps({"keys": [key]}))


# ---- tokens ----

def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def token(folder, subject, seconds=300, audience=AUDIENCE):
    """A token of RFC 7519, signed with RS256."""
    now = int(time.time())
    parts = [{"alg": "RS256", "kid": "one", "typ": "JWT"}, {"iss": "tests", "sub": subject, "aud": audience, "iat": now, "exp": now + seconds}]
    text = ".".join(base64url(json.dumps(part).encode()) for part in parts)
    return f"{text}.{base64url(openssl(folder, 'dgst', '-sha256', '-sign', 'token-key.pem', input=text.encode()))}"


class Tokens:
    """A server of tokens (OAuth 2.0, client credentials) in a thread: `url` takes POSTs of CLIENT_ID with `secret`, in the header or the
    form, and gives tokens whose `sub` is the client's id. `asked`: the form of each; `answer`: (status, body) instead, or None."""

    def __init__(self, folder, tls=None):
        self.asked, self.secret, self.seconds, self.answer, outer = [], CLIENT_SECRET, 300, None, self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                kind, _, words = (self.headers["Authorization"] or "").partition(" ")
                client, _, secret = (base64.b64decode(words).decode() if kind == "Basic" else "").partition(":")
                client, secret = (urllib.parse.unquote_plus(client), urllib.parse.unquote_plus(secret)) if kind else (form.get("client_id"), form.get("client_secret"))
                outer.asked.append(form)
                status, answer = outer.answer or (200, {"access_token": token(folder, client or "", outer.seconds), "token_type": "Bearer",
                                                        "expires_in": outer.seconds})
                if not outer.answer and (client, secret) != (CLIENT_ID, outer.secret):
                    status, answer = 401, {"error": "invalid_client", "error_description": "the client is not known"}
                elif not outer.answer and form.get("grant_type") != "client_credentials":
                    status, answer = 400, {"error": "unsupported_grant_type"}
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_port}/token"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


# ---- rights ----

KINDS = {None: 1, "topic": 2, "group": 3, "cluster": 4, "transactional-id": 5}
PATTERNS = {"any": 1, "literal": 3, "prefixed": 4}
OPERATIONS = [None, "all", "read", "write", "create", "delete", "alter", "describe", "clusteraction", "describeconfigs", "alterconfigs", "idempotentwrite"]


def acl(kind, name, pattern, principal, operation):
    """One entry of CreateAcls, or (what is None fits any) a filter of DeleteAcls; both of version 1."""
    def text(words):
        return struct.pack(">h", -1) if words is None else struct.pack(">h", len(words)) + words.encode()
    number = 1 + OPERATIONS.index(operation and operation.lower())
    any_permission, allow = 1, 3
    return (struct.pack(">b", KINDS[kind]) + text(name) + struct.pack(">b", PATTERNS[pattern]) + text(principal)
            + text("*" if operation else None) + struct.pack(">bb", number, allow if operation else any_permission))


def read_line(line):
    """What a line of kafka-acls.sh grants: (principal, kind, name, operations, pattern)."""
    words = line.replace(" --command-config admin.properties", "").split()
    assert words[:2] == ["kafka-acls.sh", "--bootstrap-server"] and words[3:5] == ["--add", "--allow-principal"], line
    principal, kind, name, operations, pattern = words[5].strip("'"), None, None, [], "literal"
    rest = iter(words[6:])
    for word in rest:
        if word == "--operation":
            operations.append(next(rest))
        elif word == "--resource-pattern-type":
            pattern = next(rest)
        elif word == "--cluster":
            kind, name = "cluster", "kafka-cluster"
        else:
            kind, name = word[2:], next(rest).strip("'")
    return principal, kind, name, operations, pattern
