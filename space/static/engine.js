// The page's side of worker.js: questions become promises, and views are drawn part by part, always with the settings
// of that moment.

export class Engine {
  /** `told()` is called when `provider`, what computes, has become another: "webgpu" or "wasm". */
  constructor(folder, backend, told = () => {}) {
    this.folder = folder;
    this.backend = backend;
    this.provider = "";
    this.waiting = new Map();
    this.count = 0;
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.error) reject(new Error(data.error));
      else resolve(data);
      if (data.error || data.provider === this.provider) return;
      this.provider = data.provider;
      told();
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      for (const { reject } of this.waiting.values()) reject(new Error("this browser cannot start the program; it needs WebAssembly and module workers"));
      this.waiting.clear();
    };
  }

  ask(request) {
    const id = this.count++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, folder: this.folder, backend: this.backend, ...request });
    });
  }

  /** Loads a model -> { files }, the runtime's. */
  open(model) {
    return this.ask({ kind: "open", model });
  }

  /** Images of a model, all from one seed -> a list of ImageData.
   *
   * model: an entry of models.json. seed: BigInt or digits. places: the images' numbers, or with walk: true their
   * times in [0, 1). weights: for each image, a list of [class index, weight]. truncation: 0 for none.
   */
  async draw({ model, seed, places, weights, walk = false, truncation = 0 }) {
    const rows = new Float32Array(places.length * model.n_classes);
    weights.forEach((row, i) => row.forEach(([label, weight]) => (rows[i * model.n_classes + label] += weight)));
    const request = { kind: "draw", model, seed: String(seed), places, walk, truncation, weights: rows };
    const { pixels } = await this.ask(request);
    const length = 4 * model.size * model.size;
    return places.map((_, i) => new ImageData(pixels.slice(i * length, (i + 1) * length), model.size, model.size));
  }
}

/** Draws parts one after the other. `change()` marks all parts as old; those that are shown first come first, then in
 * turn, so that every part moves while a slider moves, and all are of the last settings in the end.
 *
 * parts(): the list of parts at this moment, functions that draw and return a promise. done(): all parts are new.
 */
export class Redrawing {
  constructor(parts, done, failed) {
    Object.assign(this, { parts, done, failed });
    this.old = new Set();
    this.next = 0;
    this.running = this.stopped = false;
  }

  /** Whether parts are not drawn yet. */
  get busy() {
    return this.running && !this.stopped;
  }

  change() {
    this.stopped = false;
    const count = this.parts().length;
    this.old = new Set(Array.from({ length: count }, (_, i) => i));
    if (!this.running) this.run();
  }

  /** Nothing more is drawn, and the end of the part that is being drawn is not told. */
  stop() {
    this.old.clear();
    this.stopped = true;
  }

  async run() {
    this.running = true;
    this.next = 0;
    let finished = false;
    try {
      while (this.old.size) {
        const parts = this.parts();
        const order = [...this.old].filter((i) => i < parts.length).sort((a, b) => a - b);
        if (!order.length) break;
        const i = order.find((each) => each >= this.next) ?? order[0];
        this.old.delete(i);
        this.next = i + 1;
        await parts[i]();
        finished = !this.old.size && !this.stopped;
      }
    } catch (error) {
      this.old.clear();
      this.failed(error);
    } finally {
      this.running = false;
    }
    if (finished) this.done();
  }
}
