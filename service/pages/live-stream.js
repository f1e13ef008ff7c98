// Reads server-sent events by fetch(), since an EventSource cannot send an API key. This module
// owns the connection: it tells events and how it goes, and comes again by itself.

const BACKOFF_MIN_S = 1;
const BACKOFF_MAX_S = 30;
// The server says something every 15 seconds; who hears nothing for longer has lost it.
const SILENCE_MAX_MS = 40_000;

export class Stream {
  #abort = null;
  #hooks;
  #url;

  // hooks: key() -> text or null, event(name, value), state(kind, text), denied(status, detail).
  constructor(url, hooks) {
    this.#url = url;
    this.#hooks = hooks;
  }

  start() {
    if (this.#abort !== null) return;
    this.#abort = new AbortController();
    this.#run(this.#abort.signal);
  }

  stop() {
    this.#abort?.abort();
    this.#abort = null;
  }

  async #run(stopped) {
    let failures = 0;
    while (!stopped.aborted) {
      let reason = "the server has ended the stream";
      try {
        if (!(await this.#read(stopped, () => (failures = 0)))) {
          this.#abort = null;
          return;
        }
      } catch (error) {
        reason = error instanceof Refused ? error.message : "the server does not answer";
      }
      if (stopped.aborted) return;
      const most = Math.min(BACKOFF_MIN_S * 2 ** failures, BACKOFF_MAX_S);
      failures += 1;
      // Not all pages at the same moment, when a server comes back.
      await this.#wait(stopped, most * (0.5 + Math.random() / 2), reason);
    }
  }

  // Return whether it is worth to come again.
  async #read(stopped, succeed) {
    this.#hooks.state("wait", "connecting");
    const silence = new AbortController();
    const signal = AbortSignal.any([stopped, silence.signal]);
    let timer = setTimeout(() => silence.abort(), SILENCE_MAX_MS);
    const hear = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MAX_MS);
    };
    try {
      const key = this.#hooks.key();
      const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
      const answer = await fetch(this.#url, { headers, signal, cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) {
        this.#hooks.denied(answer.status, await readDetail(answer));
        return false;
      }
      if (!answer.ok) throw new Refused(takeClause(await readDetail(answer)));
      this.#hooks.state("live", "live");
      for await (const [name, value] of readEvents(answer.body, hear)) {
        succeed();
        this.#hooks.event(name, value);
      }
      return true;
    } finally {
      clearTimeout(timer);
    }
  }

  async #wait(stopped, seconds, reason) {
    const end = Date.now() + seconds * 1000;
    while (!stopped.aborted && Date.now() < end) {
      const left = Math.ceil((end - Date.now()) / 1000);
      this.#hooks.state("lost", `disconnected: ${reason}; again in ${left} s`);
      await new Promise((resolve) => setTimeout(resolve, Math.min(end - Date.now(), 250)));
    }
  }
}

class Refused extends Error {}

// Return what the first sentence says, for a place within another one.
function takeClause(text) {
  return /^.*?(?=\.(\s|$))/s.exec(text)?.[0] ?? text;
}

export async function readDetail(answer) {
  try {
    return (await answer.json()).detail;
  } catch {
    return `the server answers ${answer.status}`;
  }
}

// Yield [name, value] of each event (WHATWG HTML, 9.2, as far as this server writes it).
async function* readEvents(body, hear) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      hear();
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const name = /^event: (.*)$/m.exec(event);
        const data = /^data: (.*)$/m.exec(event);
        if (name !== null && data !== null) yield [name[1], JSON.parse(data[1])];
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
