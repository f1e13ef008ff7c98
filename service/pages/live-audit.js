// The audit's card: whether the money adds up, and when that was looked at last.

import * as format from "./live-format.js";
import { readDetail } from "./live-stream.js";

const AUDIT = new URL("../audit?journal=false", import.meta.url);

export class Audit {
  #button = document.getElementById("audit-now");
  #verdict = document.getElementById("audit-verdict");
  #sums = document.getElementById("audit-sums");
  #note = document.getElementById("audit-note");
  #headers;
  #known = null;
  #trouble = "";

  // headers() -> those of a request, with the key if there is one.
  constructor(headers) {
    this.#headers = headers;
    this.#button.addEventListener("click", () => this.ask());
  }

  get isKnown() {
    return this.#known !== null;
  }

  // What it has found comes back on the stream too, as every audit of the server does.
  async ask() {
    if (this.#button.disabled) return;
    this.#button.disabled = true;
    this.#trouble = "";
    try {
      const answer = await fetch(AUDIT, { headers: this.#headers() });
      if (!answer.ok) this.#trouble = await readDetail(answer);
    } catch {
      this.#trouble = "The server does not answer.";
    }
    this.#button.disabled = false;
    this.draw();
  }

  show(audit) {
    this.#known = audit;
    this.#trouble = "";
    this.#verdict.dataset.kind = audit.ok ? "ok" : "bad";
    const wrong = audit.violations_total;
    this.#verdict.textContent = audit.ok ? "Every asset adds up"
      : `${wrong} violation${wrong === 1 ? "" : "s"}`;
    const rows = audit.ok
      ? Object.entries(audit.sums).map(([asset, sum]) => [asset, `Σ ${format.exact(sum)}`])
      : audit.violations.map((violation) => ["", violation]);
    this.#sums.replaceChildren(...rows.flatMap(([name, value]) => {
      const [term, text] = ["dt", "dd"].map((tag) => document.createElement(tag));
      term.textContent = name;
      text.textContent = value;
      return name === "" ? [text] : [term, text];
    }));
    this.draw();
  }

  draw() {
    if (this.#trouble !== "") this.#note.textContent = this.#trouble;
    else if (this.#known !== null) {
      const { accounts, lsn, t, journal_checked: isChecked, journal_reason: why } = this.#known;
      const journal = isChecked ? ", journal too" : `, journal not checked (${why})`;
      this.#note.textContent = `${format.count(accounts)} accounts at LSN ${format.count(lsn)}` +
        `${journal}, ${format.ago(Date.now() / 1000 - t)}`;
    }
  }
}
