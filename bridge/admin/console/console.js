// SPDX-License-Identifier: MIT
// The console: one page for each thing a person asks of the bridge, by the JSON API and nothing else.
// What events, receivers and configurations say is put into the document as text, never as markup.

const API = "/api/v1", SVG = "http://www.w3.org/2000/svg";
const LIVE_MS = 2000, HISTORY_MS = 10000, SLOWEST_MS = 30000; // between two looks: at least, of plots, when nobody answers
const PAGE = 100, TAIL_ROWS = 500;
let me = null, page = null;

/* ---- elements ---- */

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (["value", "checked", "disabled", "hidden", "open"].includes(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(3).filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}
const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);
const show = (node, ...children) => { node.replaceChildren(); return fill(node, null, children); };
const at = (id) => document.getElementById(id);

const ICONS = {
  flow: "M4 6h5M4 18h5M15 12h5M9 6c4 0 2 6 6 6M9 18c4 0 2-6 6-6",
  endpoints: "M12 12m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0M12 3v6M12 15v6M3 12h6M15 12h6",
  deliveries: "M4 12l16-8-6 16-3-7z",
  dead: "M4 13l3-8h10l3 8v6H4zM4 13h5l1.5 3h3L15 13h5",
  tail: "M4 6h16M4 12h10M4 18h13",
  config: "M4 7h9M17 7h3M15 7m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0M4 17h3M11 17h9M9 17m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0",
  close: "M6 6l12 12M18 6L6 18",
};
const icon = (name) => s("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));
const button = (text, click, kind, more) => h("button", { type: "button", class: kind, onclick: click, ...more }, text);
const badge = (text, kind) => h("span", { class: `badge ${kind ?? ""}` }, text);
const dot = (kind) => h("span", { class: `dot ${kind ?? ""}` });
const operator = () => me?.role === "operator";

/* ---- numbers and times ---- */

const known = (n) => typeof n === "number" && isFinite(n);
function count(n) {
  if (!known(n)) return "\u2013";
  if (n < 10000) return n.toLocaleString("en", { maximumFractionDigits: 1 });
  return n.toLocaleString("en", { notation: "compact", maximumFractionDigits: 1 });
}
function rate(n) {
  if (!known(n)) return "\u2013";
  return `${n === 0 ? "0" : n < 0.01 ? "<0.01" : n < 1 ? n.toFixed(2) : n < 100 ? n.toFixed(1) : count(Math.round(n))}/s`;
}
function span(seconds) {
  if (!known(seconds)) return "\u2013";
  const n = Math.max(0, Math.floor(seconds)), d = Math.floor(n / 86400), hours = Math.floor((n % 86400) / 3600),
    m = Math.floor((n % 3600) / 60);
  if (d) return hours ? `${d}d ${hours}h` : `${d}d`;
  if (hours) return m ? `${hours}h ${m}m` : `${hours}h`;
  return m ? `${m}m` : `${n}s`;
}
function took(ms) {
  if (!known(ms)) return "\u2013";
  return ms < 1000 ? `${ms < 10 && ms % 1 ? ms.toFixed(1) : Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
}
const ago = (when) => (Math.abs(when - Date.now()) < 1000 ? "now" : when > Date.now()
  ? `in ${span((when - Date.now()) / 1000)}` : `${span((Date.now() - when) / 1000)} ago`);
function age(text) {
  const when = Date.parse(text);
  if (isNaN(when)) return h("span", { class: "soft" }, text ?? "\u2013");
  return h("time", { datetime: text, title: new Date(when).toLocaleString(), "data-when": when }, ago(when));
}
const clock = (when) => new Date(when).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
const many = (n, one, more = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : more}`;

/* ---- the API ---- */

class Problem extends Error {
  constructor(status, body) {
    super(body?.problems?.map((one) => one.text).join("; ") || body?.detail || body?.title || `The bridge answered ${status}.`);
    this.status = status;
  }
}

async function ask(path, { method = "GET", body, headers, signal } = {}) {
  const text = typeof body === "string";
  const response = await fetch(API + path, {
    method, signal, credentials: "same-origin", cache: "no-store",
    headers: { Accept: "application/json",
      ...(body === undefined ? {} : { "Content-Type": text ? "application/yaml" : "application/json" }), ...headers },
    body: body === undefined ? undefined : text ? body : JSON.stringify(body),
  });
  const said = await response.text(), answer = parse(said);
  if (response.status === 401 && path !== "/session") signIn();
  if (!response.ok) throw new Problem(response.status, answer ?? { detail: said.slice(0, 300) });
  return answer;
}
function parse(text) {
  try { return JSON.parse(text); } catch { return null; }
}
const query = (fields) => {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? "?" + new URLSearchParams(given) : "";
};
const items = (answer) => (Array.isArray(answer) ? answer : answer?.items ?? []);
const place = (one) => `/sinks/${encodeURIComponent(one.sink)}/endpoints/${encodeURIComponent(one.name)}`;

/* ---- what a person is told ---- */

function toast(text, kind = "ok") {
  const node = h("div", { class: "toast" }, dot(kind), h("span", {}, text));
  at("toasts").append(node);
  setTimeout(() => node.remove(), kind === "bad" ? 10000 : 5000);
}
const failed = (error) => error.name !== "AbortError" && error.status !== 401 && toast(error.message, "bad");
/* Runs what a button is for; the button rests meanwhile. */
async function act(event, work) {
  const one = event?.currentTarget ?? {};
  one.disabled = true;
  try { return await work(); } catch (error) { failed(error); } finally { one.disabled = false; }
}

function open(content, kind) {
  const dialog = h("dialog", { class: kind }, content), before = document.activeElement;
  dialog.addEventListener("close", () => { dialog.remove(); before?.focus?.({ preventScroll: true }); });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
function drawer(title, ...content) {
  const dialog = open([h("div", { class: "title" }, h("h2", {}, title),
    button(icon("close"), () => dialog.close(), "icon", { "aria-label": "Close" })), h("div", { class: "body" }, content)], "drawer");
  dialog.setAttribute("aria-label", title);
  return dialog;
}
/* A dialog with a form; run() does it, and what it says against it is shown in the dialog, which stays as well when it says false. */
function form(title, content, action, run, danger) {
  const wrong = h("p", { class: "problem", role: "alert", hidden: true }),
    send = h("button", { type: "submit", class: `primary ${danger ? "danger" : ""}` }, action);
  const dialog = open(h("form", { onsubmit: async (event) => {
    event.preventDefault();
    send.disabled = true;
    wrong.hidden = true;
    try {
      if ((await run(new FormData(event.target))) !== false) dialog.close();
    } catch (error) {
      wrong.textContent = error.message;
      wrong.hidden = false;
      wrong.scrollIntoView({ block: "nearest" });
    }
    send.disabled = false;
  } }, h("h2", {}, title), content, wrong, h("div", { class: "buttons" }, button("Cancel", () => dialog.close()), send)));
  return dialog;
}
function tell(title, ...content) {
  const dialog = open(h("div", { class: "body" }, h("h2", {}, title), content,
    h("div", { class: "buttons" }, button("Close", () => dialog.close(), "primary"))));
}
const field = (label, control, more) => h("label", { class: "field" }, h("span", {}, label), control, more && h("small", {}, more));
function secretBox(secret) {
  const code = h("code", {}, secret);
  return h("div", { class: "secret" }, code, button("Copy", async (event) => {
    const one = event.currentTarget;
    try {
      await navigator.clipboard.writeText(secret);
      one.textContent = "Copied";
    } catch { getSelection().selectAllChildren(code); }
  }));
}
function showSecret(secret, what, next) {
  const dialog = open(h("div", { class: "body" }, h("h2", {}, what),
    h("p", {}, "This is its signing secret. It is shown now and never again: keep it where the receiver verifies signatures."),
    secretBox(secret), h("div", { class: "buttons" }, next && button("Send a test event", () => { dialog.close(); next(); }),
      button("Done", () => dialog.close(), "primary"))));
}

function pretty(value) {
  if (value === undefined || value === null) return "(none)";
  if (typeof value !== "string") return JSON.stringify(value, null, 2);
  const read = parse(value);
  return read !== null && typeof read === "object" ? JSON.stringify(read, null, 2) : value;
}
const facts = (pairs) => h("dl", { class: "facts" },
  pairs.filter(([, value]) => value !== undefined && value !== null && value !== "").map(([name, value]) => [h("dt", {}, name),
  h("dd", {}, value)]));
const empty = (picture, title, text, ...actions) => h("div", { class: "empty" }, icon(picture), h("h2", {}, title), h("p", {}, text),
  actions.length > 0 && h("div", { class: "actions" }, actions));

/* ---- tables ---- */

/* Rows are kept while they stay as they are, so that a look every other second moves nothing. */
function table(label, columns, opened, key) {
  const body = h("tbody"),
    node = h("table", { "aria-label": label },
    h("thead", {}, h("tr", {}, columns.map((c) => h("th", { class: c.class, scope: "col" }, c.title)))), body);
  let rows = new Map();
  function row(item) {
    const tr = h("tr", opened ? { class: "opens", tabindex: 0, onclick: (event) => event.target.closest("button, a") || opened(item),
      onkeydown: (event) => event.key === "Enter" && event.target === tr && opened(item) } : {},
    columns.map((c) => h("td", { class: `${c.class ?? ""} ${c.main ? "main" : ""}`, "data-label": c.label }, c.cell(item) ?? "")));
    return tr;
  }
  function set(list) {
    const next = new Map(), focused = document.activeElement;
    list.forEach((item, i) => {
      const id = key(item), said = JSON.stringify(item);
      if (next.has(id)) return;
      const old = rows.get(id), one = old?.said === said ? old : { said, tr: row(item) };
      if (old && old !== one) {
        const held = old.tr === focused;
        old.tr.replaceWith(one.tr);
        if (held) one.tr.focus({ preventScroll: true });
      }
      if (body.children[next.size] !== one.tr) body.insertBefore(one.tr, body.children[next.size] ?? null);
      next.set(id, one);
    });
    while (body.children.length > next.size) body.lastElementChild.remove();
    rows = next;
  }
  return { node, set, rows: () => [...body.children] };
}

/* A page that lists: filters in the address, more on demand, and a look again now and then. */
function listing({ root, asked, path, picture, filters, columns, opened, key, none, noneFiltered, actions, label }) {
  const tab = table(label, columns, opened, key), box = h("div", { class: "panel" }), state = h("span", { class: "right", role: "status" });
  let shown = [], next = null, extended = false;
  const values = () => Object.fromEntries(filters.map((f) => [f.name, f.control.value.trim()]));
  const changed = () => {
    history.replaceState(null, "", location.hash.split("?")[0] + query(values()));
    extended = false;
    page.refresh();
  };
  for (const f of filters) {
    f.control.value = asked[f.name] ?? "";
    f.control.addEventListener(f.control.tagName === "SELECT" ? "change" : "input", settle(changed));
  }
  function draw() {
    const filtered = Object.values(values()).some(Boolean);
    tab.set(shown);
    if (shown.length) show(box, tab.node, next && h("div", { class: "more" }, button("Show more", (event) => act(event, more))));
    else show(box, filtered ? noneFiltered() : none());
    state.textContent = shown.length ? `${many(shown.length, "row")}${next ? ", newest first, and more" : ""}` : "";
  }
  async function more() {
    const answer = await ask(path + query({ ...values(), limit: PAGE, after: next }));
    shown = [...shown, ...items(answer)];
    next = answer.next ?? null;
    extended = true;
    draw();
  }
  root.append(h("div", { class: "bar" }, filters.map((f) => f.control), state), actions ?? "", box);
  return {
    rows: tab.rows, filter: filters[0].control, values,
    async refresh(signal) {
      if (extended) return; // who reads on is not moved
      let answer;
      try {
        answer = await ask(path + query({ ...values(), limit: PAGE }), { signal });
      } catch (error) {
        if (error.status !== 404) throw error;
        return void show(box, empty(picture, "Nothing is kept here", error.message)); // no sink files letters, say
      }
      shown = items(answer);
      next = answer.next ?? null;
      draw();
    },
  };
}
function settle(work) {
  let timer;
  return () => { clearTimeout(timer); timer = setTimeout(work, 250); };
}
const search = (name, placeholder,
  wide) => ({ name, control: h("input",
  { type: "search", class: wide && "wide", placeholder, "aria-label": placeholder, autocomplete: "off", spellcheck: "false" }) });
const choice = (name, label,
  values) => ({ name, control: h("select", { "aria-label": label }, h("option", { value: "" }, label),
  values.map(([value, text]) => h("option", { value }, text ?? value))) });
const SINCE = [["15m", "Last 15 minutes"], ["1h", "Last hour"], ["1d", "Last day"], ["7d", "Last 7 days"]];

/* ---- plots ---- */

/* A round number at or above n. */
function ceiling(n) {
  const power = 10 ** Math.floor(Math.log10(n)), step = [1, 2, 2.5, 5, 10].find((m) => m * power >= n * 0.9999);
  return step * power;
}
function strokes(points, x, y) {
  let path = "", areas = [], from = null;
  points.forEach((value, i) => {
    if (!known(value)) { from = null; return; }
    path += `${from === null ? "M" : "L"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    if (from === null) { from = i; areas.push([i, i]); }
    areas[areas.length - 1][1] = i;
  });
  return { path, areas };
}
/* Lines over the last hour; format() says a value, `least` is the smallest upper end of its axis. */
function plot(title, format, least) {
  const legend = h("div", { class: "legend" }), area = h("div", { class: "area", tabindex: 0, role: "img" }),
    node = h("figure", { class: "panel plot" }, h("figcaption", {}, h("h2", {}, title), legend), area);
  const H = 132, LEFT = 46, BOTTOM = 20, TOP = 6;
  let data = null, width = 0, picked = null;
  const times = () => { const step = data.step * 1000; return data.lines[0]?.points.map((_,
    i) => data.until - (data.lines[0].points.length - 1 - i) * step) ?? []; };
  function draw() {
    if (!data || !width) return;
    const length = data.lines[0]?.points.length ?? 0, all = data.lines.flatMap((l) => l.points.filter(known)),
      top = ceiling(Math.max(least, ...all));
    const x = (i) => LEFT + (length < 2 ? 0 : (i / (length - 1)) * (width - LEFT - 4)),
      y = (v) => TOP + (1 - v / top) * (H - TOP - BOTTOM), when = times();
    const svg = s("svg", { viewBox: `0 0 ${width} ${H}`, height: H, "aria-hidden": "true" });
    for (const part of [0, 0.5, 1]) svg.append(s("line", { class: "grid", x1: LEFT, x2: width - 4, y1: y(part * top), y2: y(part * top) }),
      s("text", { x: LEFT - 8, y: y(part * top) + 4, "text-anchor": "end" }, format(part * top)));
    const quarter = length * data.step > 1800 ? 900000 : 300000;
    for (let i = 1; i < length; i++) if (Math.floor(when[i] / quarter) !== Math.floor(when[i - 1] / quarter) && x(i) > LEFT + 12 && x(i) < width - 20) svg.append(s("text", { x: x(i), y: H - 4, "text-anchor": "middle" }, clock(when[i])));
    data.lines.forEach((line, n) => {
      const { path, areas } = strokes(line.points, x, y);
      if (n === 0) for (const [a, b] of areas) svg.append(s("path",
        { class: `fill ${line.look}`,
        d: `M${x(a)} ${y(0)}` + line.points.slice(a,
        b + 1).map((v, i) => `L${x(a + i).toFixed(1)} ${y(v).toFixed(1)}`).join("") + `L${x(b)} ${y(0)}Z` }));
      svg.append(s("path", { class: `line ${line.look}`, d: path }));
      for (const [a, b] of areas) if (a === b) svg.append(s("circle",
        { class: `line ${line.look}`, cx: x(a), cy: y(line.points[a]), r: 1 }));
    });
    if (!all.length) svg.append(s("text", { class: "still", x: LEFT + (width - LEFT) / 2, y: TOP + (H - BOTTOM) / 2 }, data.none));
    const parts = [svg];
    if (picked !== null && picked < length && all.length) {
      svg.append(s("line", { class: "cross", x1: x(picked), x2: x(picked), y1: TOP, y2: H - BOTTOM }));
      const tip = h("div", { class: "tip" }, h("div", { class: "soft" }, clock(when[picked]) + `, ${ago(when[picked])}`),
        data.lines.map((l) => h("div", {}, h("b", {}, known(l.points[picked]) ? format(l.points[picked]) : "\u2013"), l.label)));
      tip.style[x(picked) > width / 2 ? "right" : "left"] = `${x(picked) > width / 2 ? width - x(picked) + 10 : x(picked) + 10}px`;
      parts.push(tip);
    }
    show(area, ...parts);
  }
  const pick = (event) => {
    const length = data?.lines[0]?.points.length ?? 0,
      part = (event.clientX - area.getBoundingClientRect().left - LEFT) / (width - LEFT - 4);
    picked = length ? Math.max(0, Math.min(length - 1, Math.round(part * (length - 1)))) : null;
    draw();
  };
  area.addEventListener("pointermove", pick);
  const unpick = () => { picked = null; draw(); };
  area.addEventListener("pointerleave", unpick);
  area.addEventListener("blur", unpick);
  area.addEventListener("keydown", (event) => {
    const length = data?.lines[0]?.points.length ?? 0, by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !length) return;
    event.preventDefault();
    picked = Math.max(0, Math.min(length - 1, (picked ?? length) + by));
    draw();
  });
  new ResizeObserver(([entry]) => { width = Math.round(entry.contentRect.width); draw(); }).observe(area);
  return { node, set(next) {
    data = next;
    const last = (l) => l.points.findLast(known);
    show(legend, ...data.lines.map((l) => h("span", {}, h("i", { class: l.look }), l.label, " ", h("b", {}, format(last(l) ?? NaN)))));
    area.setAttribute("aria-label",
      `${title}, the last hour. ` + data.lines.map((l) => `${l.label}: now ${format(last(l) ?? NaN)}, at most ${format(Math.max(...l.points.filter(known), -Infinity))}`).join("; "));
    draw();
  } };
}
/* Without the time before the daemon's start, but for ten minutes. */
function shortened(history) {
  const length = history.series[0]?.points.length ?? 0;
  const first = Math.min(length, ...history.series.map((one) => one.points.findIndex(known)).filter((i) => i >= 0));
  const from = Math.max(0, Math.min(first - 1, length - 600 / history.step_s));
  return { ...history, series: history.series.map((one) => ({ ...one, points: one.points.slice(from) })) };
}
/* The sum of the series that fit, point by point; null where none of them is known. */
function summed(history, name, labels) {
  const fit = history.series.filter((one) => one.name === name && Object.entries(labels).every(([k, v]) => one.labels[k] === v));
  const length = history.series[0]?.points.length ?? 0;
  return Array.from({ length }, (_, i) => fit.reduce((sum, one) => (known(one.points[i]) ? (sum ?? 0) + one.points[i] : sum), null));
}

/* ---- flow ---- */

const TROUBLE = { bad: ["failing", "open", "disabled", "unready"], warn: ["paused", "held", "starting", "unknown"] };
const trouble = (state) => Object.keys(TROUBLE).find((kind) => TROUBLE[kind].includes(state)) ?? "ok";
const STATES = { open: "circuit open", unready: "not ready", held: "held back" };
const stateText = (state) => STATES[state] ?? state ?? "active";
const thickness = (n) => (known(n) && n > 0 ? Math.min(9, 1.6 + 2 * Math.log10(1 + n * 2)) : 1.2);

function flowPage(root, asked) {
  const tiles = h("dl", { class: "tiles" }), lines = s("svg", { "aria-hidden": "true" }),
    picture = h("section", { class: "panel flow", "aria-label": "Sources, topics and sinks" }),
    nothing = h("section", { class: "panel", hidden: true },
    empty("flow", "Nothing flows yet",
    "A bridge takes events from sources over topics to sinks. Name one of each in the configuration, and reload.",
    h("a", { class: "button", href: "#/config" }, "To the configuration"))), bar = h("div", { class: "picked" });
  const plots = [plot("Events", rate, 1), plot("Latency", took, 10), plot("Backlog", count, 10)];
  const [kind, name] = (asked.node ?? "").split(/:(.*)/s);
  let flow = null, past = null, pastAt = 0, drawn = "";
  root.append(h("div", { class: "head" }, h("h1", {}, "Flow")), tiles, nothing, picture, bar,
    h("div", { class: "plots" }, plots.map((one) => one.node)));
  picture.append(lines);

  const tile = (label, value, unit, look) => h("div", { class: "tile" }, h("dt", {}, label),
    h("dd", { class: look }, value, unit && value !== "\u2013" && h("small", {}, unit)));
  function drawTiles() {
    const sum = (list, key) => list.reduce((all, one) => (known(one[key]) ? (all ?? 0) + one[key] : all), null), sinks = flow.sinks;
    const oldest = Math.max(...sinks.map((one) => one.oldest_s ?? -1)), waiting = sum(sinks, "waiting"), dead = sum(sinks, "dead"),
      per = (n) => rate(n).replace("/s", "");
    show(tiles, tile("Stored", per(sum(flow.sources, "rate")), "/s"), tile("Delivered", per(sum(sinks, "rate")), "/s"),
      tile("Pending", count(sum(sinks, "pending"))),
      tile("Waiting to retry", count(waiting), null, waiting > 0 && "warn"), tile("Oldest", oldest < 0 ? "\u2013" : span(oldest)),
        tile("Dead since start", count(dead), null, dead > 0 && "bad"));
  }

  const id = (what, of) => `${what}:${of}`;
  function node(what, one, ...inside) {
    const mine = id(what, one.name), here = asked.node === mine;
    return h("a", { class: "node", href: here ? "#/flow" : `#/flow${query({ node: mine })}`, "data-node": mine,
      "aria-current": here && "true", title: one.name }, inside);
  }
  const top = (one, kindText,
    look) => [h("span", { class: "top" }, look && dot(look), h("span", { class: "name" }, one.name),
    h("span", { class: "rate" }, rate(one.rate))), h("span", { class: "kind" }, kindText)];
  function sinkNode(one) {
    const cell = (label, value, look, title) => [h("dt", { title }, label), h("dd", { class: look, title }, value)],
      look = (n, kindOf) => (n > 0 ? kindOf : "none");
    const state = trouble(one.state);
    return node("sink", one,
      top(one, known(one.endpoints) && one.endpoints > 1 ? `${one.type}, ${one.endpoints} endpoints` : one.type, state),
      state !== "ok" && h("p", { class: `why ${state}` }, stateText(one.state), one.detail && `: ${one.detail}`),
      h("dl", {}, cell("pending", count(one.pending), look(one.pending)), cell("waiting", count(one.waiting), look(one.waiting, "warn")),
        cell("oldest", known(one.oldest_s) ? span(one.oldest_s) : "\u2013", look(one.oldest_s ?? 0)),
        cell("dead", count(one.dead), look(one.dead, "bad"), "since the daemon's start"), cell("lag", count(one.lag), look(one.lag))));
  }
  function drawNodes() {
    const column = (title, nodes, none) => h("div", { class: "column" }, h("h3", {}, title),
      h("div", { class: "nodes" }, nodes.length ? nodes : h("p", { class: "soft" }, none)));
    const focused = document.activeElement?.dataset?.node;
    show(picture, lines,
      column("Sources", flow.sources.map((one) => node("source", one, top(one, one.type, trouble(one.state)),
        trouble(one.state) !== "ok" && h("p", { class: `why ${trouble(one.state)}` }, one.detail ?? stateText(one.state)))),
        "No source yet. Add one below sources: in the configuration."),
      column("Topics", flow.topics.map((one) => node("topic", one,
        top(one, known(one.partitions) ? many(one.partitions, "partition") : ""))), "No topic yet. Routes make them."),
      column("Sinks", flow.sinks.map(sinkNode), "No sink yet. Add one below sinks: in the configuration."));
    if (focused) picture.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  function edges() {
    const list = [], source = (of) => flow.sources.filter((one) => !of || one.name === of);
    for (const route of flow.routes) for (const one of source(route.from)) list.push({ from: id("source", one.name),
      to: id("topic", route.topic), rate: one.rate, look: trouble(one.state) });
    for (const one of flow.sinks) for (const topic of one.topics ?? []) list.push({ from: id("topic", topic), to: id("sink", one.name),
      rate: one.rate, look: trouble(one.state) });
    return [...new Map(list.map((one) => [one.from + "\n" + one.to, one])).values()]; // each once
  }
  function drawLines() {
    const box = picture.getBoundingClientRect(),
      spot = (of) => picture.querySelector(`[data-node="${CSS.escape(of)}"]`)?.getBoundingClientRect(),
      narrow = matchMedia("(max-width: 700px)").matches;
    lines.replaceChildren();
    const list = flow ? edges() : [], used = [0, 0];
    for (const edge of list) {
      const a = spot(edge.from), b = spot(edge.to);
      if (!a || !b) continue;
      const inward = edge.from.startsWith("source"), ya = a.top + a.height / 2 - box.top, yb = b.top + b.height / 2 - box.top;
      let d;
      if (narrow) { // one column: down the gutters
        const side = (r) => (inward ? r.left : r.right) - box.left,
          far = side(a) + (inward ? -1 : 1) * (12 + (9 * used[Number(inward)]++) % 26);
        d = `M${side(a)} ${ya}C${far} ${ya} ${far} ${yb} ${side(b)} ${yb}`;
      } else {
        const xa = a.right - box.left, xb = b.left - box.left, middle = (xa + xb) / 2;
        d = `M${xa} ${ya}C${middle} ${ya} ${middle} ${yb} ${xb} ${yb}`;
      }
      const looks = [edge.look !== "ok" ? edge.look : edge.rate > 0 ? "" : "idle",
        asked.node && edge.from !== asked.node && edge.to !== asked.node ? "faded" : ""];
      lines.append(s("path", { class: looks.join(" ").trim(), d, "stroke-width": thickness(edge.rate) }));
    }
  }
  new ResizeObserver(drawLines).observe(picture);

  function drawPlots() {
    const of = kind === "sink" || kind === "source" ? { [kind]: name } : {},
      line = (label, look, key) => ({ label, look, points: summed(past, key, of) });
    const common = { step: past.step_s, until: Date.parse(past.until) || past.until, none: "Nothing yet" };
    const stored = line("stored", "c1", "stored_rate"),
      sunk = [line("delivered", "c0", "delivered_rate"), line("retried", "c2", "retried_rate"), line("dead", "c3", "dead_rate")];
    plots[0].set({ ...common,
      lines: kind === "topic" ? [{ label: "stored", look: "c0", points: summed(past, "topic_rate", { topic: name }) }] : kind === "source"
      ? [{ ...stored, look: "c0" }] : kind === "sink" ? sunk : [...sunk, stored] });
    const sinks = [...new Set(past.series.filter((one) => one.name === "latency_p99_ms").map((one) => one.labels.sink))],
      latency = (sink, key) => summed(past, key, { sink });
    plots[1].set({ ...common, none: "No delivery yet",
      lines: kind === "sink" ? [{ label: "p50", look: "c0", points: latency(name, "latency_p50_ms") },
      { label: "p99", look: "c2", points: latency(name, "latency_p99_ms") }]
      : sinks.slice(0, 4).map((sink, i) => ({ label: `${sink} p99`, look: `c${i}`, points: latency(sink, "latency_p99_ms") })) });
    plots[2].set({ ...common, lines: [line("lag", "c0", "lag"), line("pending", "c4", "pending"), line("waiting", "c2", "waiting")] });
    plots[1].node.hidden = plots[2].node.hidden = kind === "source" || kind === "topic";
  }
  function drawBar() {
    bar.hidden = !asked.node;
    show(bar, h("h2", {}, name ?? ""),
      ...(kind === "sink" ? [h("a", { href: `#/endpoints${query({ sink: name })}` }, "Endpoints"),
      h("a", { href: `#/deliveries${query({ sink: name })}` }, "Deliveries"),
      h("a", { href: `#/dead${query({ sink: name })}` }, "Dead letters")] : kind === "topic"
      ? [h("a", { href: `#/tail${query({ topic: name })}` }, "Live tail")] : []), h("a", { href: "#/flow" }, "Show all"));
  }
  function draw() {
    nothing.hidden = flow.sources.length + flow.sinks.length > 0;
    picture.hidden = !nothing.hidden;
    drawTiles();
    drawNodes();
    drawLines();
  }
  drawBar();
  return {
    rows: () => [...picture.querySelectorAll("a.node")],
    async refresh(signal) {
      flow = await ask("/flow", { signal });
      const shape = JSON.stringify(flow);
      if (shape !== drawn) { drawn = shape; draw(); }
      if (Date.now() - pastAt >= HISTORY_MS) {
        past = shortened(await ask("/history", { signal }));
        pastAt = Date.now();
        drawPlots();
      }
    },
  };
}

/* ---- endpoints ---- */

const wanted = (one) => (one.types?.length ? one.types : one.filter
  ? [typeof one.filter === "string" ? one.filter : JSON.stringify(one.filter)] : []);
const chips = (list, most = 4) => (list.length ? h("span", { class: "chips" },
  list.slice(0, most).map((text) => h("span", { class: "chip" }, text)),
  list.length > most && h("span", { class: "soft" }, `and ${list.length - most} more`)) : h("span", { class: "soft" }, "all events"));
const endpointState = (one) => badge([dot(trouble(one.state)), stateText(one.state)], trouble(one.state));

/* Ticks for the types of events; says what is ticked. */
function typePicker(types, chosen) {
  const all = h("input", { type: "radio", name: "which", checked: !chosen.length }),
    some = h("input", { type: "radio", name: "which", checked: chosen.length > 0 }), picked = new Set(chosen);
  const find = h("input", { type: "search", placeholder: "Find a type, or write a pattern of your own: order.*",
    "aria-label": "Find a type", autocomplete: "off", spellcheck: "false" }),
    box = h("div", { class: "types", role: "group", "aria-label": "Types" }), said = h("small", { class: "small", role: "status" });
  const family = (type) => type.split(".")[0],
    groups = types.reduce((map, t) => map.set(family(t.type), [...(map.get(family(t.type)) ?? []), t]), new Map());
  const tick = (type, text, name) => h("label", { class: `tick ${name}` },
    h("input", { type: "checkbox", value: type, checked: picked.has(type),
    onchange: (event) => { event.target.checked ? picked.add(type) : picked.delete(type); some.checked = true; draw(); } }),
    h("span", {}, type), text && h("small", { title: text }, text));
  function draw() {
    const words = find.value.trim(),
      own = [...picked].filter((type) => !types.some((t) => t.type === type || `${family(t.type)}.*` === type)),
      held = document.activeElement?.value, inside = box.contains(document.activeElement), parts = [];
    if (words && !types.some((t) => t.type === words) && !picked.has(words)) parts.push(tick(words, "as written", "one"));
    for (const type of own) parts.push(tick(type, "", "group"));
    for (const [name, members] of groups) {
      const fit = members.filter((t) => !words || t.type.includes(words)), whole = `${name}.*`;
      if (fit.length) parts.push(tick(whole, `all of ${name}`, "group"), ...fit.map((t) => tick(t.type, t.doc, "one")));
    }
    show(box, ...parts);
    if (inside) box.querySelector(`input[value="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
    box.hidden = find.hidden = all.checked;
    said.textContent = all.checked ? "Every event of the sink's topics goes to it." : picked.size
      ? `${many(picked.size, "type")} ticked: ${[...picked].join(", ")}` : "Nothing is ticked yet.";
  }
  find.addEventListener("input", draw);
  for (const one of [all, some]) one.addEventListener("change", draw);
  draw();
  return { node: h("div", { class: "stack" }, h("label", { class: "tick" }, all, "All events"),
    h("label", { class: "tick" }, some, "Only these types"), find, box, said), value() {
    if (!all.checked && !picked.size) throw new Error("Tick the types that it is to get, or choose all events.");
    return all.checked ? [] : [...picked];
  } };
}

async function newEndpoint(sink) {
  const [flow, types] = await Promise.all([ask("/flow"), ask("/types")]), sinks = flow.sinks.filter((one) => one.type === "webhook");
  if (!sinks.length) return toast("There is no sink of type webhook in the configuration: an endpoint belongs to one.", "warn");
  const picker = typePicker(items(types), []);
  form("New endpoint", [
    field("Sink", h("select", { name: "sink", required: true },
      sinks.map((one) => h("option", { value: one.name, selected: one.name === sink }, `${one.name} (${(one.topics ?? []).join(", ")})`))),
      "Its topics are what the endpoint can get."),
    field("Name", h("input",
      { name: "name", required: true, pattern: "[a-z0-9_\\-]+", maxlength: 63, title: "a-z, 0-9, - and _", autocomplete: "off",
      spellcheck: "false", placeholder: "billing" })),
    field("URL", h("input", { name: "url", type: "url", required: true, autocomplete: "off", spellcheck: "false",
      placeholder: "https://example.com/webhooks" }), "Events are sent there by POST, signed (Standard Webhooks)."),
    picker.node,
  ], "Add endpoint", async (data) => {
    const types_ = picker.value(), one = { sink: data.get("sink"), name: data.get("name") };
    const made = await ask(`/sinks/${encodeURIComponent(one.sink)}/endpoints`,
      { method: "POST", body: { name: one.name, url: data.get("url"), ...(types_.length ? { types: types_ } : {}) } });
    page.refresh();
    setTimeout(() => (made?.secret ? showSecret(made.secret, `${one.name} is there`,
      () => testEndpoint(one)) : toast(`${one.name} is there.`)));
  });
}
const as = (one) => (one.version ? { "If-Match": `"${one.version}"` } : {}); // only the one that was seen is changed
const HIDDEN = "********";                            // what the API says of a secret
/* What differs between the options that were shown and those that are written now, as the API's merge takes it. */
function changesOf(before, text) {
  let after, changes = {};
  try { after = text.trim() ? JSON.parse(text) : {}; } catch (error) { throw new Error(`The options are no JSON: ${error.message}`); }
  if (after === null || typeof after !== "object" || Array.isArray(after)) throw new Error("The options are one JSON object: {\u2026}.");
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const now = JSON.stringify(after[key]);
    if (now === JSON.stringify(before[key])) continue;
    if (now?.includes(HIDDEN)) throw new Error(`${key}: what is hidden is written anew, or the option is left as it is.`);
    changes[key] = key in after ? after[key] : null;
  }
  return changes;
}
async function editEndpoint(one, done) {
  const { url: _, types: ticked, ...options } = one.options ?? {};
  const types = await ask("/types"), picker = typePicker(items(types), ticked ?? []);
  form(`Change ${one.name}`,
    [field("URL", h("input", { name: "url", type: "url", required: true, value: one.url, autocomplete: "off" })),
    one.filter ? h("p", { class: "small" }, "Which events it gets is said by a filter: ", h("code", {}, wanted(one)[0])) : picker.node,
    field("Other options", h("textarea", { name: "options", rows: 8, class: "mono", spellcheck: "false", autocomplete: "off" },
      JSON.stringify(options, null, 2)), `As in the configuration (timeout, retry, headers, filter \u2026), in JSON; ${HIDDEN} is hidden.`)],
    "Save", async (data) => {
    const body = { url: data.get("url"), ...changesOf(options, data.get("options")) };
    if (!one.filter && !body.filter) body.types = picker.value().length ? picker.value() : null;
    await ask(place(one), { method: "PATCH", body, headers: as(one) });
    toast(`${one.name} is changed.`);
    done();
  });
}
async function testEndpoint(one) {
  const panel = drawer(`Test of ${one.name}`, h("p", { class: "soft" }, "Sending a signed test event \u2026")),
    body = panel.querySelector(".body");
  try {
    const said = await ask(`${place(one)}/test`, { method: "POST", body: {} }), good = said.verdict === "delivered";
    show(body, h("section", {},
      h("p", {}, badge(said.status ? `${said.status}` : "no answer", good ? "ok" : "bad"), " ",
      good ? "The receiver took it." : said.reason || "The receiver did not take it.", " ", h("span", { class: "soft" }, took(said.ms)))),
      h("section", {}, h("h3", {}, "What it answered"), h("pre", {}, said.excerpt || "(nothing)")),
      h("section", {}, h("h3", {}, "What was sent"), h("pre", {}, [...(said.headers ?? []), "", said.body].join("\n"))),
      h("div", { class: "actions" }, button("Again", () => { panel.close(); testEndpoint(one); })));
  } catch (error) {
    show(body, h("p", { class: "problem", role: "alert" }, error.message));
  }
}
function deleteEndpoint(one, done) {
  form(`Delete ${one.name}?`,
    [h("p", {}, "It gets nothing more. ",
    one.pending > 0 ? `${many(one.pending, "event")} on their way to it become dead letters, and so does what waits for it on the broker.` : "What waits for it on the broker, if anything does, becomes dead letters."), facts([["Sink", one.sink], ["URL", one.url]])],
    "Delete endpoint", async () => { await ask(place(one),
      { method: "DELETE", headers: as(one) }); toast(`${one.name} is deleted.`); done(); }, true);
}
function rotateSecret(one, done) {
  form(`Rotate the secret of ${one.name}?`,
    [h("p", {}, "A new secret is made and shown once. Requests are signed with both until the old one ends."),
    field("The old one signs on for",
    h("select", { name: "overlap" },
    [["1h", "1 hour"], ["24h", "1 day"], ["7d", "7 days"],
    ["0s", "no time: it ends now"]].map(([value, text]) => h("option", { value, selected: value === "24h" }, text))))],
    "Rotate", async (data) => { const said = await ask(`${place(one)}/rotate`,
      { method: "POST", body: { overlap: data.get("overlap") } }); done(); setTimeout(() => showSecret(said.secret,
      `${one.name} has a new secret`)); });
}

/* What the account says of each endpoint; its rate is from one look to the next. */
let counters = new Map(); // sink/endpoint: [when, delivered, rate]
async function figuresNow(signal) {
  const status = await ask("/status", { signal }), all = new Map(), now = Date.now();
  for (const sink of status.sinks ?? []) for (const d of sink.destinations ?? []) {
    const id = `${sink.sink}/${d.endpoint}`, [when, before, last] = counters.get(id) ?? [now, d.delivered],
      fresh = now - when >= LIVE_MS - 500;
    const speed = fresh && known(before) && known(d.delivered) ? (1000 * (d.delivered - before)) / (now - when) : last;
    if (fresh || !counters.has(id)) counters.set(id, [now, d.delivered, speed]);
    all.set(id, { pending: d.pending, waiting: d.waiting, sinkWaits: sink.waiting, dead: d.dead, rate: speed, failing: d.failing });
  }
  return all;
}
function figured(one, all) {
  const d = all.get(`${one.sink}/${one.name}`);
  return d ? { ...one, ...d, state: one.state === "active" && d.failing ? "failing" : one.state, reason: d.failing?.reason } : one;
}

async function openEndpoint(listed) {
  const panel = drawer(listed.name, h("p", { class: "soft" }, "\u2026")), body = panel.querySelector(".body");
  const again = () => page.refresh();
  async function load() {
    const one = figured(await ask(place(listed)), await figuresNow()), mine = operator() && !one.read_only;
    const attempts = items(await ask("/attempts" + query({ sink: one.sink, endpoint: one.name, limit: 8 })).catch(() => []));
    const after = () => { again(); load().catch(failed); }, gone = () => { again(); panel.close(); },
      call = (verb, done) => (event) => act(event,
      async () => { await ask(`${place(one)}/${verb}`, { method: "POST" }); toast(done); after(); });
    show(body, 
      h("section", {}, h("p", {}, endpointState(one), " ",
        (one.problem ?? one.reason) && h("span", { class: "soft" }, one.problem ?? one.reason)),
        facts([["URL", h("span", { class: "mono" }, one.url)],
          ["Sink", h("a", { href: `#/flow${query({ node: `sink:${one.sink}` })}`, onclick: () => panel.close() }, one.sink)],
          ["Gets", chips(wanted(one), 40)], ["Rate", known(one.rate) ? rate(one.rate) : null],
          ["Pending", known(one.pending) ? `${count(one.pending)} in memory` : null],
          ["Waiting", known(one.sinkWaits) && one.sinkWaits + one.waiting > 0
          ? `${count(one.waiting)} in memory, ${count(one.sinkWaits)} of all endpoints of ${one.sink} on the broker` : null],
          ["Dead since start", known(one.dead) ? count(one.dead) : null], ["Changed", one.since && age(one.since)],
          ["Set in", one.at && h("span", { class: "mono" }, one.at)]])),
      one.read_only && h("p", { class: "small" }, "It is written in the configuration: change it there, and reload."),
      operator() && h("div", { class: "actions" }, button("Send a test event", () => testEndpoint(one)),
        mine && (one.state === "paused" || one.state === "disabled" ? button("Resume",
        call("resume", `${one.name} goes on.`)) : button("Pause", call("pause", `${one.name} is paused. What comes for it waits.`))),
        mine && [button("Change", (event) => act(event, () => editEndpoint(one, after))),
          button("Rotate secret", () => rotateSecret(one, after)), button("Delete", () => deleteEndpoint(one, gone), "danger")]),
      h("section", {}, h("h3", {}, "Last attempts"),
        attempts.length ? h("ul", { class: "list" },
        attempts.map((a) => h("li", {}, outcome(a), h("span", {}, a.event?.type),
        h("span", { class: "soft right" }, took(a.duration_ms), ", ", age(a.time))))) : h("p", { class: "soft" },
        operator() ? "None yet. Send a test event to see what it answers." : "None yet."),
        attempts.length > 0 && h("p", {},
          h("a", { href: `#/deliveries${query({ sink: one.sink, endpoint: one.name })}`, onclick: () => panel.close() },
          "All deliveries"))));
  }
  try { await load(); } catch (error) { show(body, h("p", { class: "problem", role: "alert" }, error.message)); }
}

