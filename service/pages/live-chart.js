// One chart of the last five minutes, drawn by uPlot (vendor/README.md). This module owns how
// samples become its columns, and how somebody points at one. It knows no sample by name.

import { WINDOW_S } from "./live-history.js";

// Two samples further apart have a gap between them, in which nothing is known.
const GAP_S = 3.5;
// How many times as high as all else a bound may be, to be drawn.
const BOUND_MAX = 4;
const FONT = "11px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif";
const MINUTES = [0, 1, 2, 3, 4];
// What uPlot would do by itself: its own cursor, and zooming. See #listen.
const MOUSE_EVENTS = ["mousedown", "mouseup", "mousemove", "mouseenter", "mouseleave", "dblclick"];
const OUTSIDE = { left: -10, top: -10 };

// A canvas knows no style sheet: its colours are asked of an element that has them.
function colour(element, name) {
  return getComputedStyle(element).getPropertyValue(name);
}

function tellMinute(minute) {
  return minute === 0 ? "now" : `−${minute} min`;
}

// A line needs two points; one between gaps is drawn as such.
function findAlone({ data }, index) {
  const isKnown = (value) => (value ?? null) !== null;
  return data[index].flatMap((value, at, all) =>
    isKnown(value) && !isKnown(all[at - 1]) && !isKnown(all[at + 1]) ? [at] : []);
}

// Of a logarithmic scale 1-2-5 of each decade, or the decades alone where there are many.
function thin(_, splits) {
  const shown = splits.length > 14 ? "1" : "125";
  return splits.map((value) => (shown.includes(value.toExponential(0)[0]) ? value : null));
}

export class Chart {
  #plot;
  // In the order in which they are drawn: what is listed first covers the others.
  #series;
  #box;
  // None before there is a sample, since uPlot would draw axes of nothing.
  #chart = null;
  #rows = [];
  #now = 0;

