"use strict";
// The list: filtered, sorted, and built only where it is looked at, so that thousands of rows cost no more than twenty.

const ROW_HEIGHT = 56; // px; the style sheet has the same
const SPARE_ROWS = 6;

const COLUMNS = [
  { id: "name", label: "Radiograph", descends: false },
  { id: "probability", label: "Prob.", title: "Probability", descends: true },
  { id: "decision", label: "Decision", descends: true },
  { id: "verdict", label: "Verdict", descends: true },
];

class Worklist {
  // `verdictOf(image)`, `isConflict(image)`, `thumbnail(image)` giving an address, or a promise of one, or null, `thresholdsOf(image)`, `onSelect(image)`.
  constructor(images, { verdictOf, isConflict, thumbnail, thresholdsOf, onSelect }) {
    Object.assign(this, { verdictOf, isConflict, thumbnail, thresholdsOf, onSelect });
    this.grid = byId("grid");
    this.rows = byId("rows");
    this.filter = { state: "all", verdict: "all", text: "" };
    this.sort = { column: "probability", descending: true };
    this.selected = null;
    this.built = new Map();
    this.#makeHeadings();
    this.grid.addEventListener("scroll", () => this.#build(), { passive: true });
    this.rows.addEventListener("click", (event) => this.#clicked(event));
    new ResizeObserver(() => this.#build()).observe(this.grid);
    this.setImages(images);
  }

  // Images in the order of the worklist, which decides among equals.
  setImages(images) {
    const collator = new Intl.Collator("en", { numeric: true });
    const byName = images.map((image, place) => ({ name: image.name, place })).sort((a, b) => collator.compare(a.name, b.name));
    const rank = new Array(images.length);
    byName.forEach(({ place }, alphabetical) => (rank[place] = alphabetical));
    this.entries = images.map((image, place) => ({
      image, place, alphabetical: rank[place], state: stateOf(image), text: [image.name, image.reason, image.origin, image.note ?? "", ...(image.remarks ?? []), ...Object.values(image.tags ?? {})].join("\n").toLowerCase(),
    }));
    this.built.clear();
    this.rows.replaceChildren();
    this.update();
  }

  // Filters and sorts anew.
  update() {
    this.matching = this.entries.filter((entry) => this.#matches(entry)).sort(this.#order());
    this.rows.style.height = `${this.matching.length * ROW_HEIGHT}px`;
    this.grid.setAttribute("aria-rowcount", this.matching.length + 1);
    byId("empty").hidden = this.matching.length > 0;
    byId("empty").textContent = this.entries.length ? "No radiograph matches; change the filters." : "No radiographs yet.";
    byId("count").textContent = `${this.matching.length.toLocaleString("en")} of ${counted(this.entries.length, "radiograph")}`;
    this.#build();
  }

  setFilter(part, value) {
    this.filter[part] = value;
    this.grid.scrollTop = 0;
    this.update();
    if (!this.matching.some((entry) => entry.image === this.selected) && this.matching.length) this.select(this.matching[0].image);
  }

  sortBy(column) {
    const same = this.sort.column === column.id;
    this.sort = { column: column.id, descending: same ? !this.sort.descending : column.descends };
    this.#markHeadings();
    this.grid.scrollTop = 0;
    this.update();
  }

  // How many images each value of a filter would show, the other filters as they are.
  counts(part) {
    const counts = { all: 0 };
    for (const entry of this.entries) {
      if (!this.#matches(entry, part)) continue;
      const value = part === "state" ? entry.state : (this.verdictOf(entry.image) ?? "none");
      counts[value] = (counts[value] ?? 0) + 1;
      if (part === "verdict" && this.isConflict(entry.image)) counts.conflict = (counts.conflict ?? 0) + 1;
      if (part === "state" && isRemarked(entry.image)) counts.remarked = (counts.remarked ?? 0) + 1;
      counts.all += 1;
    }
    return counts;
  }

  get images() {
    return this.matching.map(({ image }) => image);
  }

  // The image so many rows further down among those shown; null at the end.
  beside(step) {
    const place = this.matching.findIndex((entry) => entry.image === this.selected);
    if (place >= 0) return this.matching[place + step]?.image ?? null;
    const gap = Math.min(this.place ?? 0, this.matching.length); // where the selected row was
    return this.matching[gap + (step > 0 ? step - 1 : step)]?.image ?? null;
  }

  select(image) {
    this.selected = image;
    this.#reveal();
    this.#build();
    const place = this.matching.findIndex((entry) => entry.image === image);
    if (place >= 0) this.place = place;
    if (place < 0) this.grid.removeAttribute("aria-activedescendant");
    else this.grid.setAttribute("aria-activedescendant", `row-${this.matching[place].place}`);
    this.onSelect(image);
  }

  #matches({ state, image, text }, except = "") {
    const { filter } = this;
    if (except !== "state" && filter.state === "remarked" && !isRemarked(image)) return false;
    if (except !== "state" && !["all", "remarked", state].includes(filter.state)) return false;
    if (except !== "verdict" && !this.#hasVerdict(image, filter.verdict)) return false;
    return filter.text === "" || filter.text.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  }

  #hasVerdict(image, wanted) {
    return wanted === "all" || (wanted === "conflict" ? this.isConflict(image) : wanted === (this.verdictOf(image) ?? "none"));
  }

  // Without a probability always last.
  #order() {
    const { column, descending } = this.sort;
    const sign = descending ? -1 : 1;
    const value = {
      name: (entry) => entry.alphabetical,
      probability: (entry) => entry.image.probability,
      decision: (entry) => STATES[entry.state].rank,
      verdict: (entry) => VERDICTS[this.verdictOf(entry.image)]?.rank ?? 0,
    }[column];
    return (a, b) => {
      const [left, right] = [value(a), value(b)];
      if (left === null || right === null) return (left === null) - (right === null) || a.place - b.place;
      return sign * (left - right) || a.place - b.place;
    };
  }

  #makeHeadings() {
    byId("columns").replaceChildren(
      make("span", { role: "columnheader", class: "thumb" }, make("span", { class: "hidden" }, "Picture")),
      ...COLUMNS.map((column) => {
        const button = make("button", { type: "button", title: `Sort by ${(column.title ?? column.label).toLowerCase()}` }, column.label);
        button.addEventListener("click", () => this.sortBy(column));
        return make("span", { role: "columnheader", class: column.id }, button);
      }),
    );
    this.#markHeadings();
  }

  #markHeadings() {
    for (const { id } of COLUMNS) {
      const heading = byId("columns").querySelector(`.${id}`);
      if (this.sort.column === id) heading.setAttribute("aria-sort", this.sort.descending ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    }
  }

  // The rows in sight and a few around them; rows that stay are kept, so that their pictures are not loaded again.
  #build() {
    const first = Math.max(Math.floor(this.grid.scrollTop / ROW_HEIGHT) - SPARE_ROWS, 0);
    const last = Math.min(Math.ceil((this.grid.scrollTop + this.grid.clientHeight) / ROW_HEIGHT) + SPARE_ROWS, this.matching.length);
    const wanted = new Set(this.matching.slice(first, last));
    for (const [entry, row] of this.built) {
      if (wanted.has(entry)) continue;
      row.remove();
      this.built.delete(entry);
    }
    for (let place = first; place < last; place += 1) {
      const entry = this.matching[place];
      if (!this.built.has(entry)) {
        this.built.set(entry, this.#makeRow(entry));
        this.rows.append(this.built.get(entry));
      }
      this.#setRow(this.built.get(entry), entry, place);
    }
  }

  #makeRow({ image, place: id, state }) {
    const row = make(
      "div",
      { role: "row", class: "row", id: `row-${id}`, title: image.name },
      make("span", { role: "gridcell", class: "thumb" }, this.#thumb(image)),
      make("span", { role: "gridcell", class: "name" }, make("strong", {}, image.name.slice(folderOf(image).length)), make("small", {}, placeOf(image))),
      make("span", { role: "gridcell", class: "probability" }, probabilityText(image.probability)),
      make("span", { role: "gridcell", class: "decision" }, badge(state), ...(isRemarked(image) ? [doubtMark(image)] : [])),
      make("span", { role: "gridcell", class: "verdict" }),
    );
    if (image.probability !== null) row.querySelector(".probability").append(probabilityBar(image.probability, this.thresholdsOf(image)));
    row.image = image;
    return row;
  }

  // What can change of a row: its place, whether it is selected, its verdict.
  #setRow(row, { image }, place) {
    row.style.top = `${place * ROW_HEIGHT}px`;
    row.setAttribute("aria-rowindex", place + 2);
    row.setAttribute("aria-selected", image === this.selected);
    const verdict = this.verdictOf(image);
    const shown = verdict ? [make("span", { class: `given ${verdict}` }, VERDICTS[verdict].label)] : [];
    if (this.isConflict(image)) shown.push(make("span", { class: "mark" }, "conflict"));
    row.querySelector(".verdict").replaceChildren(...shown);
  }

  #thumb(image) {
    const none = make("span", { class: "none", "aria-hidden": "true" });
    const address = this.thumbnail(image);
    if (!address) return none;
    const thumb = make("img", { alt: "", decoding: "async" });
    Promise.resolve(address).then((source) => (thumb.src = source), () => thumb.replaceWith(none));
    return thumb;
  }

  #clicked(event) {
    const row = event.target.closest(".row");
    if (row) this.select(row.image);
  }

  // Scrolls just as far as the selected row needs, the headings covering the top.
  #reveal() {
    const place = this.matching.findIndex((entry) => entry.image === this.selected);
    if (place < 0) return;
    const room = this.grid.clientHeight - byId("columns").offsetHeight;
    const top = place * ROW_HEIGHT;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    else if (top + ROW_HEIGHT > this.grid.scrollTop + room) this.grid.scrollTop = top + ROW_HEIGHT - room;
  }
}
