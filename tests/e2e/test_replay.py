# SPDX-License-Identifier: MIT
"""`aqueduct replay`: a topic's past once more to one place, killed, interrupted and gone on with."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from conftest import DEAD_LETTERS, HTTP_SOURCE, SECRET, event, kafka_read, post, post_ok, wait_for, webhook_sink

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


def begun(bridge, *words, **env):
    return subprocess.Popen([bridge.program, "replay", *words, "-c", str(bridge.config)], cwd=bridge.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env={**os.environ, **env})


def test_partitions_come_by_time_and_one_runs_it(bridge, receivers):
    """Keys of several partitions, written in turns; two resume the same at once; one that is killed is gone on with."""
    got, crm = receivers(), receivers()
    daemon = bridge.run(HTTP_SOURCE + "topics: {$EVENTS: {partitions: 4}, $T_none: {}}\nsinks:\n" + webhook_sink("crm", crm.url)
                        + webhook_sink("later", got.url, "window: 1").replace("$EVENTS", "$T_none") + DEAD_LETTERS)
    ids = []
    for turn in range(12):
        several = [event(f"e{turn}.{i}", subject=f"key{turn % 4}") for i in range(turn % 3 * 2 + 1)]
        post_ok(daemon, *several)               # each of one partition, behind all that came before
        ids += [e["id"] for e in several]
        time.sleep(0.005)
    crm.delivered(set(ids))
    done = replay(bridge, "--topic", bridge.topic("events"), "--from", "earliest", "--to", "later", "--name", "all")
    assert done.returncode == 0, done.stderr
    got.delivered(set(ids))
    assert [r["id"] for r in got.all()] == ids

    first = begun(bridge, "--topic", bridge.topic("events"), "--from", "earliest", "--to", "later", "--rate", "5", "--name", "slow")
    wait_for(lambda: len(got.all()) >= len(ids) + 2)
    done = replay(bridge, "--resume", "slow")
    assert (done.returncode, done.stderr) == (1, f"aqueduct replay: process {first.pid} on {os.uname().nodename} runs slow: one replay is not run twice at once; "
                                              "it can be gone on with when that one has ended (Ctrl-C there)\n")
    assert "slow                             running" in replay(bridge, "--list").stdout
    done = replay(bridge, "--topic", bridge.topic("events"), "--from", "earliest", "--to", "later", "--name", "slow")
    assert (done.returncode, "a replay slow is running" in done.stderr) == (1, True), done.stderr
    first.kill()
    first.communicate()
    both = [begun(bridge, "--resume", "slow", "--rate", "20", "--json") for _ in range(2)]
    said = [one.communicate(timeout=60) for one in both]
    codes = [one.returncode for one in both]
    assert sorted(codes) == [0, 1], said
    assert json.loads(said[codes.index(0)][0])["replayed"] == len(ids) and " runs slow: " in said[codes.index(1)][1], said
    wait_for(lambda: {r["arrival"] for r in got.all()} >= {2})
    got.delivered(set(ids))
    wait_for(lambda: len(got.all()) in (2 * len(ids), 2 * len(ids) + 1))       # the batch of one that was under way when it was killed
    done = replay(bridge, "--resume", "slow")
    assert (done.returncode, done.stderr) == (1, "aqueduct replay: slow is finished\n")


@pytest.mark.kafka
def test_it_is_looked_whether_another_machine_runs_it(kafka_bridge, receivers):
    """That one's records are ours here: one that says nothing at first, and then does."""
    got = receivers()
    daemon = kafka_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", got.url) + DEAD_LETTERS)
    post_ok(daemon, *(event(f"e{i}") for i in range(30)))
    got.delivered({f"e{i}" for i in range(30)})
    assert replay(kafka_bridge, "--topic", kafka_bridge.topic("events"), "--from", "earliest", "--to", "crm", "--name", "far",
                  AQUEDUCT_CRASH_AT="command-replay-after-events").returncode == -signal.SIGKILL
    topic = f"{kafka_bridge.name}-own.replays"
    kept = json.loads(kafka_read(kafka_bridge.kafka, topic, 1)[0]["value"])
    kept["run"] |= {"place": "elsewhere", "host": "far-away", "process": 7}

    def keep(at):
        subprocess.run(["kcat", "-b", kafka_bridge.kafka.servers, "-P", "-t", topic, "-k", "far"], input=json.dumps(kept | {"at": at}).encode(), check=True, timeout=60)
    keep(kept["at"] + 1)
    second = begun(kafka_bridge, "--resume", "far")
    said = second.stderr.readline()
    assert said == "aqueduct replay: process 7 on far-away ran far, and did not say that it ended; looking for 30 s whether it still does\n"
    keep(kept["at"] + 2)
    out, err = second.communicate(timeout=60)
    assert (second.returncode, " on far-away runs far: one replay is not run twice at once" in err, out) == (1, True, ""), err


