# SPDX-License-Identifier: MIT
"""A collector of traces: takes OTLP over HTTP in JSON and reads it with OpenTelemetry's own messages.

    collector.py [STATUS ...]       how the first requests are answered; all others with 200; 503 with Retry-After

Prints its port, then a line of JSON for each request: the headers and the spans, or what is wrong with it."""
import base64
import gzip
import http.server
import json
import re
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

STATUSES = [int(word) for word in sys.argv[1:]]


def in_base64(value):
    """OTLP's JSON has ids in hex where that of protobuf has base64, and 64-bit numbers only as texts."""
    if isinstance(value, list):
        return [in_base64(one) for one in value]
    if not isinstance(value, dict):
        return value
    for name, length in (("traceId", 32), ("spanId", 16), ("parentSpanId", 16)):
        if name in value:
            assert re.fullmatch("[0-9a-f]{%d}" % length, value[name]) and set(value[name]) != {"0"}, (name, value[name])
            value[name] = base64.b64encode(bytes.fromhex(value[name])).decode()
    for name in ("startTimeUnixNano", "endTimeUnixNano", "intValue"):
        assert isinstance(value.get(name, ""), str), (name, value[name])
    return {name: in_base64(one) for name, one in value.items()}


def read(body):
    request = json_format.Parse(json.dumps(in_base64(json.loads(body))), ExportTraceServiceRequest())
    for resource in request.resource_spans:
        service = {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"]
        for scope in resource.scope_spans:
            for s in scope.spans:
                assert s.start_time_unix_nano <= s.end_time_unix_nano
                yield {"service": service, "trace": s.trace_id.hex(), "id": s.span_id.hex(), "parent": s.parent_span_id.hex(), "name": s.name,
                       "kind": s.kind, "status": s.status.code, "why": s.status.message, "began": s.start_time_unix_nano, "ended": s.end_time_unix_nano,
                       **{a.key: a.value.string_value or a.value.int_value for a in s.attributes}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = STATUSES.pop(0) if STATUSES else 200
        said = {"status": status, "path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}}
        try:
            assert self.headers["Content-Encoding"] == "gzip" and self.headers["Content-Type"] == "application/json"
            said["spans"] = list(read(gzip.decompress(body)))
        except (AssertionError, ValueError, json_format.ParseError, KeyError) as e:
            said["wrong"] = repr(e)
        print(json.dumps(said), flush=True)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        if status == 503:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(b"{}")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
