"use strict";
// The list on paper: a table of the radiographs that the filters let through, and sheets, a radiograph on each. They are
// made when something is printed, and taken away afterwards; print.css hides all else.

const MOST_ROWS = 5_000; // some 250 pages
const MOST_SHEETS = 300;
const TALLEST = 125; // mm, of a radiograph on its sheet
const TALLEST_MAP = 52;

class Printing {
  constructor(review) {
    this.review = review;
    this.dialog = byId("print-dialog");
    this.form = byId("print-form");
    byId("print").addEventListener("click", () => this.ask());
    document.addEventListener("keydown", (event) => {
      const isPrint = (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "p";
      if (!isPrint || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      this.ask();
    });
    this.form.addEventListener("change", () => this.#describe());
    this.form.addEventListener("submit", ({ submitter }) => {
      if (submitter?.value !== "cancel") this.print(this.#choice());
    });
    addEventListener("beforeprint", () => this.paper ?? this.#put([tableOf(review)])); // by the browser's own menu
    addEventListener("afterprint", () => this.#clear());
  }

  ask() {
    this.#describe();
    this.dialog.showModal();
  }

  // Makes what is asked for, { table: whether, sheets: "none", "shown" or "all" }, and prints it.
  async print({ table, sheets }) {
    const { review } = this;
    const images = { none: [], shown: [review.current], all: this.#withPicture() }[sheets];
    const made = table ? [tableOf(review)] : [];
    for (const [place, image] of images.entries()) {
      if (images.length > 1) review.tell(`Preparing page ${place + 1} of ${images.length} …`);
      made.push(await sheetOf(image, review));
    }
    if (images.length > 1) review.hush();
    this.#put(made);
    window.print();
  }

  #choice() {
    const { table, sheets } = this.form.elements;
    return { table: table.checked, sheets: sheets.value };
  }

  // Says how much there is to print, and offers nothing that cannot be printed.
  #describe() {
    const { images } = this.review.list;
    const [shown, all] = ["shown", "all"].map((value) => this.form.querySelector(`[value="${value}"]`));
    const count = this.#withPicture().length;
    byId("print-rows").textContent = rowsWords(images.length);
    byId("print-shown").textContent = this.review.current?.name ?? "there is none";
    byId("print-all").textContent = count > MOST_SHEETS
      ? `${count.toLocaleString("en")} pages are too many for one print. Let the filters leave ${MOST_SHEETS} or fewer.`
      : `${counted(count, "page")}${count < images.length ? `; ${counted(images.length - count, "radiograph has", "radiographs have")} no picture here` : ""}`;
    shown.disabled = !this.review.current;
    all.disabled = count === 0 || count > MOST_SHEETS;
    for (const choice of [shown, all]) if (choice.disabled && choice.checked) this.form.elements.sheets.value = "none";
    const { table, sheets } = this.#choice();
    byId("print-start").disabled = !table && sheets === "none";
  }

  #withPicture() {
    return this.review.list.images.filter((image) => this.review.backend.hasPicture(image));
  }

  #put(parts) {
    this.#clear();
    this.paper = make("div", { id: "paper" }, ...parts);
    document.body.append(this.paper);
  }

  #clear() {
    this.paper?.remove();
    this.paper = null;
  }
}

function rowsWords(count) {
  const rows = counted(count, "radiograph");
  return count > MOST_ROWS ? `the first ${MOST_ROWS.toLocaleString("en")} of ${rows}; worklist.csv holds all` : rows;
}

// Where it all comes from, on each page.
function printedOrigin({ backend }) {
  const { folder, model, screened } = backend.origin;
  return [
    folder && `folder ${folder}`,
    `model ${model}`,
    thresholdWords(backend.thresholds[0]),
    screened && `screened ${screened.slice(0, 10)}`,
    `printed ${now().slice(0, 10)}`,
    "for research; not a medical device",
  ].filter(Boolean).join(" · ");
}

// The filters that are set, in the words of the page.
function filterWords() {
  const chips = document.querySelectorAll('#filters input[type="radio"]:checked:not([value="all"]) + span');
  const text = byId("search").value.trim();
  return [...[...chips].map((chip) => chip.textContent), ...(text ? [`“${text}”`] : [])].join(", ");
}

// Every reader's verdict in words, the own one first.
function verdictWords(image, { verdicts, backend }) {
  if (!isRead(image)) return [];
  return [verdicts.given(image), ...verdicts.othersOf(image)].filter(Boolean).map(({ verdict, reader, time, reason, comment }) => {
    const what = [VERDICTS[verdict].title, reason && reasonTitle(backend.facts.reasons, reason)].filter(Boolean).join(": ");
    return [[what, reader, time?.slice(0, 16).replace("T", " ")].filter(Boolean).join(", "), comment].filter(Boolean).join(": ");
  });
}

// Doubts and notes; refusals are the reason, and stand there.
function furtherRemarks({ remarks = [], refusals = [] }) {
  return remarks.filter((remark) => !refusals.includes(remark));
}

// A column: its class and heading, and what stands in it for an image.
function printedColumns(review) {
  const { backend } = review;
  const isCalibrated = backend.thresholds.some(({ review_threshold: review }) => review !== null);
  return [
    ["file", "Radiograph", (image) => image.name],
    ["number", "Probability", (image) => probabilityText(image.probability)],
    ...(isCalibrated ? [["state", "Triage", (image) => STATES[stateOf(image)].label]] : []),
    ["state", "Decision", (image) => image.decision ?? (isCalibrated ? "–" : STATES[stateOf(image)].label)],
    ["words", "Reason", (image) => image.reason],
    ["words", "Doubts and notes", (image) => furtherRemarks(image).join(" ")],
    ["verdict", "Verdict", (image) => verdictWords(image, review).join("; ")],
  ];
}

// The rows of the list in their order.
function tableOf(review) {
  const { images, entries } = review.list;
  const columns = printedColumns(review);
  const filters = filterWords();
  const rows = images.slice(0, MOST_ROWS).map((image) =>
    make("tr", {}, ...columns.map(([kind, , text]) => make("td", { class: kind }, text(image)))),
  );
  const left = images.length < entries.length ? `${images.length.toLocaleString("en")} of ${counted(entries.length, "radiograph")}` : counted(images.length, "radiograph");
  return make(
    "section",
    { class: "list" },
    make("h1", {}, document.title),
    make("p", {}, [left, filters && `filtered by: ${filters}`, images.length > MOST_ROWS && rowsWords(images.length)].filter(Boolean).join("; ")),
    make(
      "table",
      {},
      make("colgroup", {}, ...columns.map(([kind]) => make("col", { class: kind }))),
      make(
        "thead",
        {},
        make("tr", {}, make("td", { colspan: columns.length, class: "origin" }, printedOrigin(review))),
        make("tr", {}, ...columns.map(([kind, heading]) => make("th", { scope: "col", class: kind }, heading))),
      ),
      make("tbody", {}, ...rows),
    ),
  );
}

// One radiograph with all that is known of it, its pictures being loaded.
async function sheetOf(image, review) {
  const { backend } = review;
  const thresholds = backend.thresholdsOf(image);
  const facts = [
    ["Probability", image.probability === null ? "" : `${probabilityText(image.probability)} (${thresholdWords(thresholds)})`],
    ["Triage", image.triage ? STATES[image.triage].label : ""],
    ["Decision", image.decision ?? ""],
    ...factsOf(image),
  ].filter(([, value]) => value);
  const remarks = furtherRemarks(image);
  const scale = image.probability === null ? [] : [probabilityBar(image.probability, thresholds)];
  return make(
    "section",
    { class: "sheet" },
    make("p", { class: "origin" }, printedOrigin(review)),
    make("h2", {}, image.name),
    make("p", { class: "conclusion" }, make("strong", {}, STATES[stateOf(image)].title), `: ${image.reason}`),
    ...(remarks.length ? [make("ul", {}, ...remarks.map((remark) => make("li", {}, remark)))] : []),
    make("p", { class: "given-verdict" }, make("strong", {}, "Verdict: "), verdictWords(image, review).join("; ") || "none yet"),
    make("div", { class: "views" }, ...(await views(image, review)), make("div", { class: "numbers" }, ...scale, make("dl", {}, ...definitions(facts)))),
  );
}

// The radiograph with its marks, and with its map; a sentence where there is no picture.
async function views(image, { backend, verdicts }) {
  try {
    const [picture, map] = await Promise.all([loaded(backend.picture(image)), loaded(backend.map(image))]);
    if (!picture) return [make("p", { class: "none" }, backend.noPicture(image))];
    picture.alt = `Radiograph ${image.name}`;
    const own = groundsOf(verdicts.given(image)).marks;
    const drawn = [...(own.length ? [{ name: verdicts.given(image).reader || "reader", look: "own", marks: own }] : []), ...drawingsOf(verdicts.othersOf(image), verdicts.readers)];
    const marked = framed(image, TALLEST, picture, marksOf(image, drawn));
    const plain = [[
      image.contours?.length && "Contour at half the map's maximum",
      image.peak && "circle around its highest point",
      drawn.length && "drawn by",
    ].filter(Boolean).join("; ") || "Radiograph", ...drawn.flatMap(({ name, look }) => [" ", make("span", { class: `swatch ${look}` }), name])];
    if (!map) return [viewOf(marked, plain)];
    const overlaid = framed(image, TALLEST_MAP, picture.cloneNode(), coloured(map));
    await overlaid.firstChild.decode();
    return [viewOf(marked, plain), viewOf(overlaid, ["Map: the network's evidence, from violet (low) to yellow (high)"], "map")];
  } catch (error) {
    return [make("p", { class: "none" }, error.message)];
  }
}

function viewOf(frame, caption, kind = "radiograph") {
  return make("figure", { class: kind }, frame, make("figcaption", {}, ...caption));
}

// Layers of the stored picture's aspect over each other, at most so many mm high.
function framed({ width, height }, tallest, ...layers) {
  const frame = make("div", { class: "frame" }, ...layers);
  frame.style.aspectRatio = `${width} / ${height}`;
  frame.style.width = `min(100%, ${(tallest * width) / height}mm)`;
  return frame;
}

// Outlines, highest point and what readers have drawn, in stored pixels, the centre of the top-left one at (0, 0).
function marksOf({ width, height, contours, peak }, drawn) {
  const points = (polygon) => polygon.map((point) => point.join(",")).join(" ");
  const corners = ([[left, top], [right, bottom]]) => [[left, top], [right, top], [right, bottom], [left, bottom]];
  const shapes = [
    ...(contours ?? []).map((polygon) => ["polygon", "contour", { points: points(polygon) }]),
    ...(peak ? [["circle", "peak", { cx: peak[1], cy: peak[0], r: Math.max(width, height) / 60 }]] : []),
    ...drawn.flatMap(({ look, marks }) => marks.map((mark) => ["polygon", `drawn ${look}`, { points: points(mark.kind === "box" ? corners(mark.points) : mark.points) }])),
  ];
  const layers = shapes.flatMap(([tag, kind, facts]) => ["halo", "line"].map((part) => draw(tag, { class: `printed-${kind} printed-${part}`, ...facts })));
  return draw("svg", { viewBox: `-0.5 -0.5 ${width} ${height}`, preserveAspectRatio: "none" }, ...layers);
}
