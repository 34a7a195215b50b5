# SPDX-License-Identifier: MIT
"""The consumers of this folder, each run as its README says, on a real Kafka or a real local log, beside two applications.

What a consumer counts is what was written into the databases of the applications; no consumer knows one."""
import re

import pytest

import stage
from stage import HERE, minutes_ago

CONSUMERS = [file for folder in ("python", "streams", "flink", "airflow") for file in sorted((HERE / folder).rglob("*.*"))
             if file.suffix in (".py", ".java", ".sql")]
APPLICATIONS = sorted(file.stem for kind in ("presets", "inbound") for file in (stage.ROOT / "schemas" / kind).glob("*.yaml"))


def show(lines):
    """For who runs one example with -s: what it printed."""
    for line in lines:
        print(line)


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
    repeat("ai.events")                                 # counted once
    people.ask_llm(minutes_ago(0), (1, 1))              # now
    people.ask_webui(minutes_ago(9), (2, 2))            # late, into a minute that was told
    people.ask_llm(minutes_ago(60), (4, 4))             # later still, into a minute of its own
    people.ask_webui(minutes_ago(23 * 60), (5, 5))
    program.wait_until(lambda: newest(program.lines) == people.minutes)
    show(f"{' '.join(key)} {value}" for key, value in sorted(newest(program.lines).items()))
