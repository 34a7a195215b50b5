# SPDX-License-Identifier: MIT
"""The embedded log as a user meets it: damage is refused and nothing is touched, and it belongs to one daemon."""
import pathlib
import sqlite3
import re
import subprocess

import pytest

from conftest import DEAD_LETTERS, HTTP_SOURCE, event, post_ok, wait_for, webhook_sink


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in pathlib.Path(folder).rglob("*") if p.is_file()}


def log_file(bridge):
    return max((p for p in (bridge.folder / "data").iterdir() if p.is_file()), key=lambda p: p.stat().st_size)


def garbage(path):
    path.write_bytes(b"this is no database at all\n" * 1000)


def truncated(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2 + 100])


def damaged(path):
    data = bytearray(path.read_bytes())
    for at in range(4096, len(data), 997):
        data[at] ^= 0xff
    path.write_bytes(data)



def a_page_of_the_state(path):
    db = sqlite3.connect(path)
    (page,), (size,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'state'").fetchone(), db.execute("PRAGMA page_size").fetchone()
    db.close()
    data = bytearray(path.read_bytes())
    data[(page - 1) * size:(page - 1) * size + 16] = b"no page, garbage"
    path.write_bytes(data)


def foreign(path):
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE other_people(data)")
    db.commit()
    db.close()


@pytest.mark.parametrize("spoil", [garbage, truncated, damaged, a_page_of_the_state, foreign])
def test_a_spoiled_log_is_refused_and_left_alone(local_bridge, receiver, spoil):
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url) + DEAD_LETTERS)
    daemon = local_bridge.start()
    ids = [f"event-of-this-test-{i}" for i in range(50)]
    post_ok(daemon, *(event(i, data="x" * 1000) for i in ids))
    receiver.delivered(ids)
    daemon.stop()
    spoil(log_file(local_bridge))
    before = files(local_bridge.folder / "data")
    daemon = local_bridge.start(ready=False)
    assert daemon.wait() == 1
    assert str(local_bridge.folder / "data") in daemon.log() and "level=error" in daemon.log()
    assert re.search("restore it from a backup|restore the folder from a backup|move it away|choose another folder", daemon.log()), daemon.log()
    after = files(local_bridge.folder / "data")
    name = log_file(local_bridge).relative_to(local_bridge.folder / "data")
    assert after[name] == before[name]


def test_a_record_that_a_source_must_remember_and_cannot_read_ends_the_start(local_bridge, receiver):
    local_bridge.configure(HTTP_SOURCE)
    daemon = local_bridge.start()
    post_ok(daemon, *(event(f"event-of-this-test-{i}", data="x" * 1000) for i in range(50)))
    daemon.stop()
    path = log_file(local_bridge)
    data = bytearray(path.read_bytes())
    data[data.index(b"event-of-this-test-30")] ^= 1
    path.write_bytes(data)
    daemon = local_bridge.start(ready=False)
    assert daemon.wait() == 1
    assert 'msg="cannot start"' in daemon.log() and "sources.hooks" in daemon.log() and "cannot be read: checksum" in daemon.log()


def test_retention_waits_for_a_sink_that_is_behind(local_bridge, receivers):
    """Its events are long past their time when the daemon is killed and its receiver works at last."""
    works = False
    receiver = receivers(lambda r: 204 if works else 503)
    local_bridge.configure("topics: {$EVENTS: {retention: 1s}}\n" + HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url, "retry: [5s, 5s, 5s, 5s, 5s, 5s]") + DEAD_LETTERS)
    daemon = local_bridge.start()
    ids = [f"event-of-this-test-{i}" for i in range(200)]
    post_ok(daemon, *(event(i) for i in ids))
    wait_for(lambda: daemon.metric("aqueduct_retention_held_records") == len(ids))
    # it is said once, of those that were past their time by then
    assert re.search(r'"retention waits for a group .* group=\S*-crm from=0 records=[1-9]', daemon.log()), daemon.log()
    daemon.kill()
    works = True
    daemon = local_bridge.start()
    receiver.delivered(ids)
    assert daemon.metric("aqueduct_records_lost_total") == 0
    wait_for(lambda: daemon.metric("aqueduct_retention_held_records") == 0)


