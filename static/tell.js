// What to tell the others, and copying it. Over plain http there is no clipboard API, so the text is selected and the old
// command tried; where that fails as well, the selection stays for the person's own keys.

import { attribute } from "./fill.js";

export function tell(place, told) {
  for (const element of place.querySelectorAll("[data-told]")) {
    const key = element.dataset.told;
    if (key === "code") attribute(element, "src", `/qr.svg?text=${encodeURIComponent(told.page)}`);
    else if (element.tagName === "A") {
      element.hidden = !told[key];
      if (told[key]) attribute(element, "href", told[key]);
    } else element.textContent = told[key];
  }
}

export function copying() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-do=copy]");
    if (!button) return;
    const text = button.parentElement.querySelector("code");
    getSelection().selectAllChildren(text);
    const worked = document.execCommand("copy");
    button.textContent = worked ? "Copied" : "Selected";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}
