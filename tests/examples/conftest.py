# SPDX-License-Identifier: MIT
"""A Kafka, and beside it a bridge that tells of two applications, for all examples of one run."""
import contextlib
import subprocess
import types

import pytest

import stage
from stage import HERE, Bridge, People, Program, minutes_ago
import rig


@pytest.fixture(scope="session")
def kafka():
    with rig.Kafka() as one:
        yield one


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """With what they did before any consumer came: in two minutes, in another order than told, in two applications with two models."""
    folder = tmp_path_factory.mktemp("bridge")
    one = People(folder)
    one.folder = folder
    first, second = minutes_ago(9), minutes_ago(8)
    one.ask_llm(second, (10, 3))
    one.ask_llm(first, (7, 2))
    one.ask_llm(second + 20, (20, 9), model="large-chat")
    one.ask_webui(second, (11, 5))
    one.ask_webui(first, (6, 4))
    one.ask_webui(first + 1, (8, 1))
    yield one
    one.close()


@pytest.fixture(scope="session")
def bridge(kafka, people):
    one = Bridge(people.folder, HERE / "bridge.yaml", KAFKA=kafka.servers)
    yield one
    one.end()


@pytest.fixture
def run(tmp_path):
    """Starts consumers that run on, and ends them; run.once(...) waits for one that ends, and has what it printed."""
    with contextlib.ExitStack() as stack:
        def start(*command, **environment):
            one = Program(tmp_path, f"program-{len(started)}", *command, **environment)
            started.append(one)
            stack.callback(one.end)
            return one

        def once(*command, **environment):
            one = start(*command, **environment)
            assert one.process.wait(stage.PATIENCE) == 0, one.said()
            return one.lines
        started = []
        yield types.SimpleNamespace(start=start, once=once, folder=tmp_path)


@pytest.fixture
def repeat(kafka):
    """Stores all of a topic's records once more, as they are."""
    return lambda topic: subprocess.run([stage.python("python"), HERE / "repeat.py", kafka.servers, topic], check=True, timeout=stage.PATIENCE)
