// The list of boards.

import { make, symbol } from "../shared/dom.js";
import { SYMBOLS, VERDICTS } from "../shared/words.js";

export class Boards {
  #list;
  #opened;
  all = [];

  /** opened is called with the board that is to be looked at. */
  constructor(list, opened) {
    this.#list = list;
    this.#opened = opened;
  }

  /** Show these boards. */
  begin(boards) {
    this.all = [];
    this.#list.replaceChildren();
    this.add(boards);
  }

  /** Show these below the others. */
  add(boards) {
    this.all.push(...boards);
    this.#list.append(...boards.map((board) => this.#item(board)));
  }

  /** The lines that boards are of. */
  lines() {
    return [...new Set(this.all.map((board) => board.line))].sort();
  }

  #item(board) {
    const button = make("button", "row");
    button.type = "button";
    button.dataset.verdict = board.verdict;
    button.append(
      thumb(board),
      make("span", "verdict", symbol(SYMBOLS[board.verdict] ?? "missed"), make("span", "", VERDICTS[board.verdict] ?? board.verdict)),
      make("span", "why", board.why || "–"),
      make("span", "where", `${board.camera} · board ${board.board}`),
      make("time", "when", board.time.slice(0, 19)),
    );
    button.addEventListener("click", () => this.#opened(board));
    return make("li", "", button);
  }
}

/** What is to be known of a board, as names and values. */
export function factsOf(board) {
  const worst = board.worst === null ? "–" : `${board.worst} ${board.score.toFixed(2)}`;
  const inspected = `${board.inspected} of ${board.frames} frames${board.reused ? `, ${board.reused} as an earlier one` : ""}`;
  return [
    ["Verdict", VERDICTS[board.verdict] ?? board.verdict],
    ["Why", board.why || "–"],
    ["Time", board.time],
    ["Since", board.since ?? "–"],
    ["Camera", board.camera],
    ["Line", board.line],
    ["Inspected", inspected],
    ["Defects", String(board.defects)],
    ["Worst", worst],
  ];
}

/** The address of what is kept of a frame; another log, whose frames have the same numbers, has other ones. */
export function address(frame, kind, time) {
  return `frames/${frame}/${kind}?${encodeURIComponent(time)}`;
}

function thumb(board) {
  if (board.picture === null) return make("span", "shot empty", symbol(SYMBOLS[board.verdict] ?? "missed"));
  const image = make("img");
  image.src = address(board.picture, "small.jpg", board.time);
  image.alt = "";
  image.loading = "lazy";
  image.decoding = "async";
  const shot = make("span", "shot", image);
  image.addEventListener("error", () => shot.replaceChildren(make("span", "gone", "not kept any more")));
  return shot;
}
