# SPDX-License-Identifier: MIT
"""`aqueduct help metrics` lists every metric: what a daemon shows, and what the guides name, is in it."""
import pathlib
import re
import sqlite3
import subprocess
import threading

import pytest

from conftest import DEAD_LETTERS, HTTP_SOURCE, SECRET, event, post_ok, webhook_sink

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOT_METRICS = {"aqueduct_core", "aqueduct_flags", "aqueduct_outbox"}       # libraries of the build; a table in a database
EXAMPLE = r"(?<!METRIC_COUNTER\()"        # how to define one of your own


@pytest.fixture
def registry(aqueduct):
    """{name: (type, help, names of the labels)}"""
    done = subprocess.run([aqueduct, "help", "metrics"], env={}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    found = {}
    for name, kind, labels, doc in re.findall(r"^  (\w+)  \((\w+)(?:, by ([\w, ]+))?\)\n((?:      \S.*\n)+)", done.stdout, flags=re.M):
        assert name not in found
        found[name] = kind, " ".join(doc.split()), set(labels.split(", ")) - {""}
    assert len(found) == done.stdout.count("\n  aqueduct_")
    return found


def test_the_registry_is_in_order(registry):
    assert len(registry) > 40
    assert list(registry) == sorted(registry)
    for name, (kind, doc, _) in registry.items():
        assert re.fullmatch("aqueduct_[a-z0-9_]+", name)
        assert (kind == "counter") == name.endswith("_total"), name
        assert (kind == "histogram") == (name.endswith("_seconds") and not name.endswith("_timestamp_seconds")), name
        assert doc.endswith("."), doc


def test_a_daemon_shows_nothing_else(bridge, receiver, tmp_path, registry):
    sqlite3.connect(tmp_path / "app.db").execute("CREATE TABLE t (id INTEGER PRIMARY KEY)").connection.close()
    app = f"app: {{type: sqlite, path: {tmp_path}/app.db, capture: [{{name: t, table: t, kind: append, types: {{insert: t.added}}}}]}}"
    live = '  live: {type: websocket, listen: "127.0.0.1:0", topics: [$EVENTS]}\n'
    daemon = bridge.run(HTTP_SOURCE.replace("routes:", f"  {app}\nroutes:") + "sinks:\n" + live + webhook_sink("crm", receiver.url)
                        + DEAD_LETTERS)
    post_ok(daemon, event("one"))
    receiver.delivered({"one"})
    page = daemon.page("/metrics").text
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", page, flags=re.M))
    helps = dict(re.findall(r"^# HELP (\w+) (.*)$", page, flags=re.M))
    assert len(kinds) > 30
    assert ("aqueduct_config_reloads_total", (("result", "refused"),)) in daemon.metrics()     # an alert on the first one needs what it rose from
    for name, kind in kinds.items():
        assert registry[name][:2] == (kind, helps[name])
    for name, labels in daemon.metrics():
        base = name if name in registry else re.sub("_(bucket|sum|count)$", "", name)
        assert {label for label, _ in labels} - {"le"} == registry[base][2] - {"endpoint"}, name   # no sink here has endpoints


@pytest.mark.threads
def test_every_page_adds_up_beside_load(bridge, receivers):
    """consumed = delivered + dead + filtered + moved + released + pending, of each sink and endpoint, on each page."""
    fickle = receivers(lambda request: 204 if int(request["id"][1:]) % 3 else 503)
    ends = (f"      a: {{url: {fickle.url}, secrets: [{SECRET}], retry: []}}\n"
            f"      b: {{url: {fickle.url}, secrets: [{SECRET}], filter: {{not: {{exact: {{type: left.out}}}}}}}}\n")
    daemon = bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", fickle.url, "retry: [20ms, 1s]\nretry_memory: 100ms\nfilter: {not: {exact: {type: left.out}}}")
                        + f"  many:\n    type: webhook\n    topics: [$EVENTS]\n    retry: [20ms, 1h]\n    endpoints:\n{ends}" + DEAD_LETTERS)
    sender = threading.Thread(target=lambda: [post_ok(daemon, *(event(f"e{i * 10 + k}", "left.out" if k == 9 else "thing.happened") for k in range(10))) for i in range(60)])
    sender.start()
    pages = []
    while sender.is_alive():
        pages.append(daemon.metrics())
    sender.join()
    assert len(pages) > 3
    seen = 0
    for page in pages:
        for (name, labels), consumed in page.items():
            if name != "aqueduct_sink_consumed_total":
                continue
            parts = {part: page[(f"aqueduct_sink_{part}", labels)] for part in ("delivered_total", "dead_total", "filtered_total", "moved_total", "released_total", "pending")}
            assert consumed == sum(parts.values()), (labels, consumed, parts)
            seen += consumed > 0
    assert seen > 3


def test_the_guides_name_no_other(registry):
    guides = [ROOT / "README.md", *ROOT.glob("bridge/**/*.md"), *ROOT.glob("connectors/**/*.md"), *ROOT.glob("tests/**/*.md")]
    named = {(guide.name, name) for guide in guides for name in re.findall(EXAMPLE + r"\baqueduct_[a-z0-9_]+", guide.read_text())}
    assert len(named) >= 3
    assert [n for n in sorted(named) if n[1] not in registry and n[1] not in NOT_METRICS] == []
