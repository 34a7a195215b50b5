# SPDX-License-Identifier: MIT
"""connectors/recipes.md behind real proxies: its nginx and Caddy configurations as they stand there, with other ports and names."""
import re
import ssl
import subprocess

import pytest
import requests

from aqueduct import unpacked
from conftest import ROOT, TOKEN, Listener, certificate, event, free_port, wait_for

TEXT = (ROOT / "connectors/recipes.md").read_text()
SECTION = TEXT[TEXT.index("## Behind nginx"):]
OURS = re.search(r"```yaml\n(.*?)```", SECTION, re.DOTALL)[1]


def shown(kind):
    return re.search(rf"```{kind}\n(.*?)```", SECTION, re.DOTALL)[1]


def nginx(folder, port, hooks, live):
    certificate(folder)
    server = shown("nginx").replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl").replace("/etc/ssl/chain.pem", f"{folder}/tls.crt")
    server = server.replace("/etc/ssl/key.pem", f"{folder}/tls.key").replace("127.0.0.1:8080", f"127.0.0.1:{hooks}").replace("127.0.0.1:8081", f"127.0.0.1:{live}")
    (folder / "nginx.conf").write_text(f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{}}\n"
                                       f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
                                       f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n{server}}}\n")
    return [unpacked("nginx"), "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "nginx.log"], "https"


def caddy(folder, port, hooks, live):
    site = shown("caddy").replace("hooks.example.com", f"http://127.0.0.1:{port}").replace("127.0.0.1:8080", f"127.0.0.1:{hooks}").replace("127.0.0.1:8081", f"127.0.0.1:{live}")
    (folder / "Caddyfile").write_text("{\n    admin off\n    auto_https off\n}\n" + site)
    return [unpacked("caddy"), "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"], "http"


class Elsewhere(requests.adapters.HTTPAdapter):
    """Clients with an address of their own, which is not the proxy's."""

    def init_poolmanager(self, *args, **more):
        super().init_poolmanager(*args, source_address=("127.0.0.2", 0), **more)


@pytest.mark.parametrize("proxy", [nginx, caddy])
def test_what_the_recipes_say_of_proxies(local_bridge, proxy):
    text = OURS.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:8081", "127.0.0.1:0").replace("topic: ai.events", "topic: $EVENTS")
    text = text.replace("[ai.events]", "[$EVENTS]").replace("/v1/events, ", "/v1/events, ce_source: any, ")
    text = text.replace("${INGEST_TOKEN}", TOKEN).replace("${LISTEN_TOKEN}", TOKEN).replace("trusted_proxies: [127.0.0.1]\n    paths", "trusted_proxies: [127.0.0.1]\n    requests: all\n    paths")
    daemon = local_bridge.run(text)
    port = free_port()
    words, scheme = proxy(local_bridge.folder, port, daemon.port("hooks"), daemon.port("live"))
    log = open(local_bridge.folder / "proxy.out", "w")
    process = subprocess.Popen(words, stdout=log, stderr=log, env={"HOME": str(local_bridge.folder), "PATH": "/usr/sbin:/usr/bin:/bin"})
    try:
        base, trust = f"{scheme}://127.0.0.1:{port}", str(local_bridge.folder / "tls.crt") if scheme == "https" else None
        session = requests.Session()
        session.mount(base, Elsewhere())
        session.headers["Authorization"] = f"Bearer {TOKEN}"
        session.verify, session.trust_env = trust or True, False        # what the environment trusts would go first

        def answers():
            try:
                return session.get(base + "/live/", headers={"Accept": "application/json"}, timeout=5).status_code != 502
            except requests.exceptions.ConnectionError:
                return None
        wait_for(answers, why=lambda: "\n".join(file.read_text() for name in ("proxy.out", "nginx.log") if (file := local_bridge.folder / name).exists()))
        more = {"ssl": ssl.create_default_context(cafile=trust)} if trust else {}
        listener = Listener(port, "live/", {"Authorization": f"Bearer {TOKEN}"}, **more)
        assert listener.opened.is_set(), listener.refused
        stream = session.get(base + "/live/", headers={"Accept": "text/event-stream"}, stream=True, timeout=30)
        assert stream.status_code == 200
        answer = session.post(base + "/v1/events", json=event("e1"), headers={"Content-Type": "application/cloudevents+json"}, timeout=30)
        assert answer.status_code == 202, answer.text
        wait_for(lambda: [e["id"] for e in listener.events] == ["e1"], why=lambda: str(listener.events))
        assert any(b"e1" in line for line in stream.iter_lines(chunk_size=1))      # the proxy holds nothing back
        answer = session.post(base + "/v1/events", json=event("e2"), timeout=30,
                              headers={"Content-Type": "application/cloudevents+json", "X-Forwarded-For": "203.0.113.9"})
        assert answer.status_code == 202
        wait_for(lambda: daemon.log().count("path=/v1/events peer=127.0.0.2") == 2, why=daemon.log)     # the client's, and not what it claims
    finally:
        process.terminate()
        process.wait(20)
