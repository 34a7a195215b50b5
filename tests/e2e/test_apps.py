# SPDX-License-Identifier: MIT
"""The presets, each on a database with the application's own schema that a script of tests/apps writes as the application does.

One consumer, which knows no application, counts turns, tokens and documents; what it counts is what the script wrote. Every event is of the
vocabulary, strictly."""
import concurrent.futures
import contextlib
import importlib
import json
import pathlib
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
import yaml

from conftest import SECRET, kafka_read, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/apps"), str(ROOT / "tests/schema")]
from app import App  # noqa: E402
import vocabulary  # noqa: E402

STRICT = {kind: vocabulary.validator(schema, vocabulary.strict) for kind, schema in vocabulary.event_schemas().items()}
APPS = {
    "anythingllm": ("anythingllm", "delete"),
    "open-webui": ("open_webui", "wal"),
    "n8n": ("n8n", "wal"),
    "flowise": ("flowise", "delete"),
    "kotaemon": ("kotaemon", "delete"),
}
CONFIG = """\
sources: {app: {type: sqlite, path: app.db, preset: PRESET, start: snapshot MORE}}
routes: [{topic: events}]
"""


class Told:
    """What a dry run prints: each record of the topic as a line."""

    def __init__(self, aqueduct, folder, preset, more):
        (folder / "bridge.yaml").write_text(CONFIG.replace("PRESET", preset).replace(" MORE", more))
        self.out, self.log = folder / "out", folder / "log"
        with open(self.out, "w") as out, open(self.log, "w") as log:
            self.process = subprocess.Popen([aqueduct, "run", "--dry-run"], cwd=folder, stdout=out, stderr=log)

    def events(self):
        text = self.out.read_text()
        return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]

    def wait(self, kind, subject, times=1):
        wait_for(lambda: sum(e["type"] == kind and subject in (None, e["subject"]) for e in self.events()) >= times,
                 why=lambda: f"{kind} of {subject}\n{self.out.read_text()[-3000:]}\n{self.log.read_text()}")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log.read_text()
        return self.events()


@pytest.fixture
def told(aqueduct, tmp_path):
    with contextlib.ExitStack() as stack:
        def run(name, more=""):
            script, mode = APPS[name]
            app = App(name, tmp_path / "app.db", mode)
            stack.callback(app.db.close)
            one = Told(aqueduct, tmp_path, name, more)
            stack.callback(lambda: (one.process.kill(), one.process.wait()))
            app.wait = one.wait
            importlib.import_module(script).tell(app)
            return app, one
        yield run


def consume(events):
    """Knows no application."""
    counts = {"turns": 0, "edits": 0, "input_tokens": 0, "output_tokens": 0, "documents": set()}
    for event in events:
        if event["type"] == "chat.response.generated":
            counts["turns"] += 1
            for direction in ("input_tokens", "output_tokens"):
                counts[direction] += event["data"].get("usage", {}).get(direction, 0)
        counts["edits"] += event["type"] == "chat.edited"
        if event["type"] == "document.embedded":
            counts["documents"].add(event["data"]["document"]["id"])
    return counts


def paths(data, above=""):
    """The paths of data: {"user.id", "sources[].name"}."""
    found = set()
    for key, value in data.items():
        for one in value if isinstance(value, list) else [value]:
            inner = f"{above}{key}" + ("[]" if isinstance(value, list) else "")
            found |= paths(one, inner + ".") if isinstance(one, dict) else {inner}
    return found


def judge(events, name):
    assert len({event["id"] for event in events}) == len(events), "an id stands for one event"
    for event in events:
        STRICT[event["type"]].validate(event["data"])
        assert event["data"]["app"] == {"name": name}
        assert event["dataschema"] == f"urn:aqueduct:event/{event['type']}/1"
        assert event.get("partitionkey") or event["type"] in ("audit.logged", "user.login_failed"), "these are about no object"
    rules = yaml.safe_load((ROOT / f"schemas/presets/{name}.yaml").read_text())["capture"]
    assert {event["type"] for event in events} == {entry["type"] for rule in rules for entry in rule["map"]}, "each type of the preset comes"


