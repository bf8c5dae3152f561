// Figures in words: the line's own, counts and yield by class and camera, the server and the sinks.

import { make, say, symbol } from "./dom.js";
import { count, digits, duration, share } from "./words.js";

const HIDDEN = ["kind", "missed", "failures_bytes", "viewers"];

/** Say in one word how the line is. */
export function overall(element, message) {
  const down = message.cameras.filter((camera) => ["dead", "frozen"].includes(camera.health));
  const now = (camera) => camera.blind || (message.unit === "frame" && camera.verdict === "not inspected");
  const missed = message.cameras.filter((camera) => camera.health === "live" && now(camera));
  const over = message.cameras.length > 0 && message.cameras.every((camera) => camera.health === "ended");
  let [look, icon, word, why] = ["running", "pass", "Running", ""];
  if (message.server.away) [look, icon, word, why] = ["missed", "missed", "Not inspected", "the server is away"];
  else if (down.length) {
    [look, icon, word] = ["missed", "dead", down.length === 1 ? "Camera down" : `${down.length} cameras down`];
    why = down.map((camera) => camera.name).join(", ");
  } else if (missed.length) {
    [look, icon, word, why] = ["missed", "missed", "Not inspected", missed.map((camera) => camera.name).join(", ")];
  } else if (over) [look, icon, word] = ["ended", "ended", "Ended"];
  if (element.dataset.look !== look || element.dataset.icon !== icon) {
    [element.dataset.look, element.dataset.icon] = [look, icon];
    element.replaceChildren(symbol(icon), make("div", "", make("strong"), make("p")));
  }
  say(element.querySelector("strong"), word);
  say(element.querySelector("p"), why);
}

/** The line's figures. */
export function figures(element, message) {
  const { counts, unit, cameras } = message;
  const rate = cameras.reduce((sum, camera) => sum + camera.rate, 0);
  const late = Math.max(...cameras.map((camera) => camera.p99 ?? -1));
  const rows = [
    ["Yield", share(counts.yield), "yield"],
    [`${unit === "board" ? "Boards" : "Frames"} passed`, count(counts.pass), ""],
    ["Failed", count(counts.fail), counts.fail ? "fail" : ""],
    ["Not inspected", count(counts.not_inspected), counts.not_inspected ? "missed" : ""],
    ["Frames/s", digits(rate), ""],
    ["p99 latency", late < 0 ? "–" : `${digits(late)} ms`, ""],
  ];
  rows.forEach(([name, value, look], place) => {
    if (!element.children[place]) element.append(make("div", "", make("dt"), make("dd")));
    const row = element.children[place];
    row.dataset.look = look;
    say(row.firstChild, name);
    say(row.lastChild, value);
  });
}

/** Counts and yield: a row for each class, a column for each camera. */
export function defects(table, message) {
  const { counts, cameras, unit } = message;
  const columns = [{ name: "All", counts }, ...cameras.map((camera) => ({ name: camera.name, counts: camera }))];
  const units = unit === "board" ? "Boards" : "Frames";
  const rows = [
    ["Yield", ...columns.map((one) => share(one.counts.yield))],
    [`${units} passed`, ...columns.map((one) => count(one.counts.pass))],
    ["Failed", ...columns.map((one) => count(one.counts.fail))],
    ["Not inspected", ...columns.map((one) => count(one.counts.not_inspected))],
  ];
  const heads = rows.length;
  const total = counts.pass + counts.fail + counts.not_inspected;
  for (const [name, all] of Object.entries(counts.classes)) {
    const cells = columns.map((one) => count(one.counts.classes[name]?.defects));
    rows.push([name, ...cells, total ? share(1 - all.boards / total) : "–"]);
  }
  fill(table, ["", ...columns.map((one) => one.name), `${units} without`], rows, heads);
}

function fill(table, names, rows, heads) {
  if (!table.tHead) table.append(make("thead", "", make("tr")), make("tbody"));
  cells(table.tHead.rows[0], names, "th");
  const body = table.tBodies[0];
  while (body.rows.length > rows.length) body.lastChild.remove();
  rows.forEach((row, place) => {
    if (!body.rows[place]) body.append(make("tr"));
    body.rows[place].className = place < heads ? "verdicts" : "class";
    cells(body.rows[place], [...row, ...Array(names.length - row.length).fill("")], "td");
  });
}

function cells(row, texts, tag) {
  while (row.children.length > texts.length) row.lastChild.remove();
  texts.forEach((text, place) => {
    if (!row.children[place]) {
      const cell = make(place ? tag : "th");
      if (tag === "th" || !place) cell.scope = tag === "th" ? "col" : "row";
      row.append(cell);
    }
    say(row.children[place], text);
  });
}

/** What is sent of a camera whose changes are: kB a frame, and the share of each way. */
function changes({ name, sent }) {
  const ways = Object.entries(sent.shares).map(([way, part]) => `${way} ${share(part)}`);
  const of = [[sent.share_of_raw, "raw frames"], [sent.share_of_coded, "coded frames"]].filter(([part]) => part !== null);
  const compared = of.map(([part, what]) => `${digits(100 * part)} % of ${what}`);
  return ["", `Changes of ${name}`, `${digits(sent.bytes_per_frame / 1000)} kB a frame`, [...compared, ...ways].join(", ")];
}

/** State of the server, the line, and the sinks. */
export function system(list, message) {
  const { server, sinks } = message;
  const reasons = Object.entries(message.counts.reasons).map(([name, number]) => `${name} ${count(number)}`);
  const rows = [
    [server.away ? "missed" : "pass", `Server ${server.address}`, server.away ? "Away" : "There", server.away],
    ["", "Line", `up ${duration(message.uptime)}`, reasons.length ? `not inspected: ${reasons.join(", ")}` : ""],
    ...message.cameras.filter((camera) => camera.sent).map(changes),
    ...sinks.map((sink) => {
      const further = Object.entries(sink).filter(([name, value]) => !HIDDEN.includes(name) && value !== "" && value !== null && typeof value !== "object");
      const told = further.map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`).join(", ");
      const viewers = sink.kind === "page" ? `${count(message.viewers)} looking` : "";
      const missed = sink.missed ? `${count(sink.missed)} missed` : viewers || "Takes all";
      return [sink.missed ? "missed" : "pass", `Sink ${sink.kind}`, missed, told];
    }),
  ];
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach(([look, name, state, more], place) => {
    const before = list.children[place];
    if (before && before.dataset.look === look) {
      [name, state, more].forEach((text, part) => say(before.children[part + 1], text));
      return;
    }
    const icon = look ? symbol(look) : make("span", "symbol");
    const item = make("li", "", icon, make("span", "name", name), make("span", "state", state), make("span", "more", more));
    item.dataset.look = look;
    if (before) before.replaceWith(item);
    else list.append(item);
  });
}
