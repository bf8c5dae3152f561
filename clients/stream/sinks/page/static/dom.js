// Elements, made without HTML: whatever a name contains is shown as text.

const SVG = "http://www.w3.org/2000/svg";

/** Return a new element with a class, and with texts or elements in it. */
export function make(tag, className = "", ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

/** Return a new SVG element. */
export function makeSvg(tag, attributes = {}, ...content) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...content);
  return element;
}

/** Return one of the page's symbols: its shape says what its colour says. */
export function symbol(name) {
  return makeSvg("svg", { class: "symbol", "aria-hidden": "true" }, makeSvg("use", { href: `#${name}` }));
}

/** Change a text only where it is another one. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Return boxes over a picture, whose sides they are shares of. */
export function boxesOver(boxes, size) {
  const [width, height] = size;
  const svg = makeSvg("svg", { class: "boxes", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (const { box, defect } of boxes) {
    const [x, y, w, h] = box;
    const place = { x: x * width, y: y * height, width: w * width, height: h * height };
    svg.append(makeSvg("rect", { ...place, class: defect ? "defect" : "other" }));
  }
  return svg;
}
