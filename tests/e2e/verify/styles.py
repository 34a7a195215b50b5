# SPDX-License-Identifier: MIT
"""Verifies signatures in the style of Slack with its own library: JSON lines {scheme, headers, body_base64, secret} in, one line each out; of
{sign, body, secret} the headers with which the library sends the body."""
import base64
import json
import sys
import time

from slack_sdk.signature import SignatureVerifier

for line in sys.stdin:
    request = json.loads(line)
    if "sign" in request:
        now = str(int(time.time()))
        value = SignatureVerifier(request["secret"]).generate_signature(timestamp=now, body=request["body"])
        print(json.dumps({"X-Slack-Signature": value, "X-Slack-Request-Timestamp": now}))
        continue
    good = SignatureVerifier(request["secret"]).is_valid_request(base64.b64decode(request["body_base64"]), request["headers"])
    print("ok" if good else "failed slack: slack_sdk says no")
