// Serves the page from a cache. SITE is filled in by the build: a version, and every file but those of the runtime,
// which the page itself stores, since only one of its forms is needed.

const SITE = { version: "", files: [], runtime: "" };
const HERE = new URL("./", location.href).pathname; // caches belong to the origin, which may have several pages
const OWN = `sngan-page-${HERE}-${SITE.version}`;
const RUNTIME = `sngan-runtime-${HERE}-${SITE.runtime}`; // offline.js has the same name
const mine = (name) => name.startsWith(`sngan-page-${HERE}-`) || name.startsWith(`sngan-runtime-${HERE}-`);

self.addEventListener("install", (event) => {
  const store = async () => {
    const cache = await caches.open(OWN);
    await cache.addAll(SITE.files.map((file) => new Request(file, { cache: "no-cache" })));
    await storeRuntime();
  };
  event.waitUntil(store());
});

/** With another version of the runtime: the same of its files that the page has stored of the last version, so that
 * the page stays available offline. */
async function storeRuntime() {
  const names = await caches.keys();
  const last = names.find((name) => mine(name) && name.startsWith("sngan-runtime-") && name !== RUNTIME);
  if (!last || names.includes(RUNTIME)) return;
  const files = (await (await caches.open(last)).keys()).map(({ url }) => `onnxruntime-web-${SITE.runtime}/${url.split("/").pop()}`);
  const cache = await caches.open(RUNTIME);
  await Promise.allSettled(files.map((file) => cache.add(file)));
}

self.addEventListener("message", ({ data }) => data === "activate" && self.skipWaiting());

self.addEventListener("activate", (event) => {
  const clean = async () => {
    for (const name of await caches.keys()) {
      if (mine(name) && name !== OWN && name !== RUNTIME) await caches.delete(name);
    }
    await self.clients.claim();
  };
  event.waitUntil(clean());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || new URL(request.url).origin !== location.origin) return;
  const answer = async () => {
    for (const name of [OWN, RUNTIME]) {
      const found = await (await caches.open(name)).match(request, { ignoreSearch: true });
      if (found) return found;
    }
    return fetch(request);
  };
  event.respondWith(answer());
});
