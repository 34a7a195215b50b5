# SPDX-License-Identifier: MIT
"""The daemon under test: its configuration, its starts and ends, its metrics, its commands."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.request

from generator import GITHUB, STANDARD, TOKEN
from receivers import SECRETS

TOP = pathlib.Path(__file__).resolve().parents[2]
CONFIG = """\
broker: {broker}
topics:
  hooks.in: {{partitions: 3}}
  app.events: {{partitions: 2}}
sources:
  anythingllm: {{type: sqlite, path: app.db, preset: anythingllm, start: snapshot, poll: 50ms}}
  hooks:
    type: http
    listen: 127.0.0.1:{port}
    wait: 2s
    paths:
      - {{path: /v1/standard, verify: {{scheme: standard, secrets: ["{standard}"]}}}}
      - {{path: /v1/github, verify: {{scheme: github, secrets: ["{github}"]}}}}
      - {{path: /v1/events, source: /ledger, verify: {{scheme: bearer, secrets: ["{token}"]}}}}
routes:
  - {{filter: {{prefix: {{source: /http/}}}}, topic: hooks.in}}
  - {{filter: {{exact: {{source: /ledger}}}}, topic: hooks.in, key: subject}}
  - {{topic: app.events, encoding: {encoding}}}
sinks:
  steady: {{type: webhook, topics: [hooks.in, app.events], url: "{url}/steady", secrets: ["{steady}"], body: structured}}
  moody:
    {{type: webhook, topics: [hooks.in, app.events], url: "{url}/moody", secrets: ["{moody}", "another-key-of-32-characters-here"],
     timeout: 300ms, retry: [40ms, 200ms, 1s], retry_memory: 50ms}}
  ordered:
    {{type: webhook, topics: [hooks.in, app.events], url: "{url}/ordered", secrets: ["{ordered}"], body: binary,
     timeout: 300ms, retry: [20ms, 40ms, 80ms], order: key}}
  refusing:
    {{type: webhook, topics: [hooks.in, app.events], filter: {{exact: {{type: ledger.odd}}}}, url: "{url}/refusing", secrets: ["{refusing}"],
     retry: [20ms, 200ms], retry_memory: 50ms}}
  gone: {{type: webhook, topics: [hooks.in], filter: {{exact: {{type: ledger.gone}}}}, url: "{url}/gone", secrets: ["{gone}"]}}
  failed: {{type: dead_letter, path: dead.db}}
admin: {{listen: "127.0.0.1:{admin}"}}
drain: 2s
"""
ATTEMPTS = {"refusing": 3, "gone": 1, "moody": 4, "ordered": 4}      # of a dead letter, by the configuration above
SANITIZER = re.compile(r"(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|CHECK failed).*")


def clean_environment():
    """Ours without switches for the daemon."""
    out = {k: v for k, v in os.environ.items() if not k.startswith("AQUEDUCT_")}
    out["TSAN_OPTIONS"] = "report_thread_leaks=0"      # a second signal leaves without joining anybody, as it should
    return out


class Daemon:
    def __init__(self, binary, folder, broker, port, admin, receiver_port):
        self.binary, self.folder, self.port, self.admin = binary, folder, port, admin
        self.broker, self.receiver_port = broker, receiver_port
        self.environment = clean_environment()
        self.encoding = "binary"        # of the application's events on their topic
        self.process = None
        self.starts = 0
        self.configure()

    def configure(self, **more):
        """Writes bridge.yaml; `more` are further members of `broker:`."""
        broker = json.dumps(self.broker | more)
        with open(os.path.join(self.folder, "bridge.yaml"), "w") as f:
            f.write(CONFIG.format(broker=broker, port=self.port, admin=self.admin, url=f"http://127.0.0.1:{self.receiver_port}", standard=STANDARD, github=GITHUB,
                                  token=TOKEN, encoding=self.encoding, **SECRETS))

    # ---- start and end ----

    def start(self, crash_at=None, wrong=None):
        environment = dict(self.environment)
        if crash_at:
            environment["AQUEDUCT_CRASH_AT"] = crash_at
        if wrong:
            environment["AQUEDUCT_WRONG"] = wrong
        self.starts += 1
        with open(os.path.join(self.folder, "daemon.log"), "ab") as log:
            log.write(f"---- start {self.starts}{' AQUEDUCT_CRASH_AT=' + crash_at if crash_at else ''}\n".encode())
            log.flush()
            self.process = subprocess.Popen([self.binary, "run", "-c", "bridge.yaml"], cwd=self.folder, env=environment,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def ended(self, wait=0.0):
        """The exit code, negative for a signal; None while it runs."""
        try:
            return self.process.wait(wait) if wait else self.process.poll()
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.process.wait()

    def log(self):
        with open(os.path.join(self.folder, "daemon.log"), errors="replace") as f:
            return f.read()

    def complaints(self):
        """What a sanitizer or a failed check wrote."""
        return [m.group(0) for m in SANITIZER.finditer(self.log())]

    # ---- looks ----

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=3) as answer:
            return answer.read().decode()

    def ready(self, wait):
        """Ready within `wait` seconds? False at once when it ended."""
        end = time.monotonic() + wait
        while time.monotonic() < end and self.ended() is None:
            try:
                self.get("/readyz")
                return True
            except OSError:
                time.sleep(0.02)
        return False

    def metrics(self):
        """{name: {label value: sum}} of the source's and the sinks' counters."""
        out = {}
        for name, label, value in re.findall(r'^aqueduct_((?:source|sink)_\w+)\{(?:source|sink)="([^"]+)"[^}]*\} (-?\d+)', self.get("/metrics"), re.M):
            by = out.setdefault(name, {})
            by[label] = by.get(label, 0) + int(value)
        return out

    def command(self, *words):
        done = subprocess.run([self.binary, *words], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, env=self.environment)
        return done.returncode, done.stdout, done.stderr.decode(errors="replace")

    def dead(self, *words):
        code, out, err = self.command("dead", words[0], "-c", "bridge.yaml", *words[1:])
        if code != 0:
            raise RuntimeError(f"dead {' '.join(words)} ended with {code}: {err}")
        return out

    def dead_list(self):
        return [json.loads(line) for line in self.dead("list", "--json", "--state", "all").splitlines()]


def unreconciled(metrics):
    """Sentences about counters that do not add up."""
    out = []

    def sum_of(names, id):
        return sum(metrics.get(n, {}).get(id, 0) for n in names)

    for id, received in metrics.get("source_received_total", {}).items():
        rest = sum_of(("source_stored_total", "source_refused_total", "source_pending"), id)
        if received != rest:
            out.append(f"source {id}: received {received}, but stored + refused + pending = {rest}")
    parts = ("sink_delivered_total", "sink_dead_total", "sink_filtered_total", "sink_moved_total", "sink_released_total", "sink_pending")
    for id, consumed in metrics.get("sink_consumed_total", {}).items():
        rest = sum_of(parts, id)
        if consumed != rest:
            out.append(f"sink {id}: consumed {consumed}, but {' + '.join(p[5:] for p in parts)} = {rest}")
    return out