function endpointsPage(root, asked) {
  const find = h("input", { type: "search", class: "wide", placeholder: "Filter by name, URL or type", "aria-label": "Filter",
    value: asked.q ?? "", autocomplete: "off", spellcheck: "false" }), sink = h("select", { "aria-label": "Sink" }),
    box = h("div", { class: "panel" }), state = h("span", { class: "right", role: "status" });
  const add = () => act(null, () => newEndpoint(sink.value));
  const tab = table("Endpoints", [
    { title: "Endpoint", main: true,
      cell: (one) => [h("strong", {}, one.name), h("span", { class: "sub clip mono", title: one.url }, one.url)] },
    { title: "State", cell: (one) => [endpointState(one),
      (one.problem ?? one.reason) && h("span", { class: "sub clip" }, one.problem ?? one.reason)] },
    { title: "Sink", cell: (one) => one.sink },
    { title: "Gets", cell: (one) => chips(wanted(one), 3) },
    { title: "Rate", label: "rate", class: "num", cell: (one) => (known(one.rate) ? rate(one.rate) : "") },
    { title: "Dead since start", label: "dead", class: "num",
      cell: (one) => (known(one.dead) ? h("span", { class: one.dead > 0 ? "bad" : "soft" }, count(one.dead)) : "") },
    { title: "Set in", class: "nowrap",
      cell: (one) => h("span", { class: "soft" }, one.origin === "yaml" ? one.at ?? "configuration" : "API") },
  ], openEndpoint, (one) => `${one.sink}/${one.name}`);
  let all = [], cut = false;
  function draw() {
    const names = [...new Set(all.map((one) => one.sink))], words = find.value.trim().toLowerCase(),
      chosen = sink.value || (asked.sink ?? "");
    if (sink.options.length !== names.length + 1) { sink.replaceChildren(h("option", { value: "" }, "All sinks"),
      ...names.map((name) => h("option", { value: name }, name))); sink.value = names.includes(chosen) ? chosen : ""; }
    const shown = all.filter((one) => (!sink.value || one.sink === sink.value) && (!words || [one.name, one.url, one.sink,
      ...wanted(one)].some((text) => text?.toLowerCase().includes(words))));
    tab.set(shown);
    state.textContent = cut ? `the first ${many(all.length, "endpoint")}` : all.length
      ? (shown.length === all.length ? many(all.length, "endpoint") : `${shown.length} of ${many(all.length, "endpoint")}`) : "";
    show(box, shown.length ? tab.node : all.length ? empty("endpoints", "No endpoint fits",
      "No name, URL or type has these letters.") : empty("endpoints", "No endpoints yet",
      operator() ? "An endpoint is a URL that gets events as signed webhooks. Add one, tick the types that it is to get, and send it a test event." : "An operator can add one here, or below sinks: in the configuration.", operator() ? button("New endpoint", add, "primary") : ""));
  }
  const moved = () => { asked.sink = ""; history.replaceState(null, "",
    "#/endpoints" + query({ q: find.value.trim(), sink: sink.value })); draw(); };
  find.addEventListener("input", moved);
  sink.addEventListener("change", moved);
  root.append(h("div", { class: "head" }, h("h1", {}, "Endpoints"),
    operator() && h("div", { class: "actions" }, button(["New endpoint ", h("kbd", {}, "n")], add, "", { id: "new" }))),
    h("div", { class: "bar" }, find, sink, state), box);
  return { rows: tab.rows, filter: find, keys: operator() ? { n: add } : {}, async refresh(signal) {
    const [answer, now] = await Promise.all([ask("/endpoints" + query({ limit: 1000 }), { signal }), figuresNow(signal)]);
    all = items(answer).map((one) => figured(one, now));
    cut = Boolean(answer.next);
    draw();
  } };
}

