// A region of the photo: a box with eight handles, for mouse, finger and keyboard.

const SMALLEST = 0.04;
const STEP = 0.02;
const WHOLE = [0, 0, 1, 1];
const within = (value, low, high) => Math.min(Math.max(value, low), high);

export class Region {
  /**
   * @param stage element of the photo's size, around the box
   * @param box with a span for every handle, whose `data-edges` says what it moves
   * @param changed called with `[x, y, width, height]` in fractions, or null for the whole photo
   */
  constructor(stage, box, changed) {
    Object.assign(this, { stage, box, changed, at: WHOLE });
    stage.addEventListener("pointerdown", (event) => this.#grab(event));
    box.addEventListener("keydown", (event) => this.#key(event));
    this.set(null);
  }

  /** Shows a region without telling anybody. */
  set(region) {
    this.at = region ?? WHOLE;
    const [x, y, width, height] = this.at;
    const style = { left: x, top: y, width, height };
    for (const [name, part] of Object.entries(style)) this.box.style[name] = `${100 * part}%`;
    const whole = this.#whole();
    this.box.classList.toggle("whole", whole);
    const shares = this.at.map((part) => Math.round(100 * part));
    const told = whole ? "the whole photo" : `${shares[2]} % of its width and ${shares[3]} % of its height, from ${shares[0]} % left and ${shares[1]} % down`;
    this.box.setAttribute("aria-label", `Region to search with: ${told}`);
  }

  #whole() {
    return this.at[2] > 0.995 && this.at[3] > 0.995;
  }

  #tell() {
    this.changed(this.#whole() ? null : this.at);
  }

  #place(event) {
    const box = this.stage.getBoundingClientRect();
    return [within((event.clientX - box.left) / box.width, 0, 1), within((event.clientY - box.top) / box.height, 0, 1)];
  }

  #grab(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    const edges = event.target.dataset?.edges;
    const inside = event.target === this.box && !this.#whole();
    // a finger on the photo scrolls the page; a new region is drawn with a mouse or a pen
    if (!edges && !inside && event.pointerType === "touch") return;
    event.preventDefault();
    this.box.focus({ preventScroll: true, focusVisible: false });
    const [startX, startY] = this.#place(event);
    const before = this.at;
    const move = (moved) => {
      const [x, y] = this.#place(moved);
      if (edges) this.set(resized(before, edges, x - startX, y - startY));
      else if (inside) this.set(shifted(before, x - startX, y - startY));
      else if (Math.abs(x - startX) > SMALLEST / 2 || Math.abs(y - startY) > SMALLEST / 2) this.set(drawn(startX, startY, x, y));
      else return;
      this.#tell();
    };
    const end = () => {
      this.stage.removeEventListener("pointermove", move);
      this.stage.removeEventListener("pointerup", end);
      this.stage.removeEventListener("pointercancel", end);
    };
    this.stage.setPointerCapture(event.pointerId);
    this.stage.addEventListener("pointermove", move);
    this.stage.addEventListener("pointerup", end);
    this.stage.addEventListener("pointercancel", end);
  }

  #key(event) {
    const ways = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    const way = ways[event.key];
    if (event.key === "Escape") this.set(null);
    else if (way && event.shiftKey) this.set(resized(this.at, "se", ...way));
    else if (way) this.set(shifted(this.at, ...way));
    else return;
    event.preventDefault();
    this.#tell();
  }
}

function shifted([x, y, width, height], right, down) {
  return [within(x + right, 0, 1 - width), within(y + down, 0, 1 - height), width, height];
}

function resized([x, y, width, height], edges, right, down) {
  let [left, top, far, bottom] = [x, y, x + width, y + height];
  if (edges.includes("w")) left = within(left + right, 0, far - SMALLEST);
  if (edges.includes("e")) far = within(far + right, left + SMALLEST, 1);
  if (edges.includes("n")) top = within(top + down, 0, bottom - SMALLEST);
  if (edges.includes("s")) bottom = within(bottom + down, top + SMALLEST, 1);
  return [left, top, far - left, bottom - top];
}

function drawn(startX, startY, x, y) {
  const width = Math.max(Math.abs(x - startX), SMALLEST);
  const height = Math.max(Math.abs(y - startY), SMALLEST);
  return [within(Math.min(x, startX), 0, 1 - width), within(Math.min(y, startY), 0, 1 - height), width, height];
}
