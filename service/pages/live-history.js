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
    const distance = ({ t }) => Math.abs(t - time);
    const near = this.samples.filter((sample) => distance(sample) <= 2);
    return near.sort((a, b) => distance(a) - distance(b))[0] ?? null;
  }
}