/* ---- deliveries ---- */

const ENDS = { delivered: "ok", retry: "warn", spared: "warn", dead: "bad", released: "" };
const outcome = (one) => badge(one.status ? `${one.status}` : one.end === "delivered" ? "delivered" : one.class ?? one.end ?? "failed",
  ENDS[one.end] ?? "");
const where = (one) => (one.endpoint ? `${one.sink}/${one.endpoint}` : one.sink);

const dataOf = (event) => [h("pre", {}, pretty(event.data ?? event.data_base64)),
  event.cut && h("p", { class: "small" }, `This is the beginning of ${many(event.size, "byte")}.`)];
async function eventSection(id, source) {
  try {
    const [found, tries] = await Promise.all([ask(`/events/${encodeURIComponent(id)}` + query({ source })),
      ask("/attempts" + query({ event: id, limit: 20 }))]), event = items(found)[0] ?? {};
    return [h("section", {}, h("h3", {}, "Data"), dataOf(event)),
      h("section", {}, h("h3", {}, "All that was tried with it"),
        h("ul", { class: "list" },
        items(tries).map((one) => h("li", {}, outcome(one), h("span", {}, where(one)),
        h("span", { class: "soft" }, `attempt ${one.attempt}`), h("span", { class: "soft right" }, age(one.time))))))];
  } catch (error) {
    return [h("p", { class: "note" }, error.message)];
  }
}
function resend(one) {
  form("Send it again?", [h("p", {}, "The event goes to ", h("strong", {}, where(one)),
    " once more, as a copy of its own: whoever got it already gets it twice, with the same id."),
    facts([["Event", h("code", {}, one.event.id)], ["Type", one.event.type]])], "Send again", async () => {
    await ask(`/events/${encodeURIComponent(one.event.id)}/resend`,
      { method: "POST", body: { source: one.event.source, sink: one.sink, ...(one.endpoint ? { endpoint: one.endpoint } : {}) } });
    toast(`It is on its way to ${where(one)}.`);
    page.refresh();
  });
}
function openAttempt(one) {
  const more = h("div", { class: "stack" }, h("p", { class: "soft" }, "\u2026"));
  const panel = drawer(one.event.type,
    h("section", {}, h("p", {}, outcome(one), " ",
    { delivered: "Delivered", retry: "Failed, comes again", spared: "Failed, comes again", dead: "Given up: it is a dead letter",
    released: "Left to another instance" }[one.end] ?? one.end), one.reason && h("p", { class: "soft" }, one.reason)),
    facts([["To", h("a", { href: `#/endpoints${query({ sink: one.sink, q: one.endpoint })}`, onclick: () => panel.close() }, where(one))],
      ["When", age(one.time)], ["Took", took(one.duration_ms)], ["Attempt", `${one.attempt}`], ["Next", one.next && age(one.next)],
      ["Event", h("code", {}, one.event.id)], ["Source", h("span", { class: "mono" }, one.event.source)], ["Subject", one.event.subject],
      ["Record", one.record && h("span", { class: "mono" }, `${one.record.topic}/${one.record.partition}@${one.record.offset}`)]]),
    h("section", {}, h("h3", {}, "What the receiver answered"), h("pre", {}, one.response || "(nothing that was kept)")),
    h("div", { class: "actions" }, operator() && button("Send again", () => resend(one)),
      h("a", { class: "button", href: `#/deliveries${query({ event: one.event.id })}`, onclick: () => panel.close() },
      "All attempts of this event")), more);
  eventSection(one.event.id, one.event.source).then((parts) => show(more, parts));
}
function deliveriesPage(root, asked) {
  root.append(h("div", { class: "head" }, h("h1", {}, "Deliveries")));
  return listing({
    root, asked, path: "/attempts", picture: "deliveries", label: "Attempts",
    filters: [search("event", "Event id", true), search("sink", "Sink"), search("endpoint", "Endpoint"), search("type", "Type"),
      choice("outcome", "Any outcome",
      [["delivered", "Delivered"], ["failed", "Failed"], ["retry", "Failed, comes again"], ["dead", "Given up"]]),
      choice("since", "Any time", SINCE)],
    columns: [
      { title: "Outcome", cell: outcome },
      { title: "Event", main: true, cell: (one) => [h("strong", {}, one.event.type), h("span", { class: "sub mono" }, one.event.id)] },
      { title: "To", cell: where },
      { title: "Attempt", label: "attempt", class: "num", cell: (one) => `${one.attempt}` },
      { title: "Took", class: "num", cell: (one) => took(one.duration_ms) },
      { title: "Answer", cell: (one) => h("span", { class: "clip soft" },
        (one.end === "delivered" ? one.response : one.reason ?? one.response) ?? "") },
      { title: "When", class: "num nowrap", cell: (one) => age(one.time) },
    ],
    opened: openAttempt, key: (one) => [one.sink, one.endpoint, one.event.source, one.event.id, one.attempt, one.time].join("\n"),
    none: () => empty("deliveries", "Nothing was delivered yet",
      "Each attempt to deliver an event shows up here, with the beginning of what the receiver answered. Which attempts are kept is said by the sink's option attempts.", h("a", { class: "button", href: "#/endpoints" }, "To the endpoints")),
    noneFiltered: () => empty("deliveries", "No attempt fits", "Try another time or outcome, or fewer letters."),
  });
}

