// The piece map: a field for each piece, or for each bucket of them. Colour tells how many machines have it, of this one and
// those connected to it; a hollow field is not here yet. The sentence above it tells the same.

const FIELD = { most: 16, least: 3 }; // px
const UNKNOWN =
  "Which pieces are where is unknown: this machine is connected to nobody in the swarm, and announces do not tell it.";

let drawn = "";
let last = null;

addEventListener("resize", () => last && map(last));

export function map(file) {
  last = file;
  const words = document.getElementById("map-words");
  const fields = file.map ? fieldsOf(file) : [];
  const sentence = file.map ? inWords(file, fields) : UNKNOWN;
  if (words.textContent !== sentence) words.textContent = sentence;
  const canvas = document.getElementById("map");
  canvas.parentElement.hidden = !file.map;
  if (!file.map) return;
  const width = canvas.parentElement.clientWidth;
  const colours = schemeColours(canvas);
  const state = JSON.stringify([file.map, width, colours]);
  if (state !== drawn) draw(canvas, fields, file.map.known + 1, width, colours);
  drawn = state;
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
function inWords({ have, pieces, map: { known } }, fields) {
  const lowest = Math.min(...fields.map((field) => field.count));
  const here = have == null ? "" : have === pieces ? `All ${pieces} pieces are here. ` : `${have} of ${pieces} pieces are here. `;
  return `${here}Of this machine and the ${known === 1 ? "one" : known} connected to it, ${ofRarest(lowest, known + 1)}.`;
}

function ofRarest(lowest, machines) {
  if (lowest === 0) return "none has some of the pieces";
  if (lowest === machines) return "each has every piece";
  return lowest === 1 ? "only one has the rarest pieces" : `${lowest} have the rarest pieces`;
}

function draw(canvas, fields, machines, width, colours) {
  const side = Math.max(FIELD.least, Math.min(FIELD.most, Math.floor(Math.sqrt((width * 160) / fields.length))));
  const columns = Math.floor(width / side);
  const rows = Math.ceil(fields.length / columns);
  const scale = Math.min(window.devicePixelRatio, 2);
  canvas.width = columns * side * scale;
  canvas.height = rows * side * scale;
  canvas.style.width = `${columns * side}px`;
  canvas.style.height = `${rows * side}px`;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const gap = side > 5 ? 2 : 1;
  fields.forEach(({ count, isHere }, at) => {
    const inside = side - gap;
    // In the smallest fields there is no room for a hollow.
    const line = isHere || side < 6 ? 0 : 1.5;
    context.fillStyle = context.strokeStyle = colour(count, machines, colours);
    context.lineWidth = line;
    context.beginPath();
    const [x, y] = [(at % columns) * side + line / 2, Math.floor(at / columns) * side + line / 2];
    context.roundRect(x, y, inside - line, inside - line, side > 8 ? 3 : 0);
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
