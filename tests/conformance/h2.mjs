// SPDX-License-Identifier: MIT
// An independent client of HTTP/2, that of Node.js, against the echo program: node h2.mjs http://127.0.0.1:PORT
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import http2 from 'node:http2';

const [url] = process.argv.slice(2);
const { HTTP2_HEADER_STATUS: STATUS, NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM } = http2.constants;
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');

function open() {
  const session = http2.connect(url, { rejectUnauthorized: false, maxOutstandingPings: 10000 });
  session.on('error', () => {});
  return session;
}

function ask(session, headers, body) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': '/', ...headers }, { endStream: body === undefined });
    const parts = [];
    let status;
    stream.on('response', (head) => { status = head[STATUS]; });
    stream.on('data', (part) => parts.push(part));
    stream.on('error', reject);
    stream.on('close', () => resolve({ status, body: Buffer.concat(parts), code: stream.rstCode }));
    if (body !== undefined) stream.end(body);
  });
}

async function answers() {
  const session = open();
  const got = await ask(session, { ':method': 'GET' });
  assert.equal(got.status, 200);
  assert.equal(got.body.toString(), 'aqueduct echo\n');
  session.close();
}

async function echoes() {
  const session = open();
  const bodies = ['', 'hello', 'x'.repeat(65535), randomBytes(3 << 20), ...Array.from({ length: 300 }, (_, i) => randomBytes(i * 37))];
  const got = await Promise.all(bodies.map((body) => ask(session, { ':method': 'POST' }, body)));
  got.forEach((answer, i) => {
    assert.equal(answer.status, 200);
    assert.equal(digest(answer.body), digest(bodies[i]));
  });
  session.close();
}

async function refusals() {
  const session = open();
  assert.equal((await ask(session, { ':method': 'GET', 'x-long': 'y'.repeat(40000) })).status, 431);
  assert.equal((await ask(session, { ':method': 'POST', 'content-length': String(1 << 30) }, undefined).catch(() => ({ status: 'reset' }))).status, 'reset');
  assert.equal((await ask(session, { ':method': 'GET', ':path': '/\\' })).status, 400);
  assert.equal((await ask(session, { ':method': 'POST' }, 'still there')).status, 200);
  session.close();
}

async function cancels() {
  const session = open();
  for (let i = 0; i < 50; i++) {
    const stream = session.request({ ':method': 'POST', ':path': '/' });
    stream.on('error', () => {});
    stream.write('part');
    await new Promise((resolve) => setImmediate(resolve));
    stream.close(NGHTTP2_CANCEL);
  }
  assert.equal((await ask(session, { ':method': 'POST' }, 'still there')).status, 200);
  session.close();
}

async function floods() {
  const session = open();
  const away = new Promise((resolve) => session.on('goaway', (code) => resolve(code)));
  for (let i = 0; i < 2000 && !session.destroyed; i++) {
    session.ping(() => {});
    if (i % 9 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(await away, NGHTTP2_ENHANCE_YOUR_CALM);
}

const checks = [answers, echoes, refusals, cancels, floods];
for (const check of checks) {
  await check();
}
console.log(`node ${process.version} http2 (${url.split(':')[0]}): ${checks.length} checks ok`);