/* ---- dead letters ---- */

async function job(said, progress) {
  for (let wait = 250; said?.job; wait = Math.min(2000, wait * 1.5)) {
    const now = await ask(`/jobs/${encodeURIComponent(said.job)}`);
    if (known(now.of) && now.of > 0) { progress.max = now.of; progress.value = now.done ?? 0; }
    if (now.error) throw new Error(now.error);
    if (now.state !== "running") return now.result ?? now;
    await new Promise((done) => setTimeout(done, wait));
  }
  return said;
}
/* First a dry run, whose number is in the question. */
async function settleDead(verb, filter, who) {
  const which = Object.values(filter).some(Boolean) ? filter : { all: true }, redrive = verb === "redrive";
  const dry = await ask(`/dead-letters/${verb}`, { method: "POST", body: { ...which, dry_run: true } }), n = dry.done ?? dry.matched ?? 0;
  if (!n) return toast(dry.skipped
    ? `Nothing to do: ${many(dry.skipped, "letter")} went three times already, or cannot go now.` : "No dead letter fits: there is nothing to do.", "warn");
  const progress = h("progress", { hidden: true, "aria-label": "Done" });
  form(`${redrive ? "Redrive" : "Discard"} ${many(n, "dead letter")}?`, [
    h("p", {}, redrive ? "Each goes again to the sink that gave it up, with its id, and is signed afresh." : "They are given up for good. They stay listed as discarded, and are not delivered any more."),
    facts([["Which", who], ["Left out", dry.refused + dry.skipped > 0 ? many(dry.refused + dry.skipped, "letter") : null]]),
    redrive && field("At most so many a second",
      h("input", { name: "rate", type: "number", min: 1, max: 100000, placeholder: "no limit", inputmode: "numeric" }),
      "A receiver that just came back is grateful for a limit."),
    redrive && field("To another place",
      h("input", { name: "to", placeholder: "sink or sink/endpoint; empty: where they failed", autocomplete: "off",
      spellcheck: "false" })), progress,
  ], `${redrive ? "Redrive" : "Discard"} ${n.toLocaleString("en")}`, async (data) => {
    progress.hidden = false;
    const done = await job(await ask(`/dead-letters/${verb}`,
      { method: "POST", body: { ...which, ...(data.get("rate") ? { rate: Number(data.get("rate")) } : {}),
      ...(data.get("to") ? { to: data.get("to").trim() } : {}) } }), progress), refused = done.refused ?? 0;
    toast(`${many(done.done ?? n, "dead letter")} ${redrive ? "redriven" : "discarded"}${refused ? `, ${refused} refused` : ""}.`,
      refused ? "warn" : "ok");
    page.refresh();
    countDead().catch(failed);
  }, !redrive);
}
function openLetter(one) {
  const data = h("div", { class: "stack" }, h("p", { class: "soft" }, "\u2026")),
    mine = Object.fromEntries(Object.entries({ id: one.id, sink: one.sink ?? one.from,
    endpoint: one.endpoint }).filter(([, value]) => value)), panel = drawer(one.type ?? "Dead letter",
    h("section", {}, h("p", {}, badge(one.class ?? "dead", "bad"), " ", one.reason ?? "")),
    facts([["Given up by", one.sink ? where(one) : `source ${one.from}`], ["Attempts", known(one.attempts) ? `${one.attempts}` : null],
      ["First", one.first && age(one.first)], ["Last", one.last && age(one.last)], ["Event", h("code", {}, one.id)],
      ["Source", h("span", { class: "mono" }, one.source)], ["State", one.state !== "dead" ? one.state : null],
      ["Redriven", one.redrives > 0 ? many(one.redrives, "time") : null],
      ["Record", one.origin && h("span", { class: "mono" }, `${one.origin.topic}/${one.origin.partition}@${one.origin.offset}`)]]),
    operator() && h("div", { class: "actions" }, button("Redrive", (event) => act(event, () => settleDead("redrive", mine, one.id))),
      button("Discard", (event) => act(event, () => settleDead("discard", mine, one.id)), "danger")), data);
  ask(`/dead-letters/${encodeURIComponent(one.letter)}`).then((said) => { show(data,
    h("section", {}, h("h3", {}, "Data"), dataOf(said))); }, (error) => show(data, h("p", { class: "note" }, error.message)));
  return panel;
}
function deadPage(root, asked) {
  const all = (verb) => (event) => act(event,
    () => { const filter = Object.fromEntries(Object.entries(list.values()).filter(([, value]) => value)); return settleDead(verb, filter,
    Object.entries(filter).map((pair) => pair.join(" ")).join(", ") || "all of them"); });
  root.append(h("div", { class: "head" }, h("h1", {}, "Dead letters"),
    operator() && h("div", { class: "actions" },
    button("Redrive \u2026", all("redrive"), "", { title: "What the filter below shows; asks first", id: "redrive" }),
    button("Discard \u2026", all("discard"), "danger", { title: "What the filter below shows; asks first" }))));
  const list = listing({
    root, asked, path: "/dead-letters", picture: "dead", label: "Dead letters",
    filters: [search("sink", "Sink", true), search("endpoint", "Endpoint"), search("type", "Type"),
      choice("class", "Any reason",
      ["refused", "unavailable", "configuration", "poison", "blocked", "orphaned", "invalid", "unrouted"].map((one) => [one])),
      choice("since", "Any time", SINCE)],
    columns: [
      { title: "Reason", cell: (one) => badge(one.class ?? "dead", one.state === "dead" || !one.state ? "bad" : "") },
      { title: "Event", main: true, cell: (one) => [h("strong", {}, one.type ?? "(no event)"), h("span", { class: "sub mono" }, one.id)] },
      { title: "Given up by", cell: (one) => (one.sink ? where(one) : `source ${one.from}`) },
      { title: "Why", cell: (one) => h("span", { class: "clip soft", title: one.reason }, one.reason ?? "") },
      { title: "Attempts", label: "attempts", class: "num", cell: (one) => (known(one.attempts) ? `${one.attempts}` : "") },
      { title: "Last", class: "num nowrap", cell: (one) => (one.last ? age(one.last) : "") },
    ],
    opened: openLetter, key: (one) => one.letter,
    none: () => empty("dead", "No dead letters",
      "Nothing was given up. An event that no attempt could deliver would stand here with its reason, to be redriven when the receiver is mended."),
    noneFiltered: () => empty("dead", "No dead letter fits", "Try another reason or time, or fewer letters."),
  });
  return list;
}

