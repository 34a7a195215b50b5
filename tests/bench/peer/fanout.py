# SPDX-License-Identifier: MIT
"""One event to a thousand WebSocket listeners: ours beside nchan, npm's ws, uWebSockets.js and Centrifugo."""
import base64
import contextlib
import hashlib
import hmac
import json
import urllib.parse

from bench import on_cores
from daemon import TOKEN, Daemon, free_port, http_source, websocket_sink
from peer import fetch
from peer.process import Process

LISTENERS = 1000
BATCH = {"post": 16, "connections": 8}
ONE = {"post": 1, "connections": 16}


@contextlib.contextmanager
def ours(b):
    port, listen, folder = free_port(), free_port(), b.room()
    with Daemon(b.binary, folder, b.broker("local", folder), http_source(port), websocket_sink(listen)) as d:
        yield d, {"port": port, "path": "/in", "token": TOKEN, "listen_port": listen}, BATCH


NCHAN = """
load_module {module};
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
    keepalive_requests 100000000; nchan_shared_memory_size 256M;
    server {{
        listen 127.0.0.1:{port};
        nchan_channel_id bench; nchan_message_buffer_length 20000; nchan_message_timeout 60s;
        location = /in {{ nchan_publisher http; }}
        location = /live {{ nchan_subscriber websocket; }}
    }}
}}
"""


@contextlib.contextmanager
def nchan(b):
    unpacked, _ = fetch.nchan()
    folder, port = b.room(), free_port()
    (folder / "nginx.conf").write_text(NCHAN.format(module=unpacked / "usr/lib/nginx/modules/ngx_nchan_module.so", folder=folder, port=port))
    with Process([unpacked / "usr/sbin/nginx", "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"], folder, port, workers=1) as p:
        yield p, {"port": port, "path": "/in", "listen_port": port, "target": "/live"}, ONE


@contextlib.contextmanager
def node(b, script, fetched):
    folder, _ = fetched()
    port = free_port()
    with Process(["node", fetch.HERE / script, port], b.room(), port, NODE_PATH=str(folder / "node_modules")) as p:
        yield p, {"port": port, "path": "/in", "listen_port": port}, BATCH


@contextlib.contextmanager
def centrifugo(b):
    program, _ = fetch.centrifugo()
    folder, port, key = b.room(), free_port(), "a-key-that-only-this-run-knows"
    (folder / "config.json").write_text(json.dumps({
        "http_server": {"address": "127.0.0.1", "port": str(port)}, "http_api": {"insecure": True}, "log": {"level": "error"},
        "client": {"token": {"hmac_secret_key": key}, "allowed_origins": ["*"], "user_connection_limit": 0, "ping_interval": "600s"}, "usage_stats": {"disabled": True},
        "uni_websocket": {"enabled": True, "join_push_messages": True}}))
    connect = urllib.parse.quote(json.dumps({"token": jwt({"sub": "bench", "channels": ["bench"]}, key)}), safe="")
    with Process([program, "-c", folder / "config.json"], folder, port) as p:
        publish = '{"channel":"bench","data":'
        batch = {"path": "/api/batch", "before": '{"commands":[', "after": "]}", "each_before": '{"publish":' + publish, "each_after": "}}"}
        yield p, {"port": port, "path": "/api/publish", "before": publish, "after": "}", "listen_port": port, "skip": 1, "lines": 1,
                  "target": f"/connection/uni_websocket?cf_connect={connect}"}, BATCH | batch


def jwt(claims, key):
    def text(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    signed = text(b'{"alg":"HS256","typ":"JWT"}') + b"." + text(json.dumps(claims).encode())
    return (signed + b"." + text(hmac.new(key.encode(), signed, hashlib.sha256).digest())).decode()


def measured(b, start):
    """A turn of one of them: each figure with a process of its own, on the first core; the tool has the others."""
    def tool(mode, batch=False, seconds=b.seconds, **more):
        with contextlib.ExitStack() as until_then:
            with on_cores(lambda cores: cores[:1]):
                p, words, batches = until_then.enter_context(start(b))
            with on_cores(lambda cores: cores[1:]):
                return b.tool("fanout", mode, *(f"{name}={value}" for name, value in
                                                (words | {"listeners": LISTENERS, "pid": p.pid, "seconds": seconds} | more | (batches if batch else {})).items()))
    idle = tool("idle", seconds=0.5)
    steady = tool("daemon", rate=50, connections=4)
    one, best = tool("daemon", ahead=256, **ONE), tool("daemon", batch=True, ahead=256)
    return {"fanout_one_a_post": one["deliveries_per_core_s"], "fanout_best": max(one["deliveries_per_core_s"], best["deliveries_per_core_s"]),
            "fanout_p50": steady["p50_ms"], "fanout_p99": steady["p99_ms"], "fanout_cpu": steady["cpu_s_per_million"], "fanout_idle": idle["kb_per_listener"]}


HUBS = {
    "ours": ours,
    "nchan": nchan,
    "ws": lambda b: node(b, "ws.js", fetch.ws),
    "uws": lambda b: node(b, "uws.js", fetch.uws),
    "centrifugo": centrifugo,
}
