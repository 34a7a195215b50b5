// SPDX-License-Identifier: MIT
// Verifies signatures with both official libraries: JSON lines {id, timestamp, signature, body_base64, secret} in, one line each out:
// "ok", or "failed <library>: <why>". Exit code 1 when any failed. `now` (unix seconds) in a line sets the clock for it.
import { createInterface } from "node:readline";
import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

const libraries = { standardwebhooks: Standard, svix: Svix };
const clock = Date.now;

function judge(line) {
  const { id, timestamp, signature, body_base64, secret, now } = JSON.parse(line);
  const body = Buffer.from(body_base64, "base64").toString("utf8");
  const headers = { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature };
  const options = secret.startsWith("whsec_") ? undefined : { format: "raw" };
  Date.now = now === undefined ? clock : () => now * 1000;
  for (const [name, Webhook] of Object.entries(libraries)) {
    try {
      new Webhook(secret, options).verify(body, headers);
    } catch (e) {
      return `failed ${name}: ${e.message}`;
    }
  }
  return "ok";
}

let failed = false;
for await (const line of createInterface({ input: process.stdin })) {
  if (!line.trim()) continue;
  const verdict = judge(line);
  failed ||= verdict !== "ok";
  console.log(verdict);
}
process.exitCode = failed ? 1 : 0;
