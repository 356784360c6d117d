// The piece map: a field for each piece, or for each bucket of them. Colour tells how many machines have it, a frame that
// it is here. The sentence above it tells the same.

const FIELD = { most: 16, least: 3 }; // px
const UNKNOWN =
  "Unknown: this machine has no session with anybody in this swarm, and announces do not tell which pieces a machine has.";

let drawn = "";

export function map(file) {
  const words = document.getElementById("map-words");
  const sentence = file.map ? inWords(file) : UNKNOWN;
  if (words.textContent !== sentence) words.textContent = sentence;
  const canvas = document.getElementById("map");
  canvas.parentElement.hidden = !file.map;
  if (!file.map) return;
  const width = canvas.parentElement.clientWidth;
  const colours = schemeColours(canvas);
  const state = JSON.stringify([file.map, width, colours]);
  if (state !== drawn) draw(canvas, file, width, colours);
  drawn = state;
}

// src/web/views/map.rs says the same.
function inWords({ have, pieces, map: { known, counts } }) {
  const rarest = Math.min(...counts, Infinity);
  const rare = counts.filter((count) => count === rarest).length;
  const here = have == null ? "" : `${have} of ${pieces} pieces are here. `;
  const machines = known === 1 ? "machine is" : "machines are";
  const fields = `${rare} of ${counts.length} fields ${rare === 1 ? "is" : "are"}`;
  return `${here}${known} ${machines} known piece by piece; the rarest ${fields} with ${rarest} of them.`;
}

function draw(canvas, { pieces, map }, width, colours) {
  const count = map.counts.length;
  const side = Math.max(FIELD.least, Math.min(FIELD.most, Math.floor(Math.sqrt((width * 160) / count))));
  const columns = Math.floor(width / side);
  const rows = Math.ceil(count / columns);
  const scale = Math.min(window.devicePixelRatio, 2);
  canvas.width = columns * side * scale;
  canvas.height = rows * side * scale;
  canvas.style.width = `${columns * side}px`;
  canvas.style.height = `${rows * side}px`;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const gap = side > 5 ? 2 : 1;
  const here = bits(map.here);
  for (let at = 0; at < count; at += 1) {
    const [x, y] = [(at % columns) * side, Math.floor(at / columns) * side];
    const inside = side - gap;
    context.fillStyle = colour(map.counts[at], map.known, colours);
    context.beginPath();
    context.roundRect(x, y, inside, inside, side > 8 ? 3 : 0);
    context.fill();
    if (side < 6 || !isHere(here, at, map.bucket, pieces)) continue;
    context.strokeStyle = colours.here;
    context.lineWidth = 1.5;
    context.beginPath();
    context.roundRect(x + 0.75, y + 0.75, inside - 1.5, inside - 1.5, side > 8 ? 2.5 : 0);
    context.stroke();
  }
}

function colour(count, known, colours) {
  if (count === 0) return colours.none;
  if (count === 1 && known > 1) return colours.rare;
  return count * 2 <= known ? colours.few : colours.many;
}

function isHere(here, bucket, size, pieces) {
  const end = Math.min((bucket + 1) * size, pieces);
  for (let piece = bucket * size; piece < end; piece += 1) {
    if (!(here[piece >> 3] & (0x80 >> (piece & 7)))) return false;
  }
  return true;
}

function bits(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function schemeColours(canvas) {
  const style = getComputedStyle(canvas);
  const of = (name) => style.getPropertyValue(`--map-${name}`).trim();
  return { none: of("none"), rare: of("rare"), few: of("few"), many: of("many"), here: of("here") };
}
