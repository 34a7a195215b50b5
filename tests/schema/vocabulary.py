#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Judges the vocabulary with an independent validator: schemas/examples/ against the strict forms of schemas/events/, which know
no key beyond those that are written; what is wrong is refused; and what is generated is not stale."""
import copy
import json
import pathlib
import subprocess
import sys

import avro.schema
import jsonschema
import yaml

SCHEMAS = pathlib.Path(__file__).resolve().parents[2] / "schemas"
VOCABULARY = json.loads((SCHEMAS / "vocabulary.schema.json").read_text())


def strict(schema):
    """The schema with nothing open in it: no other keys, no other values of those that are known."""
    if isinstance(schema, list):
        return [strict(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {k: strict(v) for k, v in schema.items()}
    if isinstance(schema.get("properties"), dict):
        closed["unevaluatedProperties"] = False
    if "x-values" in schema:
        closed["enum"] = schema["x-values"]
    return closed


def event_schemas():
    """By type, the newest."""
    found = {}
    for file in sorted((SCHEMAS / "events").glob("*.schema.json")):
        name, major = file.name.removesuffix(".schema.json").rsplit(".", 1)
        found.setdefault(name, {})[int(major)] = json.loads(file.read_text())
    return {name: majors[max(majors)] for name, majors in found.items()}


def validator(schema, form=lambda s: s):
    """Of an event schema; its references lead into the vocabulary."""
    one = json.loads(json.dumps(form(schema)).replace("../vocabulary.schema.json#/$defs/", "#/$defs/"))
    whole = {**one, "$defs": form(VOCABULARY["$defs"])}
    jsonschema.Draft202012Validator.check_schema(whole)
    return jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker())


def refs(schema, found):
    if isinstance(schema, dict):
        for k, v in schema.items():
            if k == "$ref":
                found.append(v)
            refs(v, found)
    elif isinstance(schema, list):
        for v in schema:
            refs(v, found)
    return found


# type, what is done to an example of it: no longer of the vocabulary
WRONG = [
    ("chat.response.generated", lambda d: d.pop("conversation")),
    ("chat.response.generated", lambda d: d.pop("output")),
    ("chat.response.generated", lambda d: d["message"].pop("id")),
    ("chat.response.generated", lambda d: d["message"].update(id=4225)),
    ("chat.response.generated", lambda d: d["output"].update(text="")),
    ("chat.response.generated", lambda d: d["output"].update(text=None)),
    ("chat.response.generated", lambda d: d["usage"].update(input_tokens="10")),
    ("chat.response.generated", lambda d: d["app"].pop("name")),
    ("chat.feedback", lambda d: d["feedback"].update(score=2)),
    ("chat.feedback", lambda d: [d.pop("message"), d.pop("conversation")]),
    ("document.embedded", lambda d: d.pop("collection")),
    ("user.created", lambda d: d["user"].pop("id")),
    ("user.updated", lambda d: d["before"]["user"].update(role=7)),
    ("run.finished", lambda d: d["run"].update(started_at="2026-11-20 09:00:00")),
    ("run.finished", lambda d: d["run"].pop("id")),
    ("audit.logged", lambda d: d["audit"].pop("action")),
]
# the same, and right by the published schema, which is open; wrong by the strict and the closed form
MORE = [
    ("chat.response.generated", lambda d: d.update(shoe_size=44)),
    ("chat.response.generated", lambda d: d["model"].update(weight=1)),
    ("chat.response.generated", lambda d: d["sources"][0].update(text="a chunk")),
    ("chat.response.generated", lambda d: d.update(feedback={"score": 1})),
    ("user.updated", lambda d: d["before"]["user"].update(password="x")),
]
# the same, and wrong by the strict form alone: there may come more values
VALUES = [
    ("conversation.created", lambda d: d["conversation"].update(kind="salon")),
]


def example(name, change):
    data = copy.deepcopy(json.loads((SCHEMAS / "examples" / name / "anythingllm.json").read_text()))
    change(data)
    return data


def judge_examples(schemas, bad):
    count = 0
    for name, schema in schemas.items():
        check = validator(schema, strict)
        files = sorted((SCHEMAS / "examples" / name).glob("*.json"))
        bad += [] if files else [f"{name} has no example"]
        for file in files:
            data = json.loads(file.read_text())
            order = [k for k in VOCABULARY["properties"] if k in data]
            bad += [f"{file.parent.name}/{file.name}: {e.json_path}: {e.message}" for e in check.iter_errors(data)]
            bad += [f"{file.parent.name}/{file.name}: not in the order of the vocabulary"] if list(data) != order else []
            bad += [f"{file.parent.name}/{file.name}: is of {data['app']['name']}"] if file.stem != data["app"]["name"] else []
            count += 1
    extra = {d.name for d in (SCHEMAS / "examples").iterdir()} - set(schemas)
    bad += [f"examples of no type: {sorted(extra)}"] if extra else []
    return count


def judge_inbound(schemas, bad):
    """What the maps for senders make of their bodies, which unit.connectors.http.mapping compares with the program's events."""
    count = 0
    for file in sorted((SCHEMAS.parent / "tests" / "data" / "inbound").glob("*.json")):
        preset = yaml.safe_load((SCHEMAS / "inbound" / f"{file.stem}.yaml").read_text())
        events = [event for case in json.loads(file.read_text()) for event in case["events"]]
        for event in events:
            check = validator(schemas[event["type"]], strict)
            bad += [f"{file.name}: {event['id']}: {e.json_path}: {e.message}" for e in check.iter_errors(event["data"])]
        untested = {entry["type"] for entry in preset["map"]} - {event["type"] for event in events}
        bad += [f"{file.name}: no body for {sorted(untested)}"] if untested else []
        count += len(events)
    return count


