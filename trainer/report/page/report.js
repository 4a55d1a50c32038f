"use strict";

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const charts = read("charts");
const templates = read("templates");
const products = new Map(Object.entries(read("products")));
const root = document.documentElement;
const touch = matchMedia("(pointer: coarse)").matches;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const every = (selector, within = document) => [...within.querySelectorAll(selector)];

/* Pictures */

const nothing = "data:image/svg+xml," + encodeURIComponent(
  '<svg xmlns="http://www.w3.org/2000/svg" width="128" height="128"><path d="M34 34l60 60m0-60l-60 60" stroke="#b8bec6" stroke-width="3"/></svg>'
);

function showPicture(image, id) {
  const product = products.get(id);
  image.src = product?.picture || nothing;
  image.title = product?.about ?? "";
}

every("img[data-product]").forEach((image) => showPicture(image, image.dataset.product));

/* Theme: the system's, until a reader chooses. */

const theme = () => root.dataset.theme || (prefersDark.matches ? "dark" : "light");

function remembered(value) {
  try {
    if (value) localStorage.setItem("shoppin-theme", value);
    return localStorage.getItem("shoppin-theme");
  } catch {
    return null; // a page from disk may have no storage
  }
}

function setTheme(value) {
  if (["light", "dark"].includes(value)) root.dataset.theme = value;
  redraw();
}

document.getElementById("theme").addEventListener("click", () => {
  const value = theme() === "dark" ? "light" : "dark";
  remembered(value);
  setTheme(value);
});
prefersDark.addEventListener("change", () => redraw());

/* Charts: each is drawn when it comes near the window, and anew when the theme changes. */

function draw(node, under = theme()) {
  const { data, layout } = structuredClone(charts[node.dataset.chart]);
  const first = !node.dataset.drawn;
  // Only the map can be moved, and not by touch, which must scroll the page.
  const zooms = "products" in node.dataset && !touch;
  const kept = first ? {} : { xaxis: { ...layout.xaxis, ...ranges(node, "xaxis") }, yaxis: { ...layout.yaxis, ...ranges(node, "yaxis") } };
  Plotly.react(
    node,
    data,
    { ...layout, ...kept, dragmode: zooms ? "pan" : false, template: templates[under] },
    { responsive: true, displaylogo: false, displayModeBar: zooms, modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d"]] },
  );
  node.dataset.drawn = under;
  if (!first) return;
  if ("products" in node.dataset) readyProducts(node);
  if ("cells" in node.dataset) node.on("plotly_click", (event) => showCell(node, event.points[0]));
}

// What a reader has zoomed to stays when the theme changes.
function ranges(node, axis) {
  const { range, autorange } = node._fullLayout?.[axis] ?? {};
  return range && !autorange ? { range: [...range], autorange: false } : {};
}

function redraw() {
  every(".chart[data-drawn]").filter((node) => node.offsetParent && node.dataset.drawn !== theme()).forEach((node) => draw(node));
}

function approach(node) {
  if (node.dataset.drawn !== theme()) draw(node);
  else Plotly.Plots.resize(node); // the window may have changed while its model was hidden
}

const near = new IntersectionObserver(
  (entries) => entries.filter((it) => it.isIntersecting).forEach((it) => approach(it.target)),
  { rootMargin: "800px" },
);
every(".chart").forEach((node) => near.observe(node));

addEventListener("beforeprint", () => every(".chart").filter((node) => node.offsetParent).forEach((node) => draw(node, "light")));
addEventListener("afterprint", redraw);

/* Products on the map */

const card = document.getElementById("product");

function showProduct(node, { data, pointNumber }) {
  const [id, label, predicted] = data.customdata[pointNumber];
  const product = products.get(id);
  showPicture(card.querySelector("img"), id);
  card.querySelector("img").alt = `${label}, product ${id}`;
  card.querySelector("strong").textContent = label;
  const verdict = card.querySelector(".verdict");
  const right = predicted === label;
  verdict.textContent = !predicted ? "" : right ? "✓ predicted so" : `✗ predicted: ${predicted}`;
  verdict.className = `verdict ${right ? "right" : "wrong"}`;
  card.querySelector(".about").textContent = product?.about ?? "";
  card.hidden = false;
  const box = node.getBoundingClientRect();
  const { xaxis, yaxis } = node._fullLayout;
  const x = box.left + xaxis._offset + xaxis.d2p(data.x[pointNumber]);
  const y = box.top + yaxis._offset + yaxis.d2p(data.y[pointNumber]);
  const above = y - card.offsetHeight - 14;
  card.style.left = `${Math.max(8, Math.min(x - card.offsetWidth / 2, root.clientWidth - card.offsetWidth - 8))}px`;
  card.style.top = `${above > 60 ? above : y + 14}px`;
}

const hideProduct = () => { card.hidden = true; };

function readyProducts(node) {
  let at = -1;
  ["plotly_hover", "plotly_click"].forEach((name) => node.on(name, (event) => showProduct(node, event.points[0])));
  node.on("plotly_unhover", hideProduct);
  node.addEventListener("blur", hideProduct);
  node.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") hideProduct();
    if (!step) return;
    event.preventDefault();
    const shown = node.data.flatMap((data) => (
      data.visible === "legendonly" ? [] : (data.customdata ?? []).map((_, pointNumber) => ({ data, pointNumber }))
    ));
    if (!shown.length) return;
    at = at < 0 && step < 0 ? shown.length - 1 : (at + step + shown.length) % shown.length;
    showProduct(node, shown[at]);
  });
}

addEventListener("scroll", hideProduct, { passive: true });

/* Cells of the confusion matrix */

function showCell(node, point) {
  const [label, taken, count] = point.customdata;
  const chosen = node.closest("figure").querySelector(".chosen");
  const map = charts[node.dataset.chart.replace(/confusion$/, "map")];
  const ids = (map?.data ?? []).flatMap((trace) => trace.customdata ?? []).filter((it) => it[1] === label && it[2] === taken).map((it) => it[0]);
  const title = document.createElement("p");
  const shown = ids.slice(0, 48);
  title.textContent = `${label} taken for ${taken}: ${shown.length < count ? `${shown.length} of ${count}` : count}`;
  chosen.replaceChildren(title, ...shown.map((id) => {
    const figure = document.createElement("div");
    figure.className = "picture";
    const image = new Image();
    image.alt = `${label}, product ${id}`;
    showPicture(image, id);
    figure.append(image);
    return figure;
  }));
}

/* Sorting */

function sortRows(header) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const number = header.classList.contains("number");
  const descending = header.getAttribute("aria-sort") ? header.getAttribute("aria-sort") === "ascending" : number;
  every("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const key = (row) => row.children[column].dataset.sort;
  const rows = every("tbody tr", table).sort((a, b) => {
    const [left, right] = [key(a), key(b)];
    if (left === undefined || right === undefined) return (left === undefined) - (right === undefined);
    const order = number ? left - right : left.localeCompare(right, undefined, { numeric: true });
    return descending ? -order : order;
  });
  table.tBodies[0].append(...rows);
}

every("thead button").forEach((button) => button.addEventListener("click", () => sortRows(button.closest("th"))));

/* Contents: beside the sections where the page is wide, else folded above them. */

const contents = document.querySelector("nav details");
const wide = matchMedia("(min-width: 1100px)");
const fold = () => { contents.open = wide.matches; };
wide.addEventListener("change", fold);
fold();

/* Models */

document.getElementById("model")?.addEventListener("change", (event) => {
  hideProduct();
  every("[data-model]").forEach((part) => { part.hidden = part.dataset.model !== event.target.value; });
});

setTheme(remembered());
