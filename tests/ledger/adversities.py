# SPDX-License-Identifier: MIT
"""What can happen to a cluster of Kafka while the daemon works: each is a kind of round of its own (`--broker cluster --only leader`).

Each takes the run, waits until the cluster is whole again and the daemon has stored an event, and says nothing or raises Failure."""
import contextlib
import http.client
import time

TOPICS = {"hooks.in": 3, "app.events": 2}       # and their partitions, at first
MINUTE = 60
MOST_PARTITIONS = 12
UNREADY = 20                    # seconds within which /readyz tells that nothing can be stored,
STORES_AGAIN = 60               # and after which everything is as before, by itself
BEHIND, PATIENCE = 400, 180     # events by which a slow sink is behind, more than are read ahead; seconds in which they are stored
REST = 120                      # seconds in which all else is read
LOOKS = 65                      # seconds after which the daemon knows what a topic keeps
MOST_SHOWN = 12
GOES_ON = 60                    # seconds after which a cluster of which a node died works on
SESSION = 2                     # seconds of the daemon's sessions: after a cluster's trouble its members may join their groups once more


class Failure(Exception):
    pass


@contextlib.contextmanager
def trouble(run, moment, ready=True):
    """The daemon works before and after it; what it finished meanwhile may come again."""
    if not run.daemon.ready(30):
        raise Failure(f"the daemon is not ready after 30 s (exit code {run.daemon.ended()})")
    run.live(0.5 + moment)
    with run.outage(SESSION):
        yield
        run.kafka.whole(list(TOPICS))
        stores_again(run)
    run.live(1 + moment)


def stores_again(run):
    end, before = time.monotonic() + STORES_AGAIN, run.books.figures()["acknowledged"]
    while run.books.figures()["acknowledged"] == before or not run.daemon.is_ready() or run.daemon.groups_without():
        if time.monotonic() > end:
            raise Failure(f"nothing is stored, or it is not ready, {STORES_AGAIN} s after the cluster is whole again; "
                          f"groups without partitions: {', '.join(run.daemon.groups_without()) or 'none'}")
        run.live(0.05)


def goes_on(run):
    """While a node is away: what is posted from now on is stored and delivered, and every group has its partitions."""
    end, since = time.monotonic() + GOES_ON, time.monotonic()
    while True:
        late, without = run.books.late(since), run.daemon.groups_without()
        if not late and not without:
            return
        if time.monotonic() > end:
            brokers, _, topics = run.kafka.metadata()
            headless = [f"{topic}/{p}" for topic, partitions in topics.items() for p, (led, *_) in partitions.items() if led not in brokers]
            raise Failure(f"{GOES_ON} s after a node died: {late}; groups without partitions: {', '.join(without) or 'none'}; "
                          f"partitions without a leader: {', '.join(headless) or 'none'}")
        run.live(0.2)


def readyz(run):
    """What it says when it is not ready; "" when it is."""
    connection = http.client.HTTPConnection("127.0.0.1", run.daemon.admin, timeout=10)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return "" if answer.status == 200 else answer.read().decode()
    except OSError as problem:
        return str(problem)
    finally:
        connection.close()


def stores_nothing(run, because=""):
    """Nothing is acknowledged, senders are told so, and so is who asks whether the daemon is ready, and why it is not. Returns when all of it
    was seen."""
    run.live(1.5)               # for answers that were on their way
    before, refused, end = run.books.figures()["acknowledged"], sum(s.unavailable for s in run.senders), time.monotonic() + UNREADY
    while not (why := readyz(run)) or because not in why or sum(s.unavailable for s in run.senders) == refused:
        if time.monotonic() > end:
            raise Failure(f"{UNREADY} s without replicas enough: /readyz says \"{why}\", answers 503 {sum(s.unavailable for s in run.senders) - refused}")
        run.live(0.1)
    run.live(2)
    if run.books.figures()["acknowledged"] != before:
        raise Failure(f"{run.books.figures()['acknowledged'] - before} events were acknowledged without replicas enough")
    if run.daemon.is_ready():
        raise Failure("it is ready although nothing can be stored")


def without(run, node, draw):
    """It dies, and comes back when all goes on without it."""
    node.kill()
    goes_on(run)
    run.live(draw.uniform(0.5, 3))
    node.start()


def leader(run, moment, draw):
    """The leader of a partition that is written to dies, and comes back when all goes on without it."""
    with trouble(run, moment):
        without(run, run.kafka.leader("hooks.in", draw.randrange(TOPICS["hooks.in"])), draw)


def moved(run, moment, draw):
    """Partitions move to other nodes and back."""
    with trouble(run, moment):
        nodes = list(run.kafka.nodes)
        for topic, count in TOPICS.items():
            for p in range(count):
                led = run.kafka.metadata()[2][topic][p][0]
                others = [n for n in nodes if n != led]
                draw.shuffle(others)
                run.kafka.move(topic, {p: others})
        run.live(draw.uniform(1, 3))
        for topic, count in TOPICS.items():
            run.kafka.move(topic, {p: draw.sample(nodes, len(nodes)) for p in range(count)})