def test_what_retention_takes_meanwhile_is_told(local_bridge, receivers):
    got = receivers()
    daemon = local_bridge.run(HTTP_SOURCE + "topics: {$EVENTS: {partitions: 1, retention: 1s}, $T_none: {}}\nsinks:\n"
                              + webhook_sink("later", got.url).replace("$EVENTS", "$T_none") + DEAD_LETTERS)
    ids = [f"e{i}" for i in range(40)]
    post_ok(daemon, *(event(i) for i in ids))
    done = begun(local_bridge, "--topic", local_bridge.topic("events"), "--from", "earliest", "--to", "later", "--rate", "5", "--name", "late")
    number = iter(range(1000))

    def ends():                                 # retention looks with each record
        post_ok(daemon, event(f"tick{next(number)}"))
        return done.poll() is not None
    wait_for(ends, 60)
    out, err = done.communicate()
    told = re.findall(r"/0: the (\d+) records at offsets (\d+) to (\d+) are gone: retention removed them before they were replayed", err)
    assert done.returncode == 1 and told, (out, err)
    gone = [at for count, first, last in (map(int, one) for one in told) for at in range(first, last + 1) if count == last + 1 - first]
    assert len(set(gone)) == len(gone) == sum(int(count) for count, *_ in told)
    replayed = re.fullmatch(f"replayed (\\d+) of the (\\d+) records read of {re.escape(local_bridge.topic('events'))} to later, and {len(gone)} were removed by retention before\n", out)
    assert replayed and replayed[1] == replayed[2], out
    wait_for(lambda: len(got.all()) == int(replayed[1]))
    came = {int(r["id"][1:]) for r in got.all() if r["id"] in ids}
    each = sorted(came | {at for at in gone if at < 40})        # from the first that was there when it began
    assert not came & set(gone) and each == list(range(each[0], 40)), (came, gone)
    assert json.loads(replay(local_bridge, "--list", "--json").stdout)["gone"] == len(gone)


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
                       ([*topic, "--to", "crm", "--until", "2h"], "--until is not after --from"),
                       (["--topic", local_bridge.topic("events"), "--from", "2999-01-01T00:00:00Z", "--to", "crm"], "--from is not in the past; now it is 20"), (["--resume", "slow", "--to", "crm"], "--to is of no use with --resume"),
                       ([*topic, "--to", "crm", "--filter", "{exact: 3}"], "--filter"), ([*topic, "--to", "crm", "--name", "a b"], "--name takes")):
        done = replay(local_bridge, *wrong)
        assert (done.returncode, why in done.stderr) == (2, True), (wrong, done.stderr)
    for wrong, why in ((["--resume", "none"], "no replay none was begun"), (["--topic", local_bridge.topic("event"), "--from", "1h", "--to", "crm"], "did you mean"),
                       (["--topic", f"{local_bridge.name}-own.dead-letter", "--from", "1h", "--to", "crm"], "is the bridge's own")):
        done = replay(local_bridge, *wrong)
        assert (done.returncode, why in done.stderr) == (1, True), (wrong, done.stderr)
