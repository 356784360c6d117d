// Fetches a file into this browser, checked, and hands it over to be saved.

import { say } from "./fill.js";
import { size, time } from "./said.js";

// A browser holds the file in memory until it is saved; more than this is not worth the risk of losing it at the end.
const MOST = 2 * 1024 ** 3;
const MOST_ON_A_PHONE = 512 * 1024 ** 2;

export function save(page, name) {
  const place = document.getElementById("save");
  if (!place) return;
  const button = place.querySelector("[data-do=save]");
  const bar = place.querySelector("progress");
  const words = place.querySelector("[data-is=saving]");
  const most = matchMedia("(pointer: coarse)").matches ? MOST_ON_A_PHONE : MOST;
  const length = Number(page.dataset.length);
  if (length > most) {
    button.hidden = true;
    words.textContent =
      `With ${size(length)} it is too large for that: a browser would have to hold it in memory. ` +
      `Use the plain download, then check it with: minitorrent verify ${absolute(place.dataset.json)}`;
    return;
  }
  button.addEventListener("click", () => {
    const worker = new Worker("/static/check.js", { type: "module" });
    const began = performance.now();
    button.disabled = true;
    bar.hidden = false;
    words.textContent = "Fetching\u2026";
    worker.onmessage = ({ data }) => {
      if (data.length) {
        bar.max = data.length;
        bar.value = data.done;
        const seconds = (performance.now() - began) / 1000;
        const left = (seconds * (data.length - data.done)) / data.done;
        const again = data.again ? `; ${data.again} fetched again` : "";
        words.textContent = `${size(data.done)} of ${size(data.length)} checked, ${time(left)} left${again}`;
        return;
      }
      if (data.wait) {
        words.textContent = `${data.problem}; it is fetched again in ${time(data.wait / 1000)}`;
        return;
      }
      worker.terminate();
      button.disabled = false;
      if (data.blob) hand(data.blob, name());
      words.textContent = data.blob
        ? "All pieces verified. Your browser saves it now."
        : `That did not work: ${data.problem}`;
      say(words.textContent);
    };
    worker.onerror = () => {
      button.disabled = false;
      words.textContent = "This browser cannot check files in the background. Use the plain download.";
    };
    worker.postMessage({ download: absolute(place.querySelector("a").href), json: absolute(place.dataset.json) });
  });
}

function hand(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // A browser that asks where to save it still needs it for a while.
  setTimeout(() => URL.revokeObjectURL(link.href), 600000);
}

// Links may name this machine as others call it; the browser stays with the address it came by.
function absolute(link) {
  return new URL(new URL(link, location.href).pathname, location.origin).href;
}
