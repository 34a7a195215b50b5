# SPDX-License-Identifier: MIT
"""`delivery: exactly_once` of a SQLite source: what the program says of it, on both brokers, and of a second daemon with the same source."""
import collections
import contextlib
import json
import sqlite3

import pytest

from conftest import HTTP_SOURCE, event, kafka_read, post_ok, wait_for, webhook_sink

SHOP = """
  app: {{type: sqlite, path: {folder}/app.db, start: snapshot, delivery: exactly_once, transaction: 20{more},
    capture: [{{name: orders, table: orders, kind: append, types: {{insert: order.placed}}}}]}}
"""


def config(folder, more=""):
    return HTTP_SOURCE.replace("routes:", SHOP.format(folder=folder, more=more).strip("\n") + "\nroutes:")


@pytest.fixture
def shop(tmp_path):
    """Places orders: shop(5)."""
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, what)")

        def place(count):
            db.executemany("INSERT INTO orders(what) VALUES (?)", [("tea",)] * count)
        yield place


def test_each_event_comes_once_to_topic_and_sink(bridge, receiver, shop, tmp_path):
    shop(50)
    daemon = bridge.run(config(tmp_path) + "sinks:\n" + webhook_sink("crm", receiver.url))
    wait_for(lambda: len(receiver.requests) == 50)
    daemon.kill()
    shop(50)
    daemon = bridge.start()
    wait_for(lambda: len({r["id"] for r in receiver.requests}) == 100)
    if bridge.kind == "kafka":
        stored = kafka_read(bridge.kafka, bridge.topic("events"), 100)
        assert len(stored) == len({r["headers"][b"ce_id"] for r in stored}) == 100
        assert daemon.metric("aqueduct_transactions_total", source="app", end="committed") >= 3, "50 events, 20 in a transaction"
    # The marks of transactions are no events: nothing is pending, and the position is the end.
    wait_for(lambda: (pending := standing(bridge, "pending")) and set(pending) == {0}, why=lambda: bridge.command("status").stdout)
    assert max(p or 0 for p in standing(bridge, "position")) == max(standing(bridge, "end"))


def standing(bridge, what):
    """That number of every partition in which the sink stands."""
    def found(tree):
        values = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
        own = [tree[what]] if isinstance(tree, dict) and "partition" in tree and what in tree else []
        return own + [one for value in values for one in found(value)]
    done = bridge.command("status", "--json")
    assert done.returncode == 0, done.stderr
    return found(json.loads(done.stdout))


def test_the_daemon_that_starts_last_has_the_source(kafka_bridge, shop, tmp_path):
    shop(5)
    first = kafka_bridge.run(config(tmp_path))
    kafka_read(kafka_bridge.kafka, kafka_bridge.topic("events"), 5)
    kafka_bridge.configure(config(tmp_path), folder=tmp_path / "second")
    second = kafka_bridge.start()
    shop(5)
    page = wait_for(lambda: first.page("/readyz").status_code == 503 and first.page("/readyz").text)
    assert "source app: another daemon publishes for it now" in page and "stop one of the two" in page
    assert first.log().count("a source is stopped: another daemon has it") == 1
    assert first.metric("aqueduct_transactions_total", source="app", end="fenced") == 1
    post_ok(first, event("by-http"))        # what is not that source goes on
    shop(5)
    stored = kafka_read(kafka_bridge.kafka, kafka_bridge.topic("events"), 16)
    times = collections.Counter(r["headers"][b"ce_id"] for r in stored)
    assert len(times) == 16 and set(times.values()) == {1}
    assert second.page("/readyz").status_code == 200
    assert first.page("/readyz").status_code == 503         # it does not take the source back
    first.stop()


def test_what_has_no_position_is_refused(local_bridge, tmp_path):
    local_bridge.configure(HTTP_SOURCE.replace("type: http", "type: http\n    delivery: exactly_once\n    transaction: 10"))
    done = local_bridge.command("check")
    assert done.returncode == 1
    assert "sources.hooks.delivery: has no use here: a http source has no position of its own" in done.stderr
    assert "sources.hooks.transaction: has no use here" in done.stderr


def test_properties_of_transactions_are_the_programs(kafka_bridge, tmp_path):
    kafka_bridge.broker_more = ", properties: {transactional.id: mine}"
    kafka_bridge.configure(config(tmp_path))
    done = kafka_bridge.command("check")
    assert done.returncode == 1
    assert "delivery: exactly_once" in done.stderr and "transactional.id" in done.stderr