def controller(run, moment, draw):
    """The leader of the quorum dies, and comes back when all goes on without it."""
    with trouble(run, moment):
        without(run, run.kafka.active_controller(), draw)


def minority(run, moment, draw):
    """One node is left of three: it has no quorum, and its partitions too few replicas."""
    with trouble(run, moment):
        gone = draw.sample(list(run.kafka.nodes.values()), len(run.kafka.nodes) - 1)
        for node in gone:
            node.kill()
        stores_nothing(run)
        for node in gone:
            node.launch()
        for node in gone:
            node.wait()


def insync(run, moment, draw):
    """A node dies, and the topics want all replicas in sync."""
    with trouble(run, moment):
        for topic in TOPICS:
            run.kafka.configure(topic, min_insync_replicas=len(run.kafka.nodes))
        node = draw.choice(list(run.kafka.nodes.values()))
        node.kill()
        stores_nothing(run, "replicas in sync")
        node.start()
        for topic in TOPICS:
            run.kafka.configure(topic, min_insync_replicas=None)


def rolling(run, moment, draw):
    """Every node is stopped in order and started again, one after the other."""
    with trouble(run, moment):
        for node in run.kafka.nodes.values():
            node.stop()
            run.live(0.2)
            node.start()
            run.kafka.whole(list(TOPICS))


def paused(run, moment, draw):
    """All of the cluster stands still for a minute."""
    with trouble(run, moment):
        run.kafka.pause()
        try:
            stores_nothing(run)
            run.live(MINUTE - 4)
        finally:
            run.kafka.resume()


def slow(run, moment, draw):
    """A follower stands still again and again, now short enough to stay in sync, now not."""
    with trouble(run, moment):
        led = run.kafka.leader("hooks.in")
        node = draw.choice([n for n in run.kafka.nodes.values() if n.dir != led.dir])
        for _ in range(5):
            node.pause()
            run.live(draw.choice([0.3, 1, 4]))
            node.resume()
            run.live(draw.uniform(0.2, 1))


def widened(run, moment, draw):
    """A topic gets more partitions; a key may be in another one from then on, and has an order in each."""
    with trouble(run, moment):
        count = len(run.kafka.metadata()[2]["hooks.in"])
        if count < MOST_PARTITIONS:
            run.kafka.widen("hooks.in", count + 1)
        run.live(12)            # until librdkafka has looked


def unread(account):
    return sum(topic["pending"] or 0 for topic in account["topics"])


def quiet(run, sinks):
    """Nobody posts; returns when these sinks have read and finished all that there is."""
    for worker in run.workers:
        worker.go.clear()
    end = time.monotonic() + REST
    while True:
        open_ = [s["sink"] for s in run.daemon.account() if sinks(s["sink"]) and sum(x["pending"] for x in s["destinations"]) + unread(s)]
        if not open_ and all(w.idle.is_set() for w in run.workers):
            return
        if time.monotonic() > end:
            raise Failure(f"{REST} s after the last post there is more to read for {', '.join(open_) or 'nobody, but senders cannot finish'}")
        run.live(0.5)


def fall_behind(run):
    """The slow sink has much to read, all others nothing, and nobody posts. {(partition, offset): pair} of all that was ever there."""
    run.receivers.slow = True
    end = time.monotonic() + PATIENCE
    while not any(s["sink"] == "slow" and unread(s) > BEHIND for s in run.daemon.account()) and time.monotonic() < end:
        run.live(0.5)
    run.receivers.healed = True             # of all others nothing stays behind what is taken now
    quiet(run, lambda sink: sink != "slow")
    return {place[1:3]: pair for pair, places in run.stored().items() for place in places if place[0] == "hooks.in"}


def catch_up(run, lacks):
    """Until the slow sink has all that it can get: lacks() says what it has not."""
    run.receivers.slow = False
    end = time.monotonic() + REST
    while lacks():
        if time.monotonic() > end:
            raise Failure(f"{REST} s after records went that slow had not read it has neither read nor told all: {lacks()}")
        run.live(0.2)
    quiet(run, lambda sink: True)


def post_again(run):
    run.receivers.healed = False
    for worker in run.workers:
        worker.idle.clear()
        worker.go.set()


