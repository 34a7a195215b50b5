# SPDX-License-Identifier: MIT
"""How long it takes at this moment to write down a position, measured beside the daemon: what finished within that time and the
interval between two commits may come again after a crash, on a machine of any speed.

On Kafka the measure is a commit of a group of our own, on the local log a record that is synced to the same disk."""
import bisect
import os
import socket
import struct
import threading
import time

EVERY = 0.05                    # seconds from one measure to the next
LOOK_BACK = 5                   # so long before a moment counts for it
INTERVAL = 0.2                  # of the daemon's commits
MARGIN, TIMES = 0.3, 6          # the daemon is no faster than so many measures: an answer is read, judged, due, queued, written and synced


class LocalMeasure:
    def __init__(self, folder):
        self.file = os.open(os.path.join(folder, "pace"), os.O_CREAT | os.O_WRONLY)

    def once(self):
        os.pwrite(self.file, b"a position" * 100, 0)
        os.fdatasync(self.file)
        return True


class KafkaMeasure:
    """OffsetCommit (version 2) of one position, by a group without members."""
    STORED = (0, 3)             # 3: the topic is not there yet, which was answered in time as well

    def __init__(self, *ports):
        self.ports, self.connection = ports, None       # of the nodes, one of which has our group
        text = lambda s: struct.pack(">h", len(s)) + s
        body = (text(b"ledger.pace") + struct.pack(">i", -1) + text(b"") + struct.pack(">q", -1) + struct.pack(">i", 1) + text(b"hooks.in")
                + struct.pack(">iiq", 1, 0, 0) + text(b""))
        request = struct.pack(">hhi", 8, 2, 1) + text(b"pace") + body
        self.request = struct.pack(">i", len(request)) + request

    def once(self):
        try:
            if not self.connection:
                self.connection = socket.create_connection(("127.0.0.1", self.ports[0]), timeout=10)
            self.connection.sendall(self.request)
            if struct.unpack(">h", self._answer()[-2:])[0] in self.STORED:
                return True
        except OSError:
            pass
        if self.connection:
            self.connection.close()
        self.connection = None
        self.ports = self.ports[1:] + self.ports[:1]
        return False

    def _answer(self):
        return self._bytes(struct.unpack(">i", self._bytes(4))[0])

    def _bytes(self, n):
        got = b""
        while len(got) < n:
            more = self.connection.recv(n - len(got))
            if not more:
                raise ConnectionError
            got += more
        return got


class Pace(threading.Thread):
    """Measures all the time; a measure begins when it is due and ends when a position is stored, however often it takes."""

    def __init__(self, measure):
        super().__init__(daemon=True)
        self.measure = measure
        self.lock = threading.Lock()
        self.began, self.ended = [], []         # of the measures; the last may be without an end
        self.over = False

    def run(self):
        due = time.monotonic()
        while not self.over:
            with self.lock:
                self.began.append(due)
            while not self.over and not self.measure.once():
                time.sleep(0.01)
            now = time.monotonic()
            with self.lock:
                self.ended.append(now)
            due = max(now, due + EVERY)
            time.sleep(max(due - time.monotonic(), 0))

    def reach(self, moment):
        """So many seconds before that moment a position may not have been stored yet. A measure that takes longer than we look back, and may
        still be under way, is the broker standing still: nothing that was finished since it began is noted for sure."""
        with self.lock:
            first, last = bisect.bisect_left(self.ended, moment - LOOK_BACK), bisect.bisect_left(self.began, moment)
            measures = [(begin, min(end, moment) - begin) for begin, end in zip(self.began[first:last], self.ended[first:last] + [moment])]
        stood = max((moment - begin for begin, took in measures if took > LOOK_BACK), default=0)
        return INTERVAL + MARGIN + TIMES * max((took for _, took in measures if took <= LOOK_BACK), default=0) + stood

    def stalls(self, least):
        """[(from, to)]: when a measure took longer than that."""
        with self.lock:
            return [(begin, end) for begin, end in zip(self.began, self.ended) if end - begin > least]

    def stored_again(self, after, wait=60):
        """When the first position was stored that was measured from then on; after + wait at the latest."""
        while time.monotonic() < after + wait:
            with self.lock:
                at = bisect.bisect_right(self.ended, after)
                if at < len(self.ended):
                    return self.ended[at]
            time.sleep(0.02)
        return after + wait
