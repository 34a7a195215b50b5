// SPDX-License-Identifier: MIT
// Decodes Kafka records with the CloudEvents project's library: JSON lines {headers, value_base64} in, the event as a JSON line out.
import { createInterface } from "node:readline";
import { Kafka } from "cloudevents";

for await (const line of createInterface({ input: process.stdin })) {
  if (!line.trim()) continue;
  const { headers, value_base64 } = JSON.parse(line);
  const value = Buffer.from(value_base64, "base64").toString("utf8");
  const event = Kafka.toEvent({ headers, value, body: value });
  event.validate();
  console.log(JSON.stringify(event));
}
