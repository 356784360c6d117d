// What happens, as it happens: server-sent events, and where those cannot be had, questions every few seconds.
// A page that nobody looks at asks nothing, and leaves the browser's few connections to others.

const ASK_EVERY = 2000; // ms between questions
const TRY_AGAIN = 30000; // ms until events are tried again
const SILENCE = 4000; // ms until the first event: a proxy may keep back what it should pass on

// Calls `on.state`, with the info hashes of what has changed where not all may have, or, with a hash, `on.file`, and `on.transfers`, `on.connected(isLive)`.
export function live(hash, on) {
  const path = hash ? `/api/files/${hash}` : "/api/state";
  let known = null;
  const shown = (json) => {
    const value = JSON.parse(json);
    if (hash) return on.file(value);
    known = value;
    on.state(known, null);
  };
  // One file of all has changed, or is gone. What is told at once is shown at once.
  const changed = new Set();
  const change = (json, isGone) => {
    if (!known) return;
    const file = JSON.parse(json);
    const at = known.files.findIndex((one) => one.info_hash === file.info_hash);
    if (isGone) known.files.splice(at, at < 0 ? 0 : 1);
    else if (at >= 0) known.files[at] = file;
    else {
      known.files.push(file);
      known.files.sort((a, b) => (a.name < b.name ? -1 : 1));
    }
    if (changed.size === 0) queueMicrotask(() => on.state(known, drained()));
    changed.add(file.info_hash);
  };
  const drained = () => {
    const all = [...changed];
    changed.clear();
    return all;
  };
  let source = null;
  let asking = null;
  let retry = 0;
  let doubt = 0;
  let since = null;

  function listen() {
    stop();
    source = new EventSource(hash ? `/api/events?file=${hash}` : "/api/events");
    const hear = (show) => (event) => {
      clearTimeout(doubt);
      askNoMore();
      on.connected(true);
      show(event.data);
    };
    source.addEventListener(hash ? "file" : "state", hear(shown));
    if (!hash) {
      source.addEventListener("file", hear((json) => change(json, false)));
      source.addEventListener("gone", hear((json) => change(json, true)));
    }
    source.addEventListener("transfers", hear((json) => on.transfers(JSON.parse(json))));
    source.onerror = () => {
      on.connected(false);
      if (!asking) ask();
      // A browser tries again by itself unless it was refused.
      if (source.readyState !== EventSource.CLOSED) return;
      source = null;
      retry = setTimeout(listen, TRY_AGAIN);
    };
    doubt = setTimeout(() => asking ?? ask(), SILENCE);
  }

  async function ask() {
    const turn = (asking = { timer: 0 });
    try {
      shown(await text(path));
      const answer = JSON.parse(await text(since == null ? "/api/transfers" : `/api/transfers?since=${since}`));
      since = answer.seq;
      on.transfers(answer.transfers.filter((transfer) => !hash || transfer.file === hash));
      on.connected(true);
    } catch {
      on.connected(false);
    }
    if (asking === turn) turn.timer = setTimeout(ask, ASK_EVERY);
  }

  function askNoMore() {
    clearTimeout(asking?.timer);
    asking = null;
  }

  function stop() {
    source?.close();
    source = null;
    for (const timer of [retry, doubt]) clearTimeout(timer);
    askNoMore();
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", (event) => event.persisted && listen());
  if (!document.hidden) listen();
}

async function text(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.text();
}
