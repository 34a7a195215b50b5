# SPDX-License-Identifier: MIT
"""Kafka topics of many partitions: what an event costs in and out, what a backlog takes of memory, and which batching is best.

What is compared runs turn by turn, so that a busy machine is as busy for one as for the other; the figure is the ratio."""
import itertools
import statistics
import time

from daemon import TOKEN, Daemon, free_port, http_source, webhook_sink

FEW, MANY = 1, 64
SENDERS = (1, 64, 1000)
KEYS = {"keyed": ", key: id", "spread": ""}
numbers = itertools.count()


def cost(b):
    """HTTP in and webhooks out at the same time, by one daemon."""
    for senders, keys in [(64, "keyed")] if b.brief else itertools.product(SENDERS, KEYS):
        ours, raw = {FEW: Sum(), MANY: Sum()}, {FEW: Sum(), MANY: Sum()}
        for _ in range(turns(b)):
            for count in (FEW, MANY):
                raw[count].add(*alone(b, senders, count, keys))
                ours[count].add(*through(b, senders, count, KEYS[keys]))
        b.note(f"partitions_{keys}_{senders}", f"HTTP in and a webhook out (Kafka) with {MANY} partitions, {senders} senders, {WHAT[keys]}", "1.3 times the CPU of one partition",
               {"one partition": {"cpu_us": ours[FEW].each()}, f"librdkafka alone, {MANY} partitions": {"cpu_us": raw[MANY].each()},
                "librdkafka alone, one partition": {"cpu_us": raw[FEW].each()}},
               cpu_us=ours[MANY].each(), raw_cpu_us_ratio=round(raw[MANY].each() / raw[FEW].each(), 2))


WHAT = {"keyed": "a key for each event", "spread": "no keys"}


class Sum:
    def __init__(self):
        self.spent_us, self.events = 0, 0

    def add(self, spent_us, events):
        self.spent_us += spent_us
        self.events += events

    def each(self):
        return self.spent_us / self.events


def turns(b):
    return 1 if b.brief else 4


def alone(b, senders, count, keys, *properties):
    """CPU of a loop that does nothing but write and read."""
    f = b.tool("kafka", "raw", senders, b.seconds / 2, 1024, count, keys, *properties, AQUEDUCT_TEST_KAFKA=b.kafka_servers())
    return (f["cpu_us"] + f["read_us"]) * f["records"], f["records"]


def through(b, senders, count, route):
    folder, port, topic = b.room(), free_port(), f"bench-{next(numbers)}"
    with b.receiver() as receiver, Daemon(b.binary, folder, b.broker("kafka", folder), http_source(port), webhook_sink(receiver.url, 256, topic).replace("crm:", f"{topic}:"),
                                         route=route, partitions=count, topic=topic) as d:
        b.tool("http_in", "daemon", 64, 0.5 + count / 40, 1024, port, "/in", TOKEN, d.pid)        # a broker's first record of a partition takes long
        settled(d)
        before, cpu = d.counter("sink_delivered_total"), d.cpu_us()
        b.tool("http_in", "daemon", senders, b.seconds, 1024, port, "/in", TOKEN, d.pid)
        settled(d)
        return d.cpu_us() - cpu, d.counter("sink_delivered_total") - before


def settled(d, seconds=60):
    """Until all that was stored is delivered."""
    end = time.monotonic() + seconds
    while d.counter("sink_delivered_total") < d.counter("source_stored_total"):
        if time.monotonic() > end:
            raise RuntimeError(f"not delivered after {seconds} s:\n{d.log()[-1000:]}")
        time.sleep(0.02)


def memory(b):
    """A backlog before a receiver that never answers: what is read ahead has one budget, however many partitions it comes from."""
    count = 5_000 if b.brief else 100_000
    few, many = (waiting(b, partitions, count) for partitions in (FEW, MANY))
    b.note("partitions_memory", f"{count:,} events (Kafka) wait in {MANY} partitions for a receiver that hangs, 64 in flight, 1024 bytes of data", "within broker.prefetch (64 MiB) beside what an idle daemon has",
           {"one partition": few}, **many, rss_mb_ratio=round(many["rss_mb"] / few["rss_mb"], 2))


def waiting(b, partitions, count):
    folder, port, topic = b.room(), free_port(), f"bench-{next(numbers)}"
    with Daemon(b.binary, folder, b.broker("kafka", folder), http_source(port), route=KEYS["keyed"], partitions=partitions, topic=topic) as d:
        while d.counter("source_stored_total") < count:
            b.tool("http_in", "daemon", 1000, 1, 1024, port, "/in", TOKEN, d.pid)
    with b.receiver(mode="bad") as receiver:
        url = receiver.url.removesuffix("/hook") + "/hang"
        with Daemon(b.binary, folder, b.broker("kafka", folder), sinks=webhook_sink(url, 64, topic) + "\n    timeout: 10m", partitions=partitions, topic=topic) as d:
            most, last = 0, time.monotonic()
            while time.monotonic() < last + 3:          # it has read as much as it will
                now = d.rss_kb()
                if now > most:
                    most, last = now, time.monotonic()
                time.sleep(0.05)
            return {"rss_mb": round(most / 1024, 1)}


# What a wave of the bridge's producer is measured by: a loop on librdkafka alone that waits `linger.ms` for company, and bounds that are narrower.
LINGER = {f"librdkafka alone, linger.ms {ms}": ("raw", f"linger.ms={ms}") for ms in (0, 5, 20)}
BOUNDS = {"one request in flight": ("broker", "max.in.flight.requests.per.connection=1"),  "batches of 100 records": ("broker", "batch.num.messages=100"), "batches of 64 KiB": ("broker", "batch.size=65536")}


def waves(b):
    """The producer's batching, which follows the load and waits for nobody, beside fixed times and narrower bounds."""
    variants = {"": ("broker",), **LINGER, **({} if b.brief else BOUNDS)}
    for count, senders in [(FEW, 64)] if b.brief else itertools.product((FEW, MANY), SENDERS):
        seen = {}
        for _ in range(turns(b)):
            for name, (kind, *properties) in variants.items():
                f = b.tool("kafka", kind, senders, b.seconds / 5, 1024, count, "keyed", *properties, AQUEDUCT_TEST_KAFKA=b.kafka_servers())
                seen.setdefault(name, []).append({k: f[k] for k in ("rate", "cpu_us", "p50_ms", "p99_ms")})
        middle = {name: {k: statistics.median(f[k] for f in found) for k in found[0]} for name, found in seen.items()}
        ours = middle.pop("")
        b.note(f"waves_{count}_{senders}", f"records of 1024 bytes with keys into {count} partitions, {senders} at a time, each answered before its successor", "no variant is better at all loads", middle, **ours)
