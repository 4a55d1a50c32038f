// What the page asks its own server; errors come as sentences.

export class Refusal extends Error {
  constructor(status, message, advice = "") {
    super(message);
    this.status = status;
    this.advice = advice;
  }
  /** Whether the same question may be answered in a moment. */
  get passing() {
    return this.status === 503;
  }
}

async function asked(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "This page's server cannot be reached.", "Is it still running? Please try again.");
  }
  let answer;
  try {
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(response.status, "This page's server gave no proper answer.", "Please try again in a moment.");
  }
  if (!response.ok) throw new Refusal(response.status, answer.error ?? "Something went wrong.", answer.advice);
  return answer;
}

export const model = () => asked("api/model");
export const examples = () => asked("api/examples");

/** Matches of a query: `photo` (a blob) or `item`, `crop`, `text`, `weight`, `filters`, `model`, `k`. */
export function search(query, signal) {
  const form = new FormData();
  if (query.photo) form.append("image", query.photo, "photo");
  else if (query.item) form.append("item", query.item);
  if (query.crop) form.append("crop", query.crop.map((part) => part.toFixed(6)).join(","));
  if (query.text) form.append("text", query.text);
  form.append("weight", query.weight);
  form.append("filters", JSON.stringify(query.filters));
  form.append("model", query.model);
  form.append("k", query.k);
  return asked("api/search", { method: "POST", body: form, signal });
}
