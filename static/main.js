// Keeps the page moving. Every part works alone, and the page works without any of them.

import { board } from "./board.js";
import { cards } from "./cards.js";
import { control } from "./control.js";
import { live } from "./live.js";
import { save } from "./save.js";
import { share } from "./share.js";
import { Sky } from "./sky.js";
import { copying } from "./tell.js";
import { words } from "./words.js";

const canvas = document.getElementById("sky");
const page = document.querySelector(".whole");
const sky = canvas && new Sky(canvas);

share();
control();
copying();
words();
if (page) save(page, () => document.getElementById("title").textContent);

if (canvas) {
  const light = document.getElementById("live");
  live(page?.dataset.file, {
    state(state, changed) {
      cards(state.files, changed);
      sky.showFiles(state.files);
    },
    file(file) {
      board(page, file);
      sky.showFile(file);
    },
    transfers: (transfers) => sky.move(transfers),
    connected: (isLive) => (light.hidden = !isLive),
  });
}
