// What the page shows, as one object; the part of the address behind # holds it, so a link shows the same again.

import { MAX_SEED } from "./latents.js";

export const VIEWS = {
  sample: { least: 0, most: Infinity, hint: "None chosen: all are drawn." },
  morph: { least: 2, most: 4, hint: "Two to four, in the order in which you choose them." },
  walk: { least: 1, most: 4, hint: "One, or up to four to pass through in the order chosen." },
};
const LIMITS = { n: [1, 12, 8], steps: [2, 12, 8], seconds: [2, 20, 8], frame: [0, 479, 0] }; // least, most, at first
export const NO_TRUNCATION = 3; // the slider's last place: off

/** Classes to begin with: those whose samples a classifier recognises best. */
export function firstClasses(model, view) {
  const names = model.first;
  return { sample: names, morph: [names[0], names.at(-1)], walk: names.slice(0, 1) }[view];
}

export function parseSeed(text) {
  const digits = text.trim();
  if (!/^\d{1,19}$/.test(digits) || BigInt(digits) > MAX_SEED) return null;
  return BigInt(digits);
}

export function randomSeed() {
  return BigInt(crypto.getRandomValues(new Uint32Array(1))[0] >>> 1);
}

/** The address's part behind # -> a whole state; what is missing or not legal gets the value it has at first. */
export function readState(hash, models) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const view = Object.hasOwn(VIEWS, said.get("tab")) ? said.get("tab") : "sample";
  const model = models.find((each) => each.name === said.get("model")) ?? models[0];
  const state = { view, model, seed: parseSeed(said.get("seed") ?? "") ?? 0n, classes: {}, truncation: 0, weights: {} };
  for (const name of Object.keys(VIEWS)) state.classes[name] = firstClasses(model, name);
  const { least, most } = VIEWS[view];
  const listed = said.get("classes");
  const names = [...new Set((listed ?? "").split("|").filter((name) => model.classes.includes(name)))];
  const meant = names.length || listed === ""; // none, where the list is empty: not where no name is known
  if (meant && names.length >= least && names.length <= most) state.classes[view] = names;
  for (const [name, [low, high, first]] of Object.entries(LIMITS)) {
    const value = said.has(name) ? Number(said.get(name)) : NaN;
    state[name] = Number.isInteger(value) && value >= low && value <= high ? value : first;
  }
  const truncation = Math.round(Number(said.get("truncation")) * 10) / 10; // a place of the slider
  if (truncation >= 0.1 && truncation < NO_TRUNCATION) state.truncation = truncation;
  const shares = (said.get("weights") ?? "").split("|").map((text) => (text ? Number(text) : NaN));
  const owners = listed?.split("|") ?? state.classes.morph; // of the weights, also those of names that are not known
  state.classes.morph.forEach((name) => {
    const share = view === "morph" ? shares[owners.indexOf(name)] : NaN;
    state.weights[name] = share >= 0 && share <= 100 ? Math.round(share) : 50;
  });
  return state;
}

export function writeState(state, backend) {
  const said = new URLSearchParams({ tab: state.view, model: state.model.name, seed: String(state.seed) });
  said.set("classes", state.classes[state.view].join("|"));
  if (state.truncation) said.set("truncation", state.truncation);
  if (state.view === "sample") said.set("n", state.n);
  if (state.view === "morph") {
    said.set("steps", state.steps);
    said.set("weights", state.classes.morph.map((name) => state.weights[name] ?? 50).join("|"));
  }
  if (state.view === "walk") {
    said.set("seconds", state.seconds);
    said.set("frame", state.frame);
  }
  if (backend) said.set("backend", backend);
  return `#${said}`;
}
