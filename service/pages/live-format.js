// How numbers are written on the live page. This module changes nothing and keeps nothing.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });

export const NONE = "–";

export function count(value) {
  return (value < 10 ? tenth : whole).format(value);
}

// 1500000 -> "1.5M": for axes and chips, where there is little room.
export function short(value) {
  for (const [size, sign] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return `${Number((value / size).toPrecision(3))}${sign}`;
  }
  return `${Number(value.toPrecision(3))}`;
}

// A time of 0 was not measured, since nothing takes no time.
export function ms(value) {
  if (!value) return NONE;
  if (value < 1) return `${whole.format(value * 1000)} µs`;
  if (value < 1000) return `${value.toFixed(value < 10 ? 2 : 1)} ms`;
  return `${(value / 1000).toFixed(2)} s`;
}

export function msTick(value) {
  if (value < 1) return `${Number((value * 1000).toPrecision(2))}µs`;
  return value < 1000 ? `${Number(value.toPrecision(3))}ms` : `${value / 1000}s`;
}

export function bytes(value) {
  for (const [size, sign] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (value >= size) return `${(value / size).toFixed(1)} ${sign}`;
  }
  return `${whole.format(value)} B`;
}

export function percent(part) {
  return `${(part < 0.1 ? tenth : whole).format(part * 100)} %`;
}

// Minor units of any size, from their digits: a number would be rounded beyond 2^53.
export function exact(digits) {
  return whole.format(BigInt(digits));
}

export function ago(seconds) {
  const past = Math.max(0, Math.round(seconds));
  if (past < 60) return `${past} s ago`;
  if (past < 3600) return `${Math.floor(past / 60)} min ago`;
  return `${Math.floor(past / 3600)} h ago`;
}

export function clock(seconds) {
  const past = Math.max(0, Math.round(seconds));
  return `−${Math.floor(past / 60)}:${String(past % 60).padStart(2, "0")}`;
}
