# SPDX-License-Identifier: MIT
"""The books: what was posted, acknowledged, committed, requested, delivered and given up, and whether it all adds up.

An event is known by its pair (CloudEvents source, id). Everything that happens is noted here the moment it is known; balance()
is a pure look at the notes, so it can be tested by falsifying them."""
import functools
import hashlib
import json
import threading
import time

import anythingllm_app
import busy

APP = "anythingllm"             # the source whose events come from the application's database


def _all(source, type, subject):
    return True


def _odd(source, type, subject):
    return type == "ledger.odd"


def _ledger(source, type, subject):
    return source == "/ledger"


def _keyed(source, type, subject):
    return source == "/ledger" and (subject or "").startswith("key-")


SINKS = {                       # sink, or sink/endpoint: which events it takes
    "steady": _all, "moody": _all, "ordered": _all, "traveller": _ledger,
    "refusing": _odd, "gone": lambda source, type, subject: type == "ledger.gone",
    "many/fine": _ledger, "many/keyed": _keyed,
    "many/later": _odd, "many/hang": _odd, "many/guest-0": _odd, "many/guest-1": _odd,
}
SLOW = {"slow": _ledger}        # a sink that is there on a cluster, whose receiver now and then takes its time
GIVES_UP = {"refusing", "gone"}
GUESTS = ("many/guest-0", "many/guest-1")       # endpoints that come and go
ORDERED = ("ordered", "many/keyed")
OWED = ("many/later", "many/hang")              # their receivers never take anything, so it waits for ever
NEVER_FAIL = {"steady": _all, "traveller": _keyed}      # sinks whose receivers take these events at once, so none waits on the broker
PROMPT = {"steady": _all, "many/fine": _ledger}     # sinks whose receivers take everything at once
MANY = 100                      # events that show that all goes on
ASIDE = 16                      # events that a receiver that hangs has in memory, about
MOST_SHOWN = 12                 # of one kind of problem


class Item:
    """Something that is posted: one event."""

    def __init__(self, source, id, type, data, subject=None, sequence=None):
        self.pair = (source, id)
        self.type, self.data, self.subject, self.sequence = type, data, subject, sequence
        self.acknowledged = None                # when it was, else None
        self.start = 0                          # of the daemon, when it was first posted


def name_of(sink, endpoint=None):
    """As in SINKS. The traveller has another name every time."""
    sink = "traveller" if sink.startswith("traveller") else sink
    return f"{sink}/{endpoint}" if endpoint else sink


def destination(line):
    """Whose dead letter it is."""
    return name_of(line["sink"], line.get("endpoint"))


class Seen:
    """What a sink's receiver saw of one event."""

    def __init__(self, type, subject, data, body):
        self.type, self.subject = type, subject
        self.data, self.body = data, body       # digests
        self.attempts = self.times = 0          # requests; answers 2xx
        self.moments = []                       # of the answers 2xx
        self.first = None                       # number of the first 2xx among all of the sink's
        self.stamps = []                        # webhook-timestamps
        self.text = None                        # the data of a row, to be shown
        self.row = None                         # of a busy database: its event


class Silence:
    """The longest time in which something did not happen, since begin()."""

    def __init__(self):
        self.begin()

    def begin(self):
        self.longest, self.last = 0, time.monotonic()

    def end(self):
        now = time.monotonic()
        self.longest, self.last = max(self.longest, now - self.last), now


def digest(data):
    return hashlib.sha256(data).digest()


def own(type, text):
    """The data of a row's event without what is joined to it: that is as it is when the row is read, so what a kill makes come again may tell it otherwise."""
    data = json.loads(text)
    for thing in {"actor", "collection", "user"} - {type.split(".")[0]}:
        if isinstance(data.get(thing), dict):
            data[thing] = {"id": data[thing].get("id")}
    return data


