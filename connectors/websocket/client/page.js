// SPDX-License-Identifier: MIT
// The page of a listener: shows its events as they come. What events hold is put there as text and nothing else.
import { listen } from "./aqueduct.js";

const MOST = 500; // rows
const at = (id) => document.getElementById(id);
const base = document.querySelector("script[data-base]").dataset.base;
const form = at("filter"), rows = at("events");
let stream = null, paused = false, waiting = [];

function text(tag, name, value) {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = value;
  return element;
}

function put(row) {
  at("empty").hidden = true;
  rows.prepend(row);
  while (rows.children.length > MOST) rows.lastElementChild.remove();
}

function show(row) {
  if (!paused) return put(row);
  waiting.push(row);
  if (waiting.length > MOST) waiting.shift();
  at("pause").textContent = `Go on (${waiting.length})`;
}

function eventRow(event) {
  const said = new Date(event.time ?? Date.now()), when = isNaN(said) ? new Date() : said;      // a leap second is no Date
  const row = document.createElement("li"), details = document.createElement("details"), summary = document.createElement("summary");
  const time = text("time", "time", when.toLocaleTimeString([], { hour12: false }) + "." + String(when.getMilliseconds()).padStart(3, "0"));
  time.dateTime = when.toISOString();
  const data = event.data === undefined ? "" : typeof event.data === "string" ? event.data : JSON.stringify(event.data);
  summary.append(time, text("span", "type", event.type), text("span", "subject", event.subject ?? ""), text("span", "data", data.slice(0, 300)));
  details.append(summary);
  details.addEventListener("toggle", () => details.open && details.childElementCount === 1 && details.append(text("pre", "whole", JSON.stringify(event, null, 2))));
  row.append(details);
  return row;
}

function gapRow({ resume, lost }) {
  const counts = typeof lost === "number" ? [lost] : Object.values(lost ?? {});
  const n = counts.reduce((a, b) => a + b, 0);
  return text("li", "gap", resume === "reset" ? "The topic was made anew; what follows may not be all." : `${n || "Some"} events are gone: they were removed before they could be shown.`);
}

function say({ state, transport, retryMs, reason }) {
  const place = at("state");
  place.dataset.state = state;
  place.textContent = state === "open" ? `connected (${transport})` : state === "waiting" ? `${reason}; again in ${(retryMs / 1000).toFixed(1)} s` : state === "closed" ? "not connected" : "connecting";
}

function problem(message) {
  at("problem").hidden = !message;
  at("problem").textContent = message ?? "";
}

async function begin() {
  stream?.close();
  const asked = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
  if (asked.token) sessionStorage.setItem("token", asked.token);
  rows.replaceChildren();
  waiting = [];
  at("empty").hidden = false;
  problem(null);
  const mine = (stream = listen(new URL(base + "/", location.href).href.replace(/\/$/, base ? "" : "/"), {
    ...asked,
    onState: (state) => mine === stream && say(state),
    onGap: (gap) => mine === stream && show(gapRow(gap)),
  }));
  try {
    for await (const event of mine) if (mine === stream) show(eventRow(event));
  } catch (error) {
    if (mine === stream) problem(error.message);
  }
}

form.addEventListener("submit", (submit) => {
  submit.preventDefault();
  begin();
});
at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", String(paused));
  at("pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) waiting.splice(0).forEach(put);
});
at("clear").addEventListener("click", () => {
  rows.replaceChildren();
  waiting = [];
});
form.elements.token.value = sessionStorage.getItem("token") ?? "";
begin();
