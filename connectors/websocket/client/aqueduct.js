// SPDX-License-Identifier: MIT
/**
 * Events of an Aqueduct listener (a sink of type `websocket`), in a browser or in Node: one file, no dependency.
 *
 *     import { listen } from "./aqueduct.js";
 *     const stream = listen("https://live.example.com/", { topics: ["ai.chats"], token: () => session.token() });
 *     for await (const event of stream) console.log(event.type, event.data, stream.position);
 *
 * It connects by WebSocket, else by server-sent events, else by long-polling, and goes on where it was when a connection
 * breaks: the log of the server is the queue, so nothing is lost and nothing comes twice. What the server's retention
 * took in between is told by `onGap`. `stream.position` is behind the event that was handed out last: keep it, and give it
 * as `from` the next time; or give a `name`, and let the server keep what `stream.ack()` acknowledges.
 *
 * The URL alone drives a WebSocket, unless there is a `name` or `publishes`: then it speaks aqueduct.v1+json.
 *
 * @module
 */

/**
 * @typedef {object} CloudEvent
 * @property {"1.0"} specversion
 * @property {string} id
 * @property {string} source
 * @property {string} type
 * @property {string} [subject]
 * @property {string} [time]
 * @property {unknown} [data]
 *
 * @typedef {object} Gap
 * @property {"gap" | "reset" | "skipped"} resume what became of the position
 * @property {Record<string, number> | number} [lost] how many records are gone, by "topic/partition" or together
 *
 * @typedef {object} State
 * @property {"connecting" | "open" | "waiting" | "closed"} state
 * @property {"websocket" | "sse" | "poll"} [transport]
 * @property {number} [retryMs] of waiting: until the next try
 * @property {string} [reason] why it is not open
 *
 * @typedef {object} Options
 * @property {string[]} [topics] none: all of the sink
 * @property {string} [type] of this type; "chat.*": all that begin so
 * @property {string} [subject]
 * @property {string} [source]
 * @property {object | object[]} [filter] in the language of the configuration
 * @property {string} [from] "latest" (default), "earliest", "last:20", a time (RFC 3339), or a position
 * @property {string | ((why: {refused: boolean}) => string | Promise<string>)} [token] asked for at each connection; `refused`:
 *   the last one was
 * @property {string} [name] where the server keeps what is acknowledged: another stream of this name goes on there, and `from` is
 *   where a new one begins (default: with all there is). By WebSocket or long-polling
 * @property {number} [window] with `name`: most events that come before one is acknowledged (default 500; WebSocket alone)
 * @property {boolean} [publishes] `publish` goes by the WebSocket, not by a request of its own
 * @property {("websocket" | "sse" | "poll")[]} [transports] which, in which order
 * @property {number} [limit] most events that wait for the reader; beyond, the connection rests (default 10000)
 * @property {(event: CloudEvent, position: string | null) => void} [onEvent] in the place of the iterator
 * @property {(gap: Gap) => void} [onGap]
 * @property {(state: State) => void} [onState]
 */

const FIRST_WAIT_MS = 500, LONGEST_WAIT_MS = 30000, SILENCE_MS = 60000, FIRST_BYTES_MS = 10000, POLL_WAIT_S = 25, REMEMBERED = 1024, TRIES = 2, PATIENCE_MS = 30000;
const BEARER = "base64url.bearer.aqueduct.", CURSOR = "aqueductcursor";

/** An error after which another try is of no use. */
export class Refused extends Error {
  /** @param {string} message @param {number} code an HTTP status or a close code */
  constructor(message, code) {
    super(message);
    this.name = "Refused";
    this.code = code;
    this.waitMs = 0; // to another transport, if there is one
  }
}

/** A connection ended; `waitMs` is what the server said of when to come back; `next`: by another transport. */
class Ended extends Error {
  constructor(message, { waitMs = null, opened = false, next = false } = {}) {
    super(message);
    this.waitMs = waitMs;
    this.opened = opened;
    this.next = next;
  }
}

/** What tells an event from others. Ids are those of each publisher, so that source and id are not enough: all but the data. */
const keyOf = ({ data, data_base64, ...attributes }) => JSON.stringify(attributes);

