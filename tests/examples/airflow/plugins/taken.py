# SPDX-License-Identifier: MIT
"""What becomes of a Kafka message; in plugins/, since the triggerer and the workers must both find it by its name."""
import json


def embedded(message):
    """The event's data, of an event in binary mode that says that a document can be searched now; None: another event."""
    if dict(message.headers() or []).get("ce_type") == b"document.embedded":
        return json.loads(message.value())
    return None
