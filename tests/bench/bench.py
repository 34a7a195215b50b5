# SPDX-License-Identifier: MIT
"""What every benchmark needs: how long to measure, the bench programs of build/test, a Kafka, a receiver, lines of a report."""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
BINARY = TOP / "build/release/aqueduct"
BYTES = 1024


class Bench:
    """What one run knows: how long to measure, where to write, what was found."""

    def __init__(self, brief, binary):
        self.binary = binary
        self.brief, self.seconds = brief, 1 if brief else 5
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=TOP / "build"))
        self.results, self.kafka, self.numbers = [], None, iter(range(1 << 30))
        self.stored = {}                # folder -> how many events are in its log
        self.backlogs = {}              # broker -> folder with what HTTP in left, for the webhooks

    def room(self):
        path = self.folder / str(next(self.numbers))
        path.mkdir()
        return path

    def broker(self, kind, folder):
        return f"{{type: local, path: {folder}/data}}" if kind == "local" else f"{{type: kafka, servers: \"{self.kafka_servers()}\"}}"

    def kafka_servers(self):
        if not self.kafka:
            import rig
            self.kafka = rig.Kafka()
            self.kafka.start()
            raw_kafka(self, 64)         # a Java program is slow at first
        return self.kafka.servers

    def close(self):
        if self.kafka:
            self.kafka.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tool(self, name, *words, **environment):
        """Runs a bench program of build/test; its JSON."""
        done = subprocess.run([TOP / f"build/test/tests/bench.{name}", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300,
                              env=os.environ | environment)
        if done.returncode != 0:
            raise RuntimeError(f"bench.{name} {' '.join(map(str, words))} ended with {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def receiver(self, *words, mode="receiver"):
        return Receiver(self, *words, mode=mode)

    def note(self, name, how, aim="", raw=None, **figures):
        """One line of the report. `raw`: {what: {figure: value}}."""
        r = {"name": name, "how": how, "aim": aim, **figures, "raw": raw or {}, "load_average": os.getloadavg()[0]}
        for limit in r["raw"].values():
            for figure in ("rate", "cpu_us", "p50_ms", "p99_ms"):
                if limit.get(figure) and figures.get(figure):
                    limit[f"{figure}_ratio"] = round(figures[figure] / limit[figure], 2)
        self.results.append(r)
        print(f"\n{name}: {how} (load {r['load_average']:.1f})\n    {shown(figures)}{'   aim: ' + aim if aim else ''}")
        for what, limit in r["raw"].items():
            print(f"    raw {what}: {shown(limit)}")
        sys.stdout.flush()


class Receiver:
    """with Receiver(b) as r: r.url; it answers 204."""

    def __init__(self, b, *words, mode="receiver"):
        self.words = [TOP / "build/test/tests/bench.webhook", mode, *map(str, words)]

    def __enter__(self):
        self.process = subprocess.Popen(self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/hook"
        return self

    def __exit__(self, *_):
        self.process.communicate()

    def report(self, word=""):
        print(word, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


@contextlib.contextmanager
def on_cores(of_all):
    """What is started meanwhile stays on these of all cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(of_all(sorted(before))) or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raw_kafka(b, in_flight):
    return b.tool("kafka", "raw", in_flight, b.seconds, BYTES, AQUEDUCT_TEST_KAFKA=b.kafka_servers())


UNITS = {"rate": "{:,.0f}/s", "rate_per_core": "{:,.0f}/s a core", "cpu_us": "{:.3g} us CPU each", "p50_ms": "p50 {:.2f} ms", "p99_ms": "p99 {:.2f} ms",
         "rss_mb": "RSS {:.1f} MB", "kb": "{:.3f} KB each", "frames_per_send": "{:.1f} frames a send", "seconds": "in {:.1f} s", "after_start_s": "{:.2f} s after its start", "after_kill_s": "{:.2f} s after the kill", "again": "{:,} twice", "rate_ratio": "rate x{:.2f}", "cpu_us_ratio": "CPU x{:.2f}", "rss_mb_ratio": "RSS x{:.2f}", "raw_cpu_us_ratio": "librdkafka alone CPU x{:.2f}",
         "busy": "{} busy", "percent": "{:.3f} % of a core", "first_s": "first look in {:.1f} s", "elsewhere_us": "{:.0f} us CPU a commit elsewhere",
         "disk_bytes": "{:.0f} bytes a row on disk", "p50_ms_ratio": "p50 x{:.2f}", "p99_ms_ratio": "p99 x{:.2f}", "ready_ms": "ready in {:.1f} ms", "first_answer_ms": "first event stored after {:.1f} ms"}


def shown(figures):
    return ", ".join(UNITS[k].format(v) for k, v in figures.items() if k in UNITS and v is not None)


def quantiles_ms(ns):
    ordered = sorted(ns)
    return {"p50_ms": ordered[len(ordered) // 2] / 1e6, "p99_ms": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] / 1e6}


def megabytes(kb):
    return round(kb / 1024, 1)


def build():
    for words in (["--preset", "release"], ["--build", "--preset", "release"], ["--preset", "test"], ["--build", "--preset", "test", "--target", "bench"]):
        done = subprocess.run(["cmake", *words], cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            sys.exit(f"{done.stdout[-3000:]}\ntests/bench/run: cmake {' '.join(words)} failed")
