// The piece map: a field for each piece, or for each bucket of them. Colour tells how many machines have it, of this one and
// those connected to it; a hollow field is not here yet. The sentence above it tells the same.

const FIELD = { most: 16, least: 3 }; // px
const UNKNOWN = "Who has which pieces is unknown: nobody is connected to this machine, and announces do not tell.";

const dark = matchMedia("(prefers-color-scheme: dark)");

// What is looked up seldom: to ask for a width or a style makes a browser lay out the page at once.
const place = { width: 0, colours: null };
let drawn = { shape: "", looks: [] };
let last = null;
let watched = false;

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
}

export function map(file) {
  last = file;
  const words = document.getElementById("map-words");
  const fields = file.map ? fieldsOf(file) : [];
  const sentence = ofHere(file) + (file.map ? ofAll(file.map, fields) : UNKNOWN);
  if (words.textContent !== sentence) words.textContent = sentence;
  const canvas = document.getElementById("map");
  if (canvas.parentElement.hidden === Boolean(file.map)) canvas.parentElement.hidden = !file.map;
  if (!file.map) return;
  if (!watched) watch(canvas);
  if (place.width > 0) draw(canvas, fields, file.map.known + 1);
}

// How many machines have each field, this one among them, and whether it is here.
function fieldsOf({ pieces, map: { here, counts, bucket } }) {
  const bits = Uint8Array.from(atob(here), (letter) => letter.charCodeAt(0));
  return counts.map((count, at) => {
    const isHere = isWhole(bits, at * bucket, Math.min((at + 1) * bucket, pieces));
    return { count: count + (isHere ? 1 : 0), isHere };
  });
}

// src/web/views/map.rs says the same.
function ofHere({ have, pieces }) {
  if (have == null) return "";
  return have === pieces ? `All ${pieces} pieces are here. ` : `${have} of ${pieces} pieces are here. `;
}

function ofAll({ known }, fields) {
  const lowest = Math.min(...fields.map((field) => field.count));
  return `Among this machine and the ${known === 1 ? "one" : known} connected to it, ${ofRarest(lowest, known + 1)}.`;
}

function ofRarest(lowest, machines) {
  if (lowest === 0) return "some pieces are missing";
  if (lowest === machines) return "everyone has every piece";
  return lowest === 1 ? "the rarest pieces are with only one" : `the rarest pieces are with ${lowest}`;
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
    drawn = { shape, looks: [] };
  }
  fields.forEach(({ count, isHere }, at) => {
    // In the smallest fields there is no room for a hollow.
    const line = isHere || side < 6 ? 0 : 1.5;
    const look = `${colour(count, machines, colours)} ${line}`;
    if (drawn.looks[at] === look) return;
    drawn.looks[at] = look;
    context.fillStyle = context.strokeStyle = colour(count, machines, colours);
    context.lineWidth = line;
    const [x, y] = [(at % columns) * side, Math.floor(at / columns) * side];
    context.clearRect(x, y, side, side);
    const inside = side - (side > 5 ? 2 : 1) - line;
    context.beginPath();
    context.roundRect(x + line / 2, y + line / 2, inside, inside, side > 8 ? 3 : 0);
    if (line === 0) context.fill();
    else context.stroke();
  });
}

function colour(count, machines, colours) {
  if (count === 0) return colours.none;
  if (count === 1) return colours.rare;
  return count * 2 <= machines ? colours.few : colours.many;
}

function isWhole(bits, first, end) {
  for (let piece = first; piece < end; piece += 1) {
    if (!(bits[piece >> 3] & (0x80 >> (piece & 7)))) return false;
  }
  return true;
}

function schemeColours(canvas) {
  const style = getComputedStyle(canvas);
  const of = (name) => style.getPropertyValue(`--map-${name}`).trim();
  return { none: of("none"), rare: of("rare"), few: of("few"), many: of("many") };
}