def retention(run, moment, draw):
    """Retention passes a sink whose receiver is slow. What that had not read is lost to it, and told to the record; to nobody else."""
    with trouble(run, moment):
        there = fall_behind(run)
        ends = {p: 1 + max(offset for q, offset in there if q == p) for p in {p for p, _ in there}}
        newest = {p: max(offset for q, offset in there if q == p and there[p, offset][0] == "/ledger") for p in ends}
        since, before = len(run.daemon.log()), run.daemon.total("aqueduct_records_lost_total")
        run.kafka.delete_records("hooks.in", ends)
        catch_up(run, lambda: [f"partition {p} to {ends[p]}" for p in ends
                               if p not in {one[2] for one in run.daemon.told_lost(since)} and not run.books.has("slow", there[p, newest[p]])])
        told, counted = run.daemon.told_lost(since), run.daemon.total("aqueduct_records_lost_total") - before
        if {(group, topic) for group, topic, *_ in told} != {("aqueduct.slow", "hooks.in")}:
            raise Failure(f"retention passed one sink, and told is: {told}")
        if counted != sum(lost for *_, lost in told) or any(lost != to - first + 1 or to + 1 != ends[p] for _, _, p, first, to, lost in told):
            raise Failure(f"retention took what is before {ends}; counted are {counted}, told is {told}")
        taken = {(p, offset) for _, _, p, first, to, _ in told for offset in range(first, to + 1)}
        twins = {pair for place, pair in there.items() if place not in taken}
        got = run.books.passed("slow", {there[place] for place in taken if place in there} - twins)
        if got:
            raise Failure(f"told as lost to slow, but delivered: {got[:12]}")
        run.lost += counted
        post_again(run)


def compact(run, there):
    """Until the cleaner has been at all that it may clean."""
    run.kafka.configure("hooks.in", min_compaction_lag_ms=None)
    end, before, left = time.monotonic() + REST, len(there), 0
    while left in (0, len(there)) or left != before:
        if time.monotonic() > end:
            raise Failure(f"{REST} s after hooks.in is to be compacted there are {left} records of {len(there)}")
        before = left or before
        time.sleep(3)               # longer than the cleaner rests
        left = len(run.places("hooks.in"))


def key(run, pair):
    return run.books.items[pair].subject


def untold(run, there, counted):
    """What is to be said against what is told of compaction; "": nothing. Whether the slow sink had read what other sinks take nobody knows, nor which
    of two records of one event."""
    gone = {place: there[place] for place in set(there) - set(run.places("hooks.in"))}
    missing = {pair for pair in gone.values() if pair[0] == "/ledger" and not run.books.has("slow", pair)}
    last = {(p, key(run, pair)): offset for (p, offset), pair in sorted(there.items()) if pair[0] == "/ledger"}
    newest = [pair for (p, offset), pair in gone.items() if pair in missing and last[p, key(run, pair)] == offset]
    least = sum(pair in missing for pair in gone.values())
    most = least + sum(pair[0] != "/ledger" or len(run.records[pair]) > 1 for pair in gone.values() if pair not in missing)
    run.books.passed("slow", missing)
    return (f"the newest of their keys are gone: {newest[:MOST_SHOWN]}" if newest else "" if missing and least <= counted <= most else
            f"compaction took {len(gone)} of {len(there)} records and {len(missing)} events that slow had not read; counted are {counted} of {least} to {most}")


def compaction(run, moment, draw):
    """Compaction passes a sink whose receiver is slow, while the daemon works or while it is away. Of what that had not read the newest of each key
    stays and comes; how many went is counted, and told of nobody else."""
    with trouble(run, moment):
        run.kafka.configure("hooks.in", segment_ms=2000)        # the cleaner leaves alone what is written to
        fall_behind(run)
        there = run.places("hooks.in")
        # From now on no record without a key is taken.
        run.kafka.configure("hooks.in", cleanup_policy="compact", min_cleanable_dirty_ratio=0.01, min_compaction_lag_ms=86400000)
        since, away, before = len(run.daemon.log()), draw.random() < 0.5, 0
        if away:
            run.stop()
        else:
            run.live(LOOKS)
            before = run.daemon.total("aqueduct_records_lost_total")
        compact(run, there)
        if away:
            run.start()
            if not run.daemon.ready(30):
                raise Failure(f"the daemon is not ready after 30 s (exit code {run.daemon.ended()})")
        stay = {pair for pair in run.places("hooks.in").values() if pair[0] == "/ledger"}
        catch_up(run, lambda: [pair for pair in stay if not run.books.has("slow", pair)][:MOST_SHOWN])
        counted, told = run.daemon.total("aqueduct_records_lost_total") - before, run.daemon.told_compacted(since)
        wrong = untold(run, there, counted)
        if wrong or told != {("aqueduct.slow", "hooks.in")}:
            raise Failure(f"{wrong or 'compaction passed one sink'}; told is {told}")
        run.compacted += counted
        run.kafka.configure("hooks.in", cleanup_policy=None, min_cleanable_dirty_ratio=None, segment_ms=None)
        post_again(run)


KINDS = {f.__name__: f for f in (leader, moved, controller, minority, insync, rolling, paused, slow, widened, retention, compaction)}
