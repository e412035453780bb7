// After the first visit the page works without a network: sw.js answers from a cache that is filled here and there.

/** Registers sw.js, which stores the page and all models, and stores the files of the runtime in use.
 * `shown`: an element that says whether the page is available offline. */
export async function keepOffline(site, runtimeFiles, shown) {
  if (!("serviceWorker" in navigator) || !self.caches) {
    shown.textContent = "This browser does not keep the page for offline use";
    return;
  }
  try {
    await navigator.serviceWorker.register("sw.js");
    await navigator.serviceWorker.ready;
    const cache = await caches.open(`sngan-runtime-${site.runtime.version}`);
    const known = await Promise.all(runtimeFiles.map((file) => cache.match(file)));
    await cache.addAll(runtimeFiles.filter((_, i) => !known[i]));
    shown.textContent = "Available offline";
  } catch {
    shown.textContent = "Not available offline";
  }
}
