// The page: controls change the state, views draw it, the address holds it.

import { Engine, Redrawing } from "./engine.js";
import { keepOffline } from "./offline.js";
import { save, sheet } from "./saving.js";
import { NO_TRUNCATION, VIEWS, firstClasses, parseSeed, randomSeed, readState, writeState } from "./state.js";
import { FRAMES_PER_SECOND, Morph, Sample, Walk, mixture } from "./views.js";

const $ = (selector) => document.querySelector(selector);
const backendOf = (hash) => ["wasm", "webgpu"].find((name) => name === new URLSearchParams(hash.slice(1)).get("backend")) ?? "";
const backend = backendOf(location.hash);
const site = await loadSite();
const engine = new Engine(site.runtime.folder, backend, showAbout);
const state = readState(location.hash, site.models);
const views = {
  sample: new Sample($("#view-sample"), engine, enlarge),
  morph: new Morph($("#view-morph"), engine, enlarge),
  walk: new Walk($("#view-walk"), engine),
};
const redrawing = new Redrawing(() => views[state.view].parts(state), drawn, failed);
let begun = performance.now(); // of the last change
let opened; // the model that the page names
let enlarged;
let faulty = false; // the last drawing failed, so what is shown is not of the state
let saving = false; // the sheet is saved as soon as it is of the state

async function loadSite() {
  const reply = await fetch("models.json").catch(() => null);
  if (reply?.ok) return reply.json();
  $("#failure").textContent = "The list of models cannot be loaded. Check the connection and reload the page.";
  $("#failure").hidden = false;
  tell("");
  throw new Error("models.json");
}

// ---------------------------------------------------------------------------------------------------------------------
// Drawing

/** Called after every change of the state. */
function changed() {
  begun = performance.now();
  faulty = false;
  views[state.view].update(state);
  showLink();
  redrawing.change();
}

let written = 0;
/** Browsers refuse an address that changes too often. */
function showLink() {
  clearTimeout(written);
  written = setTimeout(() => history.replaceState(null, "", writeState(state, backend)), 200);
}

function drawn() {
  $("#failure").hidden = true;
  if (opened !== state.model) openModel(); // it failed, but drawing loads the model too
  if (saving) saveSheet();
  if (state.view === "walk") {
    if (!playing) tell(frameText());
    return;
  }
  const count = views[state.view].images().reduce((sum, row) => sum + row.images.length, 0);
  tell(`${count} images in ${((performance.now() - begun) / 1000).toFixed(1)} s, seed ${state.seed}`);
}

const frameText = () => `Frame ${state.frame + 1} of ${views.walk.frames}, seed ${state.seed}`;

function tell(text) {
  $("#status").textContent = text;
}

function failed(error) {
  $("#failure").textContent = `The images could not be generated: ${error.message}`;
  $("#failure").hidden = false;
  faulty = true;
  saving = false;
  tell("");
  pause();
}

