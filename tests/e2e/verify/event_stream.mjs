// SPDX-License-Identifier: MIT
// Event streams as npm's eventsource and undici read them: node event_stream.mjs URL NAMES COUNT. Prints {client: [[name, data, id], ...]}.
import { EventSource as Npm } from "eventsource";
import { EventSource as Undici } from "undici";

const [url, names, count] = [process.argv[2], JSON.parse(process.argv[3]), Number(process.argv[4])];

function read(Client) {
  return new Promise((resolve, reject) => {
    const got = [];
    const source = new Client(url);
    for (const name of names)
      source.addEventListener(name, (event) => {
        got.push([event.type, event.data, event.lastEventId]);
        if (got.length === count) source.close(), resolve(got);
      });
    source.addEventListener("error", (event) => source.readyState === 2 && reject(new Error(event.message ?? "refused")));
  });
}

const [npm, undici] = await Promise.all([read(Npm), read(Undici)]);
process.stdout.write(JSON.stringify({ "npm eventsource": npm, undici }), () => process.exit(0));
