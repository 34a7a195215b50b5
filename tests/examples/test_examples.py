# SPDX-License-Identifier: MIT
"""The consumers of this folder, each run as its README says, on a real Kafka or a real local log, beside two applications.

What a consumer counts is what was written into the databases of the applications; no consumer knows one."""
import ast
import collections
import re
import secrets
import time

import pytest

import stage
from stage import HERE, Bridge, minutes_ago
import aqueduct
import registry
from airflow_home import LIFE, Airflow

CONSUMERS = [file for folder in ("python", "streams", "flink", "airflow") for file in sorted((HERE / folder).rglob("*.*"))
             if file.suffix in (".py", ".java", ".sql")]
APPLICATIONS = sorted(file.stem for kind in ("presets", "inbound") for file in (stage.ROOT / "schemas" / kind).glob("*.yaml"))


def show(lines):
    """For who runs one example with -s: what it printed."""
    for line in lines:
        print(line)


def as_shown(guide, line, said):
    """What is printed has the members of that line of what its README shows."""
    shown = re.findall(r"^    ([\[{].*)", (stage.ROOT / guide).read_text(), re.M)[line]
    members = [list((one[0] if isinstance(one, list) else one)) for one in (ast.literal_eval(shown), said)]
    assert members[0] == members[1], shown


def plain(text):
    return re.sub("[^a-z0-9]", "", text.lower())


@pytest.mark.parametrize("file", CONSUMERS, ids=lambda file: str(file.relative_to(HERE)))
def test_no_consumer_knows_an_application(file):
    names = [name for name in APPLICATIONS if name not in ("message", "anythingllm-0")]
    assert len(names) >= 5
    assert [name for name in names if plain(name) in plain(file.read_text())] == []


# ---- python ----

def usage(lines):
    return {(line["app"], line["model"]): [line["answers"], line["input_tokens"], line["output_tokens"]] for line in lines}


@pytest.mark.parametrize("topic", ["ai.events", "ai.structured"])
def test_python_counts_what_was_answered_in_either_mode(kafka, bridge, people, run, repeat, topic):
    python = stage.python("python")
    stage.wait_for(bridge.all_told, bridge.log)
    command = [python, HERE / "python/usage.py", kafka.servers, topic, "--group", f"usage-{topic}"]
    lines = run.once(*command)
    show(lines)
    assert usage(lines) == people.usage
    as_shown("tests/examples/python/README.md", 0, lines[0])
    repeat(topic)
    assert run.once(*command) == lines, "what comes twice is counted once"


# ---- streams ----

def newest(lines):
    """Of each minute, application and model, what was said last."""
    return {(line["minute"][:16] + "Z", line["app"], line["model"]): [line["answers"], line["input_tokens"], line["output_tokens"]] for line in lines}


def test_streams_counts_each_minute_by_the_time_of_its_events(kafka, bridge, people, run, repeat):
    jars = stage.jars("streams")
    program = run.start("java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars}/*", HERE / "streams/Usage.java", kafka.servers, "ai.events", run.folder / "state")
    program.wait_until(lambda: newest(program.lines) == people.minutes)
    as_shown("tests/examples/streams/README.md", 0, program.lines[0])
    repeat("ai.events")                                 # counted once
    people.ask_llm(minutes_ago(0), (1, 1))              # now
    people.ask_webui(minutes_ago(9), (2, 2))            # late, into a minute that was told
    people.ask_llm(minutes_ago(60), (4, 4))             # later still, into a minute of its own
    people.ask_webui(minutes_ago(23 * 60), (5, 5))
    program.wait_until(lambda: newest(program.lines) == people.minutes)
    show(f"{' '.join(key)} {value}" for key, value in sorted(newest(program.lines).items()))


# ---- airflow ----

@pytest.fixture(scope="session")
def airflow(kafka, bridge, people, tmp_path_factory):
    """Airflow, and beside the bridge on Kafka one on the local log that starts runs and is pulled from: (airflow, that bridge)."""
    python, listen, token = stage.python("airflow"), f"127.0.0.1:{aqueduct.free_port()}", secrets.token_hex(16)
    folder = tmp_path_factory.mktemp("local")
    for name in ("anythingllm.db", "open-webui.db"):
        (folder / name).symlink_to(people.folder / name)
    with Airflow(folder / "airflow", python, kafka.servers, listen, token) as one:
        stage.wait_for(lambda: one.dags() >= {"documents_embedded", "answered", "pulled"}, one.log)
        local = Bridge(folder, HERE / "airflow/bridge.yaml", AIRFLOW=one.url, AIRFLOW_PASSWORD=one.password, LISTEN=listen, LISTEN_TOKEN=token)
        yield one, local
        local.end()


