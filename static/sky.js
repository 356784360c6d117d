// The sky: each file a planet, its machines in orbit, and pieces on their way as sessions report them, never by chance.
//
// What stands still is drawn once on one canvas; what moves on a second one above it, as often as a small share of the
// processor allows. Nothing moves while the page is hidden, the sky is out of sight, or a person prefers stillness.

import { dice, planet, promise, stars } from "./planet.js";
import { share } from "./said.js";

const BUDGET = 0.012; // of one core, for all that motion costs
const OVERHEAD = 3; // what a frame costs in all, as a multiple of what drawing it takes
const QUICKEST = 1000 / 16; // ms between frames while pieces fly
const QUIETEST = 1000 / 4; // ms between frames while only orbits turn: they move about a pixel in that time
const TURN = 300000; // ms for one turn around a planet
const FLIGHT = 1400; // ms for a piece to arrive
const TILT = 0.36; // how flat orbits look
const MARGINS = [0.5, 0.25, 0.19, 0.16, 0.14]; // beside the first and the last of so many planets, of the width
const MOST_PLANETS = MARGINS.length;
const MOST_MOONS = 60; // of one file that has the sky for itself
const MOST_MOONS_OF_MANY = 12;
const MOST_FLIGHTS = 40; // at once; further ones are not shown

