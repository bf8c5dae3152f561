// Charts of the last five minutes, drawn on canvases.

import { font, make, say } from "./dom.js";
import { digits, duration } from "./words.js";

const SECONDS = 300;
const MARGIN = { left: 40, right: 8, top: 8, bottom: 18 };
const INSPECTED = 0;
const MISSED = 2;
const P50 = 3;
const P99 = 4;
const PLOTS = [
  { title: "Latency", unit: "ms", lines: [{ place: P99, name: "p99", color: "#7f8b93" }, { place: P50, name: "p50", color: "#f4f6f7" }] },
  { title: "Inspected", unit: "frames/s", lines: [{ place: INSPECTED, name: "", color: "#f4f6f7" }] },
  { title: "Not inspected", unit: "frames/s", bars: true, lines: [{ place: MISSED, name: "", color: "#ffd60a" }] },
];

class Plot {
  #what;
  #series;
  #canvas = make("canvas");
  #value = make("span", "value");
  #pointer = null;
  #camera = null;

  constructor(what, series) {
    this.#what = what;
    this.#series = series;
    this.element = make("figure", "plot",
      make("figcaption", "", make("span", "title", what.title), make("span", "unit", what.unit), this.#value),
      this.#canvas,
    );
    this.#canvas.setAttribute("role", "img");
    for (const event of ["pointermove", "pointerdown"]) {
      this.#canvas.addEventListener(event, (at) => this.#point(at.offsetX));
    }
    this.#canvas.addEventListener("pointerleave", () => this.#point(null));
    new ResizeObserver(() => this.draw(this.#camera)).observe(this.#canvas);
  }

  #point(x) {
    this.#pointer = x;
    this.draw(this.#camera);
  }

  draw(camera) {
    this.#camera = camera;
    const canvas = this.#canvas;
    const dense = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const size = [Math.round(width * dense), Math.round(height * dense)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    const context = canvas.getContext("2d");
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.clearRect(0, 0, width, height);
    const lines = this.#what.lines.map((line) => ({ ...line, values: this.#series.of(camera, line.place) }));
    const most = Math.max(0, ...lines.flatMap((line) => line.values.filter((value) => value !== null)));
    const top = round(most);
    const area = { x: MARGIN.left, y: MARGIN.top, w: width - MARGIN.left - MARGIN.right, h: height - MARGIN.top - MARGIN.bottom };
    this.#axes(context, area, top);
    for (const line of lines) {
      const draw = this.#what.bars ? drawBars : drawLine;
      draw(context, area, line.values, top, line.color);
    }
    this.#tell(context, area, lines);
  }

  #axes(context, area, top) {
    context.font = `11px ${font()}`;
    context.fillStyle = "#9aa5ac";
    context.strokeStyle = "#2b3238";
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const part of [0, 0.5, 1]) {
      const y = Math.round(area.y + area.h * (1 - part)) + 0.5;
      context.beginPath();
      context.moveTo(area.x, y);
      context.lineTo(area.x + area.w, y);
      context.stroke();
      context.fillText(label(top * part), area.x - 6, y);
    }
    context.textBaseline = "alphabetic";
    context.textAlign = "center";
    for (const minutes of area.w < 270 ? [4, 2] : [4, 3, 2, 1]) {
      context.fillText(`−${minutes} min`, xOf(area, minutes * 60), area.y + area.h + 14);
    }
    context.textAlign = "right";
    context.fillText("now", area.x + area.w, area.y + area.h + 14);
  }

  /** Say what there is now, or where a finger or a mouse points. */
  #tell(context, area, lines) {
    let back = 0;
    if (this.#pointer !== null) {
      back = Math.round(((area.x + area.w - this.#pointer) / area.w) * (SECONDS - 1));
      back = Math.min(Math.max(back, 0), SECONDS - 1);
      const x = xOf(area, back);
      context.strokeStyle = "#9aa5ac";
      context.beginPath();
      context.moveTo(x, area.y);
      context.lineTo(x, area.y + area.h);
      context.stroke();
    }
    const texts = [...lines].reverse().map(({ name, values }) => {
      const value = values.at(-1 - back) ?? null;
      const text = value !== null && Number.isInteger(value) ? String(value) : digits(value);
      return name ? `${name} ${text}` : text;
    });
    const when = back ? ` (${duration(back)} ago)` : "";
    say(this.#value, texts.join(" · ") + when);
    this.#canvas.setAttribute("aria-label", `${this.#what.title}: ${texts.join(", ")} ${this.#what.unit}`);
  }
}

export class Charts {
  #plots;
  #title;

  constructor(element, title, series) {
    this.#title = title;
    this.#plots = PLOTS.map((what) => new Plot(what, series));
    element.append(...this.#plots.map((plot) => plot.element));
  }

  /** Draw the figures of a camera, or of the line. */
  draw(camera) {
    say(this.#title, camera === null ? "Last five minutes" : `Last five minutes of ${camera}`);
    for (const plot of this.#plots) plot.draw(camera);
  }
}

function xOf(area, back) {
  return area.x + area.w * (1 - back / (SECONDS - 1));
}

function drawLine(context, area, values, top, color) {
  context.strokeStyle = color;
  context.lineWidth = 1.75;
  context.lineJoin = "round";
  context.beginPath();
  let pen = false;
  values.forEach((value, place) => {
    if (value === null) {
      pen = false;
      return;
    }
    const [x, y] = [xOf(area, values.length - 1 - place), area.y + area.h * (1 - value / top)];
    if (pen) context.lineTo(x, y);
    else context.moveTo(x, y);
    pen = true;
  });
  context.stroke();
}

function drawBars(context, area, values, top, color) {
  context.fillStyle = color;
  const width = Math.max(1.5, area.w / SECONDS);
  values.forEach((value, place) => {
    if (!value) return;
    const height = Math.max(2, (area.h * value) / top);
    context.fillRect(xOf(area, values.length - 1 - place) - width / 2, area.y + area.h - height, width, height);
  });
}

/** The next of 1, 2, 5, 10, 20, 50 and so on. */
function round(most) {
  if (most <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(most));
  return unit * ([1, 2, 5].find((factor) => factor * unit >= most) ?? 10);
}

function label(value) {
  return value >= 10 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
}
