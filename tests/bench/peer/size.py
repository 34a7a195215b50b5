# SPDX-License-Identifier: MIT
"""What has to be there, and what an idle process costs: files that are loaded, their bytes, memory, the time until it answers."""
import contextlib
import pathlib

from daemon import free_port
from peer import bridges, fanout, fetch
from peer.process import Process, files, tree


def of(process, *more):
    """`more`: folders with what the program reads and does not map, as a script's modules."""
    loaded = {path: size for pid in tree(process.process.pid) for path, size in files(pid).items()}
    for folder in more:
        loaded |= {str(p): p.stat().st_size for p in pathlib.Path(folder).rglob("*") if p.is_file()}
    return {"size_mb": round(sum(loaded.values()) / 1e6, 1), "size_files": len(loaded), "size_rss": bridges.megabytes(process.rss_kb()),
            "size_ready": process.ready_ms}


@contextlib.contextmanager
def idle_benthos(b):
    with bridges.benthos(b, 'input: {http_server: {path: /in}}\noutput: {drop: {}}\n') as p:
        yield p, {}, {}


WORKER = """
bootstrap.servers={servers}
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
offset.storage.file.filename={folder}/offsets
listeners=http://127.0.0.1:{port}
plugin.discovery=service_load
"""


@contextlib.contextmanager
def idle_connect(b):
    """A worker with no connector, in a heap that is smaller than what Kafka's scripts give it (2 GB)."""
    jars, _ = fetch.connect()
    folder, port = b.room(), free_port()
    bridges.kafka(b)
    (folder / "worker.properties").write_text(WORKER.format(servers=b.kafka_servers(), folder=folder, port=port))
    with Process(["java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", f"{jars}/*", "org.apache.kafka.connect.cli.ConnectStandalone", folder / "worker.properties"],
                 folder, port) as p:
        yield p, {}, {}


def measured(b, start, *more):
    with bridges.apart(start(b)) as (p, *_):
        return of(p, *(folder() for folder in more))


SIZES = {name: (start,) for name, start in fanout.HUBS.items()} | {
    "ws": (fanout.HUBS["ws"], lambda: fetch.ws()[0] / "node_modules/ws"),
    "benthos": (idle_benthos,),
    "connect": (idle_connect, lambda: fetch.connect()[0]),
}
