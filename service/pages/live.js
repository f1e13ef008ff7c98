// The live page: joins the stream, the charts and the cards. What a number means is told by
// live-plots.js; nothing here is kept longer than the window, save the API key of this tab.

import { Audit } from "./live-audit.js";
import { Chart } from "./live-chart.js";
import * as format from "./live-format.js";
import { History } from "./live-history.js";
import { plots } from "./live-plots.js";
import { Stream } from "./live-stream.js";

const KEY = "ledgercore-api-key";
const find = (id) => document.getElementById(id);

const history = new History();
let settings = null;
let cursor = null;
let isDue = false;

function headers() {
  const key = sessionStorage.getItem(KEY);
  return key === null ? {} : { Authorization: `Bearer ${key}` };
}

function add(parent, tag, className, text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  parent.append(element);
  return element;
}

// -- charts --------------------------------------------------------------------------------------

const cards = [...document.querySelectorAll("[data-plot]")].map((section) => {
  const plot = plots[section.dataset.plot];
  const head = add(section, "div", "head");
  const title = add(head, "h2", "", plot.title);
  title.id = `${section.dataset.plot}-title`;
  section.setAttribute("aria-labelledby", title.id);
  const figure = add(head, "p", "figure");
  const number = add(figure, "b", "", format.NONE);
  figure.append(" ");
  const unit = add(figure, "span");
  const chart = new Chart(section, plot, point);
  const legend = add(section, "ul", "legend");
  const listed = [...plot.series, ...(plot.notes ?? [])].map((series) => {
    const item = add(legend, "li", series.tone ? `tone-${series.tone}` : "");
    if (series.tone) add(item, "i", "");
    item.append(`${series.name} `);
    return { item, series, value: add(item, "b") };
  });
  return { plot, number, unit, chart, listed };
});

function point(where) {
  cursor = typeof where === "function" ? where(cursor) : where;
  redraw();
}

function drawCards(sample) {
  for (const { plot, number, unit, chart, listed } of cards) {
    chart.draw(history, cursor);
    [number.textContent, unit.textContent] = plot.figure(sample);
    for (const { item, series, value } of listed) {
      const read = series.read(sample);
      item.hidden = read === null;
      if (read !== null) value.textContent = series.tone ? plot.say(read) : read;
    }
  }
}

// -- segments and limits -------------------------------------------------------------------------

const rows = [];

function makeRow(number) {
  const row = add(find("segments"), "tr");
  add(row, "th", "", String(number)).scope = "row";
  const bars = ["queue", "workers", "busy"].map((name) => {
    const cell = add(row, "td");
    const bar = add(cell, "span", `bar ${name}`);
    return { fill: add(bar, "i"), value: add(cell, "b") };
  });
  return { row, bars };
}

function drawSegments({ segments, queue_depth: depth }) {
  find("depth").textContent = format.count(depth);
  while (rows.length < segments.length) rows.push(makeRow(rows.length));
  while (rows.length > segments.length) rows.pop().row.remove();
  // Bars are compared with each other: the longest of the window would hide all of the present.
  const deepest = Math.max(64, ...segments.map((segment) => segment.queue_depth));
  const widest = Math.max(4, ...segments.map((segment) => segment.workers));
  segments.forEach((segment, index) => {
    const parts = [
      [segment.queue_depth / deepest, format.short(segment.queue_depth)],
      [segment.workers / widest, segment.workers],
      [segment.utilisation, format.percent(segment.utilisation)],
    ];
    parts.forEach(([part, text], i) => {
      const { fill, value } = rows[index].bars[i];
      fill.style.width = `${(part * 100).toFixed(1)}%`;
      value.textContent = text;
    });
  });
}

const LIMITS = {
  client_rate: ["client", (value) => `${format.short(value)}/s`],
  client_quota: ["client quota", format.short],
  global_rate: ["all clients", (value) => `${format.short(value)}/s`],
  request_deadline_ms: ["deadline", format.ms],
  target_p99_ms: ["p99 target", format.ms],
};

