// The three views. Each has parts that draw themselves with the state of that moment, and gives its rows for a file.

import { between } from "./latents.js";

export const FRAMES_PER_SECOND = 24; // as the films of `sngan walk`
const LATENTS = 4; // of a mixture
const STRIPS = 2; // latents of the way from class to class

/** `of`: what the image was drawn with. */
function paint(canvas, image, of) {
  if (canvas.width !== image.width) canvas.width = canvas.height = image.width;
  canvas.getContext("2d").putImageData(image, 0, 0);
  Object.assign(canvas, { image, of });
}

/** Rows of images: [{ label, title, count, wide, request() }], one drawing each. */
class Sheet {
  constructor(section, engine, enlarge) {
    Object.assign(this, { section, engine, enlarge, rows: [], shape: "" });
    section.addEventListener("keydown", (event) => this.move(event));
  }

  /** Builds the rows anew where their number, length or model is another. */
  arrange(rows, model) {
    this.rows = rows;
    const shape = JSON.stringify([model.name, rows.map(({ label, count, wide }) => [label, count, wide])]);
    if (shape === this.shape) return;
    this.shape = shape;
    this.section.replaceChildren(...rows.map((row, r) => this.line(row, r, model)));
  }

  clear() {
    this.shape = "";
    this.rows = [];
    this.section.replaceChildren();
  }

  line(row, r, model) {
    const box = document.createElement("div");
    box.className = "row";
    const heading = document.createElement("h2");
    heading.textContent = row.label;
    const pictures = document.createElement("div");
    pictures.className = row.wide ? "pictures wide" : "pictures";
    pictures.style.setProperty("--columns", row.count);
    row.buttons = Array.from({ length: row.count }, (_, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.tabIndex = r + i ? -1 : 0;
      const title = `${row.title ?? row.label}, image ${i + 1}`;
      button.setAttribute("aria-label", `${title}: show large`);
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = model.size;
      button.append(canvas);
      button.onclick = () => canvas.image && this.enlarge(canvas.image, title, canvas.of);
      return button;
    });
    pictures.append(...row.buttons);
    box.append(heading, pictures);
    return box;
  }

  parts(state) {
    return this.rows.map((_, r) => async () => {
      const row = this.rows[r];
      const { model, seed, truncation } = state;
      const images = await this.engine.draw({ ...row.request(), model, seed, truncation });
      const canvases = this.section.children[r]?.querySelectorAll("canvas") ?? [];
      if (state.model !== model || this.rows[r]?.label !== row.label || canvases.length !== images.length) return;
      images.forEach((image, i) => paint(canvases[i], image, { model, seed, truncation }));
    });
  }

  /** Arrow keys go from image to image: Tab passes all of them in one step. */
  move(event) {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
    if (dx === undefined || event.target.tagName !== "BUTTON") return;
    const grid = Array.from(this.section.children, (box) => [...box.querySelectorAll("button")]);
    const y = grid.findIndex((row) => row.includes(event.target));
    const next = grid[y + dy]?.[Math.min(grid[y].indexOf(event.target) + dx, grid[y + dy].length - 1)];
    event.preventDefault();
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  images() {
    return Array.from(this.section.children, (box, r) => ({
      label: this.rows[r].label,
      images: Array.from(box.querySelectorAll("canvas"), (canvas) => canvas.image).filter(Boolean),
    }));
  }
}

export class Sample extends Sheet {
  update(state) {
    const { model, n } = state;
    const chosen = state.classes.sample.length ? state.classes.sample : model.classes;
    this.arrange(chosen.map((name, k) => ({
      label: name, count: n,
      request: () => ({ // images k n, k n + 1, ... of the seed
        places: Array.from({ length: n }, (_, i) => k * n + i),
        weights: Array(n).fill([[model.classes.indexOf(name), 1]]),
      }),
    })), model);
  }
}

export class Morph extends Sheet {
  update(state) {
    const { model, steps } = state;
    const names = state.classes.morph;
    const labels = names.map((name) => model.classes.indexOf(name));
    const rows = [{
      label: "Mixture", count: LATENTS, wide: true,
      request: () => {
        const shares = mixture(names, state.weights);
        return {
          places: Array.from({ length: LATENTS }, (_, i) => i),
          weights: Array(LATENTS).fill(labels.map((label, k) => [label, shares[k]])),
        };
      },
    }];
    for (let leg = 0; leg + 1 < names.length; leg++) {
      for (let latent = 0; latent < STRIPS; latent++) {
        rows.push({
          label: `${names[leg]} to ${names[leg + 1]}`, count: steps,
          title: `${names[leg]} to ${names[leg + 1]}, latent ${latent + 1}`,
          request: () => ({
            places: Array(steps).fill(latent),
            weights: Array.from({ length: steps }, (_, i) => mixed(labels, leg + i / (steps - 1))),
          }),
        });
      }
    }
    this.arrange(rows, model);
  }
}

const mixed = (labels, place) => between(labels.length, place).map((share, k) => [labels[k], Math.fround(share)]);

/** The weights of the sliders, scaled to sum to 1; equal where all are 0. */
export function mixture(names, weights) {
  const values = names.map((name) => weights[name] ?? 50);
  const sum = values.reduce((a, b) => a + b, 0);
  return values.map((value) => (sum ? value / sum : 1 / names.length));
}

/** A closed path through the latents, frame by frame. Frames that were drawn once are kept. */
export class Walk {
  constructor(section, engine) {
    this.canvas = section.querySelector("canvas");
    this.engine = engine;
    this.kept = new Map();
    this.key = "";
    this.asked = this.newest = 0; // calls of show, and the last one whose frame was painted
  }

  update(state) {
    this.state = state;
    const key = JSON.stringify([state.model.name, String(state.seed), state.truncation, state.seconds, state.classes.walk]);
    if (key !== this.key) this.kept.clear();
    this.key = key;
    this.canvas.setAttribute("aria-label", `Walk: ${state.classes.walk.join(", ")}`);
  }

  get frames() {
    return this.state.seconds * FRAMES_PER_SECOND;
  }

  request(frame) {
    const { model, classes } = this.state;
    const labels = classes.walk.map((name) => model.classes.indexOf(name));
    const round = labels.length > 1 ? [...labels, labels[0]] : labels;
    const t = frame / this.frames;
    return { places: [t], walk: true, weights: [mixed(round, t * (round.length - 1))] };
  }

  parts(state) {
    return [() => this.show(state.frame)];
  }

  /** Draws a frame -> whether it had to be computed. */
  async show(frame) {
    const { key } = this;
    const mine = ++this.asked;
    const known = this.kept.get(frame);
    const { model, seed, truncation } = this.state;
    const image = known ?? (await this.engine.draw({ ...this.request(frame), model, seed, truncation }))[0];
    if (key !== this.key) return !known;
    this.kept.set(frame, image);
    if (mine < this.newest) return !known; // a frame that was known overtook this one
    paint(this.canvas, image);
    Object.assign(this, { newest: mine, painted: frame });
    return !known;
  }

  /** No frame of another model stays. */
  clear() {
    this.canvas.width = 1;
    this.canvas.image = undefined;
  }

  images() {
    return [{ label: "", images: [this.canvas.image].filter(Boolean) }];
  }
}
