# SPDX-License-Identifier: MIT
"""Schema registries for tests: a real one (Apicurio, by its Confluent-compatible API), fetched once; and a small one in this process that
answers as that one does, which can be away, deny a login, refuse a schema, and speak TLS; a subject takes the schemas of one name."""
import base64
import fcntl
import hashlib
import http.server
import json
import pathlib
import re
import ssl
import subprocess
import tempfile
import threading
import urllib.request

from rig import BUILD, RigError, free_port

VERSION = "2.6.13.Final"        # the last that runs on Java 17


def program():
    """The folder of the real one."""
    folder = BUILD / "registry"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / VERSION).exists():
            subprocess.run(["mvn", "-q", "-B", "dependency:copy", f"-Dartifact=io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all",
                            f"-DoutputDirectory={folder}"], stdin=subprocess.DEVNULL, check=True, timeout=600)
            archive, part = next(folder.glob("*.tar.gz")), folder / "part"
            part.mkdir(exist_ok=True)
            subprocess.run(["tar", "xzf", archive, "-C", part], check=True)
            archive.unlink()
            part.rename(folder / VERSION)
    return folder / VERSION


class Real:
    """Apicurio's registry in memory. `stop` ends it, with what it knows; `start` begins with nothing."""

    def __init__(self):
        self.port, self.process = free_port(), None
        self.url = f"http://127.0.0.1:{self.port}/apis/ccompat/v7"
        self.log = tempfile.NamedTemporaryFile(prefix="registry-")
        self.start()

    def start(self):
        jar = next(program().glob("*runner.jar"))
        self.process = subprocess.Popen(["java", "-Xmx300m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dquarkus.http.host=127.0.0.1",
                                         f"-Dquarkus.http.port={self.port}", "-jar", str(jar)], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        for _ in range(1200):
            if self.process.poll() is not None:
                raise RigError(pathlib.Path(self.log.name).read_text()[-2000:])
            try:
                self.get("/subjects")
                return
            except OSError:
                threading.Event().wait(0.1)
        raise RigError("the registry did not start")

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def schema(self, ident):
        return self.get(f"/schemas/ids/{ident}")["schema"]

    def subjects(self):
        return self.get("/subjects")

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


class Small:
    """`login`: the Authorization that it wants; None: any. `refuses`: a status and message for each schema that it does not have.
    `tls`: (certificate, key). `clients`: the certificate without which nobody comes in."""

    def __init__(self, login=None, tls=None, port=None, clients=None):
        self.login, self.refuses, self.known, self.asked, self.schemas = login, None, {}, [], {}
        self.port = port or free_port()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/registry"
        mine = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = mine.answer(self.path, body, self.headers)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*map(str, tls))
            if clients:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(clients)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path, body, headers):
        self.asked.append(path)
        if self.login and headers["Authorization"] != self.login:
            return 401, {"error_code": 401, "message": "Unauthorized"}
        where = re.fullmatch(r"/registry/subjects/([^/]+)(/versions)?", path)
        assert where and headers["Content-Type"] == "application/vnd.schemaregistry.v1+json", (path, headers)
        schema = body.get("schemaType", "AVRO"), body["schema"]
        ident = int.from_bytes(hashlib.sha256(repr(schema).encode()).digest()[:3], "big") + 1
        there = self.known.setdefault(where[1], set())
        others = there - {ident} if self.name(body["schema"]) not in map(self.name, (self.schemas[one] for one in there)) else set()
        if (self.refuses or (where[2] and others)) and ident not in there:
            status, said = self.refuses or (409, f'Schema being registered is incompatible with an earlier schema for subject "{where[1]}"')
            return status, {"error_code": status * 100 + 1, "message": said}
        if where[2]:
            there.add(ident)
            self.schemas[ident] = body["schema"]
        elif ident not in there:
            return 404, {"error_code": 40403, "message": "Schema not found"}
        return 200, {"id": ident}

    @staticmethod
    def name(schema):
        found = json.loads(schema)
        return found.get("name") or found["title"]

    def schema(self, ident):
        return self.schemas[ident]

    def subjects(self):
        return sorted(self.known)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def basic(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