/* ---- live tail ---- */

/* Reads an event stream; fetch says what EventSource would not: why there is none. */
async function stream(path, signal, last, each) {
  const response = await fetch(API + path,
    { signal, credentials: "same-origin", headers: { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) } });
  if (response.status === 401) signIn();
  if (!response.ok) throw new Problem(response.status, parse(await response.text()));
  each({ event: "open" });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let held = "", part; !(part = await reader.read()).done;) {
    const blocks = (held + part.value.replaceAll("\r", "")).split("\n\n");
    held = blocks.pop();
    for (const block of blocks) {
      const one = { event: "message", data: "" };
      for (const line of block.split("\n")) {
        const [, name, value] = /^([a-z]+): ?(.*)$/s.exec(line) ?? [];
        if (name === "data") one.data += (one.data && "\n") + value;
        else if (name) one[name] = value;
      }
      if (one.data || one.event !== "message") each(one);
    }
  }
}
/* A type, or a pattern of one, as a filter of the configuration; what is such a filter already stays. */
function condition(words) {
  if (!words || words.startsWith("{")) return words;
  return JSON.stringify(words.endsWith("*") ? { prefix: { type: words.slice(0, -1) } } : { exact: { type: words } });
}
/* An event with its data as what that is. */
const whole = (event) => JSON.stringify({ ...event, ...(typeof event.data === "string" ? { data: parse(event.data) ?? event.data } : {}) },
  null, 2);
