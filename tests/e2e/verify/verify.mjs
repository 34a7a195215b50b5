// SPDX-License-Identifier: MIT
// Verifies signatures with both official libraries, and those by a pair of keys (whpk_), which they do not know, with Node's own Ed25519 by
// the words of the specification: JSON lines {id, timestamp, signature, body_base64, secret} in, one line each out:
// "ok", or "failed <library>: <why>". Exit code 1 when any failed. `now` (unix seconds) in a line sets the clock for it.
import { createPublicKey, verify as verifies } from "node:crypto";
import { createInterface } from "node:readline";
import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

const libraries = { standardwebhooks: Standard, svix: Svix };
const clock = Date.now;

function judgePair({ id, timestamp, signature, body_base64, secret }) {
  const x = Buffer.from(secret.slice("whpk_".length), "base64").toString("base64url");
  const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), Buffer.from(body_base64, "base64")]);
  const mine = signature.split(" ").filter((one) => one.startsWith("v1a,")).map((one) => Buffer.from(one.slice("v1a,".length), "base64"));
  return mine.some((one) => verifies(null, signed, key, one)) ? "ok" : "failed node: no v1a signature matches";
}

function judge(line) {
  if (JSON.parse(line).secret.startsWith("whpk_")) return judgePair(JSON.parse(line));
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
