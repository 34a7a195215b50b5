// SPDX-License-Identifier: MIT
// Verifies signatures in the styles of GitHub and Stripe with their own libraries: JSON lines {scheme, headers, body_base64, secret} in, one
// line each out: "ok" or "failed <why>". {sign, secret} gives GitHub's signature of a text.
import { createInterface } from "node:readline";
import { sign as github_sign, verify as github } from "@octokit/webhooks-methods";
import Stripe from "stripe";

const judges = {
  github: async (headers, body, secret) => {
    if (!(await github(secret, body, headers["x-hub-signature-256"]))) throw new Error("octokit says no");
  },
  stripe: async (headers, body, secret) => Stripe.webhooks.constructEvent(body, headers["stripe-signature"], secret),
};

for await (const line of createInterface({ input: process.stdin })) {
  if (!line.trim()) continue;
  const { scheme, headers, body_base64, secret, sign } = JSON.parse(line);
  if (sign) {
    console.log(await github_sign(secret, sign));
    continue;
  }
  const body = Buffer.from(body_base64, "base64").toString("utf8");
  console.log(await judges[scheme](headers, body, secret).then(() => "ok", (problem) => `failed ${scheme}: ${problem.message.split("\n")[0]}`));
}