function tailPage(root, asked) {
  const topic = h("select", { "aria-label": "Topic" }, h("option", { value: asked.topic ?? "" }, asked.topic || "All topics")),
    from = choice("from", "From now on", SINCE.map(([value, text]) => [value, `And the ${text.toLowerCase()}`])).control,
    filter = h("input", { type: "search", class: "wide", placeholder: "chat.*, or {data: {/collection/key: hr}}", "aria-label": "Filter",
    value: asked.filter ?? "", autocomplete: "off", spellcheck: "false" });
  const rows = h("ol", { class: "tail", "aria-label": "Events, the newest first" }), box = h("div", { class: "panel" }),
    state = h("span", { class: "right", role: "status" }), wrong = h("p", { class: "problem", role: "alert", hidden: true });
  const hold = button("Pause", () => { paused = !paused; if (!paused) kept.splice(0).forEach(put); say(); }, "",
    { "aria-pressed": "false" });
  let paused = false, kept = [], ended = null, connected = false, seen = 0, last = null;
  const nothing = empty("tail", "Waiting for events",
    "What comes in from now on shows up here. Let an application work, or send one: aqueduct send --help");
  function say() {
    hold.textContent = paused ? `Go on${kept.length ? ` (${kept.length})` : ""}` : "Pause";
    hold.setAttribute("aria-pressed", String(paused));
    state.replaceChildren(dot(connected ? "ok" : "warn"), ` ${connected ? `live, ${many(seen, "event")}` : "connecting"}`);
  }
  function put(row) {
    rows.prepend(row);
    while (rows.children.length > TAIL_ROWS) rows.lastElementChild.remove();
    if (box.firstChild !== rows) show(box, rows);
  }
  function row(text) {
    const event = parse(text) ?? { data: text }, when = new Date(event.stored ?? event.time ?? Date.now()),
      stamp = isNaN(when) ? new Date() : when,
      data = event.data ?? event.data_base64;
    const details = h("details", {},
      h("summary", {}, h("time", { datetime: stamp.toISOString() },
      stamp.toLocaleTimeString([], { hour12: false }) + "." + String(stamp.getMilliseconds()).padStart(3, "0")),
      h("span", { class: "type" }, event.type ?? "?"), h("span", {}, event.subject ?? ""),
      h("span", { class: "data" }, (typeof data === "string" ? data : JSON.stringify(data) ?? "").slice(0, 300))));
    details.addEventListener("toggle",
      () => details.open && details.childElementCount === 1 && details.append(h("pre", {}, whole(event))));
    return h("li", {}, details);
  }
  function heard(one) {
    connected = true;
    wrong.hidden = true;
    last = one.id ?? last;
    if (one.event === "missed") put(h("li", { class: "gap" },
      `${many(parse(one.data)?.events ?? 0, "event")} came faster than they could be shown, and are left out here.`));
    else if (one.data) {
      seen++;
      const made = row(one.data);
      if (paused) { kept.push(made); if (kept.length > TAIL_ROWS) kept.shift(); } else put(made);
    }
    say();
  }
  async function begin() {
    ended?.abort();
    const mine = (ended = new AbortController());
    history.replaceState(null, "", "#/tail" + query({ topic: topic.value, filter: filter.value.trim(), from: from.value }));
    rows.replaceChildren();
    kept = [];
    seen = 0;
    last = null;
    connected = false;
    wrong.hidden = true;
    say();
    show(box, nothing);
    for (let wait = 1000; !mine.signal.aborted; wait = Math.min(SLOWEST_MS, wait * 2)) {
      try {
        await stream("/tail" + query({ topic: topic.value, filter: condition(filter.value.trim()), from: from.value }), mine.signal, last,
          (one) => { wait = 1000; heard(one); });
      } catch (error) {
        if (mine.signal.aborted) return;
        if (error.status) { wrong.textContent = error.message; wrong.hidden = false; }
        if (error.status < 500) return; // another try would be answered the same
      }
      connected = false;
      say();
      await new Promise((done) => setTimeout(done, wait));
    }
  }
  filter.addEventListener("change", begin);
  topic.addEventListener("change", begin);
  from.value = asked.from ?? "";
  from.addEventListener("change", begin);
  ask("/flow").then((flow) => { const chosen = topic.value; topic.replaceChildren(h("option", { value: "" }, "All topics"),
    ...flow.topics.map((one) => h("option", { value: one.name }, one.name))); topic.value = chosen; }).catch(failed);
  root.append(h("div", { class: "head" }, h("h1", {}, "Live tail"),
    h("div", { class: "actions" }, hold, button("Clear", () => { rows.replaceChildren(); kept = []; show(box, nothing); say(); }))),
    h("div", { class: "bar" }, filter, topic, from, state), wrong, box);
  say();
  begin();
  return { filter, rows: () => [...rows.querySelectorAll("summary")], keys: { p: () => hold.click() }, close: () => ended?.abort() };
}

