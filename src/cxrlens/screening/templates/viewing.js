"use strict";
// The tools about the radiograph: window, presets, size and orientation, ruler; what is read off it; and the picture at
// full depth, which is asked for as soon as its preview does not do.

const PAUSE = 250; // ms that an image is looked at before more of it is asked for
const KEPT = 3; // pictures at full depth
const STEP = 1 / 20; // of the picture's own window, a key
const TOOLS = ["window", "move", "ruler"];

class Viewing {
  constructor(viewer, backend) {
    this.viewer = viewer;
    this.backend = backend;
    this.kept = new Map(); // picture at full depth by the image's key
    this.failed = new Map(); // why there is none, likewise
    this.pointer = null; // [x, y] in stored pixels
    viewer.onChange = () => this.#changed();
    viewer.onShow = (image) => this.#shown(image);
    viewer.pointing.onWindow = (brighter, wider) => this.#shift(brighter, wider);
    viewer.pointing.onTool = (now) => {
      for (const tool of TOOLS) byId(`tool-${tool}`).setAttribute("aria-pressed", tool === now);
    };
    viewer.marking.onWord = (words) => this.tell(words);
    viewer.marking.onMeasured = () => this.#measured();
    this.keys = {
      w: () => this.#shift(0, STEP), n: () => this.#shift(0, -STEP), l: () => this.#shift(STEP, 0), d: () => this.#shift(-STEP, 0),
      s: () => this.#nextPreset(), x: () => this.#reset(), 0: () => viewer.fit(), 1: () => this.#oneToOne(),
      t: () => viewer.turn(1), h: () => viewer.mirror(), f: () => this.#fillScreen(), v: () => this.#nextTool(),
      "+": () => viewer.zoomBy(1.5), "=": () => viewer.zoomBy(1.5), "-": () => viewer.zoomBy(1 / 1.5),
    };
    this.#wire();
    this.#setTool(viewer.pointing.tool);
  }

  tell(words) {
    byId("word").textContent = words;
    byId("word").hidden = words === "";
  }

  #wire() {
    const click = (id, action) => byId(id).addEventListener("click", action);
    click("zoom-in", () => this.viewer.zoomBy(1.5));
    click("zoom-out", () => this.viewer.zoomBy(1 / 1.5));
    click("fit", () => this.viewer.fit());
    click("one-to-one", () => this.#oneToOne());
    click("turn", () => this.viewer.turn(1));
    click("mirror", () => this.viewer.mirror());
    click("fill", () => this.#fillScreen());
    click("reset", () => this.#reset());
    for (const tool of TOOLS) click(`tool-${tool}`, () => this.#setTool(tool));
    byId("preset").addEventListener("change", ({ target }) => this.#preset(target.value));
    for (const id of ["centre", "width"]) byId(id).addEventListener("change", () => this.#typed());
    const { stage } = this.viewer;
    stage.addEventListener("pointermove", ({ clientX, clientY }) => this.#point(this.viewer.shown && this.viewer.storedPlace(clientX, clientY)));
    stage.addEventListener("pointerleave", () => this.#point(null));
    document.addEventListener("fullscreenchange", () => byId("fill").setAttribute("aria-pressed", document.fullscreenElement !== null));
  }

  #shown(image) {
    this.tell("");
    this.pointer = null;
    this.failed.delete(image.key);
    this.#offerPresets();
    const kept = this.kept.get(image.key);
    if (kept) this.#deepen(image, kept);
  }

  // -- full depth

  // Asks for more where the preview has fewer pixels than the screen shows.
  #wantMore() {
    const { shown, picture, scale } = this.viewer;
    if (!shown || shown.full) return;
    const seen = Math.min(shown.image.width, shown.image.width * scale * devicePixelRatio);
    if (picture.width < seen - 1) this.#wait(shown.image);
  }

  #wait(image) {
    if (this.waiting === image) return;
    this.waiting = image;
    setTimeout(() => {
      if (this.waiting === image) this.waiting = null;
      if (this.viewer.shown?.image === image) this.load();
    }, PAUSE);
  }

  // Asks for the picture at full depth of the image shown, once.
  async load() {
    const { shown } = this.viewer;
    if (!shown || shown.full || !this.backend.fullPicture || this.failed.has(shown.image.key) || this.loading === shown.image) return;
    const { image } = shown;
    this.asked?.abort(); // of the image before
    this.asked = new AbortController();
    this.loading = image;
    this.#tellResolution();
    try {
      const full = Picture.parsed(await this.backend.fullPicture(image, this.asked.signal));
      this.#keep(image.key, full);
      this.#deepen(image, full);
    } catch (error) {
      if (this.viewer.shown?.image === image) this.failed.set(image.key, error.message);
    }
    if (this.loading === image) this.loading = null;
    this.#tellResolution();
  }

  #keep(key, full) {
    this.kept.delete(key);
    this.kept.set(key, full);
    while (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
  }

  #deepen(image, full) {
    this.viewer.deepen(image, full);
    if (this.viewer.shown?.image !== image) return;
    this.#offerPresets();
    if (this.viewer.marking.ruler) this.#measured();
  }

  // -- window

  #shift(brighter, wider) {
    if (!this.viewer.shown) return;
    this.#changeWindow(() => this.viewer.shiftWindow(brighter, wider));
  }

  #typed() {
    const [centre, width] = ["centre", "width"].map((id) => byId(id).valueAsNumber);
    if (Number.isFinite(centre) && Number.isFinite(width)) {
      this.#changeWindow(() => this.viewer.setWindow({ centre, width, function: this.viewer.shownWindow.function }));
    }
    this.#writeWindow();
  }

  // Puts the window into its two fields, but for one that is being filled in.
  #writeWindow(besides = null) {
    const { centre, width } = this.viewer.shownWindow;
    for (const [id, value] of [["centre", centre], ["width", width]]) {
      if (byId(id) !== besides) byId(id).value = text(value);
    }
  }

