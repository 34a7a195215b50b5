// SPDX-License-Identifier: MIT
// CloudEvents over HTTP by the CloudEvents project's library: JSON lines in, one line each out. {make: {attributes}, mode: "structured" |
// "binary"} becomes the {headers, body} that a sender posts; {read: {headers, body}} what a receiver makes of a post, after strict validation:
// an event, or the list of them that a batch holds.
import { createInterface } from "node:readline";
import { CloudEvent, HTTP } from "cloudevents";

for await (const line of createInterface({ input: process.stdin })) {
  if (!line.trim()) continue;
  const { make, mode, read } = JSON.parse(line);
  if (make) {
    const { headers, body } = HTTP[mode](new CloudEvent(make));
    console.log(JSON.stringify({ headers, body: typeof body === "string" ? body : JSON.stringify(body) }));
    continue;
  }
  const found = HTTP.toEvent(read);
  for (const event of [found].flat()) event.validate();
  console.log(JSON.stringify(found));
}
