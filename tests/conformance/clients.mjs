// SPDX-License-Identifier: MIT
// An independent WebSocket client, npm's ws, against the echo program: node clients.mjs PORT FOLDER_OF_WS
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';

const [port, folder] = process.argv.slice(2);
const require = createRequire(folder + '/');
const WebSocket = require('ws');
const { version } = require('ws/package.json');

const once = (ws, event) => new Promise((resolve, reject) => {
  const early = (code) => reject(new Error(`closed with ${code} before ${event}`));
  if (event !== 'close') ws.once('close', early);
  ws.once(event, (...args) => {
    ws.off('close', early);
    resolve(args);
  });
});

async function open() {
  const ws = new WebSocket(`ws://127.0.0.1:${port}/`);
  ws.on('error', () => {});
  await once(ws, 'open');
  return ws;
}

async function echoes() {
  const ws = await open();
  for (const message of ['', 'hello', 'grüße \u{1f600}', 'x'.repeat(126), 'x'.repeat(65536), 'y'.repeat(1 << 20), randomBytes(1 << 20), Buffer.alloc(0)]) {
    const answer = once(ws, 'message');
    ws.send(message);
    const [data, binary] = await answer;
    assert.equal(binary, typeof message !== 'string');
    assert.ok(data.equals(Buffer.from(message)));
  }
  ws.close(1000);
  assert.equal((await once(ws, 'close'))[0], 1000);
}

async function fragments() {
  const ws = await open();
  const answer = once(ws, 'message'), pong = once(ws, 'pong');
  ws.send('a', { fin: false });
  ws.send('b', { fin: false });
  ws.ping('between');
  ws.send('', { fin: false });
  ws.send('c', { fin: true });
  assert.equal((await pong)[0].toString(), 'between');
  assert.equal((await answer)[0].toString(), 'abc');
  ws.terminate();
}

async function pings() {
  const ws = await open();
  for (let i = 0; i < 100; i++) {
    const pong = once(ws, 'pong');
    ws.ping(`ping ${i}`);
    assert.equal((await pong)[0].toString(), `ping ${i}`);
  }
  ws.close();
  assert.equal((await once(ws, 'close'))[0], 1005);
}

async function closes() {
  for (const [code, reason] of [[1000, 'bye'], [1012, ''], [1014, 'x'], [3000, 'y'], [4999, 'z'.repeat(123)]]) {
    const ws = await open();
    ws.close(code, reason);
    assert.equal((await once(ws, 'close'))[0], code);
  }
}

async function refused() {
  const ws = await open();
  ws.send(Buffer.alloc(40 << 20));
  assert.equal((await once(ws, 'close'))[0], 1009);
}

const checks = [echoes, fragments, pings, closes, refused];
for (const check of checks) await check();
console.log(`npm ws ${version}: ${checks.length} checks ok`);