def test_airflow_starts_a_run_when_a_document_can_be_searched(airflow, people):
    one, _ = airflow
    people.embed_llm("handbook.txt")
    people.embed_webui("rules.txt")

    def taken():
        return {(row["id"], row["app"], row["name"]) for rows in one.results("documents_embedded", "register") for row in rows}

    def wanted():
        return {(ident, app, name) for ident, (app, name) in people.documents.items()}
    stage.wait_for(lambda: taken() == wanted(), lambda: f"{taken()}\n{one.log()}")
    assert {run["run_type"] for run in one.runs("documents_embedded")} == {"asset_triggered"}
    people.embed_webui("late.txt")                      # another run
    stage.wait_for(lambda: taken() == wanted(), lambda: f"{taken()}\n{one.log()}")
    as_shown("tests/examples/airflow/README.md", 0, one.results("documents_embedded", "register")[0])
    show(one.results("documents_embedded", "register"))


def answers(rows):
    counts = collections.defaultdict(lambda: [0, 0])
    for row in rows:
        counts[row["app"], row["model"]][0] += 1
        counts[row["app"], row["model"]][1] += row["output_tokens"]
    return counts


def test_airflow_has_a_run_for_each_answer_and_a_new_token_when_the_old_one_has_ended(airflow, people):
    one, local = airflow

    def seen():
        return answers(one.results("answered", "judge")) == {key: [count, output] for key, (count, _, output) in people.usage.items()}
    stage.wait_for(seen, one.log)
    until = time.monotonic() + LIFE
    while time.monotonic() < until:         # the token ends by the clock of Airflow
        time.sleep(0.5)
    people.ask_llm(minutes_ago(0), (3, 3))
    stage.wait_for(seen, one.log)
    as_shown("tests/examples/airflow/README.md", 1, one.results("answered", "judge")[0])
    show(one.results("answered", "judge"))
    logins = one.answered("POST", "/auth/token")        # the bridge's alone
    assert set(logins) == {"201"} and len(logins) >= 2
    assert "401" not in one.answered("POST", "/api/v2/dags/answered/dagRuns"), "no attempt with an old token"
    assert local.metric("aqueduct_sink_dead_total", sink="airflow") == 0


def test_airflow_pulls_what_happened_since_the_last_run(airflow, people):
    one, local = airflow
    stage.wait_for(local.all_told, local.log)

    def truth():
        sums = collections.Counter()
        for (app, _), (count, _, output) in people.usage.items():
            sums[f"{app} answers"] += count
            sums[f"{app} output_tokens"] += output
        return sums

    def run():
        before = len(one.results("pulled", "count"))
        assert one.ask("POST", "/dags/pulled/dagRuns", json={"logical_date": None}).status_code == 200
        stage.wait_for(lambda: len(one.results("pulled", "count")) == before + 1, one.log)
        return sum(map(collections.Counter, one.results("pulled", "count")), collections.Counter())
    assert run() == truth()
    stored = local.metric("aqueduct_source_stored_total")
    people.ask_webui(minutes_ago(0), (9, 6))
    stage.wait_for(lambda: local.metric("aqueduct_source_stored_total") > stored, local.log)
    assert run() == truth()
    show(one.results("pulled", "count"))


# ---- flink ----

@pytest.fixture(scope="session")
def registered(kafka, people, tmp_path_factory):
    """A real schema registry, and a bridge that has the schema of its topic there."""
    server, folder = registry.Real(), tmp_path_factory.mktemp("columns")
    for name in ("anythingllm.db", "open-webui.db"):
        (folder / name).symlink_to(people.folder / name)
    try:
        one = Bridge(folder, HERE / "flink/bridge.yaml", KAFKA=kafka.servers, REGISTRY=server.url)
        yield server
        one.end()
    finally:
        server.stop()


@pytest.mark.parametrize("mode", ["binary", "structured", "columns"])
def test_flink_counts_each_minute_in_sql(kafka, people, run, repeat, mode, request):
    source = request.getfixturevalue("registered" if mode == "columns" else "bridge")
    jars, python = stage.jars("flink"), stage.python("flink")
    program = run.start(python, HERE / "flink/usage.py", kafka.servers, jars, mode, *([source.url] if mode == "columns" else []))
    program.wait_until(lambda: newest(program.lines) == people.minutes)
    as_shown("tests/examples/flink/README.md", 0, program.lines[0])
    repeat({"binary": "ai.events", "structured": "ai.structured", "columns": "ai.columns"}[mode])
    people.ask_llm(minutes_ago(0), (2, 1))
    people.ask_webui(minutes_ago(9), (2, 2))            # late, into a minute that was told
    people.ask_llm(minutes_ago(61), (4, 4))             # later still, into a minute of its own
    program.wait_until(lambda: newest(program.lines) == people.minutes)
    show(f"{' '.join(key)} {value}" for key, value in sorted(newest(program.lines).items()))
