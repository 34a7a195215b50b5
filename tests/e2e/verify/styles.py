# SPDX-License-Identifier: MIT
"""Verifies signatures in the style of Slack with its own library: JSON lines {scheme, headers, body_base64, secret} in, one line each out."""
import base64
import json
import sys

from slack_sdk.signature import SignatureVerifier

for line in sys.stdin:
    request = json.loads(line)
    good = SignatureVerifier(request["secret"]).is_valid_request(base64.b64decode(request["body_base64"]), request["headers"])
    print("ok" if good else "failed slack: slack_sdk says no")
