# SPDX-License-Identifier: MIT
"""Listeners whose connections are cut at any byte, whose daemon dies, whose log loses records or is another one: in each partition they
get what the log has, in its order, each record once, and are told exactly what is gone."""
import contextlib
import os
import random
import re
import shutil
import sqlite3
import threading

import pytest
import requests

from conftest import HTTP_SOURCE, ROOT, TOKEN, Bridge, event, free_port, kafka_read, wait_for
from followers import FOLLOWERS, ClientFollower, PullFollower, WebSocketFollower
from proxy import Proxy

LONG = int(os.environ.get("AQUEDUCT_LONG", "1"))        # how many times as much
PARTITIONS = 3
LIVE = HTTP_SOURCE.replace("127.0.0.1:0", "127.0.0.1:$HTTP").replace("{topic: $EVENTS}", "{topic: $EVENTS, key: subject}") + """
topics: {$EVENTS: {partitions: %d%s}}
sinks:
  live: {type: websocket, listen: "127.0.0.1:$LIVE", topics: [$EVENTS], handshake_rate: 10000}
"""
NAME = re.compile(rb"e\d{6}")
ClientFollower.client = ROOT / "connectors/websocket/client/aqueduct.js"


class Writer(threading.Thread):
    """Publishes all the time, to one daemon or the other; what is not acknowledged it sends again, so the log may have it twice."""

    def __init__(self, ports, seed, most=10 ** 6, count=0):
        super().__init__(daemon=True)
        self.ports, self.chance, self.count, self.most, self.stopped, self.failed = ports, random.Random(seed), count, most, threading.Event(), None
        self.start()

    def run(self):
        try:
            while not self.stopped.is_set() and self.count < self.most:
                batch = self.batch()
                while not self.sent(batch):
                    self.stopped.wait(0.05)
        except Exception as e:      # noqa: BLE001 (end() tells)
            self.failed = e

    def batch(self):
        size = min(self.chance.randrange(1, 20), self.most - self.count)
        self.count += size
        return [event(f"e{i:06}", subject=f"s/{self.chance.randrange(7)}", data="x" * self.chance.randrange(120))
                for i in range(self.count - size, self.count)]

    def sent(self, batch):
        try:
            answer = requests.post(f"http://127.0.0.1:{self.chance.choice(self.ports)}/v1", json=batch, timeout=20,
                                   headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents-batch+json"})
            assert answer.status_code in (202, 503), answer.text
            return answer.status_code == 202
        except requests.RequestException:
            return False

    def end(self):
        self.stopped.set()
        self.join(60)
        assert not self.is_alive() and self.failed is None, self.failed


class Log:
    """What the topic holds, read past the daemon: {partition: [(offset, id)]}"""

    def __init__(self, bridge):
        self.bridge, self.topic = bridge, bridge.topic("events")

    def read(self, count=0):
        parts = {p: [] for p in range(PARTITIONS)}
        if self.bridge.kind == "kafka":
            for r in sorted(kafka_read(self.bridge.kafka, self.topic, count), key=lambda r: r["offset"]):
                parts[r["partition"]].append((r["offset"], r["headers"][b"ce_id"].decode()))
            return parts
        for number, rows in self.local("SELECT offset, record FROM log_%d ORDER BY offset"):
            parts[number] = [(offset, NAME.search(record)[0].decode()) for offset, record in rows]
        return parts

    def local(self, query):
        """What it says of each partition of the embedded log."""
        with contextlib.closing(sqlite3.connect(f"file:{self.bridge.folder}/data/aqueduct.db?mode=ro", uri=True)) as db:
            parts = db.execute("SELECT id, number FROM partition WHERE topic = ?", (self.topic,)).fetchall()
            return [(number, db.execute(query % part).fetchall()) for part, number in parts]

    def longest(self):
        """Bytes of the largest partition, but for its first record."""
        return max(rows[0][0] for _, rows in self.local("SELECT max(bytes) - min(bytes) FROM log_%d"))

    def names(self, count=0):
        return {p: [name for _, name in records] for p, records in self.read(count).items()}


def by_partition(ids, names):
    where = {name: p for p, all_of_it in names.items() for name in all_of_it}
    found = {p: [] for p in names}
    for name in ids:
        found[where[name]].append(name)
    return found


def all_came(followers, log, writer):
    """Each follower has, partition by partition, exactly what the log has."""
    names = log.names(writer.count)
    total = sum(map(len, names.values()))
    assert total >= writer.count > 0
    for one in followers:
        wait_for(lambda: len(one.got) >= total or one.failed, 90,
                 lambda: (type(one).__name__, len(one.got), total, one.connections, one.verdicts[-5:], one.refusals[-5:], one.ends[-5:]))
    for one in followers:
        one.stop()
        found = by_partition(one.got, names)
        for p, wanted in names.items():
            assert found[p] == wanted, (type(one).__name__, p, one.connections)
        assert {verdict for verdict, _ in one.verdicts} <= {"new", "exact"}, one.verdicts


def configured(bridge, topic="", live=None, source=None, **more):
    ports = live or free_port(), source or free_port()
    bridge.configure((LIVE % (PARTITIONS, topic)).replace("$LIVE", str(ports[0])).replace("$HTTP", str(ports[1])), **more)
    return ports


def test_connections_cut_at_any_byte(bridge):
    live, source = configured(bridge)
    daemon, chance = bridge.start(), random.Random(12)
    with Proxy([live], lambda: chance.randrange(1, 12000)) as proxy, Proxy([live], lambda: chance.randrange(1, 100000)) as rarely:
        writer = Writer([source], 1, 900 * LONG)
        followers = [make([proxy.port]) for make in FOLLOWERS.values() for _ in range(2)] + [ClientFollower([rarely.port])]
        wait_for(lambda: writer.count >= writer.most / 2, 60 * LONG)
        daemon.kill()
        daemon = bridge.start()
        writer.join(90 * LONG)
        writer.end()
        all_came(followers, Log(bridge), writer)
        assert proxy.cuts > 30
    assert {status for one in followers for status in one.refusals} <= {503, 4503}
    daemon.stop()


def published(source, seed, first, count):
    writer = Writer([source], seed, first + count, first)
    writer.join(90)
    writer.end()


def came_so_far(followers, ids):
    """They have all of these, and end."""
    for one in followers:
        wait_for(lambda: len(one.got) >= len(ids), why=lambda: (type(one).__name__, len(one.got), one.verdicts, one.refusals))
        one.stop()
        assert sorted(one.got) == sorted(ids)


def again(followers, ports):
    return [type(one)(ports, start=one.position) for one in followers]


def test_what_is_gone_is_counted_for_each_partition(bridge):
    """Records below the position are deleted while nobody listens; those who come back get all that is left, and how many are not."""
    live, source = configured(bridge)
    daemon, log = bridge.start(), Log(bridge)
    published(source, 2, 0, 300)
    positions = {p: records[-1][0] + 1 for p, records in log.read(300).items()}
    followers = [make([live]) for make in FOLLOWERS.values()]
    came_so_far(followers, {f"e{i:06}" for i in range(300)})
    published(source, 3, 300, 900)
    everything = log.read(1200)
    if bridge.kind == "kafka":
        bridge.kafka.delete_records(log.topic, {p: (positions[p] + len(everything[p])) // 2 for p in (0, 2)})
    else:
        daemon.stop()
        configured(bridge, ", retention_bytes: 24KiB", live, source)
        daemon = bridge.start()
        wait_for(lambda: log.longest() < 24 << 10)
    for one in again(followers, [live]):
        wait_for(lambda: set(one.got) >= {records[-1][1] for records in everything.values()}, why=lambda: (type(one).__name__, one.verdicts, one.refusals))
        one.stop()
        found, missing = by_partition(one.got, {p: [name for _, name in records] for p, records in everything.items()}), {}
        for p, records in everything.items():       # a daemon may have read ahead some of what is deleted now; the count says what it has not
            told = sum(counts.get(f"{log.topic}/{p}", 0) for _, counts in one.verdicts if isinstance(counts, dict))
            missing[p] = len(records) - positions[p] - len(found[p])
            names = [name for _, name in records[positions[p]:]]
            ahead = next((i for i, (one_of, other) in enumerate(zip(found[p], names)) if one_of != other), len(found[p]))
            assert found[p] == names[:ahead] + names[ahead + missing[p]:]    # one hole, behind what was read ahead
            assert missing[p] == told or isinstance(one, PullFollower)
        gaps = [count for verdict, count in one.verdicts if verdict == "gap"]    # exact: as far as it was read ahead
        assert sum(missing.values()) > 0 and gaps and {verdict for verdict, _ in one.verdicts} <= {"gap", "exact"}
        assert sum(missing.values()) == gaps[0] or not isinstance(one, PullFollower), one.verdicts
    daemon.stop()


def test_a_question_does_not_wait_for_a_fetch(kafka_bridge):
    """Where partitions begin and end is asked beside fetches that the cluster holds for longer than an answer is waited for."""
    live, source = configured(kafka_bridge)
    said = kafka_bridge.config.read_text()
    assert "instance: one" in said
    kafka_bridge.config.write_text(said.replace("instance: one", 'instance: one, properties: {fetch.wait.max.ms: "3000"}'))
    daemon = kafka_bridge.start()
    published(source, 11, 0, 90)
    follower = PullFollower([live])
    came_so_far([follower], {f"e{i:06}" for i in range(90)})
    published(source, 12, 90, 60)
    came_so_far(again([follower], [live]), {f"e{i:06}" for i in range(90, 150)})
    daemon.stop()


def test_another_topic_of_the_same_name(kafka_bridge, kafka):
    """Deleted and made again while the daemon runs: each is told, goes on by time, and so gets all of the new one, and nothing else."""
    live, source = configured(kafka_bridge)
    daemon, log = kafka_bridge.start(), Log(kafka_bridge)
    published(source, 4, 0, 200)
    followers = [make([live]) for make in FOLLOWERS.values()]
    came_so_far(followers, {f"e{i:06}" for i in range(200)})
    kafka.recreate(log.topic, PARTITIONS)
    published(source, 5, 200, 100)
    followers = again(followers, [live])
    came_so_far(followers, [name for names in log.names(100).values() for name in names])
    for one in followers:
        assert by_partition(one.got, log.names()) == log.names()
        told = ("reset", 0 if isinstance(one, PullFollower) else None)      # again for a partition found out later; "exact" before it is
        assert told in one.verdicts and {verdict for verdict, _ in one.verdicts} <= {"reset", "exact"}, one.verdicts
    daemon.stop()


def test_a_log_that_was_set_back(local_bridge):
    """A copy of an hour ago takes the log's place: its end is before the positions. With another log there is nothing to go on from."""
    live, source = configured(local_bridge)
    daemon, log, data = local_bridge.start(), Log(local_bridge), local_bridge.folder / "data"
    published(source, 6, 0, 100)
    daemon.stop()
    shutil.copytree(data, local_bridge.folder / "copy")
    daemon = local_bridge.start()
    published(source, 7, 100, 100)
    followers = [make([live]) for make in FOLLOWERS.values()]
    came_so_far(followers, {f"e{i:06}" for i in range(200)})
    daemon.stop()
    shutil.rmtree(data)
    shutil.move(local_bridge.folder / "copy", data)
    daemon = local_bridge.start()
    published(source, 8, 200, 60)
    names = log.names()
    followers = again(followers, [live])
    for one in followers:
        wait_for(lambda: {f"e{i:06}" for i in range(200, 260)} <= set(one.got), why=lambda: (one.got[-3:], one.verdicts, one.refusals))
        one.stop()
        found = by_partition(one.got, names)
        assert all(found[p] == names[p][len(names[p]) - len(found[p]):] for p in names), "what follows, perhaps with some before"
        assert one.verdicts == [("reset", 0 if isinstance(one, PullFollower) else None)]
    daemon.stop()
    shutil.rmtree(data)
    daemon = local_bridge.start()
    followers = again(followers, [live])
    for one in followers:
        wait_for(lambda: one.refusals, why=lambda: (type(one).__name__, one.verdicts, one.failed))
        one.stop()
        assert set(one.refusals) <= {400, 4416} and not one.got
    daemon.stop()


class Pair:
    """Two daemons of one cluster with the same sink, which can be stopped and started by themselves."""

    def __init__(self, bridges, kafka):
        first = bridges("kafka")
        self.bridges, self.kafka, self.ports = [first, Bridge(first.program, "kafka", first.folder / "two", kafka)], kafka, []
        self.bridges[1].name, self.bridges[1].instance = first.name, "two"
        for one in self.bridges:
            self.ports.append(configured(one))
        self.daemons = [one.start(ready=False) for one in self.bridges]
        for daemon in self.daemons:
            daemon.ready()
        self.live, self.sources = [port for port, _ in self.ports], [port for _, port in self.ports]

    def restart(self, which):
        self.daemons[which] = self.bridges[which].start()

    def end(self):
        self.bridges[1].end()


@pytest.fixture
def pair(bridges, kafka):
    one = Pair(bridges, kafka)
    yield one
    one.end()


def test_listeners_move_to_another_daemon(pair):
    """One of two daemons is killed, another time drained, while events are published all the time: all go on at the other one."""
    writer = Writer(pair.sources, 9)
    followers = [make(pair.live) for make in FOLLOWERS.values() for _ in range(3)]

    def all_at(which, more):
        before = [len(one.got) for one in followers]
        wait_for(lambda: all(one.port == pair.live[which] and len(one.got) >= n + more for one, n in zip(followers, before)),
                 why=lambda: [(type(one).__name__, one.port, len(one.got), one.refusals, one.failed) for one in followers])
    all_at(0, 50)
    pair.daemons[0].kill()
    all_at(1, 100)
    pair.restart(0)
    for one in followers:
        one.retry_ms = None
        one.ends.clear()
    drained = pair.daemons[1]
    drained.stop()
    ended = [one.ends[0] for one in followers if isinstance(one, WebSocketFollower)]
    assert [code for code, _ in ended] == [1012] * 6
    times = [one.retry_ms or int(re.search(r"come back in (\d+) ms", one.ends[0][1])[1]) for one in followers if not isinstance(one, PullFollower)]
    assert len(times) == 9 and len(set(times)) > 6, "each its own time to come back"
    all_at(0, 100)
    writer.end()
    all_came(followers, Log(pair.bridges[0]), writer)
    assert [status for one in followers for status in one.refusals if status not in (503, 4503)] == []


def test_the_first_start_of_two_daemons_at_once(pair):
    """Positions of one are taken by the other from the first moment on: both sign with the same key."""
    published(pair.sources[0], 10, 0, 20)
    for here, there in ((0, 1), (1, 0)):
        cursor = requests.get(f"http://127.0.0.1:{pair.live[here]}/events?from=earliest&max=5&wait=20", timeout=60).json()["cursor"]
        answer = requests.get(f"http://127.0.0.1:{pair.live[there]}/events?from={cursor}", timeout=60)
        assert answer.status_code == 200 and answer.json()["resume"] == "exact" and len(answer.json()["events"]) == 15, answer.text
