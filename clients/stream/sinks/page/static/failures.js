// The latest failures: a list of pictures, and each of them large.

import { boxesOver, make, say, symbol } from "./dom.js";
import { SYMBOLS, VERDICTS, defectsOf, moment } from "./words.js";

export class Failures {
  #list;
  #dialog;
  #all = [];
  #items = new Map();
  #open = null; // id of the one that is shown large
  #boxes = true;

  constructor(list, dialog) {
    this.#list = list;
    this.#dialog = dialog;
    dialog.addEventListener("close", () => (this.#open = null));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") this.#step(-1);
      if (event.key === "ArrowRight") this.#step(1);
    });
  }

  update(failures) {
    const before = new Map(this.#all.map((one) => [one.id, one]));
    this.#all = failures;
    const items = failures.map((failure) => {
      const known = this.#items.get(failure.id);
      // A board's picture may come after the board.
      return known && before.get(failure.id)?.picture === failure.picture ? known : this.#item(failure);
    });
    this.#items = new Map(failures.map((failure, place) => [failure.id, items[place]]));
    const none = make("li", "none", "None so far.");
    this.#list.replaceChildren(...(items.length ? items : [none]));
    if (this.#open !== null) this.#render();
  }

  #item(failure) {
    const button = make("button", "failure");
    button.type = "button";
    button.dataset.verdict = failure.verdict;
    button.append(picture(failure, failure.small, true));
    const what = failure.verdict === "fail" ? defectsOf(failure.boxes) || failure.why : VERDICTS[failure.verdict];
    const board = failure.board ? `board ${failure.board} · ` : "";
    button.append(
      make("span", "text",
        make("span", "what", what || "failed"),
        make("span", "where", `${board}${failure.camera}`),
        make("time", "when", moment(failure.captured)),
      ),
    );
    button.addEventListener("click", () => this.#show(failure.id));
    return make("li", "", button);
  }

  #show(id) {
    this.#open = id;
    this.#render();
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  #step(by) {
    const place = this.#all.findIndex((one) => one.id === this.#open);
    const next = this.#all[place + by];
    if (place >= 0 && next) this.#show(next.id);
  }

  #render() {
    const place = this.#all.findIndex((one) => one.id === this.#open);
    if (place < 0) {
      // It is not in the list any more: it is left as it is, without neighbours.
      for (const button of this.#dialog.querySelectorAll(".step")) button.disabled = true;
      return;
    }
    const failure = this.#all[place];
    const shown = this.#dialog.querySelector("[data-id]");
    if (shown?.dataset.id === `${failure.id} ${failure.picture}`) {
      this.#steps(place);
      return;
    }
    const title = make("h2", "", symbol(SYMBOLS[failure.verdict] ?? "missed"), make("span"));
    title.id = "failure-title";
    title.dataset.verdict = failure.verdict;
    say(title.lastChild, failure.board ? `Board ${failure.board}` : `Frame ${failure.number}`);
    const facts = make("dl", "facts");
    const rows = [
      ["Verdict", VERDICTS[failure.verdict] ?? failure.verdict],
      ["Camera", failure.camera],
      ["Time", moment(failure.captured)],
      ["Frame", failure.number === undefined ? "–" : String(failure.number)],
      ["Why", failure.why || "–"],
    ];
    for (const [name, value] of rows) facts.append(make("dt", "", name), make("dd", "", value));
    const defects = make("ul", "list");
    for (const { name, score, defect } of failure.boxes) {
      if (!defect) continue;
      defects.append(make("li", "", make("span", "", name), make("span", "score", score.toFixed(2))));
    }
    const image = picture(failure, failure.picture, false);
    image.classList.toggle("plain", !this.#boxes);
    const toggle = this.#button(this.#boxes ? "Hide boxes" : "Show boxes", "toggle", () => {
      this.#boxes = !this.#boxes;
      image.classList.toggle("plain", !this.#boxes);
      say(toggle, this.#boxes ? "Hide boxes" : "Show boxes");
    });
    const bar = make("div", "bar",
      this.#button("Newer", "step newer", () => this.#step(-1)),
      this.#button("Older", "step older", () => this.#step(1)),
      toggle,
      this.#button("Close", "close", () => this.#dialog.close()),
    );
    const content = make("div", "large", image, make("div", "side", title, facts, defects, bar));
    content.dataset.verdict = failure.verdict;
    content.dataset.id = `${failure.id} ${failure.picture}`;
    const focused = document.activeElement?.className;
    this.#dialog.replaceChildren(content);
    if (this.#dialog.open && focused) this.#dialog.getElementsByClassName(focused)[0]?.focus();
    this.#steps(place);
  }

  #steps(place) {
    this.#dialog.querySelector(".newer").disabled = place === 0;
    this.#dialog.querySelector(".older").disabled = place === this.#all.length - 1;
  }

  #button(text, className, action) {
    const button = make("button", className, text);
    button.type = "button";
    button.addEventListener("click", action);
    return button;
  }
}

function picture(failure, address, small) {
  if (!address) return make("div", "shot empty", symbol(SYMBOLS[failure.verdict] ?? "missed"), make("span", "", "no picture"));
  const image = make("img");
  image.src = address;
  image.alt = `${failure.camera}: ${defectsOf(failure.boxes) || failure.why}`;
  image.decoding = "async";
  if (small) image.loading = "lazy";
  [image.width, image.height] = failure.size;
  const gone = make("span", "gone", "not kept any more");
  const shot = make("div", "shot", image, boxesOver(failure.boxes, failure.size, !small), gone);
  image.addEventListener("error", () => shot.classList.add("lost"));
  return shot;
}
