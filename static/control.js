// What may be done with files: the page's forms, sent without leaving it. Without a script they work as forms do.

import { say } from "./fill.js";

export function control() {
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("form.control")) return;
    event.preventDefault();
    const button = event.submitter ?? form.querySelector("button");
    button.disabled = true;
    const problem = await send(form.action, body(form));
    button.disabled = false;
    tellProblem(form, problem);
    if (problem) return;
    if (form.dataset.verb === "fetch") form.reset();
    if (form.dataset.verb === "remove" && document.querySelector(".whole")) location.href = "/";
    for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
    say("Done.");
  });
  document.addEventListener("click", (event) => {
    // A click beside an open menu closes it.
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
    const all = event.target.closest?.("[data-do=pause-all], [data-do=resume-all]");
    if (all) ofAll(all.dataset.do === "pause-all" ? "pause" : "resume");
  });
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

async function ofAll(verb) {
  const forms = [...document.querySelectorAll(`#files form[data-verb=${verb}]:not([hidden])`)];
  for (const form of forms) tellProblem(form, await send(form.action, body(form)));
  say("Done.");
}

function body(form) {
  const data = new FormData(form);
  return form.enctype === "multipart/form-data" ? data : new URLSearchParams(data);
}

// Nothing when it worked, else why not.
async function send(url, body) {
  try {
    const answer = await fetch(url, { method: "POST", body, headers: { Accept: "application/json" } });
    return answer.ok ? null : sentence(await answer.text()) || `The server answered ${answer.status}.`;
  } catch {
    return "The machine that serves this page cannot be reached.";
  }
}

function sentence(text) {
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text.trim();
  }
}

function tellProblem(form, problem) {
  let place = form.querySelector(".trouble");
  if (!place) {
    if (!problem) return;
    place = document.createElement("p");
    place.className = "trouble";
    place.setAttribute("role", "alert");
    form.append(place);
  }
  place.textContent = problem ?? "";
  place.hidden = !problem;
}
