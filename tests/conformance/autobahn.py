# SPDX-License-Identifier: MIT
"""Autobahn's WebSocket cases against an echo server, driven by kosoku: autobahn.py PORT MESSAGES. A line per case: id, verdict of the messages,
verdict of the close, and what was seen if it is not well.

MESSAGES is how many each case of deflate (12.*, 13.*) exchanges; Autobahn has 1000."""
import asyncio
import sys

import kosoku
from kosoku.cases import CASES


def taking_bytes(on_message):
    """Kosoku hands a message that came undeflated, which any message may, to these cases as text of its bytes."""
    def wrapped(case, message, binary):
        return on_message(case, message.encode("latin-1" if binary else "utf-8") if isinstance(message, str) else message, binary)
    return wrapped


async def main(port, messages):
    for name, case in CASES.items():
        if name.startswith(("12.", "13.")):
            case.COUNT = messages
            case.onMessage = taking_bytes(case.onMessage)
    try:
        results = await kosoku.run_fuzzingclient("127.0.0.1:%d" % port, None, None, concurrency=4)
    except kosoku.FailureError as failure:
        results = failure.results
    for one in results:
        print(one.case_id, one.behavior.value, one.behavior_close.value, one.result.replace("\n", " ") if one.behavior.value not in ("OK", "INFORMATIONAL") else "", sep="\t")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
