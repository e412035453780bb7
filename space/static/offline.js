// After the first visit the page works without a network: sw.js answers from a cache that is filled here and there.

/** Registers sw.js, which stores the page and all models, and stores the files of the runtime in use.
 * `shown`: an element that says whether the page is available offline. `update`: a button that appears when a new
 * version of the page is stored, and loads it. */
export async function keepOffline(site, runtimeFiles, shown, update) {
  if (!("serviceWorker" in navigator) || !self.caches) {
    shown.textContent = "This browser does not keep the page for offline use";
    return;
  }
  try {
    const registration = await navigator.serviceWorker.register("sw.js");
    offerUpdate(registration, update);
    await navigator.serviceWorker.ready;
    const cache = await caches.open(`sngan-runtime-${new URL("./", location.href).pathname}-${site.runtime.version}`);
    const known = await Promise.all(runtimeFiles.map((file) => cache.match(file)));
    await cache.addAll(runtimeFiles.filter((_, i) => !known[i]));
    shown.textContent = "Available offline";
  } catch {
    shown.textContent = "Not available offline";
  }
}

/** A new version waits until no tab shows the old one, which may be never: the button lets it begin. */
function offerUpdate(registration, button) {
  const offer = () => {
    button.hidden = !(registration.waiting && navigator.serviceWorker.controller);
  };
  registration.addEventListener("updatefound", () => registration.installing.addEventListener("statechange", offer));
  button.onclick = () => {
    navigator.serviceWorker.addEventListener("controllerchange", () => location.reload());
    registration.waiting?.postMessage("activate");
  };
  offer();
}