async function openModel() {
  const { model } = state;
  tell(`Loading ${model.title} (${(model.bytes / 1e6).toFixed(1)} MB)`);
  try {
    const { files } = await engine.open(model);
    if (state.model !== model) return;
    opened = model;
    showAbout();
    changed();
    if (state.view === "walk" && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
    await thumbnails(model);
    keepOffline(site, files, $("#offline"), $("#update"));
  } catch (error) {
    failed(error);
  }
}

async function thumbnails(model) {
  const places = model.classes.map(() => 0);
  const images = await engine.draw({ model, seed: 0, places, weights: model.classes.map((_, label) => [[label, 1]]) });
  if (state.model !== model) return;
  model.thumbnails = images;
  document.querySelectorAll("#classes canvas").forEach((canvas, i) => canvas.getContext("2d").putImageData(images[i], 0, 0));
}

// ---------------------------------------------------------------------------------------------------------------------
// Walk

let playing = false;
let round = 0; // of playing: a loop that waits for a frame must not go on in the next one

async function play() {
  if (playing) return;
  playing = true;
  const mine = ++round;
  $("#play").textContent = "Pause";
  $("#status").setAttribute("aria-live", "off"); // it changes every second
  const origin = () => performance.now() - (state.frame / FRAMES_PER_SECOND) * 1000;
  let [start, seen, shown, computed, since] = [origin(), begun, -1, 0, performance.now()];
  while (playing && mine === round && state.view === "walk") {
    const now = performance.now();
    if (seen !== begun) [start, seen, shown] = [origin(), begun, -1]; // other settings: go on from this frame
    state.frame = Math.floor(((now - start) / 1000) * FRAMES_PER_SECOND) % views.walk.frames;
    if (state.frame === shown) {
      await new Promise(requestAnimationFrame); // waits also while the page is hidden
      continue;
    }
    shown = state.frame;
    $("#frame").value = shown;
    try {
      computed += await views.walk.show(shown);
    } catch (error) {
      return mine === round && failed(error);
    }
    if (now - since > 1000) {
      const rate = Math.round((computed * 1000) / (now - since));
      tell(computed ? `Computing: ${rate} frames per second, seed ${state.seed}` : `All frames are computed, seed ${state.seed}`);
      [computed, since] = [0, now];
    }
  }
  if (mine === round) pause();
}

function pause() {
  if (playing) {
    showLink();
    if (!faulty) tell(frameText());
  }
  playing = false;
  $("#status").setAttribute("aria-live", "polite");
  $("#play").textContent = "Play";
}

$("#play").onclick = () => (playing ? pause() : play());
$("#frame").oninput = ({ target }) => {
  pause();
  state.frame = Number(target.value);
  changed();
};

// ---------------------------------------------------------------------------------------------------------------------
// Controls

/** Sets all controls to the state, after a change of view or model or from a link. */
function showControls() {
  for (const name of Object.keys(VIEWS)) {
    const here = name === state.view;
    const tab = $(`#tab-${name}`);
    tab.setAttribute("aria-selected", String(here));
    tab.tabIndex = here ? 0 : -1;
    $(`#view-${name}`).hidden = !here;
  }
  for (const field of document.querySelectorAll("[data-views]")) field.hidden = field.dataset.views !== state.view;
  $("#again").textContent = state.view === "walk" ? "New walk" : "New images";
  for (const name of ["n", "steps", "seconds"]) $(`#${name}`).value = state[name];
  $("#truncation").value = state.truncation || NO_TRUNCATION;
  $("#seed").value = state.seed;
  $("#seed-fault").hidden = true;
  $("#seed").removeAttribute("aria-invalid");
  $("#backend").value = backend;
  showModels();
  showClasses();
  showWeights();
  showOutputs();
}

function showModels() {
  const cards = site.models.map((model) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "model", value: model.name, checked: model === state.model });
    const title = Object.assign(document.createElement("b"), { textContent: model.title });
    const facts = [`${model.size} px`, `${model.classes.length} classes`];
    if (model.fid) facts.push(`FID ${model.fid.toFixed(1)}`);
    input.onchange = () => chooseModel(model);
    const line = document.createElement("span");
    facts.forEach((fact) => line.append(Object.assign(document.createElement("i"), { textContent: fact })));
    label.append(input, title, line);
    return label;
  });
  const box = $("#models .cards");
  if (!box.children.length) box.replaceChildren(...cards);
  box.querySelectorAll("input").forEach((input) => (input.checked = input.value === state.model.name));
}

function chooseModel(model) {
  state.model = model;
  for (const view of Object.keys(VIEWS)) state.classes[view] = firstClasses(model, view);
  state.weights = {};
  showNewModel();
}

/** No image of the other model stays. */
function showNewModel() {
  pause();
  redrawing.stop();
  for (const view of Object.values(views)) view.clear();
  saving = false;
  views[state.view].update(state);
  showControls();
  showAbout();
  openModel();
}

