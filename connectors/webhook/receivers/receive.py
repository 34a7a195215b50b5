# SPDX-License-Identifier: MIT
"""Receives signed webhooks: pip install standardwebhooks; WEBHOOK_SECRET=whsec_... python3 receive.py 8000"""
import http.server
import json
import os
import sys

from standardwebhooks import Webhook

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
seen = set()        # in earnest: a table with a unique column, in the same transaction as what you do


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))     # the bytes as they came: the signature is over them
        try:
            webhook.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except Exception as problem:
            self.answer(400, str(problem))
            return
        if self.headers["webhook-id"] not in seen:                      # an event may come twice, with the same id
            seen.add(self.headers["webhook-id"])
            event = json.loads(body)
            print(event["type"], event["id"], flush=True)
        self.answer(204)

    def answer(self, status, text=""):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("listening on", server.server_port, flush=True)
server.serve_forever()
