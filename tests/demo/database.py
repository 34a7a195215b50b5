#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Is a file the database of AnythingLLM? If it is not, says what it is instead, and exits with 2. Only reads."""
import pathlib
import re
import sqlite3
import sys
import urllib.parse

PRESET = pathlib.Path(__file__).resolve().parents[2] / "schemas" / "presets" / "anythingllm.yaml"
SHOWN = 8       # tables that are named


def tables_of(path):
    """The names of its tables; a database in WAL mode whose folder cannot be written opens only as immutable."""
    for how in ("mode=ro", "mode=ro&immutable=1"):
        try:
            db = sqlite3.connect(f"file:{urllib.parse.quote(str(path))}?{how}", uri=True)
            try:
                return [name for name, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name")]
            finally:
                db.close()
        except sqlite3.Error as problem:
            last = problem
    raise last


def problem_of(path):
    wanted = sorted(set(re.findall(r"^ +table: (\w+)", PRESET.read_text(encoding="utf-8"), flags=re.M)))
    try:
        found = tables_of(path)
    except sqlite3.Error as problem:
        return f"{path} cannot be read: {problem}"
    if set(found) & set(wanted):
        return None
    names = ", ".join(name if name.isprintable() else ascii(name) for name in found[:SHOWN])
    holds = f"it has the table{'s' * (len(found) > 1)} {names}{f' and {len(found) - SHOWN} more' * (len(found) > SHOWN)}" if found else "it has no tables"
    hint = "see connectors/sqlite/README.md for rules of your own" if found else "start AnythingLLM once, so that it makes them"
    return f"{path} is not the database of AnythingLLM: {holds}, and none of {', '.join(wanted)}; {hint}"


if __name__ == "__main__":
    wrong = problem_of(sys.argv[1])
    if wrong:
        sys.exit(print(f"quickstart: {wrong}", file=sys.stderr) or 2)
