// The piece map: a field for each piece, or for each bucket of them. The more machines have it, the brighter and greener it is; an outline
// marks what exists only once, and a small field is missing on this machine. A piece can be pointed at, tapped, and reached by keys.

const FIELD = { most: 16, least: 3 }; // px
const UNKNOWN = "No one is connected right now, so the piece map is not known.";
const ASK_AFTER = 150; // ms at one piece until the server is asked about it

const dark = matchMedia("(prefers-color-scheme: dark)");

// What is looked up seldom: to ask for a width or a style makes a browser lay out the page at once.
const place = { width: 0, colours: null };
let drawn = { shape: "", side: 0, columns: 0, looks: [] };
let last = null;
let watched = false;
let chosen = null; // the field that is pointed at
let asking = 0;

function watch(canvas) {
  watched = true;
  place.width = canvas.parentElement.clientWidth;
  place.colours = schemeColours(canvas);
  new ResizeObserver(([{ contentRect }]) => {
    if (place.width === contentRect.width) return;
    place.width = contentRect.width;
    map(last);
  }).observe(canvas.parentElement);
  dark.addEventListener("change", () => {
    place.colours = schemeColours(canvas);
    drawn.shape = "";
    map(last);
  });
  canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && choose(canvas, at(event)));
  canvas.addEventListener("pointerdown", (event) => choose(canvas, at(event)));
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -drawn.columns, ArrowDown: drawn.columns, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || !last?.map) return;
    event.preventDefault();
    const most = last.map.counts.length - 1;
    choose(canvas, Math.max(0, Math.min(most, (chosen ?? -1) + steps[event.key])));
  });
}

function at({ offsetX, offsetY }) {
  return Math.floor(offsetY / drawn.side) * drawn.columns + Math.min(Math.floor(offsetX / drawn.side), drawn.columns - 1);
}

// Says what is known of a field at once, and asks for the rest.
function choose(canvas, field) {
  if (!last?.map || field === chosen || field < 0 || field >= last.map.counts.length) return;
  const before = chosen;
  chosen = field;
  for (const one of [before, field]) if (one != null) drawn.looks[one] = null;
  map(last);
  const { counts, known, bucket } = last.map;
  const what = bucket === 1 ? `Piece ${field}` : `Pieces ${field * bucket} to ${Math.min((field + 1) * bucket, last.pieces) - 1}`;
  const words = `${what}: on ${counts[field]} of ${known} machines`;
  tell(canvas, field, `${words}.`);
  clearTimeout(asking);
  if (bucket === 1) asking = setTimeout(() => ask(canvas, field, words), ASK_AFTER);
}

async function ask(canvas, piece, words) {
  try {
    const answer = await fetch(`/api/files/${last.info_hash}/piece?index=${piece}`);
    if (!answer.ok || piece !== chosen) return;
    const { machines, last: moved, sha1 } = await answer.json();
    const who = machines.map((machine) => machine.name ?? machine.address).join(", ");
    tell(canvas, piece, `${words}${who && `: ${who}`}.${moved ? ` ${way(moved)}.` : ""}${sha1 ? ` SHA-1 ${sha1}.` : ""}`);
  } catch {
    // What is known without the server is said already.
  }
}

function way({ peer, way }) {
  const row = last.rows.find((row) => row.id === peer);
  const who = row?.name ?? row?.address ?? "a machine that has left";
  if (way === "taken") return `Last, this machine got it from ${who}`;
  return way === "given" ? `Last, ${who} got it from this machine` : `Last, ${who} got it from another machine`;
}

function tell(canvas, field, words) {
  canvas.setAttribute("aria-valuenow", field);
  canvas.setAttribute("aria-valuetext", words);
  const element = document.getElementById("piece-words");
  if (element.textContent !== words) element.textContent = words;
}

export function map(file) {
  last = file;
  const words = document.getElementById("map-words");
  const sentence = ofHere(file) + (file.map ? ofAll(file.map, file.pieces) : UNKNOWN);
  if (words.textContent !== sentence) words.textContent = sentence;
  const canvas = document.getElementById("map");
  if (canvas.parentElement.hidden === Boolean(file.map)) canvas.parentElement.hidden = !file.map;
  if (!file.map) return;
  if (!watched) watch(canvas);
  const most = String(file.map.counts.length - 1);
  if (canvas.getAttribute("aria-valuemax") !== most) canvas.setAttribute("aria-valuemax", most);
  if (place.width > 0) draw(canvas, fieldsOf(file), file.map.known);
}

