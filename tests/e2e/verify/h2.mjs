// SPDX-License-Identifier: MIT
// An HTTP/2 receiver on a free port, with TLS: CERTIFICATE KEY. Prints the port, then a line of JSON per request:
// {version, connections (so far), id, signature, type, body}. What comes to /reset gets its stream reset.
import { readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";

const [certificate, key] = process.argv.slice(2);
const server = createSecureServer({ cert: readFileSync(certificate), key: readFileSync(key), allowHTTP1: true });
let connections = 0;
server.on("secureConnection", () => connections++);
server.on("request", async (request, response) => {
  let body = "";
  for await (const piece of request) body += piece;
  console.log(JSON.stringify({ version: request.httpVersion, connections, id: request.headers["webhook-id"],
    signature: request.headers["webhook-signature"], type: request.headers["content-type"], body }));
  const path = request.headers[":path"] ?? request.url;
  if (path === "/reset" && request.stream) return request.stream.close(2);
  response.statusCode = 204;
  response.end();
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
