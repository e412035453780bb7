// In the browser: marks results whose inputs have changed, completes links, scrolls to what is new, and enlarges images.
// An image of a result opens in large; a click, Escape or the button closes it.
document.addEventListener("click", (event) => {
  const image = event.target.closest(".drawn .cells img");
  if (!image) return;
  const dialog = document.createElement("dialog");
  const close = Object.assign(document.createElement("button"), { type: "button", textContent: "Close" });
  const text = Object.assign(document.createElement("p"), { textContent: image.alt });
  const large = image.cloneNode();
  dialog.className = "enlarged";
  dialog.setAttribute("aria-label", image.alt);
  dialog.append(large, text, close);
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
});

// A seed that a visitor enters is kept; pressing the button again with another seed would lose it.
document.addEventListener("input", (event) => {
  const tab = event.target.closest('[id$="-seed"]')?.id.replace("-seed", "");
  const lock = tab && document.querySelector(`#${tab}-locked input`);
  if (lock && !lock.checked) lock.click();
});

window.sngan = (() => {
  const asked = {}; // tab -> the inputs of the images on the page
  const result = (tab) => document.querySelector(`#${tab}-result`);
  const phone = () => window.innerWidth < 720;
  const whole = (link) => (link.startsWith("?") ? location.origin + location.pathname + link : link);
  // Numbers come back from the server as text here and there; a weight of a hidden slider is still an input.
  const key = (values) => JSON.stringify(values.map((value) => (value === null ? "" : Array.isArray(value) ? value : String(value))));
  const mark = (tab, stale) => result(tab)?.classList.toggle("stale", stale);

  return {
    changed(tab, ...values) {
      if (tab in asked) mark(tab, key(values) !== asked[tab]);
    },
    // The page has opened: what it shows is what its inputs say.
    opened(tab, link, ...values) {
      asked[tab] = key(values);
      mark(tab, false);
      return whole(link);
    },
    // A request has ended. Its link starts with ? if it succeeded.
    drawn(tab, link, ...values) {
      if (link.startsWith("-")) { // a result without a link
        asked[tab] = key(values);
        mark(tab, false);
        return link.slice(1);
      }
      if (!link.startsWith("?")) {
        const error = [...document.querySelectorAll(".field-error")].find((e) => e.offsetParent !== null);
        error?.scrollIntoView({ block: "center", behavior: "smooth" });
        return link;
      }
      asked[tab] = key(values);
      mark(tab, false);
      const address = whole(link);
      try {
        history.replaceState(null, "", address);
      } catch {} // a page in a frame without an address of its own
      const top = result(tab)?.getBoundingClientRect().top ?? 0;
      if (phone() && (top < 0 || top > innerHeight / 2)) result(tab).scrollIntoView({ block: "start", behavior: "smooth" });
      return address;
    },
  };
})();
