// Filters by the attributes of the catalogue: a list to choose from where the values are known, otherwise a field.

import { find, later, make, readable } from "./dom.js";

const PAUSE = 400;

export class Filters {
  /** @param changed called with attribute to the list of admitted values */
  constructor(changed) {
    this.node = find("#filters");
    this.changed = () => changed(this.chosen);
    this.fields = new Map();
    this.clear = make("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.#clear() }, "Clear filters");
  }

  /** Offers these attributes, with the values that are known of each. */
  offer(values) {
    this.fields = new Map(Object.entries(values).map(([name, known]) => [name, this.#field(name, known)]));
    const labelled = [...this.fields].map(([name, field]) => make("label", {}, make("span", {}, readable(name)), field));
    this.node.replaceChildren(...labelled, this.clear);
    this.node.hidden = this.fields.size === 0;
  }

  get chosen() {
    return Object.fromEntries([...this.fields].filter(([, field]) => field.value.trim()).map(([name, field]) => [name, [field.value.trim()]]));
  }

  /** Shows a choice without telling anybody. */
  set(chosen) {
    for (const [name, field] of this.fields) {
      const [value = ""] = chosen[name] ?? [];
      if (field.tagName === "SELECT" && value && ![...field.options].some((option) => option.value === value)) {
        field.append(make("option", { value }, value));
      }
      field.value = value;
    }
    this.#mark();
  }

  #field(name, known) {
    const tell = () => {
      this.#mark();
      this.changed();
    };
    if (!known.length) return make("input", { type: "text", placeholder: "Any", oninput: later(tell, PAUSE) });
    const options = known.map((value) => make("option", { value }, value));
    return make("select", { onchange: tell }, make("option", { value: "" }, "Any"), ...options);
  }

  #mark() {
    for (const field of this.fields.values()) field.parentElement.classList.toggle("on", Boolean(field.value));
    this.clear.hidden = Object.keys(this.chosen).length === 0;
  }

  #clear() {
    this.set({});
    this.changed();
    this.node.querySelector("select, input")?.focus();
  }
}
