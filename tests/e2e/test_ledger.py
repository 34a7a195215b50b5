# SPDX-License-Identifier: MIT
"""How much of what came again the kill test (ledger/) excuses, by what it measured beside the daemon."""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "ledger"))
import books
import daemon
import pace


def measured(*measures, under_way=None):
    one = pace.Pace(None)
    one.began = [begin for begin, _ in measures] + ([under_way] if under_way is not None else [])
    one.ended = [end for _, end in measures]
    return one


def quick(begin, end):
    return [(t / 10, t / 10 + 0.01) for t in range(int(begin * 10), int(end * 10))]


def test_a_broker_that_stands_still_excuses_what_was_finished_since():
    least = pace.INTERVAL + pace.MARGIN
    assert measured().reach(10) == least
    assert abs(measured(*quick(0, 10)).reach(10) - least - pace.TIMES * 0.01) < 1e-6
    stands = measured(*quick(0, 10), under_way=10)
    assert 12 < stands.reach(22) < 12 + least + pace.TIMES * 0.02           # from when it began on, however long that is
    assert abs(stands.reach(10) - least - pace.TIMES * 0.01) < 1e-6
    stood = measured(*quick(0, 10), (10, 22), *quick(22, 40))
    assert 13 < stood.reach(23) < 13 + least + pace.TIMES * 0.02
    assert abs(stood.reach(30) - least - pace.TIMES * 0.01) < 1e-6          # that is over
    assert stood.stalls(1) == [(10, 22)]
    slow = measured(*quick(0, 10), (10, 12), *quick(12, 20))
    assert abs(slow.reach(13) - least - pace.TIMES * 2) < 1e-6
    assert abs(slow.reach(16.9) - least - pace.TIMES * 2) < 1e-6            # it ended within what is looked at


class Process:
    """Alive for so many looks; its end is seen by a thread that had no turn for long."""
    returncode = None

    def __init__(self, looks, late):
        self.looks, self.late = looks, late

    def poll(self):
        self.looks -= 1
        if self.looks < 0:
            time.sleep(self.late)
            self.returncode = -9
        return self.returncode


def test_a_death_that_is_noticed_late_is_one_since_the_daemon_was_seen_alive(tmp_path):
    one = daemon.Daemon("aqueduct", tmp_path, {"type": "local", "path": "./data"}, 1, 2, 3)
    one.process = Process(3, 0.3)
    before = time.monotonic()
    assert one.ended() is None
    seen = time.monotonic()
    assert one.ended(60) == -9
    (began, noticed), = one.deaths
    assert before <= one.lived == began and seen <= noticed - 0.3
    assert began <= noticed - 0.3


def test_what_waits_on_the_broker_may_come_at_any_moment():
    one, pair, other = books.Books(), ("/ledger", "batch-7-1"), ("/ledger", "batch-7-2")
    one.kept = {("many/guest-0", pair), (books.name_of("traveller-7"), pair)}
    assert one.may_come("many/guest-0", pair) and one.may_come("traveller", pair)
    assert not one.may_come("many/guest-1", pair) and not one.may_come("many/guest-0", other) and not one.may_come("moody", pair)
    one.kept, one.account = None, [{"sink": "many", "waiting": 3}, {"sink": "traveller-7", "waiting": 1}, {"sink": "moody", "waiting": 0}]
    assert one.may_come("many/guest-0", pair) and one.may_come("traveller", pair) and not one.may_come("moody", pair)
