// The page: what is searched for, and who shows what.

import { fromAddress, toAddress } from "./address.js";
import { Region } from "./crop.js";
import { find, later, make, say } from "./dom.js";
import { Filters } from "./filters.js";
import { Column, showDetails, tile } from "./results.js";
import * as server from "./server.js";
import { listen } from "./sources.js";

const PAUSE = 250;
const RETRY_MILLISECONDS = 3000;
const MOST_COLUMNS = 2;

/** What is searched for. `photo` is a number in `photos`, which outlives a step back to it. */
const state = { photo: null, item: "", crop: null, text: "", weight: 0.5, filters: {}, models: [] };
const photos = [];
const titles = new Map(); // of the items that were shown
let [about, columns] = [null, []];

const region = new Region(find("#stage"), find("#region"), (crop) => {
  state.crop = crop;
  find("#whole").hidden = crop === null;
  soon();
});
const filters = new Filters((chosen) => {
  state.filters = chosen;
  search();
});
const soon = later(() => search(), PAUSE);

const hasPicture = () => state.photo !== null || Boolean(state.item);
const hasQuery = () => hasPicture() || Boolean(state.text);

/** Asks with what there is; `step` makes it a new page to come back from. */
function search(step = false) {
  show();
  const kept = { photo: state.photo, crop: state.crop };
  history[step ? "pushState" : "replaceState"](kept, "", toAddress({ ...state, models: addressed() }));
  for (const column of columns) {
    if (!hasQuery()) column.stop();
    else column.search(query(column));
  }
}

function query(column) {
  const photo = state.photo === null ? null : photos[state.photo].file;
  const able = column.about?.filters ?? [];
  const chosen = Object.fromEntries(Object.entries(state.filters).filter(([name]) => able.includes(name)));
  return { photo, item: state.item, crop: hasPicture() ? state.crop : null, text: state.text, weight: state.weight, filters: chosen };
}

/** The models of the columns; none where there is nothing to tell from a fresh page. */
function addressed() {
  const first = about?.models.find((each) => !each.error)?.model;
  return columns.length === 1 && columns[0].model === first ? [] : columns.map((column) => column.model);
}

function show() {
  document.body.classList.toggle("welcome", !hasQuery());
  const picture = state.photo === null ? state.item && `pictures/${state.item.split("/").map(encodeURIComponent).join("/")}` : photos[state.photo].url;
  find("#shown").hidden = !picture;
  find("#drop").hidden = Boolean(picture);
  const photo = find("#photo");
  if (picture && photo.getAttribute("src") !== picture) photo.src = picture;
  const name = state.photo === null ? (titles.get(state.item) ?? `Product ${state.item}`) : photos[state.photo].name;
  photo.alt = picture ? `What is searched with: ${name}` : "";
  find("#caption").textContent = name;
  region.set(state.crop);
  find("#whole").hidden = state.crop === null;
  find("#balance").hidden = !(picture && state.text);
  find("#weight").value = state.weight;
  if (document.activeElement !== find("#text")) find("#text").value = state.text;
}

function takePhoto(file) {
  const { bytes } = about?.limits ?? {};
  if (bytes && file.size > bytes) return refuse(`The photo is too large: more than ${Math.round(bytes / 2 ** 20)} MB.`, "Use a smaller one.");
  photos.push({ file, url: URL.createObjectURL(file), name: file.name || "Your photo" });
  Object.assign(state, { photo: photos.length - 1, item: "", crop: null });
  search(true);
}

function takeItem(item, title) {
  if (title) titles.set(item, title);
  Object.assign(state, { photo: null, item, crop: null });
  search(true);
  scrollTo({ top: 0 });
}

/** Says why something was not even tried. */
function refuse(message, advice) {
  find("#refusal")?.remove();
  const notice = make("div", { id: "refusal", class: "notice wrong", role: "alert" }, make("strong", {}, message), make("p", {}, advice));
  find("#query").prepend(notice);
  setTimeout(() => notice.remove(), 8000);
}

function setColumns(models) {
  for (const column of columns) column.stop();
  const changed = (column) => {
    offerFilters();
    search();
    say(`Model ${column.model}`);
  };
  const picked = ({ id, title }) => takeItem(id, title);
  const events = { picked, told: (match) => showDetails(match, picked), changed };
  columns = models.map((model) => new Column(about.models, model, events));
  find("#columns").replaceChildren(...columns.map((column) => column.node));
  find("#columns").classList.toggle("several", columns.length > 1);
  find("#compare").setAttribute("aria-pressed", String(columns.length > 1));
  offerFilters();
}

function offerFilters() {
  const able = new Set(columns.flatMap((column) => column.about?.filters ?? []));
  filters.offer(Object.fromEntries(Object.entries(about.values).filter(([name]) => able.has(name))));
  filters.set(state.filters);
  find("#words").hidden = !columns.some((column) => column.about?.words);
}

/** Takes up what the address and the step in the history say. */
function restore(kept) {
  const { models, ...asked } = fromAddress(location.search);
  const photo = photos[kept?.photo] ? kept.photo : null;
  Object.assign(state, asked, { photo, crop: kept?.crop ?? null });
  const usable = about.models.filter((each) => !each.error).map((each) => each.model);
  const wanted = models.filter((model) => usable.includes(model)).slice(0, MOST_COLUMNS);
  setColumns(wanted.length ? wanted : usable.slice(0, 1));
  find("#text").value = state.text;
  search();
}

async function start() {
  try {
    about = await server.model();
  } catch (error) {
    refuse(error.message, error.advice);
    if (error.passing || error.status === 0) setTimeout(start, RETRY_MILLISECONDS);
    return;
  }
  find("#refusal")?.remove();
  find("#compare").hidden = about.models.filter((each) => !each.error).length < 2;
  restore(history.state);
  const found = await server.examples().catch(() => ({ examples: [] }));
  find("#examples").hidden = found.examples.length === 0;
  const example = (item) => make("li", {}, make("button", { type: "button", "aria-label": `Search with ${item.title}`, onclick: () => takeItem(item.id, item.title) }, tile(item, 160)));
  find("#examples ul").replaceChildren(...found.examples.map(example));
}

find("#photo").addEventListener("load", ({ target }) => find("#stage").style.setProperty("--ratio", target.naturalWidth / target.naturalHeight));
listen(takePhoto, refuse);
addEventListener("popstate", (event) => about && restore(event.state));
find("#whole").addEventListener("click", () => {
  state.crop = null;
  search();
  find("#region").focus();
});
find("#without").addEventListener("click", () => {
  Object.assign(state, { photo: null, item: "", crop: null });
  search(true);
});
find("#text").addEventListener("input", (event) => {
  state.text = event.target.value.trim();
  soon();
});
find("#words").addEventListener("submit", (event) => event.preventDefault());
find("#weight").addEventListener("input", (event) => {
  state.weight = Number(event.target.value);
  soon();
});
find("#address form").addEventListener("submit", (event) => {
  event.preventDefault();
  const item = find("#item").value.trim();
  if (item) takeItem(item);
});
find("#compare").addEventListener("click", () => {
  const [first] = columns.map((column) => column.model);
  const other = about.models.find((each) => !each.error && each.model !== first)?.model;
  setColumns(columns.length > 1 || !other ? [first] : [first, other]);
  search();
});
start();