function showClasses() {
  const { model, view } = state;
  const { most } = VIEWS[view];
  const chosen = state.classes[view];
  $("#classes-hint").textContent = VIEWS[view].hint;
  $("#classes-hint").className = "hint";
  const chips = model.classes.map((name, i) => {
    const label = document.createElement("label");
    const checked = chosen.includes(name);
    const input = Object.assign(document.createElement("input"), { type: "checkbox", value: name, checked, disabled: !checked && chosen.length >= most });
    const canvas = Object.assign(document.createElement("canvas"), { width: model.size, height: model.size });
    if (model.thumbnails) canvas.getContext("2d").putImageData(model.thumbnails[i], 0, 0);
    input.onchange = () => chooseClass(name, input.checked);
    label.append(input, canvas, name);
    return label;
  });
  const focused = document.activeElement?.closest(".chips") && document.activeElement.value;
  $("#classes .chips").replaceChildren(...chips);
  if (focused) $(`#classes input[value="${CSS.escape(focused)}"]`)?.focus();
}

function chooseClass(name, on) {
  const { least } = VIEWS[state.view];
  const chosen = state.classes[state.view].filter((each) => each !== name);
  if (on) chosen.push(name);
  if (chosen.length < least) {
    showClasses();
    $("#classes-hint").textContent = `At least ${least === 1 ? "one class" : "two classes"}: choose another one first.`;
    $("#classes-hint").className = "error";
    return;
  }
  state.classes[state.view] = chosen;
  showClasses();
  showWeights();
  showOutputs();
  changed();
}

function showWeights() {
  const box = $("#weights");
  box.querySelectorAll(".field").forEach((field) => field.remove());
  for (const name of state.classes.morph) {
    const field = Object.assign(document.createElement("div"), { className: "field" });
    const id = `weight-${state.model.classes.indexOf(name)}`;
    const label = Object.assign(document.createElement("label"), { htmlFor: id, textContent: name });
    const output = document.createElement("output");
    output.htmlFor = id;
    const input = Object.assign(document.createElement("input"), { type: "range", id, min: 0, max: 100, step: 1 });
    input.value = state.weights[name] ?? 50;
    input.oninput = () => {
      state.weights[name] = Number(input.value);
      showOutputs();
      changed();
    };
    field.append(label, output, input);
    box.append(field);
  }
}

function showOutputs() {
  const set = (name, text) => {
    $(`output[for="${name}"]`).textContent = text;
    $(`#${name}`).setAttribute("aria-valuetext", text);
  };
  set("n", String(state.n));
  set("steps", String(state.steps));
  set("seconds", `${state.seconds} s`);
  set("truncation", state.truncation ? `|z| < ${state.truncation.toFixed(1)}` : "off");
  const shares = mixture(state.classes.morph, state.weights);
  state.classes.morph.forEach((name, i) => set(`weight-${state.model.classes.indexOf(name)}`, `${Math.round(100 * shares[i])} %`));
  $("#frame").max = state.seconds * FRAMES_PER_SECOND - 1;
  state.frame = Math.min(state.frame, Number($("#frame").max));
  $("#frame").value = state.frame;
}

for (const name of ["n", "steps", "seconds", "truncation"]) {
  $(`#${name}`).oninput = ({ target }) => {
    const value = Number(target.value);
    state[name] = name === "truncation" && value >= NO_TRUNCATION ? 0 : value;
    showOutputs();
    changed();
  };
}

$("#seed").oninput = ({ target }) => {
  const seed = parseSeed(target.value);
  $("#seed-fault").textContent = "A whole number from 0 to 2^63 - 1.";
  $("#seed-fault").hidden = seed !== null;
  target.setAttribute("aria-invalid", String(seed === null));
  if (seed === null) return;
  state.seed = seed;
  changed();
};
$("#seed").onkeydown = (event) => {
  if (event.key === "Enter") event.preventDefault(); // it would ask for new images, with another seed
};

$("#controls").onsubmit = (event) => {
  event.preventDefault();
  if (!$("#locked").checked) state.seed = randomSeed();
  $("#seed").value = state.seed;
  $("#seed-fault").hidden = true;
  $("#seed").removeAttribute("aria-invalid");
  changed();
  $(".result").scrollIntoView({ block: "nearest" });
};

