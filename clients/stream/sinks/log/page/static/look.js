// A board, large: its pictures, its film, its frames and what is known of it.

import { make, say, symbol } from "../shared/dom.js";
import { SYMBOLS, VERDICTS } from "../shared/words.js";
import { address, factsOf } from "./boards.js";

export class Look {
  #dialog;
  #fetched;
  #wanted;
  #board = null;
  #frames = [];
  #frame = null; // that is shown
  #filmed = null; // id of a frame that the film of this board shows
  #boxes = true;
  #film = false;
  #parts = {};
  all = []; // boards, in the order of the list

  /** fetched returns the JSON of an address; wanted is called where the end of the list comes near. */
  constructor(dialog, fetched, wanted) {
    this.#dialog = dialog;
    this.#fetched = fetched;
    this.#wanted = wanted;
    dialog.addEventListener("close", () => this.#close());
    dialog.addEventListener("keydown", (event) => {
      if (event.target.tagName === "VIDEO") return;
      if (event.key === "ArrowLeft") this.#step(-1);
      if (event.key === "ArrowRight") this.#step(1);
    });
  }

  /** Show a board. */
  async show(board) {
    this.#board = board;
    [this.#frames, this.#frame, this.#filmed, this.#film] = [[], null, null, false];
    this.#build();
    if (!this.#dialog.open) this.#dialog.showModal();
    try {
      const { frames, film } = await this.#fetched(`boards/${board.id}`);
      if (this.#board !== board) return;
      [this.#frames, this.#filmed] = [frames, film];
      this.#frame = frames.find((frame) => frame.pictures.length) ?? null;
      this.#render(frames.length ? "no picture was kept" : "frames that passed are not in the log");
    } catch (error) {
      if (this.#board === board) this.#render(error.message);
    }
  }

  #close() {
    this.#board = null;
    this.#dialog.replaceChildren(); // a film that runs ends
  }

  #step(by) {
    const place = this.all.indexOf(this.#board);
    if (place + by + 3 > this.all.length) this.#wanted();
    if (place >= 0 && this.all[place + by]) this.show(this.all[place + by]);
  }

  #build() {
    const board = this.#board;
    const title = make("h2", "", symbol(SYMBOLS[board.verdict] ?? "missed"), make("span", "", `Board ${board.board}`));
    title.id = "board-title";
    title.dataset.verdict = board.verdict;
    const facts = make("dl", "facts");
    for (const [name, value] of factsOf(board)) facts.append(make("dt", "", name), make("dd", "", value));
    this.#parts = {
      shot: make("div", "shot"),
      list: make("ul", "list"),
      newer: this.#button("Newer", "newer", () => this.#step(-1)),
      older: this.#button("Older", "older", () => this.#step(1)),
      boxes: this.#button("", "toggle", () => {
        [this.#boxes, this.#film] = [this.#film ? this.#boxes : !this.#boxes, false];
        this.#render();
      }),
      film: this.#button("Film", "film", () => {
        this.#film = !this.#film;
        this.#render();
      }),
    };
    const { shot, list, newer, older, boxes, film } = this.#parts;
    const bar = make("div", "bar", newer, older, boxes, film, this.#button("Close", "close", () => this.#dialog.close()));
    const content = make("div", "large", shot, make("div", "side", title, facts, list, bar));
    content.dataset.verdict = board.verdict;
    const focused = document.activeElement?.closest("dialog") ? document.activeElement.className : "";
    this.#dialog.replaceChildren(content);
    if (focused) this.#dialog.getElementsByClassName(focused)[0]?.focus();
    this.#render("…");
  }

  /** Show the frame that is chosen; without one, say why there is none. */
  #render(none = "no picture was kept") {
    const { shot, list, newer, older, boxes, film } = this.#parts;
    const place = this.all.indexOf(this.#board);
    newer.disabled = place <= 0;
    older.disabled = place < 0 || place === this.all.length - 1;
    boxes.disabled = !this.#film && (this.#frame?.pictures.length ?? 0) < 2;
    film.disabled = this.#filmed === null;
    say(boxes, this.#film ? "Picture" : this.#boxes ? "Hide boxes" : "Show boxes");
    film.setAttribute("aria-pressed", String(this.#film));
    shot.className = "shot";
    if (this.#film) shot.replaceChildren(video(address(this.#filmed, "film.mp4", this.#board.time)));
    else if (this.#frame) shot.replaceChildren(picture(this.#frame, this.#boxes));
    else {
      shot.className = "shot empty";
      shot.replaceChildren(symbol(SYMBOLS[this.#board.verdict] ?? "missed"), make("span", "", none));
    }
    list.replaceChildren(...this.#frames.map((frame) => this.#item(frame)));
  }

  #item(frame) {
    const what = frame.defects.map(([name, score]) => `${name} ${score.toFixed(2)}`).join(", ") || frame.why;
    const age = frame.age ? `, as ${frame.age} before` : "";
    const button = this.#button("", "frame", () => {
      [this.#frame, this.#film] = [frame, false];
      this.#render();
    });
    button.append(make("span", "number", `${frame.number}${age}`), make("span", "", what || VERDICTS[frame.verdict]));
    button.disabled = !frame.pictures.length;
    button.setAttribute("aria-pressed", String(frame === this.#frame));
    return make("li", "", button);
  }

  #button(text, className, action) {
    const button = make("button", className, text);
    button.type = "button";
    button.addEventListener("click", action);
    return button;
  }
}

function picture(frame, boxes) {
  const wanted = boxes ? "boxes.jpg" : "plain.jpg";
  const kind = frame.pictures.includes(wanted) ? wanted : frame.pictures[0];
  const image = make("img");
  image.src = address(frame.id, kind, frame.time);
  image.alt = `Frame ${frame.number}: ${frame.why}`;
  return image;
}

function video(address) {
  const film = make("video");
  film.src = address;
  [film.controls, film.autoplay, film.loop, film.muted] = [true, true, true, true];
  return film;
}
