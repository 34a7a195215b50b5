// SPDX-License-Identifier: MIT
// Receives signed webhooks: npm install standardwebhooks; WEBHOOK_SECRET=whsec_... node receive.mjs 8000
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
const seen = new Set(); // in earnest: a table with a unique column, in the same transaction as what you do

const server = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts); // the bytes as they came: the signature is over them
  try {
    webhook.verify(body, request.headers);
  } catch (problem) {
    response.writeHead(400).end(problem.message);
    return;
  }
  if (!seen.has(request.headers["webhook-id"])) { // an event may come twice, with the same id
    seen.add(request.headers["webhook-id"]);
    const event = JSON.parse(body);
    console.log(event.type, event.id);
  }
  response.writeHead(204).end();
});
server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("listening on", server.address().port));
