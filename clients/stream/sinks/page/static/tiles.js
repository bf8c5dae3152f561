// The cameras: picture with boxes, verdict, age; and what is not inspected, in words that are read from afar.

import { font, make, say, symbol } from "./dom.js";
import { SYMBOLS, VERDICTS, count, digits, duration, share } from "./words.js";

const OLD_SECONDS = 3; // after which a live camera's picture is old
const CHROME = 84; // pixels of a tile above and below its picture
const NARROWEST = 200;
const NEARLY = 0.85;
const COVERS = {
  dead: ["Dead", "dead"],
  frozen: ["Frozen", "frozen"],
  opening: ["Opening", "waiting"],
  waiting: ["Waiting", "waiting"],
  ended: ["Ended", "ended"],
};

class Tile {
  #canvas = make("canvas");
  #band = make("div", "band");
  #icon = symbol("waiting");
  #word = make("span", "word");
  #age = make("span", "age");
  #cover = make("div", "cover");
  #foot = make("div", "foot");
  #picture = null; // header of the picture that is shown
  #shown = -Infinity; // when that was captured, by this browser's clock
  #status = null;
  #statusAt = 0;
  #look = "";

  constructor(name, chosen) {
    this.name = name;
    this.aspect = 4 / 3;
    const title = make("span", "name", name);
    title.title = name;
    this.#band.append(this.#icon, this.#word, title);
    const frame = make("div", "picture", this.#canvas, this.#cover, this.#age);
    this.element = make("article", "tile", this.#band, frame, this.#foot);
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "button");
    this.element.addEventListener("click", () => chosen(name));
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        chosen(name);
      }
    });
  }

  /** Draw a picture; at is when it came. */
  draw(header, bitmap, at) {
    this.#picture = header;
    this.#shown = at - (header.age ?? 0);
    this.aspect = bitmap.width / bitmap.height;
    const canvas = this.#canvas;
    const dense = Math.min(devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(canvas.clientWidth * dense));
    const height = Math.max(1, Math.round(canvas.clientHeight * dense));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    const scale = Math.min(width / bitmap.width, height / bitmap.height);
    const [w, h] = [bitmap.width * scale, bitmap.height * scale];
    const [left, top] = [(width - w) / 2, (height - h) / 2];
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, left, top, w, h);
    for (const one of header.boxes) drawBox(context, one, left, top, w, h, dense);
    this.tick(performance.now());
  }

  update(status, at) {
    this.#status = status;
    this.#statusAt = at;
    const parts = [
      `${status.rate.toFixed(1)}/s`,
      status.p50 === null ? "" : `${digits(status.p50)} ms`,
      status.yield === null ? "" : `yield ${share(status.yield)}`,
      status.unit === "board" && status.board ? `board ${duration(status.board_age)} ago` : "",
      status.restarts ? `reopened ${count(status.restarts)}×` : "",
    ];
    const texts = parts.filter(Boolean);
    while (this.#foot.children.length > texts.length) this.#foot.lastChild.remove();
    texts.forEach((text, place) => {
      if (!this.#foot.children[place]) this.#foot.append(make("span"));
      say(this.#foot.children[place], text);
    });
    this.tick(at);
  }

  tick(now) {
    const age = (now - this.#shown) / 1000;
    const status = this.#status;
    const health = status?.health ?? "opening";
    const old = age > OLD_SECONDS;
    say(this.#age, Number.isFinite(age) ? duration(age) : "no picture");
    this.element.classList.toggle("old", old && health === "live");
    if (COVERS[health]) {
      const [word, icon] = COVERS[health];
      this.#show(health, word, icon, status?.trouble ?? "", this.#sinceText(now));
      return;
    }
    // Of boards it is the last one's verdict that counts; of frames that of the frame that is shown.
    const board = (old ? null : this.#picture?.board) ?? status.board;
    const frame = old ? status : (this.#picture ?? status);
    // What has passed says nothing of what comes now, and is not inspected.
    const blind = status.blind;
    const told = status.unit === "board" && !blind ? board : frame;
    if (!told?.verdict && !blind) {
      this.#show("none", status.unit === "board" ? "No board yet" : "No picture yet", "waiting", "", "");
      return;
    }
    const number = status.unit === "board" && board && !blind ? ` · ${count(board.number)}` : "";
    const verdict = blind ? "not inspected" : told.verdict;
    this.#show(SYMBOLS[verdict] ?? "missed", `${VERDICTS[verdict] ?? verdict}${number}`, SYMBOLS[verdict] ?? "missed",
      verdict === "not inspected" ? (blind ? status.why : told.why) : "", "");
  }

  #sinceText(now) {
    const age = this.#status?.age;
    if (age === null || age === undefined) return "never inspected";
    return `not inspected for ${duration((age + now - this.#statusAt) / 1000)}`;
  }

  #show(look, word, icon, why, since) {
    say(this.#word, word);
    if (look !== this.#look) {
      this.#look = look;
      this.element.dataset.look = look;
      this.#icon.firstChild.setAttribute("href", `#${icon}`);
      this.#cover.replaceChildren();
      const covered = COVERS[look] !== undefined;
      if (covered) this.#cover.append(symbol(icon));
      if (covered || look === "missed") {
        this.#cover.append(make("strong", "", covered ? word : VERDICTS["not inspected"]));
        this.#cover.append(make("p", "why"), make("p", "since"));
      }
    }
    const [reason, time] = [this.#cover.querySelector(".why"), this.#cover.querySelector(".since")];
    if (reason) say(reason, why);
    if (time) say(time, ["opening", "ended"].includes(look) ? "" : since);
    const label = [this.name, word, why].filter(Boolean).join(", ");
    if (this.element.getAttribute("aria-label") !== label) this.element.setAttribute("aria-label", label);
  }
}

function drawBox(context, { box, name, score, defect }, left, top, width, height, dense) {
  const [x, y, w, h] = [left + box[0] * width, top + box[1] * height, box[2] * width, box[3] * height];
  // White within black can be seen on any board.
  context.lineWidth = 5 * dense;
  context.strokeStyle = "rgba(0,0,0,0.7)";
  if (defect) context.strokeRect(x, y, w, h);
  context.lineWidth = (defect ? 2.5 : 1) * dense;
  context.strokeStyle = "#fff";
  context.setLineDash(defect ? [] : [3 * dense, 3 * dense]);
  context.strokeRect(x, y, w, h);
  context.setLineDash([]);
  if (!defect || width < 260 * dense) return;
  const text = `${name} ${score.toFixed(2)}`;
  context.font = `600 ${11 * dense}px ${font()}`;
  const room = { w: context.measureText(text).width + 8 * dense, h: 17 * dense };
  const edge = 2.5 * dense;
  const at = {
    x: Math.min(Math.max(x - edge, left), left + width - room.w),
    y: y - room.h - edge > top ? y - room.h - edge : y + h + edge,
  };
  context.fillStyle = "#d92d20";
  context.fillRect(at.x, at.y, room.w, room.h);
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(text, at.x + 4 * dense, at.y + room.h / 2 + dense / 2);
}

export class Tiles {
  #grid;
  #tiles = new Map();
  #chosen = null;
  #changed;

  /** changed is called with the name of the camera that is looked at alone, or null. */
  constructor(grid, changed) {
    this.#grid = grid;
    this.#changed = changed;
    new ResizeObserver(() => this.fit()).observe(grid.parentElement);
    addEventListener("resize", () => this.fit());
  }

  update(message, now) {
    const names = new Set(message.cameras.map((camera) => camera.name));
    let moved = false;
    for (const [name, tile] of this.#tiles) {
      if (names.has(name)) continue;
      tile.element.remove();
      this.#tiles.delete(name);
      moved = true;
    }
    for (const camera of message.cameras) {
      if (!this.#tiles.has(camera.name)) {
        const tile = new Tile(camera.name, (name) => this.choose(name));
        this.#tiles.set(camera.name, tile);
        this.#grid.append(tile.element);
        moved = true;
      }
      this.#tiles.get(camera.name).update({ ...camera, unit: message.unit }, now);
    }
    if (this.#chosen !== null && !names.has(this.#chosen)) this.choose(this.#chosen);
    if (moved) this.fit();
  }

  draw(header, bitmap, at) {
    this.#tiles.get(header.camera)?.draw(header, bitmap, at);
  }

  tick(now) {
    for (const tile of this.#tiles.values()) tile.tick(now);
  }

  /** Look at one camera alone; at all again where it is the one. */
  choose(name) {
    this.#chosen = this.#chosen === name ? null : name;
    for (const tile of this.#tiles.values()) {
      tile.element.classList.toggle("chosen", tile.name === this.#chosen);
      tile.element.setAttribute("aria-pressed", String(tile.name === this.#chosen));
    }
    this.#grid.classList.toggle("alone", this.#chosen !== null);
    this.fit();
    this.#changed(this.#chosen);
  }

  /** Make the tiles as large as they can be without scrolling, or at least so that they can be read. */
  fit() {
    const number = this.#tiles.size;
    if (!number) return;
    const style = getComputedStyle(this.#grid);
    const gap = parseFloat(style.columnGap) || 0;
    const width = this.#grid.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const top = this.#grid.getBoundingClientRect().top + scrollY;
    const strip = matchMedia("(max-width: 1023px)").matches ? 168 : 0; // the failures stand below the cameras there
    const height = Math.max(320, innerHeight - top - strip - gap);
    const aspect = this.#tiles.values().next().value.aspect;
    const shown = this.#chosen === null ? number : 1;
    const ways = Array.from({ length: shown }, (_, place) => {
      const columns = place + 1;
      const rows = Math.ceil(shown / columns);
      const across = (width - gap * (columns - 1)) / columns;
      const down = ((height - gap * (rows - 1)) / rows - CHROME) * aspect;
      return { columns, size: Math.min(across, down) };
    });
    const largest = Math.max(...ways.map((way) => way.size));
    if (largest <= 0) return; // nothing is laid out yet
    // Of those that are nearly as large, the one with the fewest rows: what stands below comes into sight.
    let best = ways.findLast((way) => way.size >= NEARLY * largest);
    if (best.size < NARROWEST) {
      const columns = Math.max(1, Math.min(shown, Math.floor((width + gap) / (NARROWEST + gap))));
      best = { columns, size: (width - gap * (columns - 1)) / columns };
    }
    this.#grid.style.gridTemplateColumns = `repeat(${best.columns}, ${Math.floor(best.size)}px)`;
    this.#grid.style.setProperty("--aspect", String(aspect));
  }
}