class Books:
    def __init__(self, repeats_are_stored=False):
        self.lock = threading.Lock()
        self.repeats_are_stored = repeats_are_stored    # kafka: a publication of unknown outcome may be there twice
        self.items = {}                 # pair: Item
        self.commits = []               # lines of the application's ledger
        self.model = {}                 # source of a busy database: what is committed there
        self.seen = {sink: {} for sink in SINKS}
        self.dead = {sink: {} for sink in SINKS}        # sink: {pair: line of `dead list --json`}
        self.dead_others = []
        self.names = {}                 # webhook-id: pair, and the other way round
        self.order = {sink: 0 for sink in SINKS}
        self.wrong = []                 # found while it happened
        self.requests = self.reposts = self.twice = 0
        self.samples = []               # requests, for other verifiers
        self.start = 0                  # number of the daemon's start
        self.present = {}               # guest: the start since which it is configured
        self.kept = None                # kafka: {(destination, pair)} of the waiting topics
        self.lost = {}                  # sink: {pair} of what retention took before it was read, as was told
        self.final = False              # is it the last balance?
        self.ends = 0                   # of daemons that could not store their positions
        self.partition = {}             # where several partitions may have events of one key: {pair: its partition}
        self.silence = {"acknowledged": Silence(), "delivered": Silence()}      # of the senders, of `steady`
        self.account = []               # `status --json`: what the daemon says of each sink

    # ---- notes ----

    def posted(self, item):
        with self.lock:
            if self.items.setdefault(item.pair, item) is item:
                item.start = item.start or self.start

    def acknowledged(self, items):
        with self.lock:
            self.silence["acknowledged"].end()
            for item in items:
                item.acknowledged = item.acknowledged or time.monotonic()

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
            text, data, body = data, digest(data), digest(body)
            if not seen:
                seen = self.seen[sink][pair] = Seen(type, subject, data, body)
                seen.text = None if pair in self.items else text
                seen.row = {"type": type, "data": json.loads(text)} if pair[0] in self.model else None
            elif seen.type != type or (seen.data != data and (pair in self.items or own(type, seen.text) != own(type, text))):
                self.wrong.append(f"{sink}: {pair[1]} came with two different contents: {seen.type} {seen.text}, {type} {text}")
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
            if sink == "steady":
                self.silence["delivered"].end()
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
                if destination(line) in SINKS and line["id"] is not None:
                    self.dead[destination(line)][(line["source"], line["id"])] = line
                else:
                    self.dead_others.append(line)

    # ---- figures ----

    def figures(self):
        with self.lock:
            return {"posted": len(self.items), "acknowledged": sum(i.acknowledged is not None for i in self.items.values()), "commits": len(self.commits),
                    "rows": sum(s.row is not None for s in self.seen["steady"].values()),
                    "requests": self.requests, "delivered": sum(s.times > 0 for seen in self.seen.values() for s in seen.values()),
                    "repeats": {sink: sum(max(s.times - 1, 0) for s in seen.values()) for sink, seen in self.seen.items()},
                    "dead": sum(len(d) for d in self.dead.values()), "reposts": self.reposts, "twice": self.twice}

    def repeated(self, sink):
        """{pair: [moments]}: at which it had been delivered when it was delivered again."""
        with self.lock:
            return {pair: seen.moments[:-1] for pair, seen in self.seen[sink].items() if seen.times > 1}

    def late(self, since):
        """What is to be said against that all goes on which was acknowledged since then; "": nothing."""
        with self.lock:
            new = [i for i in self.items.values() if i.acknowledged and i.acknowledged >= since]
            behind = [sink for sink, wants in PROMPT.items() if any(wants(i.pair[0], i.type, i.subject) and not self._delivered_or_dead(sink, i.pair) for i in new[:MANY])]
        return f"{len(new)} events were acknowledged since" if len(new) < MANY else f"{', '.join(behind)} did not get the first {MANY} of them" if behind else ""

    def delays(self, begin, end):
        """{prompt sink: the longest time from an acknowledgement in that time to the first delivery}."""
        with self.lock:
            new = [i for i in self.items.values() if i.acknowledged and begin <= i.acknowledged <= end]
            return {sink: max((min(self.seen[sink][i.pair].moments[0], end) - i.acknowledged for i in new if i.pair in self.seen[sink] and self.seen[sink][i.pair].moments), default=0)
                    for sink in PROMPT}

    def has(self, sink, pair):
        with self.lock:
            return self._delivered_or_dead(sink, pair)

    def passed(self, sink, pairs):
        """Retention took all records of these before the sink read them; returns those that it got all the same."""
        with self.lock:
            self.lost.setdefault(sink, set()).update(pairs)
            return [pair for pair in pairs if self._delivered_or_dead(sink, pair)]

    def may_come(self, sink, pair):
        """May a copy of it wait for that sink on the broker, and come by itself when its time is? One that is delivered may have one, too:
        of a crash between a move and its position."""
        with self.lock:
            if self.kept is not None:
                return (sink, pair) in self.kept
            return any(name_of(s["sink"]) == sink.partition("/")[0] and s["waiting"] for s in self.account)

    def what(self, sink, pair):
        """Type and subject."""
        with self.lock:
            seen = self.seen[sink][pair]
            return seen.type, seen.subject

    # ---- the balance ----

    def balance(self):
        """Every sentence that is not true although it must be; [] when everything adds up."""
        with self.lock:
            out = list(self.wrong)
            for sink in SINKS:
                if sink not in OWED and (self.final or "/" not in sink):    # else it may wait half a minute, aside
                    self._missing_posts(sink, out)
                self._unknown(sink, out)
                self._letters(sink, out)
            for sink in ("steady", "moody", "ordered"):
                self._missing_commits(sink, out)
                for source in self.model:
                    _list(out, f"{sink}: delivered or dead is not what {source} committed", self.rows(sink, source))
            for sink in ORDERED:
                self._ordered(sink, out)
            self._accounted(out)
            out += [f"a dead letter that nobody expects: {line}" for line in self.dead_others[:MOST_SHOWN]]
            return out

    def _delivered_or_dead(self, sink, pair):
        seen = self.seen[sink].get(pair)
        return (seen is not None and seen.times > 0) or pair in self.dead[sink]

    def _wanted(self, sink):
        """What it must get. A guest must have been there from when it was posted."""
        since = self.present.get(sink, 1 << 62) if sink in GUESTS else 0
        return [i for i in self.items.values() if i.acknowledged and i.start >= since and SINKS[sink](i.pair[0], i.type, i.subject)]

    def _missing_posts(self, sink, out):
        wanted = self._wanted(sink)
        lost = self.lost.get(sink, ())
        missing = [i for i in wanted if not self._delivered_or_dead(sink, i.pair) and i.pair not in lost]
        _list(out, f"{sink}: acknowledged, but neither delivered nor dead ({len(missing)} of {len(wanted)})",
              (f"{i.pair[1]} of {i.pair[0]}, requests {self.seen[sink][i.pair].attempts if i.pair in self.seen[sink] else 0}" for i in missing))

    def _missing_commits(self, sink, out):
        must, may = anythingllm_app.expected(self.commits)
        got = {(s.type, s.subject) for p, s in self.seen[sink].items() if APP in p[0] and self._delivered_or_dead(sink, p)}
        _list(out, f"{sink}: committed in the application's database, but neither delivered nor dead", sorted(must - got))
        _list(out, f"{sink}: an event of the application's database that nothing there explains", sorted(x for x in got - may if x[1] is not None))

    def rows(self, sink, source):
        """What of a busy database that sink got, against what is committed there."""
        found = [seen.row for pair, seen in self.seen[sink].items() if pair[0] == source and self._delivered_or_dead(sink, pair)]
        return busy.balance(found, self.model[source])

    def _unknown(self, sink, out):
        for pair, seen in self.seen[sink].items():
            item = self.items.get(pair)
            if item is None and APP not in pair[0] and pair[0] not in self.model:
                out.append(f"{sink}: {pair} came, but nobody posted it")
            elif item and (digest(item.data) != seen.data or item.type != seen.type):
                out.append(f"{sink}: {pair} is not what was posted")
            elif not SINKS[sink](pair[0], seen.type, seen.subject):
                out.append(f"{sink}: {pair} of type {seen.type} passed a filter that leaves it out")

    def _letters(self, sink, out):
        for pair, line in self.dead[sink].items():
            item = self.items.get(pair)
            bad = [name for name in ("first", "last", "class", "reason", "origin", "attempts") if not line.get(name)]
            if line["class"] == "orphaned":     # perhaps never tried
                bad = [name for name in bad if name not in ("attempts", "first", "last")]
            if bad:
                out.append(f"{sink}: dead letter {pair[1]} does not say {', '.join(bad)}")
            elif (line["first"] or "") > (line["last"] or ""):
                out.append(f"{sink}: dead letter {pair[1]} was tried last before it was tried first")
            if item and (line["size"] != len(item.data) or line["key"] != item.subject):
                out.append(f"{sink}: dead letter {pair[1]} has {line['size']} bytes and key {line['key']}, not {len(item.data)} and {item.subject}")
            if sink in ("steady", "many/fine"):
                out.append(f"{sink}: {pair[1]} became a dead letter, but the receiver never failed: {line['reason']}")

    def _accounted(self, out):
        """What the daemon says of its sinks: everything acknowledged is delivered, dead, or counted there as waiting, blocked or in flight.
        Here everyone rests, so only sinks some of whose receivers take nothing owe anything."""
        for sink in self.account:
            name, d = sink["sink"], sink["destinations"]
            open_, unread = sum(x["pending"] for x in d), sum(t["pending"] or 0 for t in sink["topics"])
            has = (sink["waiting"] or 0) + (sink["blocked"] or 0) + open_ + unread
            owed = [(to, i.pair) for to in self._may_owe(name) for i in self._wanted(to) if not self._delivered_or_dead(to, i.pair)]
            most = len(owed) + sum(self._again(to) for to in self._may_owe(name))
            text = f"{name}: owes {len(owed)} events, but says waiting {sink['waiting']}, blocked {sink['blocked']}, in memory {open_}, not read {unread}"
            gone = [x for x in owed if x not in self.kept] if self.kept is not None else []
            if has > most or (self.kept is None and has < len(owed)):
                out.append(f"{text}; {most} with what a crash repeats")
            elif len(gone) > open_ + unread:
                _list(out, f"{text}; in no waiting topic ({len(gone)})", gone)
            if sink["blocked"] or sink["blocked_keys"]:
                out.append(f"{name}: {sink['blocked']} events of {sink['blocked_keys']} keys are blocked although all receivers take them")
            for x in d:
                parts = ("delivered", "dead", "filtered", "moved", "released", "pending")
                if x["consumed"] != sum(x[p] for p in parts):
                    out.append(f"{name} {x['endpoint'] or ''}: consumed {x['consumed']}, but " + ", ".join(f"{p} {x[p]}" for p in parts))

    def _may_owe(self, sink):
        return [to for to in SINKS if to.startswith(f"{sink}/") and (to in OWED or not self.final)]

    def waits(self):
        """Does anything wait that will come to an end?"""
        with self.lock:
            return any((s["waiting"] or 0) > sum(len(self._wanted(to)) for to in OWED if to.startswith(f"{s['sink']}/")) or
                       (s["waiting"] and (self.final or s["sink"] != "many")) for s in self.account)

    def _again(self, sink):
        """How often at most its events wait twice, because the daemon died between a move and its position. Each time there was a request
        more, but for what had no room at a receiver that hangs and went aside untried."""
        more = sum(max(seen.attempts - 1, 0) for seen in self.seen[sink].values())
        return more + (self.ends * ASIDE if sink == "many/hang" else 0)

    def _ordered(self, sink, out):
        """Per key, first deliveries come in the order in which the events were stored. An event that also died may come later: after a
        crash a repeat of it can succeed when its successors are through."""
        newest = {}
        for pair, seen in sorted(((p, s) for p, s in self.seen[sink].items() if s.first is not None), key=lambda x: x[1].first):
            item = self.items.get(pair)
            if pair in self.dead[sink]:
                continue
            if item and item.sequence is not None:
                key, number = item.subject, item.sequence
            elif not item and seen.type in ("chat.started", "chat.response.generated"):
                key, number = seen.subject, seen.type == "chat.response.generated"
            elif seen.row and busy.place(**seen.row):
                key, number = busy.place(**seen.row)
                key = f"{key} of {pair[0]}"
            else:
                continue
            key = (key, self.partition.get(pair))
            if number < newest.get(key, -1):
                out.append(f"{sink}: {pair[1]} of {key[0]}, number {number:d}, was delivered after number {newest[key]:d}")
            newest[key] = max(number, newest.get(key, -1))


