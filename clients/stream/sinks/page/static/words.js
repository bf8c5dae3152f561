// Numbers, times and verdicts in words.

export const VERDICTS = { pass: "Pass", fail: "Fail", "not inspected": "Not inspected" };
export const SYMBOLS = { pass: "pass", fail: "fail", "not inspected": "missed" };

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** 12,345 */
export function count(number) {
  return whole.format(number ?? 0);
}

/** 98.7 %, never rounded up to 100 %. */
export function share(value) {
  if (value === null || value === undefined) return "–";
  const percent = Math.floor(value * 1000) / 10;
  return `${percent.toFixed(percent === 100 ? 0 : 1)} %`;
}

/** 0.4 s, 12 s, 3:05 min, 2:10 h */
export function duration(seconds) {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 100) return `${Math.floor(seconds)} s`;
  const [big, small, unit] = seconds < 6000 ? [60, 1, "min"] : [3600, 60, "h"];
  return `${Math.floor(seconds / big)}:${String(Math.floor((seconds % big) / small)).padStart(2, "0")} ${unit}`;
}

/** 31.2, with three digits at least. */
export function digits(value) {
  if (value === null || value === undefined) return "–";
  return value >= 100 ? whole.format(value) : value.toFixed(value >= 10 ? 1 : 2);
}

/** 14:03:12, in the time of whoever looks; with the date where that is another day. */
export function moment(seconds, now = Date.now()) {
  if (!seconds) return "time not known";
  const then = new Date(seconds * 1000);
  const time = then.toLocaleTimeString("en-GB");
  return then.toDateString() === new Date(now).toDateString() ? time : `${then.toLocaleDateString("en-CA")} ${time}`;
}

/** 2 open, 1 short */
export function defectsOf(boxes) {
  const counts = new Map();
  for (const { name, defect } of boxes) if (defect) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, number]) => `${number} ${name}`).join(", ");
}
