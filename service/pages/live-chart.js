// One chart of the last five minutes, in SVG. This module owns how samples become lines: scales,
// axes and the cursor. It knows no sample by name, and makes no element after its first drawing.

import { WINDOW_S } from "./live-history.js";

const SVG = "http://www.w3.org/2000/svg";
const TOP = 8;
const BOTTOM = 20;
const LEFT = 44;
const RIGHT = 10;
const TICKS_MAX = 12;
const MINUTES = 5;
// Two samples further apart have a gap between them, in which nothing is known.
const GAP_S = 3.5;
// How many times as high as all else a bound may be, to be drawn.
const BOUND_MAX = 4;

// Let nothing be seen of these until they are drawn.
function hide(...elements) {
  for (const element of elements) element.style.display = "none";
}

export function make(name, attributes = {}, parent = null) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent?.append(element);
  return element;
}

// Round up to 1, 2 or 5 times a power of ten; or down.
function snap(value, isUp) {
  const power = 10 ** Math.floor(Math.log10(value));
  const steps = isUp ? [1, 2, 5, 10] : [5, 2, 1];
  const close = 1e-9;
  const found = steps.find((step) =>
    isUp ? step * power >= value * (1 - close) : step * power <= value * (1 + close));
  return (found ?? 1) * power;
}

function linearScale(values, least, count) {
  const highest = Math.max(least, ...values);
  const step = snap(highest / count, true);
  const top = Math.ceil(highest / step - 1e-9) * step;
  const ticks = [];
  for (let i = 0; i * step <= top * 1.000001; i += 1) ticks.push(i * step);
  return { place: (value) => value / top, ticks };
}

function logScale(values, range, count) {
  const seen = values.filter((value) => value > 0);
  const [least, most] = seen.length > 0 ? [Math.min(...seen), Math.max(...seen)] : range;
  let low = snap(least, false);
  let high = snap(most, true);
  if (high / low < 9) high = snap(low * 9, true);
  const length = Math.log10(high / low);
  const ticks = [];
  // Fewer ticks where they would be too close: 1-2-5, then decades, then every second decade.
  const steps = length * 3 <= count + 1 ? [1, 2, 5] : [1];
  const stride = Math.max(1, Math.ceil(length / (count + 1)));
  const from = Math.floor(Math.log10(low) + 1e-9);
  for (let power = from; 10 ** power <= high * 1.000001; power += stride) {
    for (const step of steps) {
      const tick = step * 10 ** power;
      if (tick >= low * 0.999999 && tick <= high * 1.000001) ticks.push(tick);
    }
  }
  return { place: (value) => Math.log10(value / low) / length, ticks };
}

export class Chart {
  #plot;
  #svg;
  #ticks = [];
  #minutes = [];
  #layers;
  #line;
  #dots;
  #width = 0;
  #height = 0;
  #now = 0;
  #scale = null;
  #shown = null;

