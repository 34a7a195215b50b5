# SPDX-License-Identifier: MIT
"""Kafka to webhooks, HTTP to Kafka, a SQLite table to Kafka: ours beside Benthos. Kafka, senders and receivers share the other core."""
import contextlib
import sqlite3
import struct
import time

import rig
from bench import BYTES, Receiver, on_cores
from daemon import TOKEN, Daemon, free_port, http_source, webhook_sink
from peer import fetch
from peer.process import Process, accepts

PARTITIONS, IN_FLIGHT = 4, 256


def kafka(b):
    with on_cores(lambda cores: cores[1:]):
        b.kafka_servers()
    return b.kafka


def stored(b, topic):
    """How many records a topic has, by what the broker says of its ends."""
    name = rig.text(topic)
    ask = struct.pack(">ii", -1, 1) + name + struct.pack(">i", PARTITIONS) + b"".join(struct.pack(">iq", p, -1) for p in range(PARTITIONS))
    rows = rig.ask(b.kafka.port, 2, 1, ask)[4 + len(name) + 4:]
    return sum(struct.unpack_from(">ihqq", rows, 22 * p)[3] for p in range(PARTITIONS))


def topic(b):
    name = f"peer{next(b.numbers)}"
    kafka(b).create(name, PARTITIONS)
    return name


@contextlib.contextmanager
def apart(process):
    """It starts on the first core; what the caller runs meanwhile has the others."""
    with contextlib.ExitStack() as until_then:
        with on_cores(lambda cores: cores[:1]):
            p = until_then.enter_context(process)
        with on_cores(lambda cores: cores[1:]):
            yield p


def daemon(b, **words):
    folder = b.room()
    return Daemon(b.binary, folder, b.broker("kafka", folder), partitions=PARTITIONS, **words)


def benthos(b, config):
    program, _ = fetch.benthos()
    folder, port = b.room(), free_port()
    (folder / "config.yaml").write_text(f"http: {{address: '127.0.0.1:{port}'}}\nlogger: {{level: ERROR}}\nshutdown_timeout: 1s\n" + config)
    return Process([program, "-c", folder / "config.yaml"], folder, port)


def megabytes(kb):
    return round(kb / 1024, 1)


# ---- Kafka to webhooks ----

def backlog(b):
    """A topic with events of ours, the same for both: its name and how many."""
    if "peer" not in b.backlogs:
        name, wanted, port = topic(b), 5_000 if b.brief else 40_000, free_port()
        with apart(daemon(b, sources=http_source(port), topic=name)) as d:
            while stored(b, name) < wanted:
                b.tool("http_in", "daemon", 256, 1, BYTES, port, "/in", TOKEN, d.pid)
        b.backlogs["peer"] = name, stored(b, name)
    return b.backlogs["peer"]


def our_delivery(b, name, url):
    sink = webhook_sink(url, IN_FLIGHT, name).replace("crm:", f"crm{next(b.numbers)}:")         # a position of its own
    return daemon(b, sinks=sink + "\n    body: data", topic=name)


def their_delivery(b, name, url):
    return benthos(b, f"""
input:
  kafka_franz: {{seed_brokers: ["{b.kafka_servers()}"], topics: [{name}], consumer_group: benthos{next(b.numbers)}, start_from_oldest: true, commit_period: 1s}}
output:
  http_client:
    url: {url}
    verb: POST
    max_in_flight: {IN_FLIGHT}
    headers: {{Webhook-Id: '${{! meta("ce_id") }}', Content-Type: application/json}}
""")


def delivered(b, make):
    """From the first answer on, for as long as a turn takes or the backlog lasts."""
    name, count = backlog(b)
    with on_cores(lambda cores: cores[1:]), Receiver(b, 0, "ids") as receiver, apart(make(b, name, receiver.url)) as p:
        first, _ = until(lambda: receiver.report()["answered"], 60, p)
        began, cpu, now = time.monotonic(), p.cpu_us(), 0
        while time.monotonic() < began + b.seconds and now < count:
            time.sleep(0.02)
            now = receiver.report()["answered"]
        each = (p.cpu_us() - cpu) / (now - first)
        return {"deliver_rate": (now - first) / (time.monotonic() - began), "deliver_cpu": each, "deliver_rss": megabytes(p.rss_kb())}


def until(what, seconds, p):
    """What is true at last, and when that was."""
    end = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > end:
            raise RuntimeError(f"what was waited for did not come: {p.log()[-600:]}")
        time.sleep(0.0005)
    return found, time.monotonic()