  #changeWindow(change) {
    if (!this.viewer.shown) return;
    this.load();
    const fits = change();
    this.tell(fits ? "" : `A window must be wider than 0 to show anything; the narrowest, ${text(this.viewer.window.width)}, was taken.`);
  }

  // Windows to choose from: [words, window], null being what the file says.
  get presets() {
    const { picture } = this.viewer;
    if (!picture) return [];
    const own = picture.windows.map((window) => [
      `${window.explanation || "window"} ${text(window.centre)} / ${text(window.width)}`, window,
    ]);
    const first = picture.isPreview ? "As the preview" : picture.table ? "VOI LUT of the file" : "As the file says";
    return [[first, null], ...own, ["Whole range", picture.whole], ["1 to 99 % of pixels", picture.between(0.01, 0.99)]];
  }

  #offerPresets() {
    this.offered = this.presets;
    const options = this.offered.map(([words], place) => make("option", { value: place }, words));
    byId("preset").replaceChildren(...options, make("option", { value: "", disabled: "" }, "Own window"));
    this.#changed();
  }

  #preset(place) {
    const [, window] = this.offered[place] ?? [];
    if (window !== undefined) this.#changeWindow(() => this.viewer.setWindow(window));
  }

  #nextPreset() {
    if (this.viewer.shown) this.#preset((this.#presetNow() + 1) % this.offered.length);
  }

  // The place of the preset that is shown, -1 where it is none.
  #presetNow() {
    const same = (one, other) => one === other || (one && other && one.centre === other.centre && one.width === other.width && one.function === other.function);
    return this.offered.findIndex(([, window]) => same(window, this.viewer.window));
  }

  // -- size and tools

  #oneToOne() {
    this.load();
    this.viewer.oneToOne();
  }

  #reset() {
    this.viewer.reset();
    if (this.viewer.options.invert) byId("invert").click();
    this.tell("");
  }

  // Whoever chooses a tool draws no longer.
  #setTool(tool) {
    if (this.viewer.marking.kind) {
      this.viewer.stopDrawing();
      this.viewer.onStopped();
    }
    this.viewer.pointing.setTool(tool);
  }

  #nextTool() {
    this.#setTool(TOOLS[(TOOLS.indexOf(this.viewer.pointing.tool) + 1) % TOOLS.length]);
  }

  async #fillScreen() {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await document.querySelector(".viewer").requestFullscreen();
    } catch {
      this.tell("This browser does not let the page fill the screen.");
    }
  }

  #measured() {
    const { ruler, length } = this.viewer.marking;
    if (!ruler) return;
    this.load();
    const { spacing } = this.viewer.picture;
    if (spacing) this.tell(`${length} ${spacing.meaning} (${spacing.source}).`);
    else this.tell(`${length} of the stored picture: ${this.viewer.shown.full ? "the file does not say" : "it is not known yet"} how many mm a pixel is.`);
  }

  // -- what is read off

  #point(place) {
    this.pointer = place;
    this.#tellValues();
  }

  #changed() {
    const { shown } = this.viewer;
    for (const each of document.querySelectorAll(".readout")) each.hidden = !shown;
    for (const id of ["preset", "centre", "width"]) byId(id).disabled = !shown;
    if (!shown) return;
    this.#writeWindow(document.activeElement);
    if (this.offered) byId("preset").value = this.#presetNow() < 0 ? "" : this.#presetNow();
    byId("scale").textContent = `${Math.round(100 * this.viewer.scale * devicePixelRatio)} %`;
    this.#tellValues();
    this.#tellResolution();
    this.#wantMore();
  }

  #tellValues() {
    const { shown, picture } = this.viewer;
    if (!shown) return;
    const { centre, width } = this.viewer.shownWindow;
    const lines = [picture.table && !this.viewer.window ? "VOI LUT" : `C ${text(centre)}  W ${text(width)}`];
    const [x, y] = (this.pointer ?? [-1, -1]).map(Math.round);
    if (x >= 0 && y >= 0 && x < shown.image.width && y < shown.image.height) {
      const [column, row] = [[x, picture.width / shown.image.width], [y, picture.height / shown.image.height]].map(([at, factor]) => Math.floor((at + 0.5) * factor));
      const value = picture.valueAt(column, row);
      lines.push(`x ${x}  y ${y}  ${value === null ? "padding" : `${picture.isPreview ? "grey of the preview" : "value"} ${text(value)}`}`);
    }
    byId("readout").textContent = lines.join("\n");
  }

  #tellResolution() {
    const { shown, picture } = this.viewer;
    if (!shown) return;
    const { image, full } = shown;
    if (full) {
      byId("resolution").textContent = `Full resolution, ${full.bits} bits${full.exact ? "" : ", rounded"}`;
      return;
    }
    const [seen, all] = [picture, image].map(({ width, height }) => Math.max(width, height));
    const size = seen < all ? `Preview, ${seen} of ${all} px a side` : `Preview, all ${all} px a side, in 8 bits`;
    const why = this.failed.get(image.key);
    const more = why ? `. ${why}` : this.loading === image ? "; full resolution is on its way …" : "";
    byId("resolution").textContent = size + more;
  }
}

// A number in at most five digits.
function text(number) {
  return String(Number(number.toPrecision(Math.abs(number) >= 10_000 ? 6 : 5)));
}
