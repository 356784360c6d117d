// The page of one file: its figures, a row for each machine, and its map.

import { common } from "./cards.js";
import { attribute, copyOf, fill, list, show } from "./fill.js";
import { map } from "./map.js";
import * as said from "./said.js";

const ORDER = { fetching: 0, downloading: 1, seeding: 2, paused: 3, done: 4, gone: 5 };
const MOST_SEGMENTS = 60; // more would be too narrow to be seen

export function board(page, file) {
  // The rows have figures of the same names, so the page's own are filled within its head.
  const hero = page.querySelector(".hero");
  common(hero, file);
  page.dataset.activity = file.activity;
  fill(hero, { seeders: file.seeders, leechers: file.leechers, departed: said.departed(file), sentence: file.swarm?.sentence });
  show(hero, "[data-is=sentence]", file.swarm?.sentence != null);
  document.getElementById("whole").value = said.shareOfRoom(file);
  ghost(file.swarm);
  rounds(file.rounds);
  fill(page.querySelector(".facts"), { uploaded: said.size(file.uploaded ?? 0), downloaded: said.size(file.downloaded ?? 0) });
  const save = document.getElementById("save");
  save.hidden = file.links.download == null;
  document.getElementById("elsewhere").hidden = !save.hidden;
  for (const link of page.querySelectorAll("#save a, [data-told=download]")) {
    link.hidden = save.hidden;
    if (!save.hidden) attribute(link, "href", file.links.download);
  }
  const rows = [...file.rows].sort((a, b) => ORDER[a.state] - ORDER[b.state] || (a.id < b.id ? -1 : 1));
  list(document.getElementById("rows"), rows, { data: "row", of: (row) => row.id }, make, update);
  const here = rows.filter((row) => ["fetching", "seeding"].includes(row.state)).slice(0, MOST_SEGMENTS);
  const bySeniority = here.sort((a, b) => (a.id < b.id ? -1 : 1));
  list(document.getElementById("segments"), bySeniority, { data: "row", of: (row) => row.id }, makeSegment, updateSegment);
  document.getElementById("nobody").hidden = rows.length > 0;
  map(file);
}

function makeSegment(row) {
  const element = copyOf("segment-template");
  element.dataset.row = row.id;
  return element;
}

function updateSegment(element, row) {
  element.dataset.state = row.state;
  if (element.value !== (row.percent ?? 0)) element.value = row.percent ?? 0;
}

// How far one server alone would be.
function ghost(swarm) {
  const place = document.getElementById("ghost");
  place.hidden = !swarm?.running || swarm.ghost == null;
  if (!place.hidden) place.querySelector("progress").value = swarm.ghost;
}

function rounds(rounds) {
  document.getElementById("rounds-card").hidden = rounds.length === 0;
  const make = (round) => {
    const element = document.createElement("li");
    element.dataset.round = round.ended;
    return element;
  };
  const update = (element, round) => {
    const words = said.round(round);
    if (element.textContent !== words) element.textContent = words;
  };
  list(document.getElementById("rounds"), rounds, { data: "round", of: (round) => String(round.ended) }, make, update);
}

function make(row) {
  const element = copyOf("row-template");
  element.dataset.row = row.id;
  return element;
}

function update(element, row) {
  const who = row.name ?? row.address;
  element.dataset.state = row.state;
  element.toggleAttribute("data-live", row.live);
  fill(element, {
    who,
    address: row.name ? row.address : "",
    client: row.client ?? "unknown client",
    percent: said.has(row),
    down: said.rate(row.down_rate),
    up: said.rate(row.up_rate),
    "best-down": best(row.peak_down),
    "best-up": best(row.peak_up),
    state: row.state,
    left: said.ofState(row),
  });
  show(element, "[data-is=you]", isYou(row));
  const bar = element.querySelector("progress");
  if (bar.value !== (row.percent ?? 0)) bar.value = row.percent ?? 0;
  attribute(bar, "aria-label", `Share of the file at ${who}`);
}

// Whether it is the machine in front of which this page is.
function isYou({ address }) {
  const ip = address.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  return address !== "" && (address === document.body.dataset.you || ip === document.body.dataset.you);
}

function best(rate) {
  return rate >= 1 ? `best ${said.rate(rate)}` : "";
}
