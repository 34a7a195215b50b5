// SPDX-License-Identifier: MIT
// Receives webhooks the way people do: with Express as its guide shows it, and by the rule of n8n's webhook node, which parses a
// body as JSON when its media type is application/json and nothing else. Prints its port, then one JSON line per request:
// {path, type, body (as the handler gets it; null when nothing was parsed), verified (by the official library)}.
import express from "express";
import { Webhook } from "standardwebhooks";

const secret = process.argv[2];

function tell(request, raw, body) {
  let verified = "ok";
  try {
    new Webhook(secret).verify(raw, request.headers);
  } catch (problem) {
    verified = String(problem);
  }
  console.log(JSON.stringify({ path: request.path, type: request.headers["content-type"], body: body ?? null, verified }));
}

const keep = (request, _, bytes) => { request.raw = bytes; };
const app = express();
app.post("/express", express.json({ verify: keep }), express.raw({ type: "*/*", verify: keep }), (request, response) => {
  tell(request, request.raw, Buffer.isBuffer(request.body) ? null : request.body);
  response.sendStatus(204);
});
app.post("/n8n", express.raw({ type: "*/*" }), (request, response) => {
  const type = (request.headers["content-type"] ?? "").split(";")[0].trim().toLowerCase();
  tell(request, request.body, type === "application/json" ? JSON.parse(request.body.toString()) : null);
  response.sendStatus(204);
});
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