  // plot: series [{ read(sample) -> number or null, tone, fill }], isStacked, isLog, least, range,
  // tick(value). point(time or null) is told where somebody points.
  constructor(parent, plot, point) {
    this.#plot = plot;
    this.#series = plot.series.toReversed();
    this.#box = document.createElement("div");
    const name = plot.isStacked ? "plot stacked" : "plot";
    Object.assign(this.#box, { className: name, tabIndex: 0, role: "img", ariaLabel: plot.title });
    parent.append(this.#box);
    this.#listen(point);
    new ResizeObserver(([{ contentRect: { width, height } }]) =>
      this.#chart?.setSize({ width, height })).observe(this.#box);
  }

  // Return what uPlot has to know of this chart.
  #describe() {
    const { isLog, isStacked, least, range } = this.#plot;
    const width = isStacked ? 0 : this.#box.closest(".wide") ? 1.6 : 1.2;
    const dots = [];
    const series = this.#series.map(({ tone, fill }, index) => {
      const stroke = () => colour(dots[index + 1], "--tone");
      return {
        class: `tone-${tone}`,
        width,
        stroke,
        fill: () => (fill ? colour(dots[index + 1], "--wash") : null),
        points: { show: false, filter: findAlone, size: 2, fill: stroke },
      };
    });
    return {
      width: this.#box.clientWidth,
      height: this.#box.clientHeight,
      padding: [8, 16, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        bind: Object.fromEntries(MOUSE_EVENTS.map((name) => [name, () => null])),
        points: {
          show: (_, index) => (dots[index] = document.createElement("div")),
          size: 8,
          fill: "var(--tone)",
          stroke: "var(--card)",
        },
        dataIdx: (_, index, at) => (this.#hasDot(index, at) ? at : null),
      },
      scales: {
        x: { time: false, range: () => [this.#now - WINDOW_S, this.#now] },
        y: {
          distr: isLog ? 3 : 1,
          range: (_, low, high) => isLog
            ? uPlot.rangeLog(low ?? range[0], Math.max(high ?? range[1], (low ?? 0) * 9), 10, false)
            : [0, Math.max(high, least) * 1.02],
        },
      },
      axes: this.#describeAxes(),
      series: [{}, ...series],
    };
  }

  #describeAxes() {
    const { isLog, tick } = this.#plot;
    const both = { font: FONT, stroke: () => colour(this.#box, "--soft"), ticks: { show: false } };
    const filter = isLog ? thin : (_, splits) => splits;
    return [
      {
        ...both,
        size: 20,
        grid: { show: false },
        splits: ({ width }) => MINUTES.filter((minute) => width > 420 || minute % 2 === 0)
          .map((minute) => this.#now - minute * 60),
        values: (_, splits) => splits.map((time) => tellMinute((this.#now - time) / 60)),
      },
      {
        ...both,
        size: 44,
        space: 26,
        grid: { stroke: () => colour(this.#box, "--rule"), width: 1, filter },
        filter,
        values: (_, splits) => splits.map((value) => (value === null ? "" : tick(value))),
      },
    ];
  }

  // What adds nothing to a stack has no dot of its own.
  #hasDot(index, at) {
    if (index === 0 || !this.#plot.isStacked) return true;
    return this.#rows[at] !== null && this.#series[index - 1].read(this.#rows[at]) > 0;
  }

  #listen(point) {
    const move = ({ clientX }) => {
      if (this.#chart === null) return;
      const { left, width } = this.#chart.over.getBoundingClientRect();
      point(this.#now - WINDOW_S * (1 - Math.min(Math.max((clientX - left) / width, 0), 1)));
    };
    this.#box.addEventListener("pointerdown", move);
    this.#box.addEventListener("pointermove", move);
    this.#box.addEventListener("pointerleave", () => point(null));
    this.#box.addEventListener("blur", () => point(null));
    this.#box.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined && event.key !== "Escape") return;
      event.preventDefault();
      point(step === undefined ? null : (time) => (time ?? this.#now) + step);
    });
  }

  draw(history, cursor) {
    if (history.latest === null) return;
    this.#now = history.latest.t;
    this.#rows = history.samples.flatMap((sample, at, all) =>
      at > 0 && sample.t - all[at - 1].t > GAP_S ? [null, sample] : [sample]);
    this.#chart ??= new uPlot(this.#describe(), [], this.#box);
    // uPlot moves a dot where its sample is another one, and not where only the scale is.
    this.#chart.setCursor(OUTSIDE, false);
    this.#chart.batch(() => this.#chart.setData(this.#tabulate()));
    const sample = cursor === null ? null : history.at(cursor);
    if (sample === null) return;
    this.#chart.setCursor({ left: this.#chart.valToPos(sample.t, "x"), top: 0 }, false);
  }

  // Return the times, and how high each series stands at them; stacked ones stand on each other.
  #tabulate() {
    const times = this.#rows.map((sample, at, all) => sample?.t ?? all[at - 1].t + GAP_S / 2);
    const { isLog, isStacked, least } = this.#plot;
    const columns = this.#plot.series.map(({ read }) =>
      this.#rows.map((sample) => {
        const value = sample === null ? null : read(sample);
        return isLog && !(value > 0) ? null : value;
      }));
    // A bound that is far away is left out, since all below it would be one flat line.
    const own = columns.filter((_, index) => !this.#plot.series[index].isBound).flat();
    const far = Math.max(least ?? 0, ...own) * BOUND_MAX;
    const shown = columns.map((column, index) => {
      if (isStacked) return this.#stack(columns, index);
      if (!this.#plot.series[index].isBound) return column;
      return column.map((value) => (value <= far ? value : null));
    });
    return [times, ...shown.toReversed()];
  }

  // A layer that adds nothing anywhere would still shimmer through at the edge of the others.
  #stack(columns, index) {
    if (!columns[index].some((value) => value > 0)) return columns[index].map(() => null);
    return columns[index].map((value, at) => value === null ? null
      : columns.slice(0, index + 1).reduce((sum, column) => sum + column[at], 0));
  }
}