/* ---- configuration ---- */

const CHANGES = { add: "ok", remove: "bad", change: "warn" };
const problems = (list) => h("ul", { class: "list" },
  (list ?? []).map((one) => h("li", {}, badge(one.level, one.level === "error" ? "bad" : "warn"),
  h("span", { class: "mono soft" }, [one.file, one.line, one.column].filter((part) => part && part !== "-").join(":")),
  h("span", {}, one.path && h("code", {}, one.path), " ", one.text))));
async function reload() {
  const plan = await ask("/config/plan", { method: "POST" }), changes = (plan.changes ?? []).filter((one) => one.change !== "keep");
  if (!plan.ok) return tell("The files cannot be taken over", problems(plan.problems));
  if (!changes.length) return toast("The files say what runs already.");
  const restart = changes.filter((one) => one.needs && one.needs !== "nothing").length;
  form(`Take over ${many(changes.length, "change")}?`,
    [h("ul", { class: "list" },
    changes.map((one) => h("li", {}, badge(one.change, CHANGES[one.change]), h("strong", {}, one.what),
    one.needs && one.needs !== "nothing" && badge(`needs ${one.needs}`, "warn"),
    ...[one.detail ?? []].flat().map((text) => h("span", { class: "soft" }, text))))),
    restart > 0 && h("p", { class: "note" },
    `${many(restart, "change")} ${restart === 1 ? "takes" : "take"} effect at the next start only.`)], "Reload", async () => {
    await ask("/reload", { method: "POST" });
    toast("The configuration is reloaded.");
    page.refresh();
  });
}
function checkDraft() {
  const found = h("div", { role: "status" }),
    text = h("textarea", { name: "yaml", required: true, spellcheck: "false", "aria-label": "Configuration",
    placeholder: "sinks:\n  crm:\n    type: webhook\n    \u2026" });
  form("Check a configuration", [h("p", { class: "soft" }, "Nothing is changed: it only says what is wrong with it."), text, found],
    "Check", async () => {
    const said = await ask("/config/check", { method: "POST", body: text.value });
    show(found, said.ok ? h("p", { class: "ok" }, "It is good.") : "", problems(said.problems));
    return false;
  });
}
function configPage(root, asked) {
  const find = h("input", { type: "search", class: "wide", placeholder: "Filter by path or value", "aria-label": "Filter",
    value: asked.q ?? "", autocomplete: "off", spellcheck: "false" }), set = h("input", { type: "checkbox", checked: asked.all !== "1" }),
    box = h("div", { class: "panel" }), state = h("span", { class: "right", role: "status" });
  const tab = table("Configuration", [
    { title: "Option", main: true, cell: (one) => h("span", { class: "mono" }, one.path) },
    { title: "Value", cell: (one) => h("span", { class: "mono" },
      one.value === null || one.value === undefined ? "\u2013" : typeof one.value === "string" ? one.value : JSON.stringify(one.value)) },
    { title: "Set in", class: "nowrap", cell: (one) => h("span", { class: "mono soft" }, one.at ?? "") },
  ], null, (one) => one.path);
  let all = [];
  function draw() {
    const words = find.value.trim().toLowerCase(),
      shown = all.filter((one) => (!set.checked || one.at !== "default") && (!words || `${one.path} ${JSON.stringify(one.value)}`.toLowerCase().includes(words)));
    tab.set(shown);
    state.textContent = `${shown.length} of ${many(all.length, "option")}`;
    show(box, shown.length ? tab.node : empty("config", "No option fits", "Show the defaults as well, or write fewer letters."));
  }
  const moved = () => { history.replaceState(null, "",
    "#/config" + query({ q: find.value.trim(), all: set.checked ? "" : "1" })); draw(); };
  find.addEventListener("input", moved);
  set.addEventListener("change", moved);
  root.append(h("div", { class: "head" }, h("h1", {}, "Configuration"),
    operator() && h("div", { class: "actions" }, button("Check a draft \u2026", checkDraft),
    button("Reload \u2026", (event) => act(event, reload), "", { title: "Reads the files again; shows what would change first" }))),
    h("div", { class: "bar" }, find, h("label", { class: "tick" }, set, "Only what is set"), state), box);
  return { filter: find, every: SLOWEST_MS, async refresh(signal) {
    all = items(await ask("/config", { signal }));
    draw();
  } };
}

