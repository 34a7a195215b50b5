# SPDX-License-Identifier: MIT
"""`aqueduct replay`: a topic's past once more to one place, killed, interrupted and gone on with."""
import json
import os
import signal
import subprocess
import time

from conftest import DEAD_LETTERS, HTTP_SOURCE, SECRET, event, post, wait_for, webhook_sink

KINDS = {"thing.happened": 300, "other.happened": 40}


def sinks(crm, other):
    return (HTTP_SOURCE + "topics: {$EVENTS: {partitions: 2}, $T_nothing: {}}\nsinks:\n" + webhook_sink("crm", crm.url)
            + f"  many: {{type: webhook, topics: [$T_nothing], endpoints: {{a: {{url: {other.url}, secrets: [{SECRET}]}}}}}}\n" + DEAD_LETTERS)


def replay(bridge, *words, **env):
    return subprocess.run([bridge.program, "replay", *words, "-c", str(bridge.config)], cwd=bridge.folder, capture_output=True, text=True,
                          timeout=60, env={**os.environ, **env})


def test_a_past_is_replayed(bridge, receivers):
    """Counted, killed between a batch and its note, gone on with while no daemon runs; then what came in a span of time."""
    crm, other = receivers(), receivers()
    daemon = bridge.run(sinks(crm, other))
    everything = [event(f"{kind[0]}{i}", kind, subject=f"s{i % 7}") for kind, count in KINDS.items() for i in range(count)]
    assert post(daemon, everything).status_code == 202
    crm.delivered({e["id"] for e in everything})
    ask = ["--topic", bridge.topic("events"), "--to", "many/a"]
    done = replay(bridge, *ask, "--from", "1h", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["result"], said["types"], said["replayed"], said["read"]) == ("would replay", KINDS, 340, 340)
    assert replay(bridge, *ask, "--from", "earliest", "--type", "other.*", "--dry-run").stdout == (
        f"          40  other.happened\nwould replay 40 of the 340 records read of {bridge.topic('events')} to many/a\n")
    assert replay(bridge, "--list").stderr == "no replay was begun\n"

    killed = replay(bridge, *ask, "--from", "earliest", "--type", "thing.*", "--name", "gap", AQUEDUCT_CRASH_AT="command-replay-after-events")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    first = other.arrived(256)
    assert len(first) == 256 and all(r["type"] == "thing.happened" and r["why"] is None for r in first)
    assert "gap                              begun                0 replayed" in replay(bridge, "--list").stdout
    done = replay(bridge, *ask, "--from", "1h", "--name", "gap")
    assert (done.returncode, "--resume gap" in done.stderr) == (1, True)
    daemon.stop()
    done = replay(bridge, "--resume", "gap", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["result"], said["replayed"], said["types"], said["interrupted"]) == ("replayed", 300, {"thing.happened": 300}, False)
    daemon = bridge.start()
    other.delivered({f"t{i}" for i in range(300)})
    wait_for(lambda: len(other.all()) == 556)        # what was in flight at the kill came twice, nothing else
    assert json.loads(replay(bridge, "--list", "--json").stdout)["result"] == "finished"
    done = replay(bridge, "--resume", "gap")
    assert (done.returncode, done.stderr) == (1, "aqueduct replay: gap is finished\n")
    became = json.loads(bridge.command("status", "--event", "t1", "--json").stdout)
    assert {d["endpoint"]: bool(d.get("resent")) for d in became["stored"][0]["destinations"]}["a"] is True

    time.sleep(0.01)
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now := time.time())) + f".{int(now % 1 * 1000):03}Z"
    time.sleep(0.01)
    late = [event(f"late{i}") for i in range(3)]
    assert post(daemon, late).status_code == 202
    crm.delivered({e["id"] for e in late})
    done = replay(bridge, *ask, "--from", since)
    assert (done.returncode, done.stdout) == (0, f"replayed 3 of the 3 records read of {bridge.topic('events')} to many/a\n"), done.stderr
    other.delivered({e["id"] for e in late})
    done = replay(bridge, *ask, "--from", "earliest", "--until", since, "--dry-run", "--json")
    assert json.loads(done.stdout)["replayed"] == 340


def test_it_is_interrupted_and_slow(local_bridge, receivers):
    crm, other = receivers(), receivers()
    daemon = local_bridge.run(sinks(crm, other))
    assert post(daemon, [event(f"e{i}") for i in range(60)]).status_code == 202
    crm.delivered({f"e{i}" for i in range(60)})
    words = [local_bridge.program, "replay", "--topic", local_bridge.topic("events"), "--to", "crm", "--from", "1h", "--rate", "20", "--name", "slow",
             "--json", "-c", str(local_bridge.config)]
    with subprocess.Popen(words, cwd=local_bridge.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
        wait_for(lambda: len(crm.all()) >= 65)
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=60)
    said = json.loads(out)
    assert (command.returncode, said["result"], said["interrupted"]) == (1, "interrupted", True), err
    assert 5 <= said["replayed"] < 60 and "aqueduct replay --resume slow goes on with it" in err
    done = replay(local_bridge, "--resume", "slow")
    assert (done.returncode, done.stdout) == (0, f"replayed 60 of the 60 records read of {local_bridge.topic('events')} to crm\n"), done.stderr
    wait_for(lambda: len(crm.all()) == 120)
    assert sorted(r["arrival"] for r in crm.all()) == [1] * 60 + [2] * 60      # nothing was left out, nothing came twice

    topic = ["--topic", local_bridge.topic("events"), "--from", "1h"]
    for wrong, why in ((["--from", "1h", "--to", "crm"], "--topic is missing"), (topic, "--to is missing"), ([*topic, "--to", "nobody"], "there is no such sink"),
                       ([*topic, "--to", "many"], "say which of the sink's endpoints"), ([*topic[:2], "--from", "soon", "--to", "crm"], "--from is neither"),
                       ([*topic, "--to", "crm", "--until", "2h"], "--until is not after --from"), (["--resume", "slow", "--to", "crm"], "--to is of no use with --resume"),
                       ([*topic, "--to", "crm", "--filter", "{exact: 3}"], "--filter"), ([*topic, "--to", "crm", "--name", "a b"], "--name takes")):
        done = replay(local_bridge, *wrong)
        assert (done.returncode, why in done.stderr) == (2, True), (wrong, done.stderr)
    for wrong, why in ((["--resume", "none"], "no replay none was begun"), (["--topic", local_bridge.topic("event"), "--from", "1h", "--to", "crm"], "did you mean"),
                       (["--topic", f"{local_bridge.name}-own.dead-letter", "--from", "1h", "--to", "crm"], "is the bridge's own")):
        done = replay(local_bridge, *wrong)
        assert (done.returncode, why in done.stderr) == (1, True), (wrong, done.stderr)
