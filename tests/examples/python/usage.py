#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts answers and tokens of each application and model, with the CloudEvents SDK.

    usage.py SERVERS TOPIC [--database usage.db] [--group usage] [--follow]

Takes events in binary and in structured mode. What it counted, and which events that were, is in one transaction, so an event that
comes again with its id counts once. Prints what it has when all is read; with --follow it goes on."""
import argparse
import json
import sqlite3
import sys

from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from confluent_kafka import Consumer, KafkaError

TABLES = """
CREATE TABLE IF NOT EXISTS seen(source, id, PRIMARY KEY(source, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage(app, model, answers, input_tokens, output_tokens, PRIMARY KEY(app, model));
"""


def event_of(message):
    return from_kafka_event(KafkaMessage(headers=dict(message.headers() or []), key=message.key(), value=message.value()))


def count(db, event):
    """True when it was new and an answer."""
    if event.get_type() != "chat.response.generated":
        return False
    if db.execute("INSERT OR IGNORE INTO seen VALUES(?, ?)", (event.get_source(), event.get_id())).rowcount == 0:
        return False
    data = event.get_data()
    usage = data.get("usage", {})           # absent is unknown: not every application tells it, nor the model
    db.execute("INSERT INTO usage VALUES(?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET answers = answers + 1, "
               "input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens",
               (data["app"]["name"], data.get("model", {}).get("name", "?"), usage.get("input_tokens", 0), usage.get("output_tokens", 0)))
    return True


def show(db):
    for row in db.execute("SELECT * FROM usage ORDER BY app, model"):
        print(json.dumps(dict(zip(("app", "model", "answers", "input_tokens", "output_tokens"), row))), flush=True)


def consume(consumer, db, follow):
    ended = set()
    while follow or ended != {(p.topic, p.partition) for p in consumer.assignment()} or not ended:
        message = consumer.poll(1.0)
        if message is None:
            continue
        place = (message.topic(), message.partition())
        if message.error():
            if message.error().code() != KafkaError._PARTITION_EOF:
                sys.exit(f"{message.error()}")
            ended.add(place)
            continue
        ended.discard(place)
        if message.value() is not None:     # an event without data may be a null value; it is no answer
            with db:
                new = count(db, event_of(message))
            if new and follow:
                show(db)
        consumer.store_offsets(message)     # what is committed has been counted


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("servers")
    words.add_argument("topic")
    words.add_argument("--database", default="usage.db")
    words.add_argument("--group", default="usage")
    words.add_argument("--follow", action="store_true")
    asked = words.parse_args()
    db = sqlite3.connect(asked.database)
    db.executescript(TABLES)
    consumer = Consumer({"bootstrap.servers": asked.servers, "group.id": asked.group, "auto.offset.reset": "earliest",
                         "enable.auto.offset.store": False, "enable.partition.eof": True})
    consumer.subscribe([asked.topic])
    try:
        consume(consumer, db, asked.follow)
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()
    show(db)


if __name__ == "__main__":
    main()
