#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Takes the events of an Aqueduct listener (a sink of type `websocket`), each at least once, with the standard library alone.

    AQUEDUCT_TOKEN=... python3 consume.py https://live.example.com/events nightly

The name is where it goes on the next time. Put what is to be done with an event into handle(); when that fails, the events
come again. `--once` ends when there is nothing more: for cron, or a task of Airflow."""
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request


def handle(event):
    print(json.dumps(event), flush=True)


def consume(url, name, token=None, once=False):
    done, failures = None, 0        # done: the cursor behind what was handled
    while True:
        query = {"position": name, "max": 100, "wait": 0 if once else 25, **({"ack": done} if done else {})}
        request = urllib.request.Request(f"{url}?{urllib.parse.urlencode(query)}", headers={"Accept": "application/json"})
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                page = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                sys.exit(f"{url}: {error.code} {error.read().decode(errors='replace')}")
            failures = pause(failures, f"status {error.code}")
            continue
        except OSError as error:
            failures = pause(failures, error)
            continue
        failures = 0
        if page["lost"]:
            print(f"{page['lost']} events are gone: they were removed before they were taken", file=sys.stderr)
        for event in page["events"]:
            handle(event)
        if once and not page["events"] and not page["more"]:
            return
        done = page["cursor"]


def pause(failures, why):
    seconds = min(30, 0.5 * 2 ** failures)
    print(f"{why}; again in {seconds} s", file=sys.stderr)
    time.sleep(seconds)
    return failures + 1


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--once"]
    if len(words) != 2:
        sys.exit(__doc__)
    consume(*words, token=os.environ.get("AQUEDUCT_TOKEN"), once="--once" in sys.argv)