def killed(b, make):
    """kill -9 when a third of a backlog is answered, and a new start at once. What is lost never comes; what is repeated comes twice."""
    name, count = backlog(b)
    with on_cores(lambda cores: cores[1:]), Receiver(b, 0, "ids") as receiver:
        process = make(b, name, receiver.url)
        with apart(process) as p:
            until(lambda: receiver.report()["answered"] > count // 3, 120, p)
            p.kill()
        time.sleep(0.05)
        receiver.report()               # forgets when the first new one came
        with apart(process) as p:
            now, first = rest(receiver, count)
        return {"kill_lost": count - now["answered"] + now["again"], "kill_again": now["again"], "kill_s": first - p.started}


def rest(receiver, count):
    """Until all are there, or nothing has come for so long that nothing will: a group waits 45 s for a member that died. And when the first new one came."""
    answered, last, first = 0, time.monotonic(), 0
    while time.monotonic() < last + 70:
        now = receiver.report()
        first = first or now["first_new_us"] / 1e6
        if now["answered"] - now["again"] >= count:
            break
        if now["answered"] > answered:
            answered, last = now["answered"], time.monotonic()
        time.sleep(0.002)
    return now, first


# ---- HTTP to Kafka ----

def our_intake(b, name, port):
    return daemon(b, sources=http_source(port), topic=name)


def their_intake(b, name, port):
    return benthos(b, f"""
input:
  http_server: {{address: "127.0.0.1:{port}", path: /in}}
output:
  kafka_franz: {{seed_brokers: ["{b.kafka_servers()}"], topic: {name}, max_in_flight: {IN_FLIGHT}}}
""")


def taken(b, make):
    name, port = topic(b), free_port()
    with apart(make(b, name, port)) as p:
        until(lambda: accepts(port), 30, p)
        f = b.tool("http_in", "daemon", IN_FLIGHT, b.seconds, BYTES, port, "/in", TOKEN, p.pid)
        if f["refused"] or not f["answered"] or stored(b, name) < f["answered"]:
            raise RuntimeError(f"{f['answered']} posts were answered with 2xx, {f['refused']} otherwise, {stored(b, name)} stored: {p.log()[-300:]}")
        return {"in_rate": f["requests_per_s"], "in_cpu": f["cpu_us_per_request"], "in_p50": f["p50_ms"], "in_p99": f["p99_ms"], "in_rss": megabytes(p.rss_kb())}


# ---- a SQLite table to Kafka ----

ROWS = "name: log, kind: diff, table: log, watch: [text], types: {insert: log.made, update: log.changed, delete: log.gone}"
GROWS = "name: log, kind: append, table: log, types: {insert: log.line}"


def our_table(b, name, database, rule):
    source = f"app{next(b.numbers)}"           # a position of its own: it is in Kafka, by the source's name
    return daemon(b, sources=f"\n  {source}: {{type: sqlite, path: {database}, start: snapshot, capture: [{{{rule}}}]}}", topic=name)


def their_table(b, name, database, rule):
    """What its users write: a poll with a cursor that a cache keeps. The cursor is set before Kafka has the rows, since a poll does not wait for the last."""
    return benthos(b, f"""
input:
  generate: {{interval: 100ms, mapping: 'root = ""'}}
cache_resources: [{{label: cursor, file: {{directory: "{b.room()}"}}}}]
pipeline:
  threads: 1
  processors:
    - cache: {{resource: cursor, operator: get, key: id}}
    - catch: [{{mapping: 'root = "0"'}}]
    - sql_raw: {{driver: sqlite, dsn: "file:{database}", query: "SELECT id, text FROM log WHERE id > ? ORDER BY id LIMIT 10000", args_mapping: 'root = [content().string().number()]'}}
    - mapping: 'root = if this.length() == 0 {{ deleted() }}'
    - branch:
        processors:
          - cache: {{resource: cursor, operator: set, key: id, value: '${{! json().index(-1).id }}'}}
        result_map: 'root = deleted()'
    - unarchive: {{format: json_array}}
output:
  kafka_franz: {{seed_brokers: ["{b.kafka_servers()}"], topic: {name}, max_in_flight: 1}}
""")


def log_table(b, rows):
    path = b.room() / "app.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE log(id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT)")
    db.execute("BEGIN")
    db.executemany("INSERT INTO log(text) VALUES (?)", ((f"line {i} " + "x" * 400,) for i in range(rows)))
    db.execute("COMMIT")
    return db, path


def table(b, make):
    rows = 10_000 if b.brief else 50_000
    (db, path), name = log_table(b, rows), topic(b)
    with contextlib.closing(db), apart(make(b, name, path, GROWS)) as p:
        _, last = until(lambda: stored(b, name) >= rows, 120, p)
        figures = {"table_rate": rows / (last - p.started), "table_cpu": p.cpu_us() / rows, "table_rss": megabytes(p.rss_kb())}
        time.sleep(1)
        delays = []
        for i in range(10 if b.brief else 40):
            time.sleep(0.03 + i % 7 * 0.01)
            before = stored(b, name)
            db.execute("INSERT INTO log(text) VALUES ('one more')")
            committed = time.monotonic()
            _, came = until(lambda: stored(b, name) > before, 30, p)
            delays.append((came - committed) * 1000)
        cpu, began = p.cpu_us(), time.monotonic()
        time.sleep(1)
        figures |= {"table_delay": sorted(delays)[len(delays) // 2], "table_idle": (p.cpu_us() - cpu) / 1e4 / (time.monotonic() - began)}
    return figures | {"table_seen": changes(b, make)}


def changes(b, make):
    """Ten rows are made, changed and deleted: how many of the thirty changes come."""
    (db, path), name = log_table(b, 1), topic(b)
    with contextlib.closing(db), apart(make(b, name, path, ROWS)) as p:
        until(lambda: stored(b, name) >= 1, 60, p)
        for what in ("INSERT INTO log(text) VALUES ('x')", "UPDATE log SET text = 'y' WHERE id = 2 + ?", "DELETE FROM log WHERE id = 2 + ?"):
            for i in range(10):
                db.execute(what, (i,) if "?" in what else ())
            time.sleep(1.5)
        return stored(b, name) - 1


BRIDGES = {"deliver": (delivered, our_delivery, their_delivery), "kill9": (killed, our_delivery, their_delivery), "http_in": (taken, our_intake, their_intake),
           "table": (table, our_table, their_table)}
