# SPDX-License-Identifier: MIT
"""JSON Web Tokens, signed by PyJWT."""
import base64
import contextlib
import http.server
import json
import threading
import time

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from conftest import wait_for


@contextlib.contextmanager
def issuer():
    """Serves the list of keys it yields as a JSON Web Key Set, {"port": ..., "keys": [...]}; without keys it answers 503."""
    at = {"keys": []}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"keys": at["keys"]}).encode()
            self.send_response(200 if at["keys"] else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        at["port"] = server.server_address[1]
        threading.Thread(target=server.serve_forever).start()
        yield at
        server.shutdown()


ALGORITHMS = {"RS": jwt.algorithms.RSAAlgorithm, "PS": jwt.algorithms.RSAAlgorithm, "ES": jwt.algorithms.ECAlgorithm, "Ed": jwt.algorithms.OKPAlgorithm}


def public_jwk(algorithm, key, kid):
    """As its issuer publishes it. PyJWT 2.6 writes no EC keys."""
    if algorithm.startswith("ES"):
        numbers, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
        x, y = (base64.urlsafe_b64encode(n.to_bytes(size, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": f"P-{key.key_size}", "x": x, "y": y, "kid": kid}
    return {**json.loads(ALGORITHMS[algorithm[:2]].to_jwk(key.public_key())), "kid": kid}


def test_tokens_are_verified_by_keys_that_their_issuer_changes(local_bridge):
    keys = {"RS256": rsa.generate_private_key(65537, 2048), "ES256": ec.generate_private_key(ec.SECP256R1()),
            "ES384": ec.generate_private_key(ec.SECP384R1()), "ES512": ec.generate_private_key(ec.SECP521R1()), "EdDSA": ed25519.Ed25519PrivateKey.generate()}
    keys.update({name: keys["RS256"] for name in ("RS384", "RS512", "PS256", "PS384", "PS512")})
    claims = {"iss": "https://issuer.example/", "aud": ["somebody", "aqueduct"], "sub": "anna", "scope": "events:write hooks", "role": "writer"}
    shared = "a-shared-secret-for-tokens-that-is-long-enough-for-all-digests-5839"

    def signed_with(algorithm, key, kid=None, **more):
        return jwt.encode({**claims, "exp": int(time.time()) + 60, **more}, key, algorithm=algorithm, headers={"kid": kid or algorithm})

    def answer_to(token, path="/keys"):
        return requests.post(f"http://127.0.0.1:{daemon.port('hooks')}{path}", data=b"{}", timeout=60,
                             headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})

    with issuer() as at:
        demands = "issuer: ['https://issuer.example/'], audience: [aqueduct], scope: events:write, required: {role: [writer, admin]}"
        local_bridge.configure(f"""
sources:
  hooks:
    type: http
    listen: 127.0.0.1:0
    paths:
      - {{path: /keys, verify: {{scheme: jwt, jwt: {{keys_url: 'http://127.0.0.1:{at["port"]}/jwks', plain_http: true, {demands}}}}}}}
      - {{path: /secret, verify: {{scheme: jwt, jwt: {{secrets: [{shared}], {demands}}}}}}}
routes:
  - topic: $EVENTS
""")
        daemon = local_bridge.start(ready=False)
        waiting = answer_to(signed_with("RS256", keys["RS256"]))
        assert waiting.status_code == 503 and waiting.headers["Retry-After"]
        assert "the keys of tokens" in daemon.page("/readyz").text
        at["keys"] = [public_jwk(name, key, name) for name, key in keys.items()]
        daemon.ready()
        for name, key in keys.items():
            assert answer_to(signed_with(name, key)).status_code == 202, name
        for name in ("HS256", "HS384", "HS512"):
            assert answer_to(signed_with(name, shared), "/secret").status_code == 202, name
        bad = [signed_with("RS256", rsa.generate_private_key(65537, 2048)), signed_with("ES256", keys["ES256"], exp=int(time.time()) - 3600),
               signed_with("ES256", keys["ES256"], aud="somebody"), signed_with("ES256", keys["ES256"], iss="https://issuer.example"),
               signed_with("ES256", keys["ES256"], scope="hooks"), signed_with("ES256", keys["ES256"], role="reader"),
               jwt.encode(claims, None, algorithm="none"), "", "x.y.z"]
        for token in bad:
            refused = answer_to(token)
            assert refused.status_code == 401 and refused.json()["detail"] == "the request could not be verified", token
            assert refused.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
        assert requests.post(f"http://127.0.0.1:{daemon.port('hooks')}/keys", timeout=60).headers["WWW-Authenticate"] == "Bearer"
        new = ed25519.Ed25519PrivateKey.generate()
        at["keys"] = [public_jwk("EdDSA", new, "new")]
        token = signed_with("EdDSA", new, "new")
        assert answer_to(token).status_code == 503       # the sender tries again: the keys are being fetched
        wait_for(lambda: answer_to(token).status_code == 202, why=daemon.log)
        assert answer_to(signed_with("ES256", keys["ES256"])).status_code == 401
    assert daemon.metric("aqueduct_http_refused_total", path="/keys", reason="claim") == 4
    log = daemon.log()
    assert not any(part and part in log for one in [*bad[:-2], token] for part in one.split("."))
