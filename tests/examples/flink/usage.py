#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs usage.sql with PyFlink and prints the counts of each minute as JSON, each time they change.

    usage.py SERVERS FOLDER_WITH_JARS [binary | structured | columns REGISTRY]"""
import json
import pathlib
import string
import sys

from pyflink.common import RowKind
from pyflink.table import EnvironmentSettings, TableEnvironment

# An event that comes twice has the same source and id, and counts once. Grouped by its minute, not in a window that a watermark closes: so
# one that comes late counts in the minute in which it happened, as long as the state is kept.
COUNT = """
SELECT SUBSTRING(happened, 1, 16) AS `minute`, app.name AS app, COALESCE(`model`.name, '?') AS `model`, COUNT(*) AS answers,
       SUM(COALESCE(`usage`.input_tokens, 0)) AS input_tokens, SUM(COALESCE(`usage`.output_tokens, 0)) AS output_tokens
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY source, id ORDER BY PROCTIME()) AS time_it_came FROM {mode}_answers)
WHERE time_it_came = 1
GROUP BY SUBSTRING(happened, 1, 16), app.name, COALESCE(`model`.name, '?')
"""


def main(servers, jars, mode="binary", registry=""):
    table = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    table.get_config().set("pipeline.jars", ";".join(jar.resolve().as_uri() for jar in pathlib.Path(jars).glob("*.jar")))
    table.get_config().set("table.exec.state.ttl", "1 d")
    text = pathlib.Path(__file__).with_name("usage.sql").read_text()
    for statement in string.Template(text).substitute(SERVERS=servers, REGISTRY=registry).split(";\n"):
        if statement.strip():
            table.execute_sql(statement)
    result = table.execute_sql(COUNT.format(mode=mode))
    names = result.get_table_schema().get_field_names()
    with result.collect() as rows:
        for row in rows:
            if row.get_row_kind() in (RowKind.INSERT, RowKind.UPDATE_AFTER):
                print(json.dumps(dict(zip(names, row))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
