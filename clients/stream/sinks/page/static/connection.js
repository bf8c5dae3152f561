// The connection to the line: comes back by itself, and says when what is shown is old.

const QUIET_MS = 3500; // without a word: the line says something every second
const BROKEN_MS = 10000; // after so long without a word a connection that seems open is opened anew
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5000;

export class Connection {
  #handlers;
  #socket = null;
  #tail = Promise.resolve();
  #heard = performance.now();
  #wait = FIRST_WAIT_MS;
  #timer = 0;
  #assets = null;
  #reason = "";

  /**
   * handlers.text takes each message with a type, handlers.picture takes a picture's header and its JPEG, and
   * handlers.connection is called four times a second with the seconds since the last word, whether that is too
   * long, and why.
   */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#open();
    setInterval(() => this.#look(), 250);
    for (const event of ["online", "pageshow"]) addEventListener(event, () => this.#openNow());
    document.addEventListener("visibilitychange", () => document.hidden || this.#openNow());
  }

  #open() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const address = new URL("live", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    let number = 0;
    socket.onmessage = (event) => {
      const mine = ++number;
      this.#heardSomething(event.data);
      // One after the other; the line sends no more than a few before it hears that they are shown.
      this.#tail = this.#tail
        .then(() => this.#handle(event.data))
        .catch((error) => console.error(error))
        .then(() => socket.readyState === WebSocket.OPEN && socket.send(String(mine)));
    };
    socket.onclose = (event) => {
      if (socket === this.#socket) this.#again(event.reason);
    };
    this.#socket = socket;
  }

  #heardSomething(data) {
    if (typeof data !== "string") return; // the line itself speaks in text
    this.#heard = performance.now();
    this.#wait = FIRST_WAIT_MS;
    this.#reason = "";
  }

  async #handle(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.type === "hello") {
        this.#assets ??= message.assets;
        if (this.#assets !== message.assets) location.reload(); // the line runs another version now
      }
      this.#handlers.text(message);
      return;
    }
    const length = new DataView(data).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    const at = performance.now();
    const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
    try {
      this.#handlers.picture(header, bitmap, at);
    } finally {
      bitmap.close();
    }
  }

  #again(reason) {
    this.#socket = null;
    if (reason) this.#reason = reason;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), this.#wait * (0.8 + 0.4 * Math.random()));
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
  }

  #openNow() {
    if (!this.#socket) this.#open();
  }

  #look() {
    const quiet = performance.now() - this.#heard;
    const socket = this.#socket;
    if (quiet > BROKEN_MS && socket && socket.readyState !== WebSocket.CONNECTING) {
      socket.close();
      this.#again("");
    } else if (quiet > 2 * BROKEN_MS && socket) {
      socket.close(); // it has been connecting for too long
      this.#again("");
    }
    this.#handlers.connection(quiet / 1000, quiet > QUIET_MS, this.#reason);
  }
}
