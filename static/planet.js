// How a file looks in the sky: a planet whose colours and bands come from its info hash. Drawn once, then copied.

// Pairs of hues that go with the night and with the day: lit side, dark side.
const HUES = [
  [38, 18],
  [214, 236],
  [168, 196],
  [268, 244],
  [340, 312],
  [196, 222],
];

// Numbers from 0 to 1 that are always the same for one text.
export function dice(text) {
  let state = 2166136261;
  for (const letter of text) state = Math.imul(state ^ letter.charCodeAt(0), 16777619);
  return () => {
    state = Math.imul(state ^ (state >>> 15), 2246822507);
    state = Math.imul(state ^ (state >>> 13), 3266489909);
    return ((state ^= state >>> 16) >>> 0) / 2 ** 32;
  };
}

// Draws it around (x, y). `share`, from 0 to 1, is the bright part of its ring.
export function planet(context, { x, y, radius, hash, share }, colours) {
  const next = dice(hash);
  const [lit, dark] = HUES[Math.floor(next() * HUES.length)];
  glow(context, x, y, radius, lit, colours);
  context.save();
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.clip();
  const body = context.createRadialGradient(x - radius * 0.45, y - radius * 0.5, radius * 0.1, x, y, radius * 1.15);
  body.addColorStop(0, `hsl(${lit} 78% 80%)`);
  body.addColorStop(0.45, `hsl(${lit} 58% 60%)`);
  body.addColorStop(1, `hsl(${dark} 52% 30%)`);
  context.fillStyle = body;
  context.fillRect(x - radius, y - radius, radius * 2, radius * 2);
  bands(context, x, y, radius, lit, next);
  const night = context.createRadialGradient(x - radius * 0.5, y - radius * 0.55, radius * 0.5, x - radius * 0.2, y - radius * 0.2, radius * 1.35);
  night.addColorStop(0, "hsl(234 60% 8% / 0)");
  night.addColorStop(1, `hsl(234 60% 8% / ${colours.isDark ? 0.82 : 0.45})`);
  context.fillStyle = night;
  context.fillRect(x - radius, y - radius, radius * 2, radius * 2);
  context.restore();
  ring(context, x, y, radius * 1.22, share, colours);
}

function glow(context, x, y, radius, hue, colours) {
  const light = context.createRadialGradient(x, y, radius * 0.9, x, y, radius * 1.9);
  light.addColorStop(0, `hsl(${hue} 80% 65% / ${colours.isDark ? 0.26 : 0.2})`);
  light.addColorStop(1, `hsl(${hue} 80% 65% / 0)`);
  context.fillStyle = light;
  context.fillRect(x - radius * 2, y - radius * 2, radius * 4, radius * 4);
}

function bands(context, x, y, radius, hue, next) {
  context.save();
  context.translate(x, y);
  context.rotate(-0.35);
  for (let band = 0; band < 5; band += 1) {
    const height = radius * (0.06 + next() * 0.16);
    const at = radius * (next() * 1.8 - 0.9);
    context.fillStyle = `hsl(${hue + next() * 24 - 12} 70% ${next() < 0.5 ? 88 : 32}% / 0.13)`;
    context.beginPath();
    context.ellipse(0, at, radius * 1.1, height, 0, 0, 2 * Math.PI);
    context.fill();
  }
  context.restore();
}

function ring(context, x, y, radius, share, colours) {
  context.lineCap = "round";
  context.lineWidth = 2;
  context.strokeStyle = colours.line;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
  if (share <= 0) return;
  context.strokeStyle = share >= 1 ? colours.done : colours.star;
  context.beginPath();
  context.arc(x, y, radius, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * share);
  context.stroke();
}

// The planet that is not there yet.
export function promise(context, { x, y, radius }, colours) {
  const light = context.createRadialGradient(x, y, radius * 0.4, x, y, radius * 1.8);
  light.addColorStop(0, "hsl(232 80% 65% / 0)");
  light.addColorStop(0.45, `hsl(232 80% 65% / ${colours.isDark ? 0.16 : 0.12})`);
  light.addColorStop(1, "hsl(232 80% 65% / 0)");
  context.fillStyle = light;
  context.fillRect(x - radius * 2, y - radius * 2, radius * 4, radius * 4);
  context.strokeStyle = colours.quiet;
  context.lineWidth = 1.5;
  context.setLineDash([3, 7]);
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.stroke();
  context.setLineDash([]);
}

export function stars(context, width, height, wordsEnd, colours) {
  const next = dice("the same sky every night");
  for (let star = 0; star < (width * height) / 5500; star += 1) {
    const bright = next();
    const [x, y] = [next() * width, next() * height];
    // Behind words they are faint.
    const isFree = x > wordsEnd || y < 24;
    context.globalAlpha = isFree ? 0.15 + bright * bright * (colours.isDark ? 0.75 : 0.45) : 0.1;
    context.fillStyle = next() < 0.12 ? colours.star : colours.quiet;
    context.beginPath();
    context.arc(x, y, 0.4 + bright * 0.9, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
}