$("#backend").onchange = ({ target }) => {
  history.replaceState(null, "", writeState(state, target.value));
  location.reload();
};

function chooseView(name) {
  if (name === state.view) return;
  pause();
  saving = false; // what was to be saved is no longer drawn
  state.view = name;
  showControls();
  changed();
  if (name === "walk" && engine.provider && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
}

const tabs = Object.keys(VIEWS);
for (const name of tabs) $(`#tab-${name}`).onclick = () => chooseView(name);
$('[role="tablist"]').onkeydown = (event) => {
  const step = { ArrowRight: 1, ArrowLeft: tabs.length - 1 }[event.key];
  if (!step) return;
  chooseView(tabs[(tabs.indexOf(state.view) + step) % tabs.length]);
  $(`#tab-${state.view}`).focus();
};

// ---------------------------------------------------------------------------------------------------------------------
// Saving and links

const facts = ({ model, seed, truncation }, classes) => ({
  model: model.name, classes, seed: String(seed), truncation: truncation || "none", licence: model.licence,
});

/** `of`: the model, the seed and the truncation of the image. */
function enlarge(image, title, of) {
  enlarged = { image, title, of };
  const canvas = $("#large canvas");
  canvas.width = canvas.height = image.width;
  canvas.getContext("2d").putImageData(image, 0, 0);
  $("#large-title").textContent = `${title}. ${of.model.title}, seed ${of.seed}`;
  $("#large").showModal();
}

$("#large-close").onclick = () => $("#large").close();
$("#large-save").onclick = () => {
  const { image, title, of } = enlarged;
  save(sheet([{ label: "", images: [image] }], 512), `${of.model.name}-${of.seed}.png`, facts(of, title));
};
$("#save").onclick = () => {
  if (redrawing.busy) saving = true; // some images are still those of the last settings
  else if (!faulty) saveSheet();
};

function saveSheet() {
  saving = false;
  const rows = views[state.view].images().filter((row) => row.images.length);
  if (!rows.length) return;
  const name = `${state.model.name}-${state.view}-${state.seed}.png`;
  const shown = { ...state, frame: views.walk.painted }; // a walk that plays is a frame ahead of its picture
  const link = new URL(writeState(shown, backend), location.href).href; // with all that the view depends on
  save(sheet(rows, state.view === "walk" ? 512 : 64), name, { ...facts(state, state.classes[state.view].join(", ")), link });
}
$("#copy").onclick = async () => {
  const link = new URL(writeState(state, backend), location.href).href;
  history.replaceState(null, "", link);
  try {
    await navigator.clipboard.writeText(link);
    $("#copy").textContent = "Link copied";
  } catch {
    $("#copy").textContent = "Copy the link from the address bar";
  }
  setTimeout(() => ($("#copy").textContent = "Copy link"), 3000);
};

addEventListener("hashchange", ({ newURL }) => { // a link that was pasted over this one
  const { model } = state;
  // Not location.hash: showLink's timer may have written the old address again before this event arrived.
  const { hash } = new URL(newURL);
  if (backendOf(hash) !== backend) { // chosen when the page is loaded
    clearTimeout(written);
    history.replaceState(null, "", hash);
    location.reload();
    return;
  }
  saving = false;
  Object.assign(state, readState(hash, site.models));
  if (state.model !== model) return showNewModel();
  pause();
  showControls();
  changed();
});

function showAbout() {
  const { about, licence, name, weights_sha256 } = state.model;
  const provider = { webgpu: "WebGPU", wasm: "WebAssembly" }[engine.provider];
  const text = `${name}: ${about} Licence: ${licence}. Weights: sha256 ${weights_sha256.slice(0, 12)}. Computed with ${provider}.`;
  $("#about").textContent = state.model === opened ? text : "";
}

$("#code").href = site.home;
showControls();
views[state.view].update(state);
openModel();
