// Sharing: files that are chosen or dropped anywhere, a few at once, each with a card of its own.

import { copyOf, fill, say } from "./fill.js";
import { size, rate, time } from "./said.js";
import { tell } from "./tell.js";
import { upload } from "./upload.js";

const AT_ONCE = 3; // a browser has six connections to one machine, and the page needs some
const RATE_OVER = 3000; // ms
const TOLD_OPEN = 1; // what to tell the others is laid open for so many uploads; below more of them it is folded

const waiting = [];
let running = 0;
let chosen = 0;

export function share() {
  const form = document.getElementById("share");
  if (!form) return;
  for (const id of ["file", "folder"]) {
    const input = document.getElementById(id);
    input.addEventListener("change", () => {
      add([...input.files].map((file) => ({ file, name: flat(file.webkitRelativePath || file.name) })));
      input.value = "";
    });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  // Where the pointer is while it drags over children: every enter of one is followed by a leave of another.
  let depth = 0;
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (by) => document.documentElement.classList.toggle("dropping", (depth = Math.max(depth + by, 0)) > 0);
  addEventListener("dragenter", (event) => isFiles(event) && mark(1));
  addEventListener("dragleave", (event) => isFiles(event) && mark(-1));
  addEventListener("dragover", (event) => isFiles(event) && event.preventDefault());
  addEventListener("drop", async (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    mark(-depth);
    add(await dropped(event.dataTransfer));
  });
  addEventListener("beforeunload", (event) => running > 0 && event.preventDefault());
}

// Files as they were dropped, those in folders too.
async function dropped(transfer) {
  // All entries at once: the list is empty after the first wait.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return [...transfer.files].map((file) => ({ file, name: file.name }));
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, name: flat(entry.fullPath) });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return;
    for (const each of some) await walk(each, found);
  }
}

// Each file of a folder is shared by itself; its name keeps the folder's.
function flat(path) {
  return path.split("/").filter(Boolean).join(" - ");
}

function add(files) {
  chosen += files.length;
  const port = document.getElementById("port").value;
  for (const { file, name } of files) waiting.push({ file, name, port, card: card(file, name) });
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length > 0) {
    running += 1;
    send(waiting.shift()).finally(() => {
      running -= 1;
      next();
    });
  }
}

function card(file, name) {
  const card = copyOf("upload-template");
  fill(card, { name, figures: `${size(file.size)}, waiting for its turn` });
  const bar = card.querySelector("progress");
  bar.setAttribute("aria-label", `Sent of ${name}`);
  card.stop = new AbortController();
  card.querySelector("[data-do=stop]").addEventListener("click", () => card.stop.abort());
  const uploads = document.getElementById("uploads");
  uploads.hidden = false;
  uploads.prepend(card);
  card.scrollIntoView({ block: "nearest" });
  return card;
}

async function send({ file, name, port, card }) {
  const stop = card.querySelector("[data-do=stop]");
  const bar = card.querySelector("progress");
  const trouble = card.querySelector("[data-is=trouble]");
  const speed = meter();
  const on = {
    progress(sent) {
      trouble.hidden = true;
      bar.value = sent / file.size;
      const now = speed(sent);
      const left = now > 0 ? `, ${time((file.size - sent) / now)} left` : "";
      const last = sent === file.size ? ", being checked" : left;
      fill(card, { figures: `${size(sent)} of ${size(file.size)}, ${rate(now)}${last}` });
    },
    waiting(sentence, wait) {
      trouble.hidden = false;
      fill(card, { trouble: `${sentence} It goes on from there in ${time(wait / 1000)}.` });
    },
  };
  try {
    if (card.stop.signal.aborted) throw new Error("Stopped.");
    done(card, file, await upload(file, name, port, on, card.stop.signal));
  } catch (problem) {
    const stopped = card.stop.signal.aborted;
    trouble.hidden = false;
    fill(card, {
      figures: size(file.size),
      trouble: stopped ? "Stopped. Choose the same file again to go on from there." : problem.message,
    });
    say(`${name}: ${stopped ? "stopped" : problem.message}`);
    stop.hidden = true;
  }
}

function done(card, file, saved) {
  card.classList.add("done");
  const other = saved.asked_name ? ` Another file is named ${saved.asked_name}, so this one is named ${saved.name}.` : "";
  fill(card, { name: saved.name, figures: `${size(file.size)}, shared.${other}`, trouble: saved.warning });
  card.querySelector("[data-is=trouble]").hidden = !saved.warning;
  card.querySelector("progress").hidden = true;
  card.querySelector("[data-do=stop]").hidden = true;
  const result = card.querySelector(".result");
  const base = saved.json_url.slice(0, saved.json_url.indexOf("/metainfos/"));
  tell(result, {
    page: `${base}/files/${saved.info_hash}`,
    json: saved.json_url,
    torrent: saved.torrent_url,
    download: saved.download_url,
    command: `minitorrent fetch ${saved.json_url}`,
  });
  card.querySelector("[data-do=watch]").href = `/files/${saved.info_hash}`;
  card.querySelector("[data-do=watch]").hidden = false;
  result.hidden = false;
  result.open = chosen <= TOLD_OPEN;
  say(`${saved.name} is shared.`);
}

// Bytes a second over the last moments.
function meter() {
  const seen = [];
  return (sent) => {
    const now = performance.now();
    seen.push([now, sent]);
    while (seen.length > 2 && now - seen[0][0] > RATE_OVER) seen.shift();
    const [began, first] = seen[0];
    return now > began ? ((sent - first) * 1000) / (now - began) : 0;
  };
}