// How many machines have each field, and whether it is on this one.
function fieldsOf({ pieces, map: { here, counts, bucket } }) {
  const bits = Uint8Array.from(atob(here), (letter) => letter.charCodeAt(0));
  return counts.map((count, at) => ({ count, isHere: isWhole(bits, at * bucket, Math.min((at + 1) * bucket, pieces)) }));
}

// src/web/views/map.rs says the same.
function ofHere({ have, pieces }) {
  if (have == null) return "";
  return `${have === pieces ? `All ${pieces}` : `${have} of ${pieces}`} pieces are on this machine. `;
}

function ofAll({ known, machines, counts, bucket }, pieces) {
  const more = machines - known;
  const rest = more === 1 ? " One more tells only how much it has." : ` ${more} more tell only how much they have.`;
  return ofKnown(known, counts, bucket, pieces) + (more > 0 ? rest : "");
}

function ofKnown(known, counts, bucket, pieces) {
  const what = bucket === 1 ? "pieces" : `groups of ${bucket} pieces`;
  const those = known === 1 ? "this one machine" : `these ${known} machines`;
  const least = Math.min(...counts);
  const number = (copies) => counts.filter((count) => count === copies).length;
  if (least >= known && known > 1) return `All ${known} machines have all ${pieces} pieces.`;
  if (least === 0) return `On ${those}, ${number(0)} ${what} are missing.`;
  if (least === 1 && known > 2) return `On ${those}, ${number(1)} ${what} exist only once.`;
  return `On ${those}, there is at least ${least} of each.`;
}

// Draws the fields that look otherwise than before; all of them, where their number or the room for them has changed.
function draw(canvas, fields, machines) {
  const { width, colours } = place;
  const side = Math.max(FIELD.least, Math.min(FIELD.most, Math.floor(Math.sqrt((width * 160) / fields.length))));
  const columns = Math.floor(width / side);
  const shape = [fields.length, side, columns, window.devicePixelRatio].join();
  const context = canvas.getContext("2d");
  if (drawn.shape !== shape) {
    const rows = Math.ceil(fields.length / columns);
    const scale = Math.min(window.devicePixelRatio, 2);
    canvas.width = columns * side * scale;
    canvas.height = rows * side * scale;
    canvas.style.width = `${columns * side}px`;
    canvas.style.height = `${rows * side}px`;
    context.scale(scale, scale);
    drawn = { shape, side, columns, looks: [] };
  }
  fields.forEach(({ count, isHere }, at) => {
    const isRare = count === 1 && machines > 2;
    const look = `${count} ${machines} ${isHere} ${at === chosen}`;
    if (drawn.looks[at] === look) return;
    drawn.looks[at] = look;
    const [x, y] = [(at % columns) * side, Math.floor(at / columns) * side];
    context.clearRect(x, y, side, side);
    // In the smallest fields there is no room for anything but the colour.
    const gap = side > 5 ? 1 : 0.5;
    const margin = isHere || side < 6 ? gap : side * 0.25;
    context.fillStyle = colour(count, machines, colours);
    context.beginPath();
    context.roundRect(x + margin, y + margin, side - 2 * margin, side - 2 * margin, side > 8 ? 3 : 0);
    context.fill();
    if ((!isRare && at !== chosen) || side < 5) return;
    context.strokeStyle = at === chosen ? colours.chosen : colours.rare;
    context.lineWidth = at === chosen ? 2 : 1.5;
    context.strokeRect(x + 1, y + 1, side - 2, side - 2);
  });
}

// From the darkest for one copy to the brightest for a copy on every machine.
function colour(count, machines, { none, few, many }) {
  if (count === 0) return `rgb(${none.join(" ")})`;
  const part = machines > 1 ? (Math.min(count, machines) - 1) / (machines - 1) : 1;
  return `rgb(${few.map((from, at) => Math.round(from + (many[at] - from) * part)).join(" ")})`;
}

function isWhole(bits, first, end) {
  for (let piece = first; piece < end; piece += 1) {
    if (!(bits[piece >> 3] & (0x80 >> (piece & 7)))) return false;
  }
  return true;
}

function schemeColours(canvas) {
  const style = getComputedStyle(canvas);
  const of = (name) => style.getPropertyValue(name).trim();
  const parts = (name) => [1, 3, 5].map((at) => parseInt(of(name).slice(at, at + 2), 16));
  return { none: parts("--map-none"), few: parts("--map-few"), many: parts("--map-many"), rare: of("--map-rare"), chosen: of("--text") };
}