/* ---- the frame ---- */

const PAGES = {
  flow: { title: "Flow", key: "f", open: flowPage },
  endpoints: { title: "Endpoints", key: "e", open: endpointsPage },
  deliveries: { title: "Deliveries", key: "d", open: deliveriesPage },
  dead: { title: "Dead letters", short: "Dead", key: "l", open: deadPage },
  tail: { title: "Live tail", short: "Tail", key: "t", open: tailPage },
  config: { title: "Configuration", short: "Config", key: "c", open: configPage },
};

/* Looks again while the page is open and seen: no sooner than 2 s, and never more than a tenth of the time. */
function live(one) {
  const end = new AbortController();
  let timer = null, running = false, failures = 0;
  async function look() {
    clearTimeout(timer);
    if (running || end.signal.aborted || document.hidden || !one.refresh) return;
    running = true;
    const began = performance.now();
    let wait;
    try {
      await one.refresh(end.signal);
      failures = 0;
      at("offline").hidden = true;
      wait = Math.max(one.every ?? LIVE_MS, 10 * (performance.now() - began));
    } catch (error) {
      wait = Math.min(SLOWEST_MS, LIVE_MS * 2 ** failures++);
      if (!end.signal.aborted && error.status !== 401) offline(error, wait);
    }
    running = false;
    if (!end.signal.aborted) timer = setTimeout(look, wait);
  }
  document.addEventListener("visibilitychange", look, { signal: end.signal });
  look();
  return { ...one, refresh: look, close() { end.abort(); clearTimeout(timer); one.close?.(); } };
}
function offline(error, wait) {
  at("offline").textContent = error.status ? error.message : `The bridge does not answer. Again in ${Math.round(wait / 1000)} s.`;
  at("offline").hidden = false;
}

function go() {
  const [name, rest] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s), found = PAGES[name] ? name : "flow",
    asked = Object.fromEntries(new URLSearchParams(rest ?? ""));
  if (!me) return;
  page?.close();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  document.title = `${PAGES[found].title} \u00b7 Aqueduct`;
  for (const link of document.querySelectorAll("nav a")) link.dataset.page === found ? link.setAttribute("aria-current",
    "page") : link.removeAttribute("aria-current");
  const root = h("div");
  at("main").replaceChildren(root);
  page = live(PAGES[found].open(root, asked));
  if (name) at("main").focus({ preventScroll: true });
}

/* The frame's own look: is the bridge ready, and how many letters are dead? */
let counted = 0; // when the letters were
async function frame() {
  clearTimeout(frame.timer);
  if (me && !document.hidden) {
    try {
      const status = await ask("/status");
      show(at("health"), dot(status.ready ? "ok" : "bad"),
        status.ready ? `Ready, ${status.broker} broker` : `Not ready: ${status.not_ready ?? "?"}`);
      if (Date.now() - counted >= SLOWEST_MS) await countDead();
    } catch { /* the page says what is wrong */ }
  }
  frame.timer = setTimeout(frame, HISTORY_MS);
}
async function countDead() {
  const answer = await ask("/dead-letters" + query({ limit: PAGE })), n = items(answer).length,
    link = document.querySelector('nav a[data-page="dead"]');
  counted = Date.now();
  link.querySelector(".count")?.remove();
  if (n) link.querySelector("span").after(h("span", { class: "count" }, answer.next ? `${n}+` : `${n}`));
}

function signIn() {
  if (!at("login").hidden) return;
  page?.close();
  page = me = null;
  at("shell").hidden = true;
  const wrong = h("p", { class: "problem", role: "alert", hidden: true }),
    token = h("input", { type: "password", name: "token", required: true, autocomplete: "current-password" });
  at("login").replaceChildren(h("form", { onsubmit: async (event) => {
    event.preventDefault();
    try {
      await ask("/session", { method: "POST", body: { token: token.value } });
      await begin();
    } catch (error) {
      wrong.textContent = error.status === 401 ? "This token is none of the bridge's." : error.message;
      wrong.hidden = false;
      token.select();
    }
  } }, document.querySelector(".brand").cloneNode(true), h("h1", {}, "Sign in"),
    field("Token", token, "One of admin.token_file or admin.tokens."), wrong, h("button", { type: "submit", class: "primary" }, "Sign in"),
    h("p", { class: "small" }, "Or run ", h("code", {}, "aqueduct console"),
    " where the bridge runs: it prints a link that signs in once.")));
  at("login").hidden = false;
  token.focus();
}
async function begin() {
  try {
    me = await ask("/session");
  } catch (error) {
    if (error.status === 401) return signIn();
    offline(error, LIVE_MS);
    return void setTimeout(begin, LIVE_MS);
  }
  at("offline").hidden = at("login").hidden = true;
  at("shell").hidden = false;
  at("who").textContent = [me.name, me.role].filter(Boolean).join(", ");
  at("leave").hidden = me.via !== "cookie";
  go();
  frame();
}

function help() {
  const key = (keys, text) => h("li", {}, h("span", {}, text),
    h("span", { class: "right" }, keys.split(" ").map((one) => [h("kbd", {}, one), " "])));
  tell("Shortcuts", h("ul", { class: "list" }, Object.values(PAGES).map((one) => key(`g ${one.key}`, one.title)),
    key("/", "To the filter"), key("j k", "Down and up the rows"), key("Enter", "Open"), key("Esc", "Close, leave the filter"),
    operator() && key("n", "New endpoint (on Endpoints)"), key("p", "Pause (on Live tail)"), key("r", "Look again now"),
    key("?", "This list")));
}
let led = 0; // when g was pressed
function pressed(event) {
  const typing = event.target.closest?.("input, select, textarea"), key = event.key;
  if (event.ctrlKey || event.metaKey || event.altKey || !page || document.querySelector("dialog[open]")) return;
  if (typing) { if (key === "Escape") event.target.blur(); return; }
  const after = Date.now() - led < 1200, to = after && Object.entries(PAGES).find(([, one]) => one.key === key);
  led = key === "g" ? Date.now() : 0;
  const rows = () => page.rows?.() ?? [],
    move = (by) => { const list = rows(), now = list.indexOf(document.activeElement),
    next = list[now < 0 ? (by > 0 ? 0 : list.length - 1) : Math.max(0, Math.min(list.length - 1, now + by))]; next?.focus(); };
  const does = to ? () => { location.hash = `#/${to[0]}`; } : { "/": () => page.filter?.focus(), j: () => move(1), k: () => move(-1),
    "?": help, r: () => page.refresh(), ...page.keys }[key];
  if (!does) return;
  event.preventDefault();
  does();
}

for (const [name, one] of Object.entries(PAGES)) document.querySelector("nav").append(h("a", { href: `#/${name}`, "data-page": name },
  icon(name), h("span", {}, one.short ? [h("span", { class: "long" }, one.title), h("span", { class: "short" }, one.short)] : one.title),
  h("span", { class: "hint", "aria-hidden": "true" }, `g ${one.key}`)));
at("help").addEventListener("click", help);
at("leave").addEventListener("click", (event) => act(event, async () => { await ask("/session", { method: "DELETE" }); signIn(); }));
document.addEventListener("keydown", pressed);
addEventListener("hashchange", go);
setInterval(() => { if (!document.hidden) for (const one of document.querySelectorAll("time[data-when]")) one.textContent = ago(Number(one.dataset.when)); }, 1000);
begin();