def _list(out, text, things):
    things = list(things)
    if things:
        more = f" and {len(things) - MOST_SHOWN} more" if len(things) > MOST_SHOWN else ""
        out.append(f"{text}: {', '.join(str(x) for x in things[:MOST_SHOWN])}{more}")


def self_test(books):
    """The balance must notice what is wrong in the books; returns what it did not notice. `books` add up and are as they were afterwards."""
    blind = []

    def expect(what, change, back, look=books.balance):
        change()
        if not look():
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
    for source, model in books.model.items():
        look = functools.partial(books.rows, "steady", source)
        for table, rows in model.items():
            expect(f"{source}: a row of {table} that is lost", lambda: rows.update(nobody=(10**12, "new") if table == "jobs" else 10**12),
                   lambda: rows.pop("nobody"), look)
        told = next(s for p, s in books.seen["steady"].items() if p[0] == source and s.row["type"] == "log.line")
        twin = (source, "another id")
        expect(f"{source}: a row that was told twice", lambda: books.seen["steady"].__setitem__(twin, told), lambda: books.seen["steady"].pop(twin), look)
    letters = [p for p, line in books.dead["refusing"].items() if p in books.items and books.items[p].acknowledged and not books.seen["refusing"][p].times]
    if letters:
        kept = books.dead["refusing"][letters[0]]
        expect("a lost dead letter", lambda: books.dead["refusing"].pop(letters[0]), lambda: books.dead["refusing"].__setitem__(letters[0], kept))
    keyed = sorted(((books.partition.get(p), s) for p, s in books.seen["ordered"].items() if p in books.items and books.items[p].sequence is not None and s.first is not None
                    and books.items[p].subject == "key-0" and p not in books.dead["ordered"]), key=lambda x: x[1].first)
    keyed = [s for partition, s in keyed if partition == keyed[0][0]]
    if len(keyed) > 1:
        def swap():
            keyed[0].first, keyed[-1].first = keyed[-1].first, keyed[0].first
        expect("a wrong order", swap, swap)
    for account in [a for a in books.account if a["sink"] in ("many", "steady")]:
        kept = account["waiting"]
        for n in (-1000, 100000):
            if n > 0 or books.kept is None:
                expect(f"{account['sink']}: {n} more waiting than there are", lambda: account.update(waiting=kept + n), lambda: account.update(waiting=kept))
    waiting = sorted(x for x in books.kept or () if x[0] in OWED and x[1] in books.items)
    if waiting:
        expect("a waiting event that is gone", lambda: books.kept.remove(waiting[0]), lambda: books.kept.add(waiting[0]))
    return blind
