// SPDX-License-Identifier: MIT
// Receivers with the rules of those that webhooks are sent to, on Express. Prints its port, then one JSON line per request: {path, status (0: none, the
// connection is cut), body (as the receiver understands it)}.
import express from "express";

const app = express();
const fields = (body, ...names) => body && typeof body === "object" && Object.keys(body).every((name) => names.includes(name));
const isText = (value, most) => typeof value === "string" && value.length > 0 && value.length <= most;

function post(path, parse, rule) {
  app.post(path, parse, (request, response) => {
    const [status, answer] = rule(request.body ?? {}, request);
    console.log(JSON.stringify({ path: request.path, status, body: request.body ?? null }));
    if (status === 0) return request.socket.destroy();
    response.status(status).send(answer);
  });
}

// Slack: JSON with a text; & < > only as entities, or what people wrote could call a channel.
post("/services/:token", express.json(), (body) =>
  !fields(body, "text", "blocks", "attachments") ? [400, "invalid_payload"]
  : !isText(body.text, 40000) ? [400, "no_text"]
  : /[<>]|&(?!amp;|lt;|gt;)/.test(body.text) ? [400, "calls somebody"] : [200, "ok"]);

// Discord: a content of 1 to 2000 characters.
post("/api/webhooks/:id/:token", express.json(), (body) =>
  !fields(body, "content", "username", "embeds", "allowed_mentions") || !isText(body.content, 2000) ? [400, { code: 50006 }]
  : body.allowed_mentions?.parse?.length === 0 ? [204] : [400, { code: 50035 }]);

// Teams: a message with adaptive cards.
post("/workflows/:id", express.json(), (body) => {
  const cards = body.type === "message" && Array.isArray(body.attachments) ? body.attachments : [];
  const good = cards.length > 0 && cards.every((card) => card.contentType === "application/vnd.microsoft.card.adaptive"
    && card.content.type === "AdaptiveCard" && typeof card.content.version === "string"
    && card.content.body.every((block) => block.type === "TextBlock" && isText(block.text, 28000)));
  return good ? [202] : [400, "BadRequest"];
});

// Airflow 3: a token, known fields alone, an id of certain characters, and one run per id.
const runs = new Set();
const logins = [];      // how often each token was used
post("/auth/token", express.json(), (body) => {
  if (!fields(body, "username", "password")) return [422, { detail: [{ type: "extra_forbidden", input: body }] }];
  if (body.username !== "bridge" || body.password !== 'pass"word') return [401, { input: body }];
  return [201, { access_token: `issued.token.${logins.push(0)}` }];
});
function tokenFits(request) {     // of the DAG "logged": one that was issued; the first one ends with its third request
  const number = /^Bearer issued\.token\.(\d+)$/.exec(request.headers.authorization)?.[1];
  if (request.params.dag !== "logged") return request.headers.authorization === "Bearer a-token-of-airflow";
  return number > 0 && (logins[number - 1]++ < 3 || number > 1);
}
post("/api/v2/dags/:dag/dagRuns", express.json(), (body, request) => {
  if (!tokenFits(request)) return [401, { detail: "Token expired" }];
  if (!fields(body, "dag_run_id", "logical_date", "conf", "note", "data_interval_start", "data_interval_end", "run_after")
      || !("logical_date" in body) || (body.conf !== undefined && typeof body.conf !== "object")
      || !/^[A-Za-z0-9_.~:+-]+$/.test(body.dag_run_id)) return [422, { detail: "unprocessable" }];
  if (runs.has(body.dag_run_id)) return [409, { detail: "DagRun already exists" }];
  runs.add(body.dag_run_id);
  if (body.conf?.type === "answer.lost") return [0];
  return [200, { dag_run_id: body.dag_run_id, state: "queued" }];
});

// n8n: JSON is parsed for exactly this media type; whatever came, the answer is 200.
post("/webhook/:id", express.json({ type: (request) => request.headers["content-type"] === "application/json" }),
  () => [200, { message: "Workflow was started" }]);

// Flowise: its own key, and a question.
post("/api/v1/prediction/:flow", express.json(), (body, request) =>
  request.headers.authorization !== "Bearer a-key-of-flowise" ? [401, { error: "Unauthorized Access" }]
  : !isText(body.question, 100000) ? [400, { error: "question is required" }] : [200, { text: "an answer" }]);

// Zapier: flat JSON is best; everything is taken.
post("/hooks/catch/:user/:zap", express.json(), () => [200, { status: "success" }]);

const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
