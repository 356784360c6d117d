// Numbers as people say them, and the sentences around them: what src/web/views/said.rs says, while the page is open.

const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB"];

export function size(bytes) {
  if (bytes === 1) return "1 byte";
  if (bytes < 1024) return `${bytes} bytes`;
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length);
  return `${(bytes / 1024 ** power).toFixed(1)} ${UNITS[power - 1]}`;
}

export function rate(bytes) {
  if (bytes == null) return "–";
  return bytes >= 1 ? `${size(Math.floor(bytes))}/s` : "0";
}

export function time(seconds) {
  if (seconds < 9.95) return `${Math.max(seconds, 0).toFixed(1)} s`;
  const whole = Math.round(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  if (hours >= 100) return `${Math.floor(hours / 24)} days`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

// 100 only when nothing is missing.
export function percent(percent) {
  return percent == null ? "unknown" : `${Math.floor(percent)} %`;
}

export function shareHere(file) {
  return (file.verified ?? 0) / Math.max(file.length, 1);
}

// What the ring of a file shows, from 0 to 1: what is here while that grows, else what the room holds.
export function share(file) {
  const grows = ["verifying", "fetching", "paused"].includes(file.activity) && shareHere(file) < 1;
  return grows ? shareHere(file) : shareOfRoom(file);
}

export function shareOfRoom(file) {
  return file.held / Math.max(file.wanted, 1);
}

export function room(file) {
  const { done, machines } = file;
  if (machines === 0) return "Nobody is sharing it now";
  if (machines === 1 && done === 1) return "One machine has it";
  if (done === machines) return `All ${machines} have it`;
  return `${done} of ${machines} complete \u00b7 ${percent(shareOfRoom(file) * 100)} of the room`;
}

export function counts(file) {
  return `${file.seeders} seeding, ${file.leechers} fetching${departed(file)}`;
}

export function departed({ departed, machines }) {
  if (departed === 0) return "";
  return machines === 0 ? ` \u00b7 ${departed} had it and left` : ` \u00b7 ${departed} more had it and left`;
}

export function round({ machines, elapsed_ms: elapsed, factor }) {
  const who = machines === 1 ? "1 machine" : `${machines} machines`;
  const faster = factor == null ? "" : `, ${factor.toFixed(1)} times faster than one server`;
  return `${who} in ${time(elapsed / 1000)}${faster}`;
}

// What there is to say of a machine's state.
export function ofState(row) {
  if (["fetching", "downloading"].includes(row.state) && row.time_left != null) return `${time(row.time_left)} left`;
  return row.state === "seeding" && row.super_seeding ? "showing its pieces one by one" : "";
}

// How much a machine has; marked where only its last announce tells.
export function has(row) {
  const isOld = !row.live && row.state === "fetching" && row.percent != null;
  return percent(row.percent) + (isOld ? " announced" : "");
}

export function activity(file) {
  const fixed = {
    listed: "on other machines",
    verifying: "verifying",
    seeding: "seeding here",
    paused: "paused here",
    failed: "stopped here",
  };
  if (file.activity !== "fetching") return fixed[file.activity];
  const here = `${percent(shareHere(file) * 100)} here`;
  return file.time_left == null ? here : `${here}, ${time(file.time_left)} left`;
}

export function moves(file) {
  return (file.down_rate ?? 0) >= 1 || (file.up_rate ?? 0) >= 1;
}
