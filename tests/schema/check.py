# SPDX-License-Identifier: MIT
"""Checks schemas/config.schema.json with an independent validator: it takes full.yaml and refuses what is wrong."""
import copy
import json
import pathlib
import sys

import jsonschema
import yaml

HERE = pathlib.Path(__file__).resolve().parent
SCHEMA = json.loads((HERE.parents[1] / "schemas/config.schema.json").read_text())
FULL = yaml.safe_load((HERE / "full.yaml").read_text())

# path of keys, value: each alone makes a right configuration wrong
WRONG = [
    (["sink"], {}),
    (["unrouted"], "dorp"),
    (["drain"], "5 parsecs"),
    (["log"], {"level": "loud"}),
    (["broker", "type"], "kafak"),
    (["broker", "max_size"], "5MB"),
    (["topics", "ai.chats", "partitions"], 0),
    (["topics", "ai.chats", "partitions"], 1025),
    (["topics", "a/b"], {}),
    (["sources", "Hooks"], {"type": "sqlite", "path": "x"}),
    (["sources", "hooks", "type"], "htp"),
    (["sources", "hooks", "lisen"], "x"),
    (["sources", "hooks", "in_flight"], 0),
    (["sources", "hooks", "paths"], [{"verify": {"scheme": "github"}}]),
    (["sinks", "crm", "filter"], {"exat": {"type": "x"}}),
    (["sinks", "crm", "filter"], {"not": []  , "all": "x"}),
    (["sinks", "crm", "retry"], ["soon"]),
    (["sinks", "crm", "retry"], ["1s"] * 21),
    (["sinks", "crm", "retry"], "soon"),
    (["sinks", "crm", "topics"], "ai.chats"),
    (["sinks", "crm", "secrets"], [""]),
    (["sinks", "crm"], {"type": "webhook", "topics": ["ai.chats"]}),
    (["sinks", "crm", "order"], "sideways"),
    (["routes"], [{"key": "subject"}]),
]
RIGHT = [
    (["x-mine"], {"anything": [1]}),
    (["drain"], "${DRAIN}"),
    (["drain"], 0),
    (["topics", "ai.chats", "partitions"], "${N:-3}"),
    (["topics", "other"], None),
    (["sinks", "crm", "filter"], [{"any": [{"prefix": {"type": "a"}}, {"not": {"suffix": {"subject": ".pdf"}}}]}]),
    (["broker"], {"type": "kafka", "servers": "k:9092", "properties": {"linger.ms": 5}}),
]


def changed(path, value):
    config = copy.deepcopy(FULL)
    at = config
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return config


def main():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    bad = [f"full.yaml: {e.json_path}: {e.message}" for e in validator.iter_errors(FULL)]
    bad += [f"refused, but right: {p} = {v!r}" for p, v in RIGHT if not validator.is_valid(changed(p, v))]
    bad += [f"taken, but wrong: {p} = {v!r}" for p, v in WRONG if validator.is_valid(changed(p, v))]
    print("\n".join(bad) or f"{1 + len(RIGHT)} right, {len(WRONG)} wrong: all judged well")
    return 1 if bad else 0


sys.exit(main())
