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

// What the ring and the bar of a file show, from 0 to 1: what is here while that grows, else how many have it.
export function share(file) {
  const grows = ["verifying", "fetching", "paused"].includes(file.activity) && shareHere(file) < 1;
  return grows ? shareHere(file) : file.done / Math.max(file.machines, 1);
}

export function room({ done, machines }) {
  if (machines === 0) return "Nobody is here yet";
  if (machines === 1 && done === 1) return "One machine has it";
  return done === machines ? `All ${machines} have it` : `${done} of ${machines} have it`;
}

export function counts(file) {
  return `${file.seeders} seeding, ${file.leechers} fetching`;
}

export function activity(file) {
  const fixed = {
    listed: "with others",
    verifying: "being checked here",
    seeding: "shared from here",
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
