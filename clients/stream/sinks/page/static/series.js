// Figures of the last seconds, of the line and of each camera.

const KEPT = 300;

export class Series {
  second = 0;
  #total = [];
  #cameras = new Map();

  /** Begin with what the line has kept. */
  begin(message) {
    this.second = message.second;
    this.#total = message.total;
    this.#cameras = new Map(Object.entries(message.cameras));
  }

  /** Add a second; those that were missed are gaps. */
  add(second, points) {
    if (second <= this.second) return; // it was among those at the beginning
    const missed = Math.min(second - this.second - 1, KEPT);
    this.#total = extended(this.#total, points.total, missed);
    for (const [name, point] of Object.entries(points.cameras)) {
      this.#cameras.set(name, extended(this.#cameras.get(name) ?? [], point, missed));
    }
    for (const name of this.#cameras.keys()) if (!(name in points.cameras)) this.#cameras.delete(name);
    this.second = second;
  }

  /** Return one of the figures of each second, the newest last; null where there is none. */
  of(camera, place) {
    const points = camera === null ? this.#total : (this.#cameras.get(camera) ?? []);
    return points.map((point) => (point ? point[place] : null));
  }
}

function extended(points, point, missed) {
  return [...points, ...Array(missed).fill(null), point].slice(-KEPT);
}