const base64url = (text) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(text))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/** Is it of use to come back after this close code? */
function isLasting(code) {
  if (code >= 4000) return code < 4500 && ![4408, 4410, 4429, 4430].includes(code);
  return [1003, 1008, 1009, 1010].includes(code);
}

/** May another transport do better? A proxy in between, or an older server, may not know this one. */
function isOfTransport(status) {
  return [400, 404, 405, 426, 501].includes(status);
}

/** A stream of events: an async iterable, or by callbacks. */
export class Stream {
  #url;
  #options;
  #queue = [];
  #wake = null; // of the reader that waits
  #room = null; // of the connection that waits for the reader
  #abort = new AbortController();
  #received = null; // the position behind what came last
  #seen = new Set();
  #failures = 0;
  #refused = false; // the last token was
  #end = null; // {error}
  #talk = null; // the WebSocket that speaks aqueduct.v1
  #asked = new Map(); // what waits for its answer there, by id
  #number = 0;

  /** The position behind the event that was handed out last; null: none is known yet. @type {string | null} */
  position = null;

  /** @param {string | URL} url @param {Options} [options] */
  constructor(url, options = {}) {
    this.#url = new URL(String(url).replace(/^ws/, "http"), globalThis.location?.href);
    this.#options = { from: options.name ? undefined : "latest", transports: options.name ? ["websocket", "poll"] : ["websocket", "sse", "poll"], limit: 10000, ...options };
    if (options.name && this.#options.transports.includes("sse")) throw new TypeError("a name goes by websocket or poll");
    queueMicrotask(() => this.#run()); // nobody is called back before the stream is known
  }

  /** Ends the stream; what waits for the reader is still handed out. */
  close() {
    this.#finish(null);
  }

  /**
   * Everything up to the position is done: the name stands there, durably, when the promise is fulfilled. What was not acknowledged
   * comes again, to whoever listens by this name.
   * @param {string | null} [position] behind which event; none: the one that was handed out last
   * @returns {Promise<void>}
   */
  async ack(position = this.position) {
    if (!this.#options.name) throw new TypeError("a stream without a name acknowledges nothing");
    if (!position) return;
    if (this.#talk) await this.#ask({ op: "ack", sub: "s", pos: position });
    else await this.#fetch(this.#events({ position: this.#options.name, ack: position, max: "1" }), "application/json", this.#abort.signal);
  }

  /**
   * Publishes an event, if the server lets this token: a CloudEvent, or {type, content, sessionId}. Fulfilled when it is stored.
   * After an error that may pass (`temp`), the same may be published again, under the same id: it is not stored twice.
   * @param {object} event
   * @returns {Promise<{id: string}>}
   */
  async publish(event) {
    if (this.#talk) return { id: (await this.#ask({ op: "pub", event })).event };
    const token = await this.#token();
    const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    const answer = await fetch(this.#url, { method: "POST", headers, body: JSON.stringify(event), signal: this.#abort.signal });
    const said = await answer.json();
    if (answer.ok) return { id: said.event };
    throw Object.assign(new Refused(said.why ?? said.detail ?? `the server answered with status ${answer.status}`, said.code ?? answer.status), { temp: said.temp ?? answer.status >= 500 });
  }

  async *[Symbol.asyncIterator]() {
    try {
      for (;;) {
        while (this.#queue.length) {
          const { event, position } = this.#queue.shift();
          if (this.#room && this.#queue.length < this.#options.limit / 2) this.#room();
          this.position = position ?? this.position;
          yield event;
        }
        if (this.#end) break;
        await new Promise((resolve) => (this.#wake = resolve));
      }
      if (this.#end.error) throw this.#end.error;
    } finally {
      this.close();
    }
  }

  // ---- what came ----

  #take(event, position) {
    this.#received = position ?? this.#received;
    const key = keyOf(event);
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value);
    if (this.#options.onEvent) {
      this.position = this.#received;
      this.#options.onEvent(event, this.position);
      return;
    }
    this.#queue.push({ event, position: this.#received });
    this.#wake?.();
  }

  #gap(what) {
    if (["gap", "reset", "skipped"].includes(what.resume)) this.#options.onGap?.(what);
  }

  #say(state) {
    this.#options.onState?.(state);
  }

  #finish(error) {
    if (this.#end) return;
    this.#end = { error };
    this.#abort.abort();
    this.#say({ state: "closed", reason: error?.message });
    this.#wake?.();
    this.#room?.();
  }

  get #isFull() {
    return this.#queue.length >= this.#options.limit;
  }

  /** Until the reader has room. */
  async #rest() {
    while (this.#isFull && !this.#end) await new Promise((resolve) => (this.#room = resolve));
    this.#room = null;
  }

  // ---- connections ----

  async #run() {
    const transports = this.#options.transports.filter((name) => name !== "websocket" || globalThis.WebSocket);
    for (let i = 0, tries = 0, refused = 0; !this.#end; ) {
      const transport = transports[i];
      let ended;
      try {
        this.#say({ state: "connecting", transport });
        await this.#rest();
        await this.#connect(transport);
        ended = new Ended("the stream ended", { opened: true });
      } catch (error) {
        ended = error;
      }
      if (this.#end) return;
      if (ended instanceof Refused && (!isOfTransport(ended.code) || ++refused >= transports.length)) return this.#finish(ended);
      const opened = ended instanceof Ended && ended.opened;
      refused = opened ? 0 : refused;
      tries = opened ? 0 : ended instanceof Refused || ended.next ? TRIES : tries + 1;
      this.#failures = opened ? 0 : this.#failures + 1;
      if (tries >= TRIES) {
        i = (i + 1) % transports.length;
        tries = 0;
      }
      await this.#wait(ended, transports[i]);
    }
  }

  async #wait(ended, transport) {
    const most = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(this.#failures, 10));
    const retryMs = Math.round(ended.waitMs ?? most / 2 + Math.random() * (most / 2));
    this.#say({ state: "waiting", transport, retryMs, reason: ended.message });
    await new Promise((resolve) => {
      const timer = setTimeout(done, retryMs);
      const signal = this.#abort.signal;
      function done() {
        clearTimeout(timer);
        globalThis.removeEventListener?.("online", done);
        signal.removeEventListener("abort", done);
        resolve();
      }
      signal.addEventListener("abort", done);
      globalThis.addEventListener?.("online", done);
    });
  }

  #connect(transport) {
    if (transport === "websocket") return this.#webSocket();
    if (transport === "sse") return this.#eventStream();
    if (transport === "poll") return this.#poll();
    throw new Refused(`there is no transport ${transport}`, 0);
  }

  /** The URL of the listener's events, with no more than that. */
  #events(more) {
    const url = new URL(this.#url);
    url.pathname = url.pathname.replace(/\/$/, "") + "/events";
    for (const [name, value] of Object.entries(more)) url.searchParams.set(name, value);
    return url;
  }

  /** The listener's URL, or that of its events, with what is asked for. */
  #target(events, more = {}) {
    const { topics, type, subject, source, filter, from } = this.#options;
    const url = events ? this.#events({}) : new URL(this.#url);
    const asked = { topics: topics?.join(","), type, subject, source, filter: filter && JSON.stringify(filter), from: this.#received ?? from, ...more };
    for (const [name, value] of Object.entries(asked)) if (value) url.searchParams.set(name, value);
    return url;
  }

  async #token() {
    const { token } = this.#options;
    return typeof token === "function" ? await token({ refused: this.#refused }) : token;
  }

  /** A request whose answer is fine; else Refused or Ended. */
  async #fetch(url, accept, signal) {
    const token = await this.#token();
    const headers = { Accept: accept, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    let answer;
    try {
      answer = await fetch(url, { headers, signal, cache: "no-store" });
    } catch (error) {
      throw new Ended(error.message);
    }
    if (answer.status === 200) {
      this.#refused = false;
      return answer;
    }
    const detail = await answer.json().then((problem) => problem.detail, () => null);
    const why = detail ?? `the server answered with status ${answer.status}`;
    if (answer.status === 204) throw new Refused("the server has no more events", 204);
    if (answer.status === 401 && typeof this.#options.token === "function" && !this.#refused) {
      this.#refused = true;
      throw new Ended(why, { waitMs: 0 });
    }
    if (answer.status < 500 && ![408, 425, 429].includes(answer.status)) throw new Refused(why, answer.status);
    const after = Number(answer.headers.get("Retry-After"));
    throw new Ended(why, { waitMs: after ? after * 1000 * (1 + Math.random() / 2) : null });
  }

  /** A signal that fires when nothing was heard for a while, at first for a short one, or at the end. */
  #silence() {
    const control = new AbortController();
    let timer;
    const heard = (_, ms = SILENCE_MS) => {
      clearTimeout(timer);
      timer = setTimeout(() => control.abort(new Error(`nothing was heard for ${ms / 1000} seconds`)), ms);
    };
    const end = () => control.abort();
    this.#abort.signal.addEventListener("abort", end);
    heard(null, FIRST_BYTES_MS);
    return {
      signal: control.signal,
      heard,
      done: () => {
        clearTimeout(timer);
        this.#abort.signal.removeEventListener("abort", end);
      },
    };
  }

  // ---- WebSocket ----

  async #webSocket() {
    const talks = Boolean(this.#options.name || this.#options.publishes);
    // A refused handshake does not say why, and a position is needed for a break before the first event.
    if (!talks && !this.#received && this.#options.from === "latest") await this.#first();
    const token = await this.#token();
    const url = talks ? new URL(this.#url) : this.#target(false, { cursor: "1" });
    url.protocol = url.protocol.replace("http", "ws");
    const protocols = [talks ? "aqueduct.v1+json" : "cloudevents.json", ...(token ? [BEARER + base64url(token)] : [])];
    const socket = new WebSocket(url, protocols);
    let opened = false;
    const end = () => socket.close(1000);
    this.#abort.signal.addEventListener("abort", end);
    const state = { waitMs: null };
    try {
      await new Promise((resolve, reject) => {
        const open = () => {
          opened = true;
          this.#refused = false;
          this.#say({ state: "open", transport: "websocket" });
        };
        socket.onopen = () => {
          if (!talks) return open();
          this.#talk = socket;
          this.#subscribe().then(open, (error) => {
            reject(error.temp ? new Ended(error.message) : error);
            socket.close(1000);
          });
        };
        socket.onmessage = (message) => {
          if (typeof message.data !== "string") return;
          if (talks) this.#hear(JSON.parse(message.data), state);
          else this.#hearEvent(JSON.parse(message.data));
          if (this.#isFull) socket.close(1000); // comes back from there
        };
        socket.onclose = ({ code, reason }) => {
          if (isLasting(code)) return reject(new Refused(reason || `closed with ${code}`, code));
          const said = /come back in (\d+) ms/.exec(reason);
          if (!opened && !this.#talk) return resolve(this.#whyNot());
          reject(new Ended(reason || `closed with ${code}`, { opened, waitMs: said ? Number(said[1]) : this.#isFull ? 0 : state.waitMs }));
        };
      });
    } finally {
      this.#abort.signal.removeEventListener("abort", end);
      this.#talk = null;
      for (const { reject } of this.#asked.values()) reject(Object.assign(new Ended("the connection ended"), { temp: true }));
      this.#asked.clear();
    }
  }

  #hearEvent(event) {
    const position = event[CURSOR] ?? null;
    delete event[CURSOR];
    if (event.type === "aqueduct.resume") this.#gap(event.data);
    else this.#take(event, position);
  }

  // ---- aqueduct.v1 ----

  /** The answer to an op. */
  #ask(op) {
    const id = ++this.#number;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#asked.delete(id) && reject(Object.assign(new Ended("no answer came"), { temp: true })), PATIENCE_MS);
      const settled = (done) => (value) => (clearTimeout(timer), done(value));
      this.#asked.set(id, { resolve: settled(resolve), reject: settled(reject) });
      this.#talk.send(JSON.stringify({ ...op, id }));
    });
  }

  #subscribe() {
    const { topics, type, subject, source, filter, from, name, window } = this.#options;
    return this.#ask({ op: "sub", sub: "s", topics, type, subject, source, filter, name, window, from: (name ? null : this.#received) ?? from });
  }

  #hear(message, state) {
    const { op, id, pos } = message, asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (op === "ev") message.d.forEach((event, i) => this.#take(event, i === message.d.length - 1 ? pos : null));
    else if (op === "ok" || op === "live" || op === "hb") this.#received = pos ?? this.#received;
    else if (op === "state") this.#gap(message);
    else if (op === "drain") state.waitMs = message.reconnect_ms;
    else if (op === "err" && message.code === 4410 && !asked) this.#refresh();
    if (op === "err") asked?.reject(Object.assign(new Refused(message.msg, message.code), { temp: message.temp }));
    else asked?.resolve(message);
  }

  /** The token has expired: another one goes on where it was. Without one the server closes, and the next connection asks again. */
  async #refresh() {
    this.#refused = true;
    const socket = this.#talk, token = await this.#token();
    if (token && socket === this.#talk) await this.#ask({ op: "refresh", token }).catch(() => {});
  }

  /** A handshake failed: by what a plain request is answered it is refused or away, or something in between knows no WebSocket. */
  async #whyNot() {
    await this.#fetch(this.#target(true, { max: "1" }), "application/json", this.#abort.signal);
    throw new Refused("no WebSocket gets through", 426);
  }

  /** The position of now. A server that knows none (404, 503) is taken as it is. */
  async #first() {
    try {
      const answer = await this.#fetch(this.#target(true), "application/json", this.#abort.signal);
      this.#received = (await answer.json()).cursor;
      this.position = this.#received;
    } catch (error) {
      if (error instanceof Refused && error.code !== 404) throw error;
      if (error instanceof Ended && error.waitMs === 0) throw error;
    }
  }

  // ---- server-sent events, by fetch: an EventSource can send no token ----

  async #eventStream() {
    const silence = this.#silence();
    let retryMs = null, opened = false;
    try {
      const answer = await this.#fetch(this.#target(false), "text/event-stream", silence.signal);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "", block = { data: [], type: "", id: null };
      for (;;) {
        const { done, value } = await reader.read();
        silence.heard();
        if (done) throw new Ended("the stream ended", { opened, waitMs: retryMs });
        if (!opened) this.#say({ state: "open", transport: "sse" });
        opened = true;
        const lines = (text + value).split(/\r\n|\n|\r(?!$)/);
        text = lines.pop();
        for (const line of lines) {
          if (line === "") {
            this.#block(block);
            block = { data: [], type: "", id: null };
            continue;
          }
          const colon = line.indexOf(":");
          const name = colon < 0 ? line : line.slice(0, colon);
          const rest = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
          if (name === "data") block.data.push(rest);
          else if (name === "event") block.type = rest;
          else if (name === "id") block.id = rest;
          else if (name === "retry" && /^\d+$/.test(rest)) retryMs = Number(rest);
        }
        await this.#rest();
      }
    } catch (error) {
      // The server says at once where a stream begins: who does not hear it has something in between that holds it back.
      if (!opened && silence.signal.aborted) throw new Ended("no event stream gets through", { next: true });
      if (error instanceof Refused || error instanceof Ended) throw error;
      throw new Ended(silence.signal.reason?.message ?? error.message, { opened, waitMs: retryMs });
    } finally {
      silence.done();
    }
  }

  #block({ data, type, id }) {
    if (!data.length) {
      this.#received = id ?? this.#received;
      return;
    }
    const what = JSON.parse(data.join("\n"));
    if (type === "resume") this.#gap(what);
    else if (what.specversion) this.#take(what, id);
  }

  // ---- long-polling ----

  async #poll() {
    const { name } = this.#options;
    for (let first = true; !this.#end; first = false) {
      const wait = !first ? { wait: String(POLL_WAIT_S) } : name && !this.#received ? { position: name } : {};
      const answer = await this.#fetch(this.#target(true, { max: "500", ...wait }), "application/json", this.#abort.signal);
      const { events, cursor, resume, lost } = await answer.json();
      if (first) this.#say({ state: "open", transport: "poll" });
      this.#gap({ resume, lost });
      events.forEach((event, i) => this.#take(event, i === events.length - 1 ? cursor : null));
      this.#received = cursor;
      await this.#rest();
    }
  }
}

/**
 * Begins to listen.
 * @param {string | URL} url of the listener
 * @param {Options} [options]
 * @returns {Stream}
 */
export function listen(url, options) {
  return new Stream(url, options);
}
