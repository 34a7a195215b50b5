# SPDX-License-Identifier: MIT
"""`aqueduct prove`: the kill test on a user's own machine and broker, which leaves nothing behind."""
import json
import os
import re
import signal
import subprocess

import pytest

from conftest import HTTP_SOURCE


def prove(bridge, *words, **env):
    done = subprocess.run([bridge.program, "prove", "--json", *words, "-c", str(bridge.config)], cwd=bridge.folder, capture_output=True, text=True,
                          timeout=150, env={**os.environ, "TMPDIR": str(bridge.folder), **env})
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def left(bridge):
    """What is there that the test did not make: files and, on Kafka, topics."""
    files = {path.name for path in bridge.folder.iterdir()}
    if bridge.kind == "kafka":
        listed = json.loads(subprocess.run(["kcat", "-b", bridge.kafka.servers, "-L", "-J"], capture_output=True, text=True, timeout=60, check=True).stdout)
        files |= {one["topic"] for one in listed["topics"] if one["topic"].startswith(bridge.name)}
    return files


def test_nothing_is_lost_and_nothing_left(bridge):
    bridge.configure(HTTP_SOURCE)
    before = left(bridge)
    kills = 3
    code, said, err = prove(bridge, "--rounds", str(kills), "--seconds", "3")
    assert code == 0, (said, err)
    assert (said["verdict"], said["broker"], said["kills"], said["lost"], said["pending"], said["changed"]) == ("nothing lost", bridge.kind, kills, 0, 0, 0)
    assert said["acknowledged"] == said["delivered"] + said["dead"] and said["dead"] > 0 and said["longest_recovery_ms"] > 0
    assert left(bridge) == before
    delivered = [int(n) for n in re.findall(r"acknowledged, (\d+) delivered", err)]
    assert len(delivered) == kills and delivered[-1] > delivered[0], err     # it is killed while it delivers, also behind the first kill


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_who_ends_it_is_not_told_of_losses(local_bridge, number):
    """What was acknowledged and did not arrive yet is in the log: pending. Nor is anything left when a terminal goes."""
    local_bridge.configure(HTTP_SOURCE)
    before = left(local_bridge)
    process = subprocess.Popen([local_bridge.program, "prove", "--json", "--rounds", "100", "-c", str(local_bridge.config)], cwd=local_bridge.folder, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(local_bridge.folder)})
    line = process.stderr.readline()
    assert line.startswith("killed 1 of 100 times"), line
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    said = json.loads(out)
    assert (process.returncode, said["verdict"], said["lost"]) == (1, "interrupted", 0), (said, err)
    assert 0 < said["acknowledged"] == said["delivered"] + said["dead"] + said["pending"], said
    assert left(local_bridge) == before


def test_keys_that_the_environment_says_are_not_the_daemons(local_bridge):
    local_bridge.configure(HTTP_SOURCE)
    code, said, err = prove(local_bridge, "--rounds", "1", "--seconds", "1", AQUEDUCT__ROUTES__0__TOPIC="elsewhere")
    assert (code, said["verdict"]) == (0, "nothing lost"), err


def test_what_is_lost_is_seen(local_bridge):
    """A daemon that forgets what is to wait, on purpose."""
    local_bridge.configure(HTTP_SOURCE)
    before = left(local_bridge)
    code, said, _ = prove(local_bridge, "--rounds", "4", "--seconds", "4", AQUEDUCT_WRONG="forget-waiting")    # in one there may be none to forget
    assert (code, said["verdict"]) == (1, "lost")
    assert said["acknowledged"] == said["delivered"] + said["dead"] + said["pending"] + said["lost"] and said["lost"] > 0
    assert left(local_bridge) == before


def test_it_cannot_prove_what_does_not_last(local_bridge):
    local_bridge.configure(HTTP_SOURCE)
    text = local_bridge.config.read_text()
    local_bridge.config.write_text(text.replace(f"path: {local_bridge.folder}/data", 'path: ":memory:"'))
    code, said, err = prove(local_bridge)
    assert (code, said, err) == (1, None, "aqueduct prove: broker.path: a log in memory is gone with its process; there is nothing to prove\n")
