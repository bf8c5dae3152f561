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

/** Return the page's fonts, for canvases. */
export function font() {
  return getComputedStyle(document.body).fontFamily;
}

/** Change a text only where it is another one. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Return boxes over a picture, whose sides they are shares of; with their names where that is large. */
export function boxesOver(boxes, [width, height], named) {
  const fit = named ? "meet" : "slice"; // as the picture
  const view = { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: `xMidYMid ${fit}` };
  const svg = makeSvg("svg", { class: "boxes", ...view, "aria-hidden": "true" });
  const size = 0.017 * Math.max(width, height);
  for (const { box, name, score, defect } of boxes) {
    const [x, y, w, h] = [box[0] * width, box[1] * height, box[2] * width, box[3] * height];
    const place = { x, y, width: w, height: h };
    if (defect) svg.append(makeSvg("rect", { ...place, class: "halo" }));
    svg.append(makeSvg("rect", { ...place, class: defect ? "defect" : "other" }));
    if (!named || !defect) continue;
    const above = y > 2 * size;
    const text = { x, y: above ? y - 0.55 * size : y + h + 1.3 * size, "font-size": size, "stroke-width": 0.5 * size };
    svg.append(makeSvg("text", text, `${name} ${score.toFixed(2)}`));
  }
  return svg;
}
