# SPDX-License-Identifier: MIT
"""The books: what was posted, acknowledged, committed, requested, delivered and given up, and whether it all adds up.

An event is known by its pair (CloudEvents source, id). Everything that happens is noted here the moment it is known; balance()
is a pure look at the notes, so it can be tested by falsifying them."""
import hashlib
import threading
import time

import anythingllm_app

APP = "anythingllm"             # the source whose events come from the application's database
SINKS = {                       # sink: which types it takes (None: all)
    "steady": None, "moody": None, "ordered": None,
    "refusing": {"ledger.odd"}, "gone": {"ledger.gone"},
}
GIVES_UP = {"refusing", "gone"}
MOST_SHOWN = 12                 # of one kind of problem


class Item:
    """Something that is posted: one event."""

    def __init__(self, source, id, type, data, subject=None, sequence=None):
        self.pair = (source, id)
        self.type, self.data, self.subject, self.sequence = type, data, subject, sequence
        self.acknowledged = False


class Seen:
    """What a sink's receiver saw of one event."""

    def __init__(self, type, subject, data, body):
        self.type, self.subject = type, subject
        self.data, self.body = data, body       # digests
        self.attempts = self.times = 0          # requests; answers 2xx
        self.moments = []                       # of the answers 2xx
        self.first = None                       # number of the first 2xx among all of the sink's
        self.stamps = []                        # webhook-timestamps


def digest(data):
    return hashlib.sha256(data).digest()


class Books:
    def __init__(self, repeats_are_stored=False):
        self.lock = threading.Lock()
        self.repeats_are_stored = repeats_are_stored    # kafka: a publication of unknown outcome may be there twice
        self.items = {}                 # pair: Item
        self.commits = []               # lines of the application's ledger
        self.seen = {sink: {} for sink in SINKS}
        self.dead = {sink: {} for sink in SINKS}        # sink: {pair: line of `dead list --json`}
        self.dead_others = []
        self.names = {}                 # webhook-id: pair, and the other way round
        self.order = {sink: 0 for sink in SINKS}
        self.wrong = []                 # found while it happened
        self.requests = self.reposts = self.twice = 0
        self.samples = []               # requests, for other verifiers

    # ---- notes ----

    def posted(self, item):
        with self.lock:
            self.items.setdefault(item.pair, item)

    def acknowledged(self, items):
        with self.lock:
            for item in items:
                item.acknowledged = True

    def committed(self, line):
        with self.lock:
            self.commits.append(line)

    def complain(self, text):
        with self.lock:
            self.wrong.append(text)

    def requested(self, sink, name, pair, type, subject, data, body, stamp):
        """A request came, `name` is its webhook-id. Returns the number of this attempt."""
        with self.lock:
            self.requests += 1
            if self.names.setdefault(name, pair) != pair or self.names.setdefault(pair, name) != name:
                self.wrong.append(f"{sink}: webhook-id {name} stands for {pair} and for {self.names[name]}")
            seen = self.seen[sink].get(pair)
            data, body = digest(data), digest(body)
            if not seen:
                seen = self.seen[sink][pair] = Seen(type, subject, data, body)
            elif seen.data != data or seen.type != type:
                self.wrong.append(f"{sink}: {pair[1]} came with two different contents")
            elif seen.body != body:
                self.twice += 1
                if not self.repeats_are_stored and pair in self.items:
                    self.wrong.append(f"{sink}: {pair[1]} came with two different bodies: a repeat was published again")
                seen.body = body
            seen.attempts += 1
            seen.stamps.append(stamp)
            return seen.attempts

    def delivered(self, sink, pair):
        with self.lock:
            seen = self.seen[sink][pair]
            seen.times += 1
            seen.moments.append(time.monotonic())
            if seen.first is None:
                seen.first = self.order[sink]
                self.order[sink] += 1

    def take_dead(self, lines):
        with self.lock:
            self.dead = {sink: {} for sink in SINKS}
            self.dead_others = []
            for line in lines:
                if line["sink"] in SINKS and line["id"] is not None:
                    self.dead[line["sink"]][(line["source"], line["id"])] = line
                else:
                    self.dead_others.append(line)

    # ---- figures ----

    def figures(self):
        with self.lock:
            return {"posted": len(self.items), "acknowledged": sum(i.acknowledged for i in self.items.values()), "commits": len(self.commits),
                    "requests": self.requests, "delivered": sum(s.times > 0 for seen in self.seen.values() for s in seen.values()),
                    "repeats": {sink: sum(max(s.times - 1, 0) for s in seen.values()) for sink, seen in self.seen.items()},
                    "dead": sum(len(d) for d in self.dead.values()), "reposts": self.reposts, "twice": self.twice}

    def repeated(self, sink):
        """{pair: [moments]}: at which it had been delivered when it was delivered again."""
        with self.lock:
            return {pair: seen.moments[:-1] for pair, seen in self.seen[sink].items() if seen.times > 1}

    # ---- the balance ----

    def balance(self):
        """Every sentence that is not true although it must be; [] when everything adds up."""
        with self.lock:
            out = list(self.wrong)
            for sink in SINKS:
                self._missing_posts(sink, out)
                self._unknown(sink, out)
                self._letters(sink, out)
            for sink in ("steady", "moody", "ordered"):
                self._missing_commits(sink, out)
            self._ordered(out)
            out += [f"a dead letter that nobody expects: {line}" for line in self.dead_others[:MOST_SHOWN]]
            return out

    def _delivered_or_dead(self, sink, pair):
        seen = self.seen[sink].get(pair)
        return (seen is not None and seen.times > 0) or pair in self.dead[sink]

    def _missing_posts(self, sink, out):
        wanted = [i for i in self.items.values() if i.acknowledged and (SINKS[sink] is None or i.type in SINKS[sink])]
        missing = [i for i in wanted if not self._delivered_or_dead(sink, i.pair)]
        _list(out, f"{sink}: acknowledged, but neither delivered nor dead ({len(missing)} of {len(wanted)})",
              (f"{i.pair[1]} of {i.pair[0]}, requests {self.seen[sink][i.pair].attempts if i.pair in self.seen[sink] else 0}" for i in missing))

    def _missing_commits(self, sink, out):
        must, may = anythingllm_app.expected(self.commits)
        got = {(s.type, s.subject) for p, s in self.seen[sink].items() if s.times and p not in self.items}
        got |= {(line["type"], line.get("key")) for p, line in self.dead[sink].items() if p not in self.items}
        _list(out, f"{sink}: committed in the application's database, but neither delivered nor dead", sorted(must - got))
        _list(out, f"{sink}: an event of the application's database that nothing there explains", sorted(x for x in got - may if x[1] is not None))

    def _unknown(self, sink, out):
        for pair, seen in self.seen[sink].items():
            item = self.items.get(pair)
            if item is None and not pair[0].startswith(f"/{APP}") and APP not in pair[0]:
                out.append(f"{sink}: {pair} came, but nobody posted it")
            elif item and (digest(item.data) != seen.data or item.type != seen.type):
                out.append(f"{sink}: {pair} is not what was posted")
            elif SINKS[sink] is not None and seen.type not in SINKS[sink]:
                out.append(f"{sink}: {pair} of type {seen.type} passed a filter that leaves it out")

    def _letters(self, sink, out):
        for pair, line in self.dead[sink].items():
            item = self.items.get(pair)
            bad = [name for name in ("first", "last", "class", "reason", "origin", "attempts") if not line.get(name)]
            if bad:
                out.append(f"{sink}: dead letter {pair[1]} does not say {', '.join(bad)}")
            elif line["first"] > line["last"]:
                out.append(f"{sink}: dead letter {pair[1]} was tried last before it was tried first")
            if item and (line["size"] != len(item.data) or line["key"] != item.subject):
                out.append(f"{sink}: dead letter {pair[1]} has {line['size']} bytes and key {line['key']}, not {len(item.data)} and {item.subject}")
            if sink == "steady":
                out.append(f"steady: {pair[1]} became a dead letter, but the receiver never failed: {line['reason']}")

    def _ordered(self, out):
        """Per key, first deliveries come in the order in which the events were stored. An event that also died may come later: after a
        crash a repeat of it can succeed when its successors are through."""
        newest = {}
        for pair, seen in sorted(((p, s) for p, s in self.seen["ordered"].items() if s.first is not None), key=lambda x: x[1].first):
            item = self.items.get(pair)
            if pair in self.dead["ordered"]:
                continue
            if item and item.sequence is not None:
                key, number = item.subject, item.sequence
            elif not item and seen.type in ("chat.started", "chat.response.generated"):
                key, number = seen.subject, seen.type == "chat.response.generated"
            else:
                continue
            if number < newest.get(key, -1):
                out.append(f"ordered: {pair[1]} of {key}, number {number:d}, was delivered after number {newest[key]:d}")
            newest[key] = max(number, newest.get(key, -1))


