// The samples of the last five minutes. This module owns what is kept and what is let go.

export const WINDOW_S = 300;

export class History {
  samples = [];

  get latest() {
    return this.samples.at(-1) ?? null;
  }

  replace(samples) {
    this.samples = [];
    for (const sample of samples) this.add(sample);
  }

  add(sample) {
    // A clock that was set back: what was drawn before has no place beside what comes.
    if (this.latest !== null && sample.t < this.latest.t) this.samples = [];
    this.samples.push(sample);
    const oldest = sample.t - WINDOW_S;
    while (this.samples[0].t < oldest) this.samples.shift();
  }

  // The sample nearest to a time; null where there is none within two seconds of it.
  at(time) {
    let low = 0;
    let high = this.samples.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.samples[middle].t < time) low = middle + 1;
      else high = middle;
    }
    const near = [this.samples[low - 1], this.samples[low]].filter(Boolean);
    near.sort((a, b) => Math.abs(a.t - time) - Math.abs(b.t - time));
    return near.length > 0 && Math.abs(near[0].t - time) <= 2 ? near[0] : null;
  }
}
