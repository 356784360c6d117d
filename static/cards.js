// The files of the first page: a card for each, kept as the state says.

import { attribute, copyOf, fill, list, show } from "./fill.js";
import * as said from "./said.js";

// `changed` names the files that have changed; without it all may have.
export function cards(files, changed) {
  const place = document.getElementById("files");
  const known = changed?.map((hash) => [files.find((file) => file.info_hash === hash), place.querySelector(`[data-file="${hash}"]`)]);
  if (known?.every(([file, card]) => file && card)) for (const [file, card] of known) update(card, file);
  else list(place, files, { data: "file", of: (file) => file.info_hash }, make, update);
  document.getElementById("nothing").hidden = files.length > 0;
  show(document, "[data-do=pause-all]", files.some((file) => !["paused", "listed", "failed"].includes(file.activity)));
  show(document, "[data-do=resume-all]", files.some((file) => file.activity === "paused"));
}

function make(file) {
  const card = copyOf("card-template");
  card.dataset.file = file.info_hash;
  for (const form of card.querySelectorAll("form[data-verb]")) {
    form.action = `/api/files/${file.info_hash}/${form.dataset.verb}`;
  }
  return card;
}

function update(card, file) {
  common(card, file);
  const [name, open] = [card.querySelector("[data-is=name]"), card.querySelector("[data-is=open]")];
  for (const link of [name, open]) attribute(link, "href", file.links.page);
  for (const form of ["json", "torrent"]) attribute(card.querySelector(`[data-is=${form}]`), "href", file.links[form]);
  const get = card.querySelector("[data-is=get]");
  get.hidden = file.links.download == null;
  if (file.links.download) attribute(get, "href", file.links.download);
}

// What a card and the page of a file have in common.
export function common(root, file) {
  root.dataset.activity = file.activity;
  fill(root, {
    name: file.name,
    size: said.size(file.length),
    activity: said.activity(file),
    room: said.room(file),
    counts: said.counts(file),
    down: said.rate(file.down_rate),
    up: said.rate(file.up_rate),
    trouble: file.trouble,
  });
  show(root, ".rates", said.moves(file));
  show(root, "[data-is=trouble]", file.trouble != null);
  const ring = root.querySelector("[data-ring]");
  if (ring) attribute(ring, "stroke-dasharray", `${(said.share(file) * 100).toFixed(1)} 100`);
  const still = ["paused", "failed"].includes(file.activity);
  show(root, "[data-verb=pause]", !still && file.activity !== "listed");
  show(root, "[data-verb=resume]", still);
}
