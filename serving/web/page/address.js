// What is searched for, in the page's address: all but photos, which stay in this tab.

const FILTER = "is.";

export function toAddress({ item, text, weight, filters, models }) {
  const parameters = new URLSearchParams();
  if (item) parameters.set("item", item);
  if (text) parameters.set("text", text);
  if (text && weight !== 0.5) parameters.set("weight", weight);
  for (const [name, values] of Object.entries(filters)) for (const value of values) parameters.append(FILTER + name, value);
  for (const model of models) parameters.append("model", model);
  return parameters.size ? `?${parameters}` : location.pathname;
}

export function fromAddress(address) {
  const parameters = new URLSearchParams(address);
  const filters = {};
  for (const [name, value] of parameters) if (name.startsWith(FILTER)) (filters[name.slice(FILTER.length)] ??= []).push(value);
  const weight = Number(parameters.get("weight") ?? 0.5);
  return {
    item: parameters.get("item") ?? "",
    text: parameters.get("text") ?? "",
    weight: weight >= 0 && weight <= 1 ? weight : 0.5,
    filters,
    models: parameters.getAll("model"),
  };
}
