// SPDX-License-Identifier: MIT
// Independent WebSocket clients, npm's ws and undici, against the echo program: node clients.mjs PORT FOLDER_OF_BOTH
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';

const [port, folder] = process.argv.slice(2);
const require = createRequire(folder + '/');
const WebSocket = require('ws');
const undici = require('undici');
const versions = [require('ws/package.json').version, require('undici/package.json').version];

const once = (ws, event) => new Promise((resolve, reject) => {
  const early = (code) => reject(new Error(`closed with ${code} before ${event}`));
  if (event !== 'close') ws.once('close', early);
  ws.once(event, (...args) => {
    ws.off('close', early);
    resolve(args);
  });
});

async function open(perMessageDeflate = false) {
  const ws = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate });
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

const text = Array.from({ length: 5000 }, (_, i) => `${i} bottles of beer on the wall`).join(', ');

async function deflated() {
  for (const options of [true, { threshold: 0 }, { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 9 }, { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true }]) {
    const ws = await open(options);
    assert.match(ws.extensions, /permessage-deflate/);
    for (const message of ['', 'hello', text, text.slice(0, 126), 'grüße \u{1f600}'.repeat(30), randomBytes(70000), randomBytes(100), Buffer.from(text)]) {
      const answer = once(ws, 'message');
      ws.send(message);
      const [data, binary] = await answer;
      assert.equal(binary, typeof message !== 'string');
      assert.ok(data.equals(Buffer.from(message)));
    }
    const answer = once(ws, 'message'), pong = once(ws, 'pong');
    ws.send(text.slice(0, 500), { fin: false, compress: true });
    ws.ping('between');
    ws.send(text.slice(500), { fin: true, compress: true });
    assert.equal((await pong)[0].toString(), 'between');
    assert.equal((await answer)[0].toString(), text);
    ws.close(1000);
    assert.equal((await once(ws, 'close'))[0], 1000);
  }
}

async function bomb() {
  const ws = await open({ threshold: 0 });
  ws.send(Buffer.alloc(1 << 20));
  assert.equal((await once(ws, 'close'))[0], 1009);
}

// It offers deflate, takes deflated messages, and sends none.
async function browserlike() {
  const ws = new undici.WebSocket(`ws://127.0.0.1:${port}/`);
  const event = (name) => new Promise((resolve) => ws.addEventListener(name, resolve, { once: true }));
  await event('open');
  assert.match(ws.extensions, /permessage-deflate/);
  for (const message of ['hello', text, 'grüße \u{1f600}'.repeat(30), 'x']) {
    const answer = event('message');
    ws.send(message);
    assert.equal((await answer).data, message);
  }
  const closed = event('close');
  ws.close(1000);
  assert.equal((await closed).code, 1000);
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

const checks = [echoes, deflated, bomb, browserlike, fragments, pings, closes, refused];
for (const check of checks) await check();
console.log(`npm ws ${versions[0]}, undici ${versions[1]}: ${checks.length} checks ok`);
