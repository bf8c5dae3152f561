// What is asked for: a time, verdicts, cameras and classes; each with how many boards there are of it.

import { make, say, symbol } from "../shared/dom.js";
import { SYMBOLS, VERDICTS, count, share } from "../shared/words.js";

const TIMES = [["Last hour", "1h", ""], ["Today", "today", ""], ["Yesterday", "yesterday", "yesterday"], ["7 days", "7d", ""], ["All", "", ""]];
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;
const WORDS = { verdict: "Verdict", camera: "Camera", class: "Worst defect" };
const NAMED = Object.keys(WORDS);

export class Filters {
  #times = make("div", "times");
  #inputs;
  #chips = Object.fromEntries(NAMED.map((name) => [name, make("div", `chips ${name}`)]));
  #figures;
  #changed;
  #since = "";
  #until = "";
  #chosen = { verdict: new Set(), camera: new Set(), class: new Set() };
  #kinds = [];

  /** changed is called with the question, as an address has it. */
  constructor(form, figures, changed) {
    this.#figures = figures;
    this.#changed = changed;
    for (const [word, since, until] of TIMES) {
      const button = make("button", "chip", word);
      button.type = "button";
      button.addEventListener("click", () => this.#choose(since, until));
      this.#times.append(button);
    }
    this.#inputs = ["From", "To"].map((word) => {
      const input = make("input");
      input.type = "datetime-local";
      input.addEventListener("change", () => this.#choose(this.#inputs[0].value, this.#inputs[1].value));
      this.#times.append(make("label", "", make("span", "", word), input));
      return input;
    });
    form.append(this.#times, ...NAMED.map((name) => this.#chips[name]));
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Take a question of an address over, and ask it. */
  begin(asked) {
    for (const name of NAMED) this.#chosen[name] = new Set(asked.getAll(name));
    this.#choose(asked.get("since") ?? "", asked.get("until") ?? "");
  }

  /** The question, as an address has it. */
  asked() {
    const asked = new URLSearchParams();
    if (this.#since) asked.set("since", this.#since);
    if (this.#until) asked.set("until", this.#until);
    for (const name of NAMED) for (const value of this.#chosen[name]) asked.append(name, value);
    return asked.toString() || "since="; // an address without a question asks for today's failures
  }

  /** Take over how many boards there are in that time: camera, verdict, class, number. */
  tell(kinds) {
    this.#kinds = kinds.map(([camera, verdict, worst, number]) => ({ camera, verdict, class: worst, number }));
    this.#render();
  }

  #choose(since, until) {
    [this.#since, this.#until] = [since, until];
    [since, until].forEach((time, place) => (this.#inputs[place].value = MOMENT.test(time) ? time : ""));
    TIMES.forEach(([, ...times], place) => {
      this.#times.children[place].setAttribute("aria-pressed", String(times[0] === since && times[1] === until));
    });
    this.#changed(this.asked());
  }

  #toggle(name, value) {
    const chosen = this.#chosen[name];
    if (!chosen.delete(value)) chosen.add(value);
    this.#render();
    this.#changed(this.asked());
  }

  #render() {
    for (const name of NAMED) {
      // How many there are, given all that is chosen beside this.
      const known = name === "verdict" ? Object.keys(VERDICTS) : [];
      const counts = new Map([...known, ...this.#chosen[name]].map((value) => [value, 0]));
      for (const kind of this.#kinds) {
        if (kind[name] === null) continue;
        const fits = NAMED.every((other) => other === name || this.#fits(kind, other));
        counts.set(kind[name], (counts.get(kind[name]) ?? 0) + (fits ? kind.number : 0));
      }
      const values = [...counts.keys()];
      if (name !== "verdict") values.sort();
      const focused = document.activeElement?.dataset?.value;
      const chips = values.map((value) => this.#chip(name, value, counts.get(value)));
      this.#chips[name].replaceChildren(...(chips.length ? [make("span", "of", WORDS[name]), ...chips] : []));
      chips.find((chip) => chip.dataset.value === focused)?.focus();
    }
    const of = (verdict) => this.#kinds.reduce((sum, kind) => sum + (kind.verdict === verdict && this.#fits(kind, "camera") ? kind.number : 0), 0);
    const [passed, failed, missed] = Object.keys(VERDICTS).map(of);
    const all = passed + failed + missed;
    const rows = [["Boards", count(all), ""], ["Yield", all ? share(passed / all) : "–", ""], ["Failed", count(failed), failed ? "fail" : ""], ["Not inspected", count(missed), missed ? "missed" : ""]];
    this.#figures.replaceChildren(...rows.map(([word, value, look]) => {
      const row = make("div", "", make("dt", "", word), make("dd", "", value));
      row.dataset.look = look;
      return row;
    }));
  }

  #fits(kind, name) {
    return !this.#chosen[name].size || this.#chosen[name].has(kind[name]);
  }

  #chip(name, value, number) {
    const chip = make("button", "chip", make("span", "value"), make("span", "number", count(number)));
    chip.type = "button";
    chip.dataset.value = value;
    say(chip.firstChild, name === "verdict" ? VERDICTS[value] ?? value : value);
    if (name === "verdict") chip.prepend(symbol(SYMBOLS[value] ?? "missed"));
    chip.dataset.verdict = name === "verdict" ? value : "";
    chip.setAttribute("aria-pressed", String(this.#chosen[name].has(value)));
    chip.addEventListener("click", () => this.#toggle(name, value));
    return chip;
  }
}