  // plot: series [{ read(sample) -> number or null, tone, fill }], isStacked, isLog, least, range,
  // tick(value). point(time or null) is told where somebody points.
  constructor(parent, plot, point) {
    this.#plot = plot;
    this.#svg = make("svg", { class: plot.isStacked ? "plot stacked" : "plot", tabindex: 0, role: "img", "aria-label": plot.title });
    const grid = make("g", { class: "grid" }, this.#svg);
    for (let i = 0; i < TICKS_MAX; i += 1) {
      const line = make("line", { x1: LEFT }, grid);
      const text = make("text", { x: LEFT - 7, dy: "0.32em", "text-anchor": "end" }, grid);
      this.#ticks.push({ line, text });
    }
    for (let minute = 0; minute <= MINUTES; minute += 1) {
      const text = make("text", { "text-anchor": minute === 0 ? "end" : "middle" }, grid);
      text.textContent = minute === 0 ? "now" : `−${minute} min`;
      this.#minutes.push(text);
    }
    // The last series is drawn first where they are stacked, so that each covers the one above it.
    this.#layers = plot.series.map((series) => ({
      area: make("path", { class: `area tone-${series.tone}` }),
      path: make("path", { class: `line tone-${series.tone}` }),
    }));
    for (const { area, path } of [...this.#layers].reverse()) this.#svg.append(area, path);
    this.#line = make("line", { class: "cursor", y1: TOP }, this.#svg);
    this.#dots = plot.series.map(({ tone }) =>
      make("circle", { class: `dot tone-${tone}`, r: 3.5 }, this.#svg));
    hide(...this.#ticks.flatMap(({ line, text }) => [line, text]), ...this.#minutes, this.#line, ...this.#dots);
    parent.append(this.#svg);
    this.#listen(point);
    new ResizeObserver(([entry]) => {
      this.#width = entry.contentRect.width;
      this.#height = entry.contentRect.height;
      this.#svg.setAttribute("viewBox", `0 0 ${this.#width} ${this.#height}`);
      if (this.#shown !== null) this.draw(...this.#shown);
    }).observe(this.#svg);
  }

  #listen(point) {
    const move = (event) => {
      const box = this.#svg.getBoundingClientRect();
      const part = (event.clientX - box.left - LEFT) / (this.#width - LEFT - RIGHT);
      point(this.#now - WINDOW_S * (1 - Math.min(Math.max(part, 0), 1)));
    };
    this.#svg.addEventListener("pointerdown", move);
    this.#svg.addEventListener("pointermove", move);
    this.#svg.addEventListener("pointerleave", () => point(null));
    this.#svg.addEventListener("blur", () => point(null));
    this.#svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined && event.key !== "Escape") return;
      event.preventDefault();
      point(step === undefined ? null : (time) => (time ?? this.#now) + step);
    });
  }

  draw(history, cursor) {
    this.#shown = [history, cursor];
    if (this.#width === 0 || history.latest === null) return;
    this.#now = history.latest.t;
    const rows = history.samples.map((sample) => this.#measure(sample));
    const seen = this.#weigh(rows);
    const count = this.#height > 190 ? 4 : 3;
    const { isLog, least, range } = this.#plot;
    this.#scale = isLog ? logScale(seen, range, count) : linearScale(seen, least, count);
    this.#drawAxes();
    this.#layers.forEach((layer, index) => this.#drawLayer(layer, index, history.samples, rows));
    this.#drawCursor(history, cursor);
  }

  // Return the height of each series at a sample; stacked ones stand on those before them.
  #measure(sample) {
    const values = this.#plot.series.map(({ read }) => read(sample));
    if (this.#plot.isStacked) for (let i = 1; i < values.length; i += 1) values[i] += values[i - 1];
    return this.#plot.isLog ? values.map((value) => (value > 0 ? value : null)) : values;
  }

  // Return the values that the scale has to hold. A bound that is far away is left out, since all
  // below it would be one flat line.
  #weigh(rows) {
    const columns = this.#plot.series.map(({ isBound }, index) => {
      const values = rows.map((row) => row[index]).filter((value) => value !== null);
      return { isBound, values };
    });
    const own = columns.filter(({ isBound }) => !isBound).flatMap(({ values }) => values);
    const far = Math.max(this.#plot.least ?? 0, ...own) * BOUND_MAX;
    const bounds = columns.filter(({ isBound }) => isBound).flatMap(({ values }) => values);
    return [...own, ...bounds.filter((value) => value <= far)];
  }

  #x(time) {
    const width = this.#width - LEFT - RIGHT;
    return LEFT + width * (1 - (this.#now - time) / WINDOW_S);
  }

  #y(value) {
    return TOP + (this.#height - TOP - BOTTOM) * (1 - this.#scale.place(value));
  }

  #drawAxes() {
    this.#ticks.forEach(({ line, text }, index) => {
      const tick = this.#scale.ticks[index];
      const display = tick === undefined ? "none" : "";
      line.style.display = text.style.display = display;
      if (tick === undefined) return;
      const y = this.#y(tick).toFixed(1);
      line.setAttribute("x2", this.#width - RIGHT);
      line.setAttribute("y1", y);
      line.setAttribute("y2", y);
      text.setAttribute("y", y);
      text.textContent = this.#plot.tick(tick);
    });
    const stride = this.#width > 420 ? 1 : 2;
    this.#minutes.forEach((text, minute) => {
      text.style.display = minute % stride === 0 && minute < MINUTES ? "" : "none";
      text.setAttribute("x", this.#x(this.#now - minute * 60) + (minute === 0 ? 4 : 0));
      text.setAttribute("y", this.#height - 4);
    });
  }

  #drawLayer({ area, path }, index, samples, rows) {
    const { fill } = this.#plot.series[index];
    // A layer that adds nothing anywhere would still shimmer through at the edge of the others.
    const adds = !this.#plot.isStacked || rows.some((row) => row[index] !== (row[index - 1] ?? 0));
    const base = this.#height - BOTTOM;
    let outline = "";
    let filled = "";
    let begun = null;
    const at = (i) => {
      const value = rows[i]?.[index] ?? null;
      return value === null || this.#scale.place(value) > 1.001 ? null : value;
    };
    samples.forEach((sample, i) => {
      const value = at(i);
      const isLast = at(i + 1) === null || samples[i + 1].t - sample.t > GAP_S;
      if (value === null) return;
      const [x, y] = [this.#x(sample.t).toFixed(1), this.#y(value).toFixed(1)];
      outline += `${begun === null ? "M" : "L"}${x} ${y}`;
      filled += begun === null ? `M${x} ${base}L${x} ${y}` : `L${x} ${y}`;
      begun ??= x;
      if (!isLast) return;
      if (begun === x) outline += `h0.1`;
      filled += `L${x} ${base}Z`;
      begun = null;
    });
    path.setAttribute("d", outline);
    area.setAttribute("d", fill && adds ? filled : "");
  }

  #drawCursor(history, cursor) {
    const sample = cursor === null ? null : history.at(cursor);
    this.#line.style.display = sample === null ? "none" : "";
    const values = sample === null ? [] : this.#measure(sample).map((value, index, all) => {
      // What adds nothing to a stack has no dot of its own.
      const isNothing = this.#plot.isStacked && value === (all[index - 1] ?? 0);
      return isNothing || value === null || this.#scale.place(value) > 1.001 ? null : value;
    });
    if (sample !== null) {
      const x = this.#x(sample.t).toFixed(1);
      this.#line.setAttribute("x1", x);
      this.#line.setAttribute("x2", x);
      this.#line.setAttribute("y2", this.#height - BOTTOM);
      this.#dots.forEach((dot, index) => {
        if ((values[index] ?? null) === null) return;
        dot.setAttribute("cx", x);
        dot.setAttribute("cy", this.#y(values[index]).toFixed(1));
      });
    }
    this.#dots.forEach((dot, index) => {
      dot.style.display = (values[index] ?? null) === null ? "none" : "";
    });
  }
}