def _list(out, text, things):
    things = list(things)
    if things:
        more = f" and {len(things) - MOST_SHOWN} more" if len(things) > MOST_SHOWN else ""
        out.append(f"{text}: {', '.join(str(x) for x in things[:MOST_SHOWN])}{more}")


def self_test(books):
    """The balance must notice what is wrong in the books; returns what it did not notice. `books` add up and are as they were afterwards."""
    blind = []

    def expect(what, change, back):
        change()
        if not books.balance():
            blind.append(what)
        back()

    posts = [p for p, i in books.items.items() if i.acknowledged and p in books.seen["steady"]]
    rows = [p for p, s in books.seen["steady"].items() if p not in books.items and s.type == "audit.logged"]
    for what, pair in (("a lost delivery of a post", posts and posts[len(posts) // 2]), ("a lost delivery of a row", rows and rows[-1])):
        if not pair:
            blind.append(f"{what}: there was none to take away")
            continue
        kept = books.seen["steady"][pair]
        expect(what, lambda: books.seen["steady"].pop(pair), lambda: books.seen["steady"].__setitem__(pair, kept))
    letters = [p for p, line in books.dead["refusing"].items() if p in books.items and books.items[p].acknowledged and not books.seen["refusing"][p].times]
    if letters:
        kept = books.dead["refusing"][letters[0]]
        expect("a lost dead letter", lambda: books.dead["refusing"].pop(letters[0]), lambda: books.dead["refusing"].__setitem__(letters[0], kept))
    keyed = sorted((s for p, s in books.seen["ordered"].items() if p in books.items and books.items[p].sequence is not None and s.first is not None
                    and books.items[p].subject == "key-0" and p not in books.dead["ordered"]), key=lambda s: s.first)
    if len(keyed) > 1:
        def swap():
            keyed[0].first, keyed[-1].first = keyed[-1].first, keyed[0].first
        expect("a wrong order", swap, swap)
    return blind
