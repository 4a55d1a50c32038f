// One column of results: of one model, for one query at a time.

import { find, make, percent, readable, say } from "./dom.js";
import * as server from "./server.js";

const PAGE = 24;
const RETRY_SECONDS = 3;
const MOST_RETRIES = 20;
const SKELETONS = 12;

export class Column {
  #asking = null;
  #query = null;
  #retry;

  /**
   * @param models what the page's server says of them
   * @param chosen name of the one to ask
   * @param events `picked(match)` to search from a match, `told(match)` to show all of it, `changed(column)` after
   *   another model was chosen
   */
  constructor(models, chosen, events) {
    Object.assign(this, { models, events });
    this.select = make(
      "select",
      { "aria-label": "Model", onchange: () => events.changed(this) },
      ...models.map((each) => make("option", { value: each.model, disabled: Boolean(each.error), selected: each.model === chosen }, named(each))),
    );
    this.count = make("p", { class: "count" });
    this.body = make("div", { class: "body" });
    this.foot = make("p", { class: "foot" });
    this.more = make("button", { type: "button", class: "more", hidden: true, onclick: () => this.#ask(this.#wanted + PAGE, true) }, "More results");
    const head = make("div", { class: "head" }, this.count, make("label", { class: "model" }, "Model ", this.select));
    this.node = make("section", { class: "column", "aria-label": "Results" }, head, this.body, this.more, this.foot);
  }

  get model() {
    return this.select.value;
  }

  get about() {
    return this.models.find((each) => each.model === this.model);
  }

  /** Asks; what was asked before is given up. */
  search(query) {
    this.#query = query;
    this.#ask(PAGE, false);
  }

  /** Gives up what is being asked. */
  stop() {
    clearTimeout(this.#retry);
    this.#asking?.abort();
  }

  get #most() {
    return this.about?.most ?? PAGE;
  }

  #wanted = PAGE;

  async #ask(wanted, more, retries = 0) {
    this.stop();
    const asking = (this.#asking = new AbortController());
    this.#wanted = Math.min(wanted, this.#most);
    const itself = this.#query.item && !this.#query.photo ? 1 : 0; // left out of its own matches
    const k = Math.min(this.#wanted + itself, this.#most);
    this.#wait();
    const started = performance.now();
    try {
      const answer = await server.search({ ...this.#query, model: this.model, k }, asking.signal);
      if (asking !== this.#asking) return;
      this.#show(answer, more, performance.now() - started);
    } catch (error) {
      if (asking !== this.#asking || error.name === "AbortError") return;
      this.#fail(error, retries);
    }
  }

  #wait() {
    this.node.setAttribute("aria-busy", "true");
    this.more.disabled = true;
    if (!find(".grid", this.body)) {
      this.count.textContent = "Searching …";
      const blank = () => make("li", { class: "card blank", "aria-hidden": "true" }, make("div", { class: "tile" }), make("i"), make("i"));
      this.body.replaceChildren(make("ul", { class: "grid" }, ...Array.from({ length: SKELETONS }, blank)));
    }
  }

  #done() {
    this.node.setAttribute("aria-busy", "false");
    this.more.disabled = false;
  }

  #show(answer, more, milliseconds) {
    this.#done();
    const { matches } = answer;
    const shown = more ? find(".grid", this.body).children.length : 0;
    const cards = matches.slice(shown).map((match) => card(match, this.events));
    if (more) find(".grid", this.body).append(...cards);
    else this.body.replaceChildren(...this.#notice(answer), make("ul", { class: "grid" }, ...cards));
    if (more && cards.length) find("a", cards[0]).focus();
    const all = this.#wanted >= this.#most || matches.length < this.#wanted;
    this.more.hidden = all || matches.length === 0;
    this.count.textContent = matches.length === 1 ? "1 product" : `${matches.length} products`;
    const { ms } = answer;
    const steps = [`reading ${ms.read} ms`, ms.crop >= 0.1 ? `cropping ${ms.crop} ms` : "", `search ${ms.ask} ms`];
    this.foot.replaceChildren(
      make("span", {}, `${answer.model}, version ${answer.version}`),
      make("span", {}, steps.filter(Boolean).join(", ")),
      make("span", {}, `${Math.round(milliseconds)} ms in all`),
      all && matches.length ? make("span", {}, "There are no more results.") : null,
    );
    const best = matches.length ? `, the best ${percent(matches[0].score)} similar` : "";
    say(`${this.count.textContent}${best}, ${answer.model} version ${answer.version}.${answer.no_match ? " No good match." : ""}`);
  }

  #notice({ matches, no_match, threshold }) {
    if (!matches.length) {
      return [make("div", { class: "notice" }, make("strong", {}, "Nothing was found"), make("p", {}, "No product passes these filters. Take one of them away."))];
    }
    if (!no_match) return [];
    const told = `The best of these is ${percent(matches[0].score)} similar; below ${percent(threshold)} it is mostly something else.`;
    return [make("div", { class: "notice" }, make("strong", {}, "No good match in the shop"), make("p", {}, told))];
  }

  #fail(error, retries) {
    this.#done();
    const again = error.passing && retries < MOST_RETRIES;
    this.more.hidden = true;
    this.count.textContent = "";
    this.foot.replaceChildren();
    const message = error instanceof server.Refusal ? error.message : "Something went wrong on this page.";
    const button = make("button", { type: "button", onclick: () => this.#ask(this.#wanted, false) }, "Try again");
    const waiting = again ? make("p", { class: "waiting" }, `It is asked again every ${RETRY_SECONDS} seconds.`) : null;
    this.body.replaceChildren(
      make("div", { class: "notice wrong", role: "alert" }, make("strong", {}, message), make("p", {}, error.advice ?? ""), waiting, button),
    );
    if (again) this.#retry = setTimeout(() => this.#ask(this.#wanted, false, retries + 1), 1000 * RETRY_SECONDS);
  }
}

function named(model) {
  if (model.error) return `${model.model} (not loaded)`;
  return model.model.includes(":") ? model.model.replace(/:(\d+)$/, ", version $1") : `${model.model}, newest`;
}

/** A picture of the catalogue in a tile, or a word in its place. */
export function tile(item, width) {
  const picture = make("img", { src: `${item.picture}?w=${width}`, alt: item.title, loading: "lazy", decoding: "async" });
  const frame = make("div", { class: "tile" }, picture);
  picture.addEventListener("error", () => frame.replaceChildren(make("span", {}, "No picture")));
  return frame;
}

function card(match, events) {
  const { title, label, score } = match;
  const open = make(
    "a",
    {
      href: `?item=${encodeURIComponent(match.id)}`,
      "aria-label": `More like ${[title, label].filter(Boolean).join(", ")}, ${percent(score)} similar`,
      onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        events.picked(match);
      },
    },
    tile(match, 320),
    make("span", { class: "title" }, title),
  );
  const bar = make("span", { class: "similar", title: `Similarity ${score.toFixed(4)}` }, make("i"), percent(score));
  bar.style.setProperty("--part", Math.min(Math.max(score, 0), 1));
  const about = make("button", { type: "button", class: "quiet round about", "aria-label": `Details of ${title}`, onclick: () => events.told(match) }, "i");
  return make("li", { class: "card" }, open, make("p", { class: "facts" }, make("span", { class: "label" }, label), bar), about);
}

/** Everything that is known of a match, in a dialogue. */
export function showDetails(match, picked) {
  const dialog = find("#details");
  const facts = { Similarity: match.score.toFixed(4), Number: match.id, ...match.attributes };
  const picture = find("img", dialog);
  [picture.src, picture.alt] = [match.picture, match.title];
  find("#details-title").textContent = match.title;
  const rows = Object.entries(facts).filter(([, value]) => value && value !== match.title);
  find("dl", dialog).replaceChildren(...rows.flatMap(([name, value]) => [make("dt", {}, readable(name)), make("dd", {}, value)]));
  find("[data-do=close]", dialog).onclick = () => dialog.close();
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  find("[data-do=search]", dialog).onclick = () => {
    dialog.close();
    picked(match);
  };
  dialog.showModal();
}
