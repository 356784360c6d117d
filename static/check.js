// A worker that fetches a file over HTTP and checks every piece against the metainfo before it counts.
//
// In: { download, json } as URLs. Out: { done, length, again } now and then, { problem, wait } before it tries again, and at the
// end { blob }, or { problem } alone.

import { sha1 } from "./sha1.js";

const STRETCH = 4 * 1024 * 1024; // bytes asked for at once; whole pieces, at least one
const TRIES = 5; // for each stretch
const WAIT = 1000; // ms before the second try; twice as long before each further one

onmessage = async ({ data: { download, json } }) => {
  try {
    const metainfo = await (await asked(json)).json();
    if (metainfo.length == null) throw new Error("this is a folder, and a browser can save only one file");
    postMessage({ blob: await whole(download, metainfo) });
  } catch (error) {
    postMessage({ problem: error.message });
  }
};

async function whole(download, { length, piece_length: piece, pieces }) {
  const step = Math.max(1, Math.floor(STRETCH / piece)) * piece;
  const blobs = [];
  let again = 0;
  for (let first = 0; first < length; first += step) {
    const end = Math.min(first + step, length);
    for (let tries = 1; ; tries += 1) {
      try {
        blobs.push(new Blob([await stretch(download, first, end, piece, pieces)]));
        break;
      } catch (error) {
        if (tries === TRIES) throw error;
        again += 1;
        const wait = WAIT * 2 ** (tries - 1);
        postMessage({ problem: error.message, wait });
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
    postMessage({ done: end, length, again });
  }
  return new Blob(blobs, { type: "application/octet-stream" });
}

async function stretch(download, first, end, piece, pieces) {
  const answer = await asked(download, { Range: `bytes=${first}-${end - 1}` });
  const bytes = new Uint8Array(await answer.arrayBuffer());
  if (answer.status !== 206 || bytes.length !== end - first) throw new Error("the download answered with another range");
  for (let at = 0; at < bytes.length; at += piece) {
    const index = (first + at) / piece;
    if (sha1(bytes.subarray(at, at + piece)) !== pieces[index].toLowerCase()) throw new Error(`piece ${index} is not what it should be`);
  }
  return bytes;
}

async function asked(url, headers = {}) {
  const answer = await fetch(url, { headers, cache: "no-store" });
  if (!answer.ok) throw new Error(`${answer.status}: ${(await answer.text()).slice(0, 200)}`);
  return answer;
}
