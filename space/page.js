// In the browser: marks results whose inputs have changed, completes links, scrolls to what is new, and enlarges images.
// An image of a result opens in large; a click, Escape or the button closes it.
document.addEventListener("click", (event) => {
  const image = event.target.closest(".drawn .cells img");
  if (image) enlarge(image);
});

// By keyboard: Tab goes from row to row, arrow keys from image to image, Enter or the space bar opens the image.
document.addEventListener("keydown", (event) => {
  const image = event.target.closest(".drawn .cells img");
  if (!image) return;
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) {
    const all = [...image.parentElement.children];
    const next = all[all.indexOf(image) + step];
    if (!next) return;
    [image.tabIndex, next.tabIndex] = [-1, 0];
    next.focus();
  } else if (event.key === "Enter" || event.key === " ") enlarge(image);
  else return;
  event.preventDefault();
});

function enlarge(image) {
  const dialog = document.createElement("dialog");
  const close = Object.assign(document.createElement("button"), { type: "button", textContent: "Close" });
  const text = Object.assign(document.createElement("p"), { textContent: image.alt });
  const large = Object.assign(new Image(), { src: image.src, alt: image.alt, className: image.className });
  dialog.className = "enlarged";
  dialog.setAttribute("aria-label", image.alt);
  dialog.append(large, text, close);
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    image.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
}

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
  const key = (values) => JSON.stringify(values.map((value) => (value === null || value?.length === 0 ? "" : Array.isArray(value) ? value : String(value))));
  const mark = (tab, stale) => result(tab)?.classList.toggle("stale", stale);
  // The inputs may have changed while the images were drawn with others. Without `used`, there are no images.
  const compare = (tab, used, values) => {
    asked[tab] = used ? key(JSON.parse(used)) : key(values);
    mark(tab, key(values) !== asked[tab]);
  };

  return {
    changed(tab, ...values) {
      if (tab in asked) mark(tab, key(values) !== asked[tab]);
    },
    // The page has opened: what it shows is what its inputs say.
    opened(tab, link, used, ...values) {
      compare(tab, used, values);
      return whole(link);
    },
    // A request has ended. Its link starts with ? if it succeeded.
    drawn(tab, link, used, ...values) {
      if (link.startsWith("-")) { // a result without a link
        compare(tab, used, values);
        return link.slice(1);
      }
      if (!link.startsWith("?")) {
        const error = [...document.querySelectorAll(".field-error")].find((e) => e.offsetParent !== null);
        error?.scrollIntoView({ block: "center", behavior: "smooth" });
        return link;
      }
      compare(tab, used, values);
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
