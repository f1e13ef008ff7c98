// What each chart of the live page shows. This module owns the choice of numbers and their names.

import * as format from "./live-format.js";

const perSecond = { tick: format.short, say: format.count, least: 10 };
const times = { isLog: true, range: [0.1, 10], tick: format.msTick, say: format.ms };

function refused(sample, isWanted) {
  return Object.entries(sample.refused_ps)
    .filter(([status]) => isWanted(status))
    .reduce((sum, [, rate]) => sum + rate, 0);
}

const isWrong = (status) => status < "500" && status !== "422" && status !== "429";
const isFailed = (status) => status >= "500" && status !== "503";

// The slowest stage of a transfer: what an operator looks at first.
function slowest(sample) {
  const stages = { queue: "queue", kernel: "kernel", journal: "journal" };
  const [name, value] = Object.keys(stages)
    .map((stage) => [stage, sample[`${stage}_ms_p99`]])
    .reduce((a, b) => (b[1] > a[1] ? b : a));
  return value > 0 ? [format.ms(value), name] : [format.NONE, "p99"];
}

// figure(sample) -> [number, unit] is the large number; series are what is drawn and listed.
export const plots = {
  throughput: {
    title: "Throughput",
    ...perSecond,
    figure: (sample) => [format.count(sample.transfers_ps), "transfers/s"],
    series: [
      { name: "transfers", tone: "a", fill: true, read: (sample) => sample.transfers_ps },
      { name: "answers", tone: "n", read: (sample) => sample.rps },
    ],
  },
  latency: {
    title: "Latency",
    ...times,
    figure: (sample) => [format.ms(sample.p99_ms), "p99"],
    series: [
      { name: "p50", tone: "a", fill: true, read: (sample) => sample.p50_ms },
      { name: "p90", tone: "b", fill: true, read: (sample) => sample.p90_ms },
      { name: "p99", tone: "c", fill: true, read: (sample) => sample.p99_ms },
      { name: "p99.9", tone: "d", read: (sample) => sample.p999_ms },
    ],
  },
  refusals: {
    title: "Refused",
    ...perSecond,
    isStacked: true,
    figure: (sample) => [format.count(refused(sample, () => true)), "/s"],
    series: [
      { name: "422 rules", tone: "x", fill: true, read: (s) => refused(s, (c) => c === "422") },
      { name: "429 limits", tone: "y", fill: true, read: (s) => refused(s, (c) => c === "429") },
      { name: "503 busy", tone: "z", fill: true, read: (s) => refused(s, (c) => c === "503") },
      { name: "4xx wrong", tone: "n", fill: true, read: (s) => refused(s, isWrong) },
      { name: "5xx failed", tone: "e", fill: true, read: (s) => refused(s, isFailed) },
    ],
  },
  stages: {
    title: "Stages, p99",
    ...times,
    range: [0.01, 1],
    figure: slowest,
    series: [
      { name: "queue", tone: "n", read: (sample) => sample.queue_ms_p99 },
      { name: "kernel", tone: "d", read: (sample) => sample.kernel_ms_p99 },
      { name: "journal", tone: "a", read: (sample) => sample.journal_ms_p99 },
      { name: "sync", tone: "c", read: (sample) => sample.sync_ms_p99 },
    ],
  },
  inflight: {
    title: "In flight",
    ...perSecond,
    figure: (sample) => [
      format.count(sample.inflight),
      sample.inflight_limit === null ? "no limit" : `of ${format.count(sample.inflight_limit)}`,
    ],
    series: [
      { name: "in flight", tone: "a", fill: true, read: (sample) => sample.inflight },
      { name: "limit", tone: "n", read: (sample) => sample.inflight_limit, isBound: true },
    ],
  },
  lag: {
    title: "Durable lag",
    ...perSecond,
    figure: (sample) => [format.count(sample.durable_lag), "records"],
    series: [{ name: "behind", tone: "a", fill: true, read: (sample) => sample.durable_lag }],
  },
  journal: {
    title: "Journal",
    tick: (value) => format.bytes(value).replace(/\.0| /g, ""),
    say: (value) => `${format.bytes(value)}/s`,
    least: 1000,
    figure: (sample) => [format.bytes(sample.journal_bytes_ps), "/s"],
    series: [{ name: "written", tone: "a", fill: true, read: (s) => s.journal_bytes_ps }],
    notes: [
      { name: "per sync", read: (sample) => format.count(sample.group_size) },
      { name: "per batch", read: (sample) => format.count(sample.batch_size) },
    ],
  },
};