@pytest.mark.parametrize("name", APPS)
def test_what_is_told_is_what_happened(told, aqueduct, tmp_path, name):
    app, one = told(name)
    events = one.end()
    judge(events, name)
    assert consume(events) == app.truth
    for kind in {event["type"] for event in events}:        # what the help shows of the application is told
        example = ROOT / f"schemas/examples/{kind}/{name}.json"
        wanted = {path.replace(".digest", ".text") for path in paths(json.loads(example.read_text()))} if example.exists() else set()
        lacking = [sorted(wanted - paths(event["data"])) for event in events if event["type"] == kind]
        assert [] in lacking, (kind, lacking)
    out = one.out.read_text()
    assert not [text for text in app.secrets if text in out]
    answers = [event["data"]["output"]["text"] for event in events if event["type"] == "chat.response.generated"]
    assert len(set(answers)) == len(answers) and set(answers) <= set(app.texts)
    questions = [event["data"]["input"]["text"] for event in events if event["type"] == "chat.response.generated"]
    assert set(questions) <= set(app.texts)
    tried = subprocess.run([aqueduct, "check", "--json", "--database", "app.db"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    samples = [one["event"] for one in json.loads(tried.stdout)["events"]]
    assert samples and tried.returncode == 0
    for event in samples:
        STRICT[event["type"]].validate(event["data"])
        assert event["dataschema"] == f"urn:aqueduct:event/{event['type']}/1"
    misfits = [line for line in one.log.read_text().splitlines() if "does not fit" in line]
    assert not [line for line in misfits if not any(f"no such table: {table}" in line for table in app.gone)]


# ---- without content: the topic itself, on both brokers ----

BARE = """\
sources: {SOURCES}
routes: [{topic: $EVENTS, encoding: structured, also: true}, {topic: $T_binary}]
sinks: {told: {type: webhook, topics: [$EVENTS], url: "URL", secrets: ["SECRET"]}}
"""


def records(bridge, topic, count):
    """All records of a topic: {"key", "value"} as they are there, and "all", every byte of the record."""
    if bridge.kind == "kafka":
        return [one | {"all": b"".join([one["key"] or b"", one["value"], *(x for pair in one["headers"].items() for x in pair)])}
                for one in kafka_read(bridge.kafka, topic, count)]
    with contextlib.closing(sqlite3.connect(f"file:{bridge.folder}/data/aqueduct.db?mode=ro", uri=True)) as log:
        parts = log.execute("SELECT id FROM partition WHERE topic = ?", [topic]).fetchall()
        found = [one for part, in parts for one, in log.execute(f"SELECT record FROM log_{part} ORDER BY offset")]
    return [{"value": one[max(one.find(b'{"specversion"'), 0):], "all": one} for one in found]


def tell_all(bridge, receiver):
    """Every application is written, at once, beside one daemon; when all of it was told: {name: App}."""
    apps = {}

    def tell(name):
        def wait(kind, subject, times=1):
            def told():
                return sum(r["type"] == kind and subject in (None, r["subject"]) and r["source"] == f"/{name}/{name}" for r in receiver.all()) >= times
            wait_for(told, why=f"{kind} of {subject}, from {name}")
        script, mode = APPS[name]
        app = App(name, bridge.folder / f"{name}.db", mode)
        with contextlib.closing(app.db):
            ready.wait()
            app.wait = wait
            importlib.import_module(script).tell(app)
        return app

    sources = {name: {"type": "sqlite", "path": f"{name}.db", "preset": name, "start": "snapshot", "content": "none", "raw": "row"} for name in APPS}
    ready = threading.Barrier(len(APPS) + 1)
    with concurrent.futures.ThreadPoolExecutor(len(APPS)) as pool:
        work = {name: pool.submit(tell, name) for name in APPS}
        ready.wait()        # their tables are there
        bridge.run(BARE.replace("{SOURCES}", json.dumps(sources)).replace("URL", receiver.url).replace("SECRET", SECRET))
        apps = {name: one.result() for name, one in work.items()}
    return apps


def test_no_text_is_in_any_byte_of_the_topic_when_content_is_not(bridge, receivers):
    receiver = receivers()
    apps = tell_all(bridge, receiver)
    wait_for(lambda: bridge.daemons[-1].metric("aqueduct_source_pending") == 0)
    bridge.daemons[-1].stop()
    count = len({(r["source"], r["id"]) for r in receiver.all()})
    whole, bare = records(bridge, bridge.topic("events"), count), records(bridge, bridge.topic("binary"), count)
    assert len(whole) == len(bare) >= count
    events = [json.JSONDecoder().raw_decode(one["value"].decode(errors="replace"))[0] for one in whole]
    for name, app in apps.items():
        own = [event for event in events if event["source"] == f"/{name}/{name}"]
        judge(own, name)
        assert consume(own) == app.truth
        assert any("raw" in event["data"] for event in own)
    assert all(app.marks for app in apps.values())
    files = [one.read_bytes() for one in bridge.folder.glob("data/*")]      # of the local log: what is known of the rows is there, too
    for place in [one["all"] for one in whole + bare] + files:
        assert not [text for app in apps.values() for text in app.marks + app.secrets if text.encode() in place]
