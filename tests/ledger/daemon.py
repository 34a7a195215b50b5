# SPDX-License-Identifier: MIT
"""The daemon under test: its configuration, its starts and ends, its metrics, its commands."""
import contextlib
import json
import pathlib
import re
import subprocess
import time
import urllib.error

import aqueduct
import busy
from books import GUESTS
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
  rollback: {{type: sqlite, path: rollback.db, start: snapshot, poll: 50ms, capture: {capture}}}
  wal: {{type: sqlite, path: wal.db, start: snapshot, poll: 50ms, delivery: exactly_once, transaction: 50, capture: {capture}}}
  hooks:
    type: http
    threads: {threads}
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
  steady: {{type: webhook, topics: [hooks.in, app.events], url: "{url}/steady", secrets: ["{secret[steady]}"], body: structured, attempts: all}}
  moody:
    {{type: webhook, topics: [hooks.in, app.events], url: "{url}/moody", secrets: ["{secret[moody]}", "another-key-of-32-characters-here"],
     timeout: 300ms, retry: [40ms, 200ms, 1s], retry_memory: 50ms, window: 32}}
  ordered:
    {{type: webhook, topics: [hooks.in, app.events], url: "{url}/ordered", secrets: ["{secret[ordered]}"], body: binary,
     timeout: 300ms, retry: [20ms, 40ms, 80ms], retry_memory: 30ms, order: key, attempts: sample}}
  refusing:
    {{type: webhook, topics: [hooks.in, app.events], filter: {{exact: {{type: ledger.odd}}}}, url: "{url}/refusing", secrets: ["{secret[refusing]}"],
     retry: [20ms, 200ms], retry_memory: 50ms}}
  gone: {{type: webhook, topics: [hooks.in], filter: {{exact: {{type: ledger.gone}}}}, url: "{url}/gone", secrets: ["{secret[gone]}"]}}
  many:
    type: webhook
    topics: [hooks.in]
    filter: {{exact: {{source: /ledger}}}}
    timeout: 300ms
    retry: [100ms, 200ms, 400ms, 1s, 1s]
    retry_memory: 50ms
    endpoints:
{endpoints}
  {traveller}:
    {{type: webhook, topics: [hooks.in], filter: {{exact: {{source: /ledger}}}}, url: "{url}/traveller", secrets: ["{secret[traveller]}"],
     retry: [40ms, 200ms, 1s, 1s, 1s], retry_memory: 50ms, formerly: {formerly}}}
{slow}  failed: {{type: dead_letter, path: dead.db}}
admin: {{listen: "127.0.0.1:{admin}", control: "{control}"}}
drain: 2s
"""
SECOND = """\
broker: {broker}
sources: {{wal: {{type: sqlite, path: wal.db, start: snapshot, poll: 50ms, delivery: exactly_once, transaction: 50, capture: {capture}}}}}
routes: [{{topic: app.events, encoding: {encoding}}}]
admin: {{listen: "127.0.0.1:{admin}", control: "{control}"}}
"""
SLOW = '  slow: {{type: webhook, topics: [hooks.in], filter: {{exact: {{source: /ledger}}}}, url: "{url}/slow", secrets: ["{secret}"], timeout: 10s, window: 4}}\n'
ENDPOINTS = {
    "many/fine": "timeout: 10s",
    "many/keyed": "filter: {prefix: {subject: key-}}, order: key",
    "many/later": "filter: {exact: {type: ledger.odd}}",
    "many/hang": "filter: {exact: {type: ledger.odd}}, retry: [1h], window: 8",
    "many/guest-0": "filter: {exact: {type: ledger.odd}}",
    "many/guest-1": "filter: {exact: {type: ledger.odd}}",
}
# moody's window is small, so that the waiter has more for it than there is room, and puts it back.
ATTEMPTS = {"refusing": 3, "gone": 1, "moody": 4, "ordered": 4}      # of a dead letter, by the configuration above
LOOK = 0.02                     # seconds from one look whether it is alive to the next


class Daemon(aqueduct.Daemon):
    def __init__(self, binary, folder, broker, port, admin, receiver_port, slow=False):
        """`slow`: has it the sink of that name?"""
        super().__init__(binary, folder)
        self.port, self.admin = port, admin
        self.broker, self.receiver_port = broker, receiver_port
        self.slow = slow
        self.encoding = "binary"        # of the application's events on their topic
        self.starts = 0
        self.mourn = lambda: None       # waits until what it sent is noted
        self.guests = set()             # those of the endpoints that come and go that are configured
        self.names = 1                  # the traveller's
        self.says_former_names = True
        self.deaths = []                # (from, to): when it died without a chance to store its positions
        self.lived = 0                  # when it was seen alive for the last time
        self.configure()

    def configure(self, **more):
        """Writes bridge.yaml; `more` are further members of `broker:`."""
        broker = json.dumps(self.broker | more)
        url = f"http://127.0.0.1:{self.receiver_port}"
        endpoints = [f'      {name.split("/")[1]}: {{url: "{url}/{name}", secrets: ["{SECRETS[name]}"], {more}}}' for name, more in ENDPOINTS.items()
                     if name in self.guests or name not in GUESTS]
        former = [f"traveller-{n}" for n in range(self.names - 1, 0, -1)] if self.says_former_names else []
        threads = 1 + self.names % 2       # now two, now one
        text = CONFIG.format(broker=broker, threads=threads, port=self.port, admin=self.admin, control=self.folder / "control", url=url, standard=STANDARD, github=GITHUB, token=TOKEN, encoding=self.encoding,
                             secret=SECRETS, capture=json.dumps(busy.CAPTURE), endpoints="\n".join(endpoints), slow=SLOW.format(url=url, secret=SECRETS["slow"]) if self.slow else "", traveller=f"traveller-{self.names}", formerly=json.dumps(former))
        (self.folder / "bridge.yaml").write_text(text)

    @contextlib.contextmanager
    def second(self):
        """Another daemon with the source `wal`, and nothing else; it is killed."""
        port = aqueduct.free_port()
        (self.folder / "second.yaml").write_text(SECOND.format(broker=json.dumps(self.broker), capture=json.dumps(busy.CAPTURE), encoding=self.encoding,
                                                               admin=port, control=self.folder / "control-2"))
        other = aqueduct.Daemon(self.binary, self.folder, "second.yaml", "second.log")
        other.admin = port
        other.start()
        try:
            yield other
        finally:
            other.kill()
        if found := aqueduct.complaints(other.log()):
            raise RuntimeError(f"the second daemon: {found}")

    def readiness(self):
        """What /readyz says."""
        try:
            return self.get("/readyz")
        except urllib.error.HTTPError as no:
            return no.read().decode()

    # ---- start and end ----

    def start(self, crash_at=None, wrong=None):
        switches = {"AQUEDUCT_CRASH_AT": crash_at, "AQUEDUCT_WRONG": wrong}
        self.starts += 1
        with open(self.log_file, "a") as log:
            log.write(f"---- start {self.starts}{' AQUEDUCT_CRASH_AT=' + crash_at if crash_at else ''}\n")
        self.lived = time.monotonic()
        super().start(**{name: value for name, value in switches.items() if value})

    def kill(self):
        began = time.monotonic()
        code = super().kill()
        self.died(began)
        return code

    def ended(self, wait=0.0):
        """As of any daemon. Dead it is since it was seen alive for the last time: on a busy machine that is seen late."""
        end = time.monotonic() + wait
        while True:
            running, asked = self.process.returncode is None, time.monotonic()
            code = super().ended()
            if running and code:
                self.died(self.lived)
            if code is not None or asked >= end:
                self.lived = asked if code is None else self.lived
                return code
            self.lived = asked
            time.sleep(min(LOOK, max(end - time.monotonic(), 0)))

    def died(self, began):
        self.mourn()
        self.deaths.append((began, time.monotonic()))

    def complaints(self):
        """What a sanitizer or a failed check wrote, or that it takes itself for another daemon."""
        return aqueduct.complaints(self.log()) + [line for line in self.log().splitlines() if "another daemon has the same broker.instance" in line]

    # ---- looks ----

    def groups_without(self):
        """Those whose partitions were taken and not given again, as far as its log of this start says."""
        said = re.findall(r'msg="partitions (assigned|revoked)" group=(\S+)', self.log().rpartition("---- start ")[2])
        return sorted(group for group, what in {group: what for what, group in said}.items() if what == "revoked")

    def metrics(self):
        """{name: {label value: sum}} of the source's and the sinks' counters."""
        out = {}
        for (name, labels), value in super().metrics().items():
            name, owner = name.removeprefix("aqueduct_"), dict(labels).get("source") or dict(labels).get("sink")
            if owner and name.startswith(("source_", "sink_")):
                by = out.setdefault(name, {})
                by[owner] = by.get(owner, 0) + int(value)
        return out

    def total(self, name):
        """The sum of a counter, whatever its labels."""
        return int(sum(value for (found, _), value in super().metrics().items() if found == name))

    def told_lost(self, since):
        """What the log says from there on that Kafka removed before it was read: [(group, topic, partition, from, to, lost)]."""
        said = re.findall(r'msg="records were removed before they were read" group=(\S+) topic=(\S+) partition=(\d+) from=(\d+) to=(\d+) lost=(\d+)', self.log()[since:])
        return [(group, topic, *map(int, numbers)) for group, topic, *numbers in said]

    def told_compacted(self, since):
        """{(group, topic)} of what the log says from there on that was compacted away before it was read."""
        return set(re.findall(r'msg="records were compacted away before they were read" group=(\S+) topic=(\S+)', self.log()[since:]))

    def command(self, *words):
        done = subprocess.run([self.binary, *words], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, env=aqueduct.environment())
        return done.returncode, done.stdout, done.stderr.decode(errors="replace")

    def dead(self, *words):
        code, out, err = self.command("dead", words[0], "-c", "bridge.yaml", *words[1:])
        if code != 0:
            raise RuntimeError(f"dead {' '.join(words)} ended with {code}: {err}")
        return out

    def dead_list(self):
        return [json.loads(line) for line in self.dead("list", "--json", "--state", "all").splitlines()]


    def account(self):
        """What it says of each sink; [] when it does not answer."""
        code, out, _ = self.command("status", "-c", "bridge.yaml", "--json")
        return json.loads(out)["sinks"] if code == 0 else []

    def stored(self, pair):
        """Where records of that event are: [(topic, partition, offset, time)]."""
        _, out, _ = self.command("status", "-c", "bridge.yaml", "--event", pair[1], "--json")
        return [tuple(r[k] for k in ("topic", "partition", "offset", "time")) for r in json.loads(out)["stored"] if r["source"] == pair[0]]


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