def test_one_daemon_at_a_time(local_bridge, receiver):
    first = local_bridge.run(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    second = local_bridge.start(ready=False)
    assert second.wait() == 1
    assert str(local_bridge.folder / "data") in second.log()
    post_ok(first, event("the-first-one-lives"))
    receiver.delivered({"the-first-one-lives"})
    first.kill()
    post_ok(local_bridge.start(), event("and-then-the-next"))
    receiver.delivered({"and-then-the-next"})


def test_a_folder_that_cannot_be_written(local_bridge, receiver):
    (local_bridge.folder / "data").write_text("a file where the folder should be")
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    daemon = local_bridge.start(ready=False)
    assert daemon.wait() == 1
    assert str(local_bridge.folder / "data") in daemon.log()
    assert (local_bridge.folder / "data").read_text() == "a file where the folder should be"


def test_a_new_folder_begins_anew(local_bridge, receiver):
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url))
    first = local_bridge.start()
    post_ok(first, event("event-in-the-old-folder"))
    receiver.delivered({"event-in-the-old-folder"})
    first.stop()
    again = local_bridge.start()
    again.stop()
    subprocess.run(["mv", local_bridge.folder / "data", local_bridge.folder / "old"], check=True)
    daemon = local_bridge.start()
    assert ["there was no log" in one.log() for one in (first, again, daemon)] == [True, False, True]
    post_ok(daemon, event("event-in-the-old-folder"), event("event-in-the-new-folder"))
    wait_for(lambda: len(receiver.all()) == 3)
    daemon.stop()


def test_check_tells_what_a_new_sink_would_begin_with(local_bridge, receiver):
    sinks = HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url) + DEAD_LETTERS
    more = sinks + webhook_sink("late", receiver.url)
    said = ("warning: sinks.late.start: the sink is new and begins with the 50 records that its topics hold; "
            "start: latest would begin with what comes from now on")
    local_bridge.configure(more)
    assert local_bridge.command("check").stderr == "", "no log yet"
    local_bridge.configure(sinks)
    daemon = local_bridge.start()
    ids = [f"event-of-this-test-{i}" for i in range(50)]
    post_ok(daemon, *(event(i) for i in ids))
    receiver.delivered(ids)
    local_bridge.configure(more)
    assert said in local_bridge.command("check").stderr, "while the daemon runs"
    daemon.stop()
    before = files(local_bridge.folder / "data")
    done = local_bridge.command("check")
    assert done.returncode == 0
    assert [line.split(": ", 1)[1] for line in done.stderr.splitlines()] == [said]
    assert files(local_bridge.folder / "data") == before, "looking changes nothing"
    local_bridge.configure(sinks + webhook_sink("late", receiver.url).rstrip("\n") + "\n    start: latest\n")
    assert local_bridge.command("check").stderr == ""


def test_check_sees_that_a_renamed_sink_goes_on_where_it_was(local_bridge, receiver):
    local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("crm", receiver.url) + DEAD_LETTERS)
    daemon = local_bridge.start()
    post_ok(daemon, *(event(f"event-of-this-test-{i}") for i in range(5)))
    receiver.delivered({f"event-of-this-test-{i}" for i in range(5)})
    daemon.stop()
    for names, said in [("[crm]", ""), ("[older, crm]", ""), ("[older]", "the sink is new and begins with the 5 records")]:
        local_bridge.configure(HTTP_SOURCE + "sinks:\n" + webhook_sink("customers", receiver.url, f"formerly: {names}") + DEAD_LETTERS)
        done = local_bridge.command("check")
        assert done.returncode == 0 and said in done.stderr and bool(said) == bool(done.stderr), done.stderr
