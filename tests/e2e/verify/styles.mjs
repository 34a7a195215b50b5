// SPDX-License-Identifier: MIT
// Verifies signatures in the styles of GitHub and Stripe with their own libraries: JSON lines {scheme, headers, body_base64, secret} in, one
// line each out: "ok" or "failed <why>". Of {sign: <library>, body, secret} it prints the headers with which that library sends the body;
// {sign, secret} alone gives GitHub's signature of a text.
import { createInterface } from "node:readline";
import { sign as github_sign, verify as github } from "@octokit/webhooks-methods";
import { Webhook as Standard } from "standardwebhooks";
import Stripe from "stripe";
import { Webhook as Svix } from "svix";

const judges = {
  github: async (headers, body, secret) => {
    if (!(await github(secret, body, headers["x-hub-signature-256"]))) throw new Error("octokit says no");
  },
  stripe: async (headers, body, secret) => Stripe.webhooks.constructEvent(body, headers["stripe-signature"], secret),
};

const now = new Date();
const webhook = (prefix, value) => ({ [`${prefix}-id`]: "m-1", [`${prefix}-timestamp`]: String(Math.floor(now / 1000)), [`${prefix}-signature`]: value });
const signers = {
  octokit: async (body, secret) => ({ "X-Hub-Signature-256": await github_sign(secret, body), "X-GitHub-Delivery": "d-1", "X-GitHub-Event": "push" }),
  stripe: async (payload, secret) => ({ "Stripe-Signature": Stripe.webhooks.generateTestHeaderString({ payload, secret }) }),
  standardwebhooks: async (body, secret) => webhook("webhook", new Standard(secret).sign("m-1", now, body)),
  svix: async (body, secret) => webhook("svix", new Svix(secret).sign("m-1", now, body)),
};

for await (const line of createInterface({ input: process.stdin })) {
  if (!line.trim()) continue;
  const { scheme, headers, body_base64, secret, sign, body: text } = JSON.parse(line);
  if (sign) {
    console.log(text === undefined ? await github_sign(secret, sign) : JSON.stringify(await signers[sign](text, secret)));
    continue;
  }
  const body = Buffer.from(body_base64, "base64").toString("utf8");
  console.log(await judges[scheme](headers, body, secret).then(() => "ok", (problem) => `failed ${scheme}: ${problem.message.split("\n")[0]}`));
}
