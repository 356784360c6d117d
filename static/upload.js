// One file to this machine by `PUT /uploads/NAME`, picked up where it stopped.
//
// `HEAD` tells in Upload-Offset how far an earlier try got; the tag tells files of one name apart and is made of what the file
// is, so that it is the same when the same file is chosen again after the browser was closed, and of what only this browser
// knows, so that nobody else goes on with what it began.

import { size } from "./said.js";
import { sha1 } from "./sha1.js";

const FIRST_WAIT = 1000; // ms before the second try; twice as long before each further one
const LONGEST_WAIT = 30000; // ms

const NO_ROOM = 507;

// Answers that another try may change: the earlier connection not yet given up, too much at once, a server in trouble.
const PASSING = new Set([0, 408, 409, 429, 500, 502, 503, 504]);

// Resolves to what was saved; rejects with an Error whose message is for a person. `on.progress(sent)` and
// `on.waiting(sentence)` are told how it goes.
export async function upload(file, name, port, on, signal) {
  const url = `/uploads/${encodeURIComponent(name)}`;
  const tag = sha1(new TextEncoder().encode(`${secret()}\n${name}\n${file.size}\n${file.lastModified}`));
  let wait = FIRST_WAIT;
  for (;;) {
    let sent = 0;
    try {
      const offset = await reached(url, tag, file.size, signal);
      sent = offset;
      return await put(url, tag, file, offset, port, signal, (now) => on.progress((sent = now)));
    } catch (problem) {
      if (signal.aborted) throw problem;
      if (!PASSING.has(problem.status ?? 0)) throw problem;
      if (problem.moved) wait = FIRST_WAIT;
      on.waiting(problem.status ? problem.message : "The connection broke.", wait);
      await pause(wait, signal);
      wait = Math.min(wait * 2, LONGEST_WAIT);
    }
  }
}

// The same for all that this browser uploads here; where it keeps nothing, as long as the page is open.
let kept;
function secret() {
  try {
    kept ??= localStorage.getItem("upload-secret");
  } catch {
    // Storage is switched off.
  }
  kept ??= crypto.getRandomValues(new Uint32Array(4)).join("-");
  try {
    localStorage.setItem("upload-secret", kept);
  } catch {
    // The same.
  }
  return kept;
}

// How many bytes are there already.
async function reached(url, tag, length, signal) {
  const headers = { "Upload-Tag": tag, "Upload-Length": length };
  const answer = await fetch(url, { method: "HEAD", headers, signal, cache: "no-store" });
  if (answer.status === NO_ROOM) throw failed(`There is no room for it on that machine: the file has ${size(length)}.`, NO_ROOM);
  if (PASSING.has(answer.status)) throw failed(`The server answered ${answer.status}.`, answer.status);
  if (answer.headers.has("Retry-After")) throw failed("The broken connection is not given up there yet.", 409);
  const offset = Number(answer.headers.get("Upload-Offset") ?? 0);
  return answer.status === 202 && offset < length ? offset : 0;
}

function failed(message, status) {
  return Object.assign(new Error(message), { status });
}

// fetch() tells nothing about how much was sent, so this is an XMLHttpRequest.
function put(url, tag, file, offset, port, signal, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let moved = false;
    const fail = (message) => reject(Object.assign(failed(message, request.status), { moved }));
    request.open("PUT", port ? `${url}?port=${port}` : url);
    request.setRequestHeader("Upload-Tag", tag);
    request.setRequestHeader("Accept", "application/json");
    // An empty file has no first byte; the server says what it thinks of it.
    if (file.size) request.setRequestHeader("Content-Range", `bytes ${offset}-${file.size - 1}/${file.size}`);
    request.upload.onprogress = (event) => {
      moved ||= event.loaded > 0;
      progress(offset + event.loaded);
    };
    request.onload = () => {
      if (request.status === 201) resolve(JSON.parse(request.responseText));
      else fail(request.responseText.trim() || `The server answered ${request.status}.`);
    };
    request.onerror = () => fail("The connection broke.");
    request.onabort = () => fail("Stopped.");
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file.slice(offset));
  });
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    for (const [target, event] of [[signal, "abort"], [window, "online"]]) {
      target.addEventListener(event, () => (clearTimeout(timer), resolve()), { once: true });
    }
  });
}
