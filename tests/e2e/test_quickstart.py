# SPDX-License-Identifier: MIT
"""./quickstart DATABASE: what is not AnythingLLM's ends at once and says what was found, before anything is installed or built."""
import pathlib
import sqlite3
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLES = ("document_sync_executions, embed_chats, event_logs, scheduled_job_runs, users, workspace_agent_invocations, workspace_chats, "
          "workspace_documents, workspace_threads, workspaces")


def quickstart(*args):
    return subprocess.run([ROOT / "quickstart", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


def database(path, *tables, mode="DELETE"):
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA journal_mode = {mode}")
    for table in tables:
        db.execute(f'CREATE TABLE "{table}" (id INTEGER PRIMARY KEY)')
    db.commit()
    db.close()
    return path


@pytest.mark.parametrize("tables, said", [
    (["notes"], "it has the table notes, and none of"),
    ([f"t{i}" for i in range(10)], "it has the tables t0, t1, t2, t3, t4, t5, t6, t7 and 2 more, and none of"),
    ([], "it has no tables, and none of"),
])
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_another_database_is_named_as_what_it_is(tmp_path, tables, mode, said):
    path = database(tmp_path / "other app #1.db", *tables, mode=mode)
    before = path.read_bytes()
    done = quickstart(path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"quickstart: {path} is not the database of AnythingLLM: {said} {TABLES}; ")
    assert done.stderr.count("\n") == 1
    assert path.read_bytes() == before


def test_a_broken_database_is_named(tmp_path):
    path = tmp_path / "broken.db"
    path.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    done = quickstart(path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"quickstart: {path} cannot be read: " in done.stderr


def test_anythingllm_is_known(tmp_path):
    db = sqlite3.connect(tmp_path / "app.db")
    db.executescript((ROOT / "tests/data/anythingllm.sql").read_text())
    db.close()
    done = subprocess.run(["/usr/bin/python3", ROOT / "tests/demo/database.py", tmp_path / "app.db"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
