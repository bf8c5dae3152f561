// The line's page: what comes from the line goes to those who show it.

import { Charts } from "./charts.js";
import { Connection } from "./connection.js";
import { say } from "./dom.js";
import { Failures } from "./failures.js";
import { Series } from "./series.js";
import { defects, figures, overall, system } from "./tables.js";
import { Tiles } from "./tiles.js";
import { duration } from "./words.js";

const SILENT_SECONDS = 5; // after which a line that says nothing to its own page is stuck

const find = (id) => document.getElementById(id);
const series = new Series();
const charts = new Charts(find("plots"), find("charts-title"), series);
const failures = new Failures(find("failures"), find("failure"));
let chosen = null;
const tiles = new Tiles(find("cameras"), (name) => {
  chosen = name;
  charts.draw(chosen);
});
let silent = 0;
let clock = 0; // of the line, ahead of this browser's by so many milliseconds

function text(message) {
  if (message.type === "hello") {
    series.begin(message);
    charts.draw(chosen);
  } else if (message.type === "failures") {
    failures.update(message.failures);
  } else if (message.type === "status") {
    silent = message.silent;
    clock = message.time * 1000 - Date.now();
    if (document.title !== message.line) document.title = message.line;
    say(find("name"), message.line);
    overall(find("overall"), message);
    figures(find("figures"), message);
    tiles.update(message, performance.now());
    defects(find("defects"), message);
    system(find("system"), message);
    series.add(message.second, message.points);
    charts.draw(chosen);
  }
}

function connection(quiet, old, reason) {
  tiles.tick(performance.now());
  const stuck = !old && silent > SILENT_SECONDS;
  const state = old || stuck ? "stale" : "live";
  if (document.body.dataset.connection !== state && (state === "stale" || series.second)) {
    document.body.dataset.connection = state;
    cover(state === "stale");
  }
  if (!old) say(find("clock"), new Date(Date.now() + clock).toLocaleTimeString("en-GB"));
  const why = stuck
    ? `The line has said nothing for ${duration(silent)}.`
    : `No word from the line for ${duration(quiet)}; connecting again. ${reason}`;
  if (state === "stale") say(find("stale-why"), `${why.trim()} What you see is old.`);
}

/** Say that all is old, above everything, also above a failure that is shown large. */
function cover(stale) {
  const banner = find("stale");
  banner.hidden = !stale;
  if (stale) banner.showPopover?.();
  else banner.hidePopover?.();
}

new Connection({ text, picture: (header, bitmap, at) => tiles.draw(header, bitmap, at), connection });
