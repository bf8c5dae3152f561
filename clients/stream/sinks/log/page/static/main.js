// The log's page: what is asked for stands in its address, and what the log says is shown.

import { say } from "../shared/dom.js";
import { Boards } from "./boards.js";
import { Filters } from "./filters.js";
import { Look } from "./look.js";

const find = (id) => document.getElementById(id);
const FIRST = [["since", "today"], ["verdict", "fail"], ["verdict", "not inspected"]];

let running = 0; // number of the newest question: answers to others are late
let below = null; // where the next piece begins
let busy = false;

const look = new Look(find("board"), fetched, () => below && more());
const boards = new Boards(find("boards"), (board) => look.show(board));
const filters = new Filters(find("asked"), find("figures"), (asked) => {
  history.replaceState(null, "", `?${asked}`);
  ask(asked);
});

/** Return what an address answers; throws what went wrong, in words. */
async function fetched(address) {
  let response;
  try {
    response = await fetch(address);
  } catch {
    throw new Error("The page's server does not answer.");
  }
  if (!response.ok) throw new Error((await response.text()).trim());
  return response.json();
}

/** Show the newest boards. */
async function ask(asked) {
  const mine = ++running;
  below = null;
  busy = true;
  find("more").hidden = true;
  say(find("told"), "…");
  try {
    const answer = await fetched(`boards?${asked}`);
    if (mine !== running) return;
    document.title = answer.log;
    say(find("name"), answer.log);
    filters.tell(answer.kinds);
    boards.begin(answer.boards);
    took(answer);
    say(find("lines"), boards.lines().join(", "));
    say(find("told"), answer.boards.length ? "" : "No such board in this time.");
  } catch (error) {
    if (mine !== running) return;
    boards.begin([]);
    look.all = boards.all;
    say(find("told"), error.message);
  } finally {
    if (mine === running) busy = false;
  }
}

/** Show the piece below what is shown. */
async function more() {
  if (busy || below === null) return;
  const mine = running;
  busy = true;
  try {
    const answer = await fetched(`boards?${filters.asked()}&below=${below}`);
    if (mine !== running) return;
    boards.add(answer.boards);
    took(answer);
  } catch (error) {
    if (mine === running) say(find("told"), error.message);
  } finally {
    if (mine === running) busy = false;
  }
}

function took(answer) {
  below = answer.below;
  find("more").hidden = below === null;
  look.all = boards.all;
}

find("more").addEventListener("click", more);
new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && more(), { rootMargin: "600px" }).observe(find("more"));
filters.begin(new URLSearchParams(location.search.length > 1 ? location.search : FIRST));
