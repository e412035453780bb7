// Serves the page from a cache. SITE is filled in by the build: a version, and every file but those of the runtime,
// which the page itself stores, since only one of its forms is needed.

const SITE = { version: "", files: [], runtime: "" };
const OWN = `sngan-page-${SITE.version}`;
const RUNTIME = `sngan-runtime-${SITE.runtime}`;
const MINE = /^sngan-(page|runtime)-/;

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(OWN).then((cache) => cache.addAll(SITE.files.map((file) => new Request(file, { cache: "no-cache" })))));
});

self.addEventListener("activate", (event) => {
  const clean = async () => {
    for (const name of await caches.keys()) {
      if (MINE.test(name) && name !== OWN && name !== RUNTIME) await caches.delete(name);
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