def printed(program, name, *flags):
    """The schema of a type as the program prints it: one document."""
    done = subprocess.run([program, "schema", *flags, name], capture_output=True, text=True, check=True)
    schema = json.loads(done.stdout)
    assert all(ref.startswith("#/$defs/") for ref in refs(schema, []))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def judge_program(program, schemas, bad):
    opened, closed = ({name: printed(program, name, *flags) for name in schemas} for flags in ((), ("--closed",)))
    for name in schemas:
        for file in (SCHEMAS / "examples" / name).glob("*.json"):
            bad += [f"the program's schema of {name} refuses {file.name}: {e.json_path}: {e.message}" for check in (opened, closed)
                    for e in check[name].iter_errors(json.loads(file.read_text()))]
    for form, checks, taken, refused in (("open", opened, MORE + VALUES, WRONG), ("closed", closed, VALUES, WRONG + MORE)):
        bad += [f"the program's {form} schema of {n} refuses {i}" for i, (n, change) in enumerate(taken) if not checks[n].is_valid(example(n, change))]
        bad += [f"the program's {form} schema of {n} takes {i}" for i, (n, change) in enumerate(refused) if checks[n].is_valid(example(n, change))]


def judge_asyncapi(bad):
    """Each message has its schema, and every reference leads somewhere."""
    document = yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text())
    components = document["components"]
    names = {file.name.removesuffix(".schema.json") for file in (SCHEMAS / "events").glob("*.schema.json")}
    for where in (components["messages"], document["channels"]["events"]["messages"]):
        bad += [f"asyncapi.yaml lacks, or has alone: {sorted(names ^ set(where))}"] if names != set(where) else []
    for ref in refs(document, []):
        at = document
        for part in ref.removeprefix("#/").split("/"):
            at = at.get(part, {})
        bad += [] if at else [f"asyncapi.yaml: {ref} leads nowhere"]
    check = jsonschema.Draft202012Validator({"$ref": "#/components/schemas/chat.feedback.1", "components": components})
    bad += [] if check.is_valid(example("chat.feedback", lambda d: None)) else ["asyncapi.yaml: refuses an example"]
    bad += ["asyncapi.yaml: takes what is wrong"] if check.is_valid(example("chat.feedback", lambda d: d["feedback"].update(score=2))) else []


def judge_columns(bad):
    """event.avsc by Apache's library: what Flink and Connect can read (unions of null and one type, no record twice), a default for each column."""
    schema = avro.schema.parse((SCHEMAS / "event.avsc").read_text())
    records, paths = [], set()
    for at, record in columns(schema):
        records.append(record.fullname)
        for field in record.fields:
            path = f"{at}{field.name}"
            paths.add(path)
            bad += [] if field.has_default else [f"event.avsc: {path} has no default"]
            union = isinstance(field.type, avro.schema.UnionSchema) and [one.type for one in field.type.schemas]
            bad += [] if path in ("id", "source", "type") or union and union[0] == "null" and len(union) == 2 else [f"event.avsc: {path} cannot be null"]
    bad += [f"event.avsc: a record's name stands twice: {records}"] if len(records) != len(set(records)) else []
    known = {f"{name}.{key}" for name in VOCABULARY["properties"] if name != "before"
             for key in VOCABULARY["$defs"][name].get("items", VOCABULARY["$defs"][name]).get("properties", {})} | set(VOCABULARY["properties"])
    bad += [f"event.avsc: no column for {path}" for path in sorted(known - paths)]


def columns(record, at=""):
    """(path, record) of it and of all below."""
    yield at, record
    for field in record.fields:
        form = field.type.schemas[1] if isinstance(field.type, avro.schema.UnionSchema) else field.type
        form = form.items if form.type == "array" else form
        if form.type == "record":
            yield from columns(form, f"{at}{field.name}.")


def main():
    jsonschema.Draft202012Validator.check_schema(VOCABULARY)
    schemas, bad = event_schemas(), []
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        bad += [f"{name}: its title is {schema['title']}"] if schema["title"] != name else []
        bad += [f"{name}: {key} is not a reference into the vocabulary" for key, value in schema["properties"].items()
                if value.get("$ref") != f"../vocabulary.schema.json#/$defs/{key}"]
    bad += [f"no such definition: {ref}" for ref in refs([VOCABULARY, list(schemas.values())], [])
            if ref.split("/$defs/")[1].split("/")[0] not in VOCABULARY["$defs"]]
    for objects in VOCABULARY["$defs"].values():
        bad += [f"no description: {key}" for key, value in objects.get("properties", {}).items()
                if not value.get("description") and objects is not VOCABULARY["$defs"]["before"]]
    count, inbound = judge_examples(schemas, bad), judge_inbound(schemas, bad)
    bad += [f"taken, but wrong: {n} {i}" for i, (n, change) in enumerate(WRONG) if validator(schemas[n]).is_valid(example(n, change))]
    bad += [f"the published schema of {n} is not open: {i}" for i, (n, change) in enumerate(MORE + VALUES) if not validator(schemas[n]).is_valid(example(n, change))]
    bad += [f"the strict form of {n} is open: {i}" for i, (n, change) in enumerate(MORE + VALUES) if validator(schemas[n], strict).is_valid(example(n, change))]
    judge_program(sys.argv[1], schemas, bad)
    judge_asyncapi(bad)
    judge_columns(bad)
    stale = subprocess.run([sys.executable, SCHEMAS / "generate", "--check"], capture_output=True, text=True, check=False)
    bad += [stale.stdout.strip() or stale.stderr.strip()] if stale.returncode else []
    print("\n".join(bad) or f"{len(schemas)} types, {count} examples, {inbound} of senders, {len(WRONG + MORE + VALUES)} that are none: all judged well")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
