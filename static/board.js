// The page of one file: its figures, a row for each machine, and its map.

import { common } from "./cards.js";
import { attribute, copyOf, fill, list, show } from "./fill.js";
import { map } from "./map.js";
import * as said from "./said.js";

const ORDER = { fetching: 0, done: 1, seeding: 2, gone: 3 };

export function board(page, file) {
  // The rows have figures of the same names, so the page's own are filled within its head.
  const hero = page.querySelector(".hero");
  common(hero, file);
  page.dataset.activity = file.activity;
  fill(hero, { seeders: file.seeders, leechers: file.leechers, sentence: file.swarm?.sentence });
  show(hero, "[data-is=sentence]", file.swarm != null);
  document.getElementById("whole").value = said.share(file);
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
  document.getElementById("nobody").hidden = rows.length > 0;
  map(file);
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
    percent: said.percent(row.percent),
    down: said.rate(row.down_rate),
    up: said.rate(row.up_rate),
    "best-down": best(row.peak_down),
    "best-up": best(row.peak_up),
    state: row.state,
    left: row.state === "fetching" && row.time_left != null ? `${said.time(row.time_left)} left` : "",
  });
  const bar = element.querySelector("progress");
  if (bar.value !== (row.percent ?? 0)) bar.value = row.percent ?? 0;
  attribute(bar, "aria-label", `Share of the file at ${who}`);
}

function best(rate) {
  return rate >= 1 ? `best ${said.rate(rate)}` : "";
}
