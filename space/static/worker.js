// Computes images away from the page's thread: onnxruntime-web and one session for each model. One request at a time.

import { latent, toByte, walkLatent } from "./latents.js";

const BUILDS = { // of onnxruntime-web: its script, and the name of the .mjs and .wasm files that the script loads
  wasm: ["ort.wasm.min.mjs", "ort-wasm-simd-threaded"],
  jspi: ["ort.jspi.min.mjs", "ort-wasm-simd-threaded.jspi"],
  asyncify: ["ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify"],
};
const sessions = new Map();
let runtime; // a promise of { ort, provider, files }
let queue = Promise.resolve();

onmessage = ({ data }) => {
  queue = queue.then(() => answer(data)).catch((error) => postMessage({ id: data.id, error: String(error?.message || error) }));
};

async function answer(request) {
  if (request.kind === "open") {
    await session(request.model, request);
    const { provider, files } = await runtime;
    postMessage({ id: request.id, provider, files });
    return;
  }
  const pixels = await draw(request);
  const { provider } = await runtime; // not that of before, if the graphics processor was lost
  postMessage({ id: request.id, pixels, provider }, [pixels.buffer]);
}

/** Where there is WebGPU: its runtime, in the smaller form if the browser can suspend WebAssembly. Without a graphics
 * processor, WebGPU is slower than WebAssembly, and is used only if `backend` is "webgpu". */
async function chosenBuild(backend) {
  if (backend === "wasm" || !navigator.gpu) return "wasm";
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  if (!adapter || (adapter.info?.isFallbackAdapter && backend !== "webgpu")) return "wasm";
  return "Suspending" in WebAssembly ? "jspi" : "asyncify";
}

async function load(folder, build) {
  const [script, binary] = BUILDS[build];
  const ort = await import(new URL(`${folder}/${script}`, import.meta.url));
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send
  const files = { mjs: `${folder}/${binary}.mjs`, wasm: `${folder}/${binary}.wasm` };
  ort.env.wasm.wasmPaths = {
    mjs: new URL(files.mjs, import.meta.url).href,
    wasm: new URL(files.wasm, import.meta.url).href,
  };
  const provider = build === "wasm" ? "wasm" : "webgpu";
  return { ort, provider, files: [`${folder}/${script}`, files.mjs, files.wasm] };
}

async function session(model, { folder, backend }) {
  if (sessions.has(model.name)) return sessions.get(model.name);
  const reply = await fetch(new URL(model.file, import.meta.url));
  if (!reply.ok) throw new Error(`the model's file cannot be loaded (${reply.status}): ${model.file}`);
  const content = await reply.arrayBuffer();
  if (self.crypto?.subtle && (await sha256(content)) !== model.sha256) {
    throw new Error(`the model's file is damaged: ${model.file}. Reload the page.`);
  }
  runtime ??= chosenBuild(backend).then((build) => load(folder, build));
  let made;
  try {
    made = await create(content, model);
  } catch (error) { // a graphics driver that cannot run the network, or a file that could not be fetched
    const used = await runtime.catch(() => null);
    runtime = undefined; // the next request tries again
    if (used?.provider === "wasm") throw new Error(`${error?.message || error}. Reload the page.`);
    useWasm(folder);
    try {
      made = await create(content, model);
    } catch (again) {
      runtime = undefined;
      throw new Error(`${again?.message || again}. Reload the page.`);
    }
  }
  sessions.set(model.name, made);
  return made;
}

function useWasm(folder) {
  runtime = load(folder, "wasm");
  sessions.clear();
}

/** A session that has run once: some faults of graphics drivers show only then. */
async function create(content, model) {
  const { ort, provider } = await runtime;
  const made = await ort.InferenceSession.create(new Uint8Array(content), { executionProviders: [provider] });
  await made.run(inputs(ort, model, new Float32Array(model.z_dim), new Float32Array(model.n_classes)));
  return made;
}

function inputs(ort, model, z, weights) {
  const n = z.length / model.z_dim;
  const given = { z: new ort.Tensor("float32", z, [n, model.z_dim]) };
  if (model.n_classes) given.class_weights = new ort.Tensor("float32", weights, [n, model.n_classes]);
  return given;
}

async function sha256(content) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** `places`: numbers of images of the seed, or with `walk` times in [0, 1). `weights`: n_classes for each place.
 * -> RGBA pixels of all images, one after the other. */
async function draw(request) {
  const { model, folder, seed, places, walk, truncation, weights } = request;
  const network = await session(model, request);
  const { ort, provider } = await runtime;
  const n = places.length;
  const z = new Float32Array(n * model.z_dim);
  const point = walk ? walkLatent : latent;
  places.forEach((place, i) => z.set(point(BigInt(seed), place, model.z_dim, truncation), i * model.z_dim));
  let values;
  try {
    values = (await network.run(inputs(ort, model, z, weights))).images.data;
  } catch (error) {
    if (provider === "wasm") throw error;
    useWasm(folder); // the graphics processor was lost, as after sleep
    return draw(request);
  }
  const area = model.size * model.size;
  const pixels = new Uint8ClampedArray(n * area * 4).fill(255);
  for (let i = 0; i < n; i++) {
    for (let channel = 0; channel < 3; channel++) {
      const start = (3 * i + channel) * area;
      for (let p = 0; p < area; p++) pixels[4 * (i * area + p) + channel] = toByte(values[start + p]);
    }
  }
  return pixels;
}
