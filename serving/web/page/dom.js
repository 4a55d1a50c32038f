// Elements, made without markup, so that nothing that a server says can become any.

export const find = (selector, within = document) => within.querySelector(selector);

/** An element with properties (`class`, `on…`, `data-…` and `aria-…` too) and children, texts among them. */
export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role") node.setAttribute(name, value);
    else if (name === "class") node.className = value;
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** `baseColour` as "Base colour". */
export function readable(name) {
  const words = name.replace(/([a-z0-9])([A-Z])/g, "$1 $2").replace(/[_-]+/g, " ").toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** 0.916 as "92 %". */
export const percent = (score) => `${Math.round(100 * score)} %`;

/** Calls at the end of a pause of so many milliseconds. */
export function later(call, pause) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(call, pause, ...given);
  };
}

/** Says something to who cannot see it. */
export function say(text) {
  find("#said").textContent = text;
}
