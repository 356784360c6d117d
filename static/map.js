// The piece map: a field for each piece, or for each bucket of them. Colour tells how many of the connected machines have it;
// a hollow field is not here yet. The sentence above it tells the same.

const FIELD = { most: 16, least: 3 }; // px
const UNKNOWN =
  "Which pieces are where is unknown: this machine is connected to nobody in the swarm, and announces do not tell it.";

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
  const rarest = Math.min(...counts);
  const here = have == null ? "" : have === pieces ? `All ${pieces} pieces are here. ` : `${have} of ${pieces} pieces are here. `;
  const machines = known === 1 ? "1 machine is" : `${known} machines are`;
  return `${here}${machines} connected to this one; ${ofRarest(rarest, known)}.`;
}

function ofRarest(rarest, known) {
  if (known === 1) return rarest === 0 ? "it lacks some pieces" : "it has every piece";
  if (rarest === known) return "every piece is with all of them";
  if (rarest === 0) return "some pieces are with none of them";
  return rarest === 1 ? "the rarest pieces are with only one of them" : `the rarest pieces are with ${rarest} of them`;
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
    const inside = side - gap;
    const isFull = side < 6 || isHere(here, at, map.bucket, pieces);
    const line = isFull ? 0 : 1.5;
    context.fillStyle = context.strokeStyle = colour(map.counts[at], map.known, colours);
    context.lineWidth = line;
    context.beginPath();
    const [x, y] = [(at % columns) * side + line / 2, Math.floor(at / columns) * side + line / 2];
    context.roundRect(x, y, inside - line, inside - line, side > 8 ? 3 : 0);
    if (isFull) context.fill();
    else context.stroke();
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
  return { none: of("none"), rare: of("rare"), few: of("few"), many: of("many") };
}
