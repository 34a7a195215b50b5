# SPDX-License-Identifier: MIT
"""What programs that nobody here wrote meet on Kafka: times, keys, null values, types, compression, groups and topics."""
import datetime
import json
import subprocess

import requests
import rig

from conftest import HTTP_SOURCE, TOKEN, event, kafka_read, post, post_ok, wait_for, webhook_sink

DAY = 24 * 3600


def ago(seconds):
    return datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds)


def text(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def ms(time):
    return int(time.timestamp()) * 1000 + time.microsecond // 1000


def stamped(kafka, topic, count):
    """Of each record the event's id: its timestamp, and its header aqueduct-stored."""
    def read():
        done = subprocess.run(["kcat", "-b", kafka.servers, "-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J"],
                              capture_output=True, check=True, timeout=60)
        found = {}
        for line in done.stdout.splitlines():
            record = json.loads(line)
            headers = dict(zip(record["headers"][::2], record["headers"][1::2]))
            found[headers["ce_id"]] = record["ts"], headers.get("aqueduct-stored"), record["tstype"]
        return found if len(found) >= count else None
    return wait_for(read, why=f"{count} records on {topic}")


def is_now(stamp):
    return abs(stamp - ms(ago(0))) < 60_000


def test_the_timestamp_is_the_events(kafka_bridge):
    """As far as the topic keeps it: by retention.ms the cluster would delete an older one at once."""
    daemon = kafka_bridge.run("topics: {$T_kept: {retention: 0}, $EVENTS: {retention: 8d}}\n" + HTTP_SOURCE.replace(
        "routes: [", "routes: [{topic: $T_kept, also: true}, {topic: $T_stored, timestamp: stored, also: true}, "))
    yesterday, old = ago(DAY), ago(6 * 365 * DAY)
    post_ok(daemon, event("yesterday", time=text(yesterday)), event("old", time=text(old)), event("ahead", time=text(ago(-DAY))),
            event("week", time=text(ago(5 * DAY))))
    got = stamped(kafka_bridge.kafka, kafka_bridge.topic("events"), 4)
    assert got["yesterday"][0] == ms(yesterday) and is_now(int(got["yesterday"][1])) and got["yesterday"][2] == "create"
    for ident in ("old", "ahead", "week"):
        assert is_now(got[ident][0]) and got[ident][1] is None, (ident, got)
    kept = stamped(kafka_bridge.kafka, kafka_bridge.topic("kept"), 4)
    assert kept["old"][0] == ms(old) and is_now(int(kept["old"][1])) and is_now(kept["ahead"][0])
    for stamp, header, _ in stamped(kafka_bridge.kafka, kafka_bridge.topic("stored"), 4).values():
        assert is_now(stamp) and header is None
    metrics = daemon.page("/metrics").text
    assert 'aqueduct_kafka_event_times_total{why="old"} 2' in metrics and 'aqueduct_kafka_event_times_total{why="ahead"} 2' in metrics
    assert "events are older than half of what their topic keeps" in daemon.log()


def test_what_was_stored_lately_is_found_whatever_its_events_time(kafka_bridge, receiver):
    """A cluster finds records by their timestamps; the memory of ids, `since` and the order of what happened go by when they were stored."""
    source = HTTP_SOURCE.replace("type: http", "type: http\n    dedupe_window: 1h")
    daemon = kafka_bridge.run("topics: {$EVENTS: {retention: 0}}\n" + source + "sinks:\n  live: {type: websocket, listen: '127.0.0.1:0', topics: [$EVENTS]}\n")
    sent = [event(f"old-{i}", time=text(ago(400 * DAY - i * DAY * (1 if i % 3 else -1)))) for i in range(40)]
    post_ok(daemon, *sent)
    daemon.stop()
    daemon = kafka_bridge.start()
    post_ok(daemon, sent[0], sent[39], event("new"))
    records = kafka_read(kafka_bridge.kafka, kafka_bridge.topic("events"), 41)
    assert [r["headers"][b"ce_id"].decode() for r in records] == [one["id"] for one in sent] + ["new"]
    done = kafka_bridge.command("tail", "--from", "1h", "--json", "--no-follow")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 41, done.stderr
    heard = requests.get(f"http://127.0.0.1:{daemon.port('live')}/events", params={"from": text(ago(3600)), "max": 100}, timeout=30).json()
    assert [one["id"] for one in heard["events"]] == [one["id"] for one in sent] + ["new"]


def test_values_that_are_null(kafka_bridge, receiver):
    routes = ("routes:\n  - {topic: $T_none, also: true}\n  - {topic: $T_empty, empty_data: empty_value, also: true}\n"
              "  - {topic: $T_json, empty_data: json_null, also: true}\n"
              "  - {topic: $T_users, tombstones: [user.deleted], encoding: structured, also: true}\n  - {topic: $EVENTS}\n")
    source = HTTP_SOURCE.split("routes:")[0] + routes
    sinks = "sinks:\n" + webhook_sink("crm", receiver.url).replace("[$EVENTS]", "[$T_users]")
    daemon = kafka_bridge.run(source + sinks)
    gone = event("gone", "user.deleted", subject="users/1", partitionkey="1", data={"user": {"id": "1"}})
    post_ok(daemon, event("bare"), gone, event("keyless", "user.deleted", data={}), event("text", datacontenttype="text/plain", data="t"))

    def read(name):
        return {r["headers"].get(b"ce_id"): r for r in kafka_read(kafka_bridge.kafka, kafka_bridge.topic(name), 4)}
    for name, value in (("none", None), ("empty", b""), ("json", b"null")):
        record = read(name)[b"bare"]
        assert record["value"] == value and record["headers"][b"content-type"] == b"application/json"
        assert read(name)[b"text"]["headers"][b"content-type"] == b"text/plain"
    users = kafka_read(kafka_bridge.kafka, kafka_bridge.topic("users"), 4)
    tomb, = [r for r in users if r["value"] is None]
    assert tomb["key"] == b"1" and tomb["headers"][b"ce_id"] == b"gone" and tomb["headers"][b"ce_partitionkey"] == b"1"
    receiver.delivered({"bare", "gone", "keyless", "text"})
    daemon.stop()
    daemon = kafka_bridge.start()
    assert post(daemon, gone).status_code == 202 and post(daemon, event("bare")).status_code == 202      # a repeat, and no other event
    assert post(daemon, event("bare", data={"other": 1})).status_code == 409
    post_ok(daemon, event("last"))
    assert len(kafka_read(kafka_bridge.kafka, kafka_bridge.topic("json"), 5)) == 5


def test_data_without_a_type_has_one(kafka_bridge):
    daemon = kafka_bridge.run(HTTP_SOURCE)
    post_ok(daemon, event("json", data={"n": 1}), event("bytes", data_base64="/wA="))
    got = {r["headers"][b"ce_id"]: r["headers"][b"content-type"] for r in kafka_read(kafka_bridge.kafka, kafka_bridge.topic("events"), 2)}
    assert got == {b"json": b"application/json", b"bytes": b"application/octet-stream"}
    assert TOKEN and post(daemon, event("json", data={"n": 1})).status_code == 202


def test_topics_have_what_the_cluster_gives_them(kafka_bridge):
    """Its number of partitions, and its retention, unless the configuration says."""
    kafka_bridge.run("topics: {$T_listed: {}, $T_said: {partitions: 3, retention: 2h}}\n" + HTTP_SOURCE)
    tool = subprocess.run(["kcat", "-b", kafka_bridge.kafka.servers, "-L", "-J"], capture_output=True, check=True, timeout=60)
    partitions = {t["topic"]: len(t["partitions"]) for t in json.loads(tool.stdout)["topics"]}
    assert partitions[kafka_bridge.topic("listed")] == partitions[kafka_bridge.topic("events")] == 1
    assert partitions[kafka_bridge.topic("said")] == 3


def test_compression(kafka_bridge):
    """The batches on the cluster's disk are small, whatever the codec, and each program reads them."""
    import glob
    sizes = {}
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        kafka_bridge.broker_more = f", compression: {codec}"
        daemon = kafka_bridge.run(HTTP_SOURCE.replace("$EVENTS", f"$T_{codec}"))
        batch = [event(f"{codec}-{i}", data={"text": "the same words again and again " * 20}) for i in range(50)]
        assert post(daemon, batch).status_code == 202
        daemon.stop()
        assert len(kafka_read(kafka_bridge.kafka, kafka_bridge.topic(codec), 50)) == 50
        sizes[codec] = sum(len(open(f, "rb").read().rstrip(b"\0")) for f in
                           glob.glob(f"{kafka_bridge.kafka.dir}/data/{kafka_bridge.topic(codec)}-*/*.log"))
    assert all(sizes[c] < sizes["none"] / 4 for c in sizes if c != "none"), sizes


def test_groups_are_seen_by_kafkas_own_tools(kafka_bridge, receivers):
    """With the offset and the lag that the sink has, also of what waits behind an event that is tried again."""
    receiver, held = receivers(), receivers(answer=lambda request: 503)
    sinks = "sinks:\n" + webhook_sink("crm", receiver.url) + webhook_sink("slow", held.url, "retry: [1h]\nretry_memory: 0s\nwindow: 4\norder: key")
    daemon = kafka_bridge.run("topics: {$EVENTS: {partitions: 2}}\n" + HTTP_SOURCE + sinks)
    ids = [f"event-{i}" for i in range(20)]
    post_ok(daemon, *(event(ident, subject=f"s/{i}") for i, ident in enumerate(ids)))
    receiver.delivered(ids)
    events, group = kafka_bridge.topic("events"), f"{kafka_bridge.name}-crm"

    def described(group):
        words = "--bootstrap-server", kafka_bridge.kafka.servers, "--describe", "--group", group
        lines = rig.tool("consumer.group.ConsumerGroupCommand", *words).splitlines()
        rows = [line.split() for line in lines if events in line]
        return {int(row[2]): row[3:6] for row in rows}, rows

    def finished():
        places, rows = described(group)
        return rows if len(places) == 2 and all(lag == "0" and at == end for at, end, lag in places.values()) else None
    rows = wait_for(finished, why=lambda: str(described(group)))
    ends = {int(row[2]): int(row[4]) for row in rows}
    assert sum(ends.values()) == 20 and all(row[0] == group and len(row) >= 8 and row[-1] != "-" for row in rows), rows
    assert group in rig.tool("consumer.group.ConsumerGroupCommand", "--bootstrap-server", kafka_bridge.kafka.servers, "--list").splitlines()
    daemon.stop()
    places, _ = described(group)
    assert {p: int(at) for p, (at, _, _) in places.items()} == ends         # it has left, its position is there
