# SPDX-License-Identifier: MIT
"""`time_zone`: times without an offset are what Python's zoneinfo says they are (of two, the first), and unknown zones are refused."""
import contextlib
import datetime
import json
import random
import sqlite3
import subprocess
import zoneinfo

import pytest

from conftest import wait_for

ZONES = ["Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Tehran",
         "Asia/Kolkata", "Pacific/Apia", "America/Nuuk"]
UTC = datetime.timezone.utc


def walls(zone):
    """What its clock shows around each of its changes, and at any time."""
    hour, at = datetime.timedelta(hours=1), datetime.datetime(2004, 1, 1, tzinfo=UTC)
    before = at.astimezone(zone).utcoffset()
    while at.year < 2040:
        at += 24 * hour
        after = at.astimezone(zone).utcoffset()
        if after != before:
            change = at - 24 * hour
            while change.astimezone(zone).utcoffset() == before:
                change += datetime.timedelta(minutes=15)
            yield from ((change + before).replace(tzinfo=None) + minutes * hour / 60 for minutes in (-75, -60, -31, -1, 0, 1, 29, 30, 59, 60, 75))
        before = after
    draw = random.Random(9)
    for _ in range(50):
        yield datetime.datetime(1971, 1, 1) + datetime.timedelta(milliseconds=draw.randrange(128 * 365 * 86400 * 1000))


def test_times_are_those_of_the_zone(aqueduct, tmp_path):
    rows = {zone: sorted(set(walls(zoneinfo.ZoneInfo(zone)))) for zone in ZONES}
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as db, db:
        for n, zone in enumerate(ZONES):
            db.execute(f"CREATE TABLE t{n}(id INTEGER PRIMARY KEY, at)")
            db.executemany(f"INSERT INTO t{n}(at) VALUES(?)", [(wall.isoformat(" ", "milliseconds"),) for wall in rows[zone]])
    rules = [{"name": f"t{n}", "kind": "append", "table": f"t{n}", "time": "at", "time_zone": zone, "columns": {"id": "value", "at": "time"},
              "types": {"insert": zone.replace("/", ".")}} for n, zone in enumerate(ZONES)]
    config = {"sources": {"app": {"type": "sqlite", "path": "app.db", "start": "snapshot", "capture": rules}}, "routes": [{"topic": "t"}]}
    (tmp_path / "bridge.yaml").write_text(json.dumps(config))
    count = sum(map(len, rows.values()))
    with open(tmp_path / "out", "w") as out, open(tmp_path / "log", "w") as log:
        process = subprocess.Popen([aqueduct, "run", "--dry-run"], cwd=tmp_path, stdout=out, stderr=log)
    try:
        wait_for(lambda: (tmp_path / "out").read_text().count("\n") == count, why=(tmp_path / "log").read_text)
    finally:
        process.terminate()
        process.wait(60)
    told = {zone: {} for zone in ZONES}
    for line in (tmp_path / "out").read_text().splitlines():
        one = json.loads(line)
        assert one["data"]["at"] == one["time"]
        told[one["type"].replace(".", "/")][one["data"]["id"]] = one["time"]
    for zone in ZONES:
        expected = [wall.replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=0).astimezone(UTC) for wall in rows[zone]]
        assert [told[zone][n + 1] for n in range(len(rows[zone]))] == [at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z" for at in expected], zone


@pytest.mark.parametrize("of_rule", [True, False])
@pytest.mark.parametrize("zone, said", [
    ("Europe/Berln", 'time_zone: there is no time zone "Europe/Berln" (did you mean Europe/Berlin?)'),
    ("berlin", "(did you mean Europe/Berlin?)"),
    ("+2", "an offset is as +02:00"),
    ("", "time_zone: is empty; leave it out, or say UTC"),
    ("Europe/Berlin", None),
    ("+02:00", None),
])
def test_check_refuses_an_unknown_zone(aqueduct, tmp_path, zone, said, of_rule):
    rule, source = ({"time_zone": zone}, {}) if of_rule else ({}, {"time_zone": zone})
    with contextlib.closing(sqlite3.connect(tmp_path / "app.db")) as db, db:
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, at)")
    config = {"sources": {"app": {"type": "sqlite", "path": "app.db", **source, "capture": [
        {"name": "t", "kind": "append", "table": "t", "time": "at", "types": {"insert": "t.made"}, **rule}]}}, "routes": [{"topic": "t"}]}
    (tmp_path / "bridge.yaml").write_text(json.dumps(config))
    done = subprocess.run([aqueduct, "check"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) == (said is None), done.stderr
    assert said is None or said in done.stderr
    assert said is None or ("capture[0].time_zone" if of_rule else "sources.app.time_zone") in done.stderr