export class Sky {
  #still;
  #moving;
  #bodies = [];
  #flights = [];
  #pulses = [];
  #drawn = "";
  #colours = null;
  #timer = 0;
  #cost = 1;
  #isSeen = true;
  // Looked up when it changes: to ask for it makes a browser lay out the page at once.
  #size = { width: 0, height: 0 };
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(canvas) {
    this.#still = canvas;
    this.#moving = canvas.cloneNode();
    this.#moving.removeAttribute("id");
    // What is drawn goes to the screen by itself, not with the next frame of the page.
    this.#moving.getContext("2d", { desynchronized: true });
    canvas.after(this.#moving);
    const again = () => this.#redraw();
    new ResizeObserver(again).observe(canvas);
    new IntersectionObserver(([entry]) => {
      this.#isSeen = entry.isIntersecting;
      this.#wake();
    }).observe(canvas);
    document.addEventListener("visibilitychange", () => this.#wake());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    this.#calm.addEventListener("change", again);
  }

  // Many files, those with most machines first. Of their machines only the number is known here.
  showFiles(files) {
    const busiest = [...files].sort((a, b) => b.machines - a.machines || (a.name < b.name ? -1 : 1));
    this.#show(
      busiest.slice(0, MOST_PLANETS).map((file) => {
        const present = Math.min(file.seeders + file.leechers, MOST_MOONS_OF_MANY);
        const moons = Array.from({ length: present }, (_, at) => ({
          id: `${file.info_hash}${at}`,
          kind: at < present - Math.min(file.leechers, present) ? "seeding" : "fetching",
        }));
        return { hash: file.info_hash, share: share(file), moons };
      }),
    );
  }

  // One file with its machines.
  showFile(file) {
    const present = file.rows.filter((row) => ["fetching", "seeding", "downloading"].includes(row.state)).slice(0, MOST_MOONS);
    const moons = present.map((row) => ({ id: row.id, kind: row.state === "seeding" ? "seeding" : "fetching" }));
    this.#show([{ hash: file.info_hash, share: share(file), moons }]);
  }

  // Pieces that moved: given from here, taken from there, or got elsewhere.
  move(transfers) {
    if (this.#calm.matches || !this.#isAwake()) return;
    const now = performance.now();
    transfers.forEach(({ file, peer, way }, at) => {
      const body = this.#bodies.find((body) => body.hash === file);
      const moon = body && moonOf(body, peer);
      if (!moon) return;
      // Reports come a few times a second; what they tell is spread over that time.
      const begin = now + (at / transfers.length) * 250;
      if (way === "elsewhere") this.#pulses.push({ moon, body, begin });
      else if (this.#flights.length < MOST_FLIGHTS) this.#flights.push({ moon, body, begin, isGiven: way === "given" });
    });
    this.#wake();
  }

  #show(bodies) {
    const before = new Map(this.#bodies.map((body) => [body.hash, body]));
    this.#bodies = bodies.map((body) => ({ ...body, peers: before.get(body.hash)?.peers ?? new Map() }));
    this.#bodies.forEach((body, at) => Object.assign(body, this.#place(at, bodies.length)));
    for (const body of this.#bodies) {
      for (const moon of body.moons) Object.assign(moon, orbit(moon.id, body.moons.length));
    }
    const look = JSON.stringify(bodies.map(({ hash, share, moons }) => [hash, share.toFixed(2), moons.length === 0]));
    if (look !== this.#drawn) this.#redraw();
    this.#drawn = look;
    for (const thing of [...this.#flights, ...this.#pulses]) {
      thing.body = this.#bodies.find((body) => body.hash === thing.body.hash) ?? thing.body;
    }
    if (this.#calm.matches) this.#draw(0);
    this.#wake();
  }

  // Where a planet is: one alone is large; several stand in a row, one up, one down, each reaching into the columns beside it.
  #place(at, count) {
    const { width, height } = this.#size;
    const left = this.#wordsEnd();
    const margin = (width - left) * MARGINS[count - 1];
    const step = (width - left - 2 * margin) / Math.max(count - 1, 1);
    const room = Math.min(margin - 4, count > 1 ? step : Infinity);
    const radius = Math.min(room / 1.9, height * (count > 1 ? 0.14 : 0.19), 78) * (at % 2 ? 0.82 : 1);
    const sway = count > 1 ? (at % 2 ? 0.22 : -0.18) : 0;
    return { x: left + margin + step * at, y: height * (0.5 + sway), radius, reach: Math.min(room, radius * 3.1) };
  }

  // Words have the left of a wide sky; on a narrow one they stand below.
  #wordsEnd() {
    const { width } = this.#size;
    return width > 760 ? width * 0.5 : 0;
  }

  #redraw() {
    this.#size = { width: this.#still.clientWidth, height: this.#still.clientHeight };
    // A sky that is not laid out has no room for a planet.
    if (this.#size.width === 0) return;
    this.#colours = schemeColours(this.#still);
    const context = fitted(this.#still);
    fitted(this.#moving);
    const { width, height } = this.#size;
    stars(context, width, height, this.#wordsEnd(), this.#colours);
    this.#bodies.forEach((body, at) => Object.assign(body, this.#place(at, this.#bodies.length)));
    if (this.#bodies.length === 0) promise(context, this.#place(0, 1), this.#colours);
    for (const body of this.#bodies) {
      if (body.moons.length > 0) this.#orbits(context, body);
      planet(context, body, this.#colours);
    }
    this.#draw(this.#calm.matches ? 0 : performance.now());
    this.#wake();
  }

  #orbits(context, { x, y, radius, reach }) {
    context.strokeStyle = this.#colours.line;
    context.lineWidth = 1;
    for (const lane of [0, 0.5, 1]) {
      const size = radius * 1.6 + (reach - radius * 1.6) * lane;
      context.beginPath();
      context.ellipse(x, y, size, size * TILT, -0.18, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  #isAwake() {
    return this.#isSeen && !document.hidden;
  }

  #wake() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const moves = this.#bodies.some((body) => body.moons.length > 0);
    if (!moves || !this.#isAwake() || this.#calm.matches) return;
    const isBusy = this.#flights.length + this.#pulses.length > 0;
    const affordable = (this.#cost * OVERHEAD) / BUDGET;
    const wait = Math.max(affordable, isBusy ? QUICKEST : QUIETEST);
    // No animation frame: it would make the browser go over the whole page, which costs more than the drawing.
    this.#timer = setTimeout(() => this.#frame(), wait);
  }

  #frame() {
    const began = performance.now();
    this.#draw(began);
    // A running mean, in which one slow frame counts little: the processor may just have been elsewhere.
    const took = Math.min(performance.now() - began, Math.max(this.#cost, 0.2) * 4);
    this.#cost += (took - this.#cost) * 0.1;
    this.#wake();
  }

  #draw(now) {
    const context = this.#moving.getContext("2d");
    context.clearRect(0, 0, this.#size.width, this.#size.height);
    for (const body of this.#bodies) {
      for (const moon of body.moons) {
        const { x, y, isBehind } = position(body, moon, now);
        if (isBehind && Math.hypot(x - body.x, y - body.y) < body.radius) continue;
        dot(context, x, y, moon.size, this.#colours[moon.kind], isBehind ? 0.55 : 1);
      }
    }
    this.#flights = this.#flights.filter((flight) => now - flight.begin < FLIGHT);
    for (const flight of this.#flights) this.#fly(context, flight, now);
    this.#pulses = this.#pulses.filter((pulse) => now - pulse.begin < FLIGHT);
    for (const { moon, body, begin } of this.#pulses) {
      const { x, y } = position(body, moon, now);
      this.#circle(context, x, y, moon.size, (now - begin) / FLIGHT);
    }
  }

  #fly(context, { moon, body, begin, isGiven }, now) {
    const way = (now - begin) / FLIGHT;
    if (way < 0) return;
    const end = position(body, moon, now);
    // From the planet's edge, on the side where the moon is.
    const far = Math.max(Math.hypot(end.x - body.x, end.y - body.y), 1);
    const startX = body.x + ((end.x - body.x) / far) * body.radius;
    const startY = body.y + ((end.y - body.y) / far) * body.radius;
    const [turnX, turnY] = [(startX + end.x) / 2, (startY + end.y) / 2 - body.radius * 0.5];
    for (let tail = 0; tail < 4; tail += 1) {
      const part = Math.max(way - tail * 0.035, 0);
      const eased = part * part * (3 - 2 * part);
      const at = isGiven ? eased : 1 - eased;
      const x = (1 - at) ** 2 * startX + 2 * at * (1 - at) * turnX + at * at * end.x;
      const y = (1 - at) ** 2 * startY + 2 * at * (1 - at) * turnY + at * at * end.y;
      dot(context, x, y, 2.6 - tail * 0.5, this.#colours.star, 0.95 - tail * 0.24);
    }
    if (isGiven && way > 0.8) this.#circle(context, end.x, end.y, moon.size, (way - 0.8) / 0.2);
  }

  #circle(context, x, y, size, way) {
    if (way < 0) return;
    context.globalAlpha = (1 - way) * 0.7;
    context.strokeStyle = this.#colours.star;
    context.lineWidth = 1.2;
    context.beginPath();
    context.arc(x, y, size + way * 9, 0, 2 * Math.PI);
    context.stroke();
    context.globalAlpha = 1;
  }
}

// The moon that stands for a peer. Where only their number is known, each peer gets the next one and keeps it.
function moonOf(body, peer) {
  const own = body.moons.find((moon) => moon.id === peer);
  if (own || body.moons.length === 0) return own;
  if (!body.peers.has(peer)) body.peers.set(peer, body.peers.size);
  return body.moons[body.peers.get(peer) % body.moons.length];
}

function orbit(id, count) {
  const next = dice(id);
  const lane = Math.floor(next() * 3) / 2;
  return { lane, angle: next() * 2 * Math.PI, speed: (1.25 - lane * 0.5) * (0.9 + next() * 0.2), size: count > 24 ? 2.6 : 4 };
}

function position({ x, y, radius, reach }, { lane, angle, speed }, now) {
  const size = radius * 1.6 + (reach - radius * 1.6) * lane;
  const at = angle + (now / TURN) * speed * 2 * Math.PI;
  const [flatX, flatY] = [Math.cos(at) * size, Math.sin(at) * size * TILT];
  const [cos, sin] = [Math.cos(-0.18), Math.sin(-0.18)];
  return { x: x + flatX * cos - flatY * sin, y: y + flatX * sin + flatY * cos, isBehind: Math.sin(at) < 0 };
}

function dot(context, x, y, size, colour, alpha) {
  context.globalAlpha = alpha;
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x, y, size, 0, 2 * Math.PI);
  context.fill();
  context.globalAlpha = 1;
}

// A canvas with as many dots as it needs to be sharp, and its context in CSS pixels.
function fitted(canvas) {
  const scale = Math.min(window.devicePixelRatio, 2);
  canvas.width = Math.round(canvas.clientWidth * scale);
  canvas.height = Math.round(canvas.clientHeight * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return context;
}

function schemeColours(canvas) {
  const style = getComputedStyle(canvas);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    isDark: matchMedia("(prefers-color-scheme: dark)").matches,
    star: of("warm"),
    quiet: of("dust"),
    line: of("orbit"),
    done: of("good"),
    seeding: of("warm"),
    fetching: of("blue"),
  };
}