function describeChips(sample) {
  const fill = sample.keys / sample.keys_max;
  const limit = sample.inflight_limit;
  const chips = [
    ["breaker", sample.breaker ?? "none", { closed: "ok", open: "bad", "half-open": "warn" }],
    ["in-flight limit", limit === null ? "none" : format.short(limit)],
    ["connections", format.short(sample.connections)],
    ["keys", `${format.short(sample.keys)} / ${format.short(sample.keys_max)}`],
  ].map(([name, value, kinds]) => ({ name, value, kind: kinds?.[value] ?? "" }));
  if (limit !== null && sample.inflight >= limit) chips[1].kind = "warn";
  if (fill > 0.8) chips[3].kind = fill > 0.95 ? "bad" : "warn";
  if (settings === null) return chips;
  const isMemory = settings.durability !== "sync";
  chips.push({ name: "durability", value: settings.durability, kind: isMemory ? "warn" : "ok" });
  for (const [limitName, [name, say]] of Object.entries(LIMITS)) {
    const value = settings.limits[limitName];
    if (value > 0) chips.push({ name, value: say(value), kind: "" });
  }
  return chips;
}

const chipItems = [];

function drawChips(sample) {
  const chips = describeChips(sample);
  while (chipItems.length < chips.length) {
    const item = add(find("chips"), "li");
    chipItems.push({ item, name: add(item, "span"), value: add(item, "b") });
  }
  chipItems.forEach(({ item, name, value }, index) => {
    item.hidden = index >= chips.length;
    if (item.hidden) return;
    item.dataset.kind = chips[index].kind;
    name.textContent = chips[index].name;
    value.textContent = chips[index].value;
  });
}

// -- drawing -------------------------------------------------------------------------------------

function draw() {
  isDue = false;
  const { latest } = history;
  if (latest === null) return;
  const pointed = cursor === null ? null : history.at(cursor);
  const sample = pointed ?? latest;
  drawCards(sample);
  drawSegments(sample);
  drawChips(sample);
  document.body.classList.toggle("pointed", pointed !== null);
  find("window").textContent = pointed === null ? "The last five minutes, one point a second."
    : `${new Date(sample.t * 1000).toLocaleTimeString()} (${format.clock(latest.t - sample.t)})`;
  audit.draw();
}

function redraw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(draw);
}

// -- the stream ----------------------------------------------------------------------------------

const audit = new Audit(headers);

const events = {
  history: ({ samples }) => history.replace(samples),
  sample: (sample) => {
    history.add(sample);
    if (!audit.isKnown) audit.ask();
  },
  settings: (value) => (settings = value),
  audit: (value) => audit.show(value),
};

function tellState(kind, text) {
  find("state").dataset.kind = kind;
  find("state").querySelector("span").textContent = text;
  document.body.classList.toggle("stale", kind !== "live" && history.latest !== null);
}

const stream = new Stream(new URL("../metrics/stream", import.meta.url), {
  key: () => sessionStorage.getItem(KEY),
  event: (name, value) => {
    events[name]?.(value);
    find("forget").hidden = sessionStorage.getItem(KEY) === null;
    redraw();
  },
  state: tellState,
  denied: (status, detail) => {
    tellState("lost", status === 401 ? "an API key is needed" : "this key may not read");
    // The first time it is no fault of anybody's that there is no key.
    if (sessionStorage.getItem(KEY) !== null) find("key-reason").textContent = detail;
    sessionStorage.removeItem(KEY);
    if (!find("key").open) find("key").showModal();
  },
});

find("key").addEventListener("close", () => {
  const key = find("key-text").value.trim();
  find("key-text").value = "";
  if (key !== "") sessionStorage.setItem(KEY, key);
  stream.start();
});

find("forget").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  location.reload();
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    stream.stop();
    tellState("wait", "paused");
  } else if (!find("key").open) {
    stream.start();
  }
});

stream.start();
