"use strict";
// The radiograph with its map, contour and peak. All of them share one box with the stored picture's aspect, which is
// moved, turned and mirrored as a whole: the map covers all of it, and the marks are drawn in stored pixels, the centre of
// the top-left one at (0, 0).

const LARGEST = 16; // times the size that fits

class Viewer {
  constructor() {
    this.stage = byId("stage");
    this.box = byId("picture");
    this.canvas = byId("canvas");
    this.map = byId("map");
    this.marks = byId("marks");
    this.message = byId("message");
    this.shown = null; // { image, picture, marks, full }
    this.window = null; // the reader's own, else as the file says
    this.options = { map: true, contours: true, peak: true, others: true, invert: false, opacity: 75 };
    this.onChange = () => {}; // is told whenever something about the view has changed
    this.onShow = () => {}; // is told of an image that is shown
    this.onDrawn = () => {}; // is given what the reader has drawn, { kind, points }, see `startDrawing`
    this.onStopped = () => {}; // is told that the reader has ended drawing with Escape
    this.#straighten();
    this.marking = new Marking(this);
    this.pointing = new Pointing(this);
    new ResizeObserver(() => this.#place()).observe(this.stage);
    this.#drawRamp();
  }

  say(text) {
    this.shown = null;
    this.box.hidden = true;
    this.message.hidden = false;
    this.message.textContent = text;
    this.marking.clear();
    this.onChange();
  }

  // Shows an image; picture and map are loaded <img> elements, the map may be null. The marks, contours and peak, are the
  // image's, unless those of another map are given.
  show(image, picture, map, marks = image) {
    const again = this.shown?.image === image;
    const full = again ? this.shown.full : null;
    this.shown = { image, preview: Picture.ofPreview(picture), full, marks, hasMap: map !== null };
    this.message.hidden = true;
    this.box.hidden = false;
    this.canvas.setAttribute("aria-label", `Radiograph ${image.name}`);
    this.marks.setAttribute("viewBox", `-0.5 -0.5 ${image.width} ${image.height}`);
    if (map) {
      const colours = coloured(map);
      [this.map.width, this.map.height] = [colours.width, colours.height];
      this.map.getContext("2d").drawImage(colours, 0, 0);
    }
    if (!again) {
      this.window = null;
      this.#straighten();
      this.marking.clear();
    }
    this.#showMap();
    this.#place();
    if (!again) this.onShow(image);
  }

  // The picture at full depth takes the place of its preview; the window stays what it looks like.
  deepen(image, full) {
    if (this.shown?.image !== image) return;
    if (this.window) this.window = full.taken(this.window, this.picture);
    this.shown.full = full;
    this.#place();
    this.#paint();
  }

  get picture() {
    return this.shown && (this.shown.full ?? this.shown.preview);
  }

  set(option, value) {
    this.options[option] = value;
    if (option === "invert") this.#paint();
    this.#showMap();
    this.#mark();
    this.marking.place();
  }

  // Shows the values about a centre, `width` of them; nothing given is as the file says. One too narrow to show anything
  // becomes the narrowest one, and false is the answer.
  setWindow(window = null) {
    if (!this.shown) return true;
    const least = window && this.picture.narrowest(window.function);
    const fits = !window || window.width >= least;
    this.window = fits ? window : { ...window, width: least };
    this.#paint();
    return fits;
  }

  // The window as the reader sees it; of a table in the file, all values.
  get shownWindow() {
    return this.window ?? this.picture.start;
  }

  // Brighter by a share of the whole, and wider by another.
  shiftWindow(brighter, wider) {
    const { start, inverse } = this.picture;
    const { centre, width, function: kind } = this.shownWindow;
    const sign = inverse === this.options.invert ? -1 : 1;
    return this.setWindow({ centre: centre + sign * brighter * start.width, width: width + wider * start.width, function: kind });
  }

  fit() {
    this.zoom = { scale: 1, x: 0, y: 0 };
    this.#place();
  }

  // One stored pixel on one of the screen.
  oneToOne() {
    if (this.shown) this.zoomBy(1 / (this.scale * devicePixelRatio));
  }

  // Turned by so many quarters, clockwise as it is seen.
  turn(quarters) {
    this.quarter = (this.quarter + (this.isMirrored ? -quarters : quarters) + 4) % 4;
    this.fit();
  }

  mirror() {
    this.isMirrored = !this.isMirrored;
    this.zoom.x = -this.zoom.x;
    this.#place();
  }

  // Window, size and orientation as at first.
  reset() {
    this.#straighten();
    this.setWindow();
    this.#place();
  }

  // Zooms about a point of the stage, by default its centre; (0, 0) is the centre.
  zoomBy(factor, x = 0, y = 0) {
    if (!this.shown) return;
    const one = this.zoom.scale / (this.scale * devicePixelRatio);
    const scale = Math.min(Math.max(this.zoom.scale * factor, Math.min(1, one)), Math.max(LARGEST, 8 * one));
    const ratio = scale / this.zoom.scale;
    this.zoom = { scale, x: x - ratio * (x - this.zoom.x), y: y - ratio * (y - this.zoom.y) };
    this.#place();
  }

  moveBy(x, y) {
    this.zoom.x += x;
    this.zoom.y += y;
    this.#place();
  }

  // The place in stored pixels, [x, y], under a point of the browser's window.
  storedPlace(clientX, clientY) {
    const { width, height } = this.shown.image;
    let [x, y] = this.fromCentre(clientX, clientY);
    [x, y] = [x - this.zoom.x, y - this.zoom.y];
    if (this.isMirrored) x = -x;
    for (let turned = 0; turned < this.quarter; turned += 1) [x, y] = [y, -x];
    return [x / this.scale + width / 2 - 0.5, y / this.scale + height / 2 - 0.5];
  }

  // The point of the stage, px from its top left, over a place in stored pixels.
  stagePoint([column, row]) {
    const { width, height } = this.shown.image;
    let [x, y] = [(column + 0.5 - width / 2) * this.scale, (row + 0.5 - height / 2) * this.scale];
    for (let turned = 0; turned < this.quarter; turned += 1) [x, y] = [-y, x];
    if (this.isMirrored) x = -x;
    return [x + this.zoom.x + this.stage.clientWidth / 2, y + this.zoom.y + this.stage.clientHeight / 2];
  }

  // A point of the browser's window as px from the stage's centre.
  fromCentre(clientX, clientY) {
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    return [clientX - left - width / 2, clientY - top - height / 2];
  }

  // -- drawing, for who asks for marks: points are [x, y] in stored pixels

  // Lets the reader draw a "box" (two opposite corners) or an "outline" (a closed polygon), one after the other.
  startDrawing(kind) {
    this.marking.start(kind);
  }

  stopDrawing() {
    this.marking.stop();
  }

  // Shows marks, [{ kind, points }, ...], until others are shown or another image is; those of other readers,
  // [{ name, look, marks }], bear their names, and can be hidden.
  showMarks(marks, others = []) {
    this.marking.show(marks, others);
  }

  #straighten() {
    this.zoom = { scale: 1, x: 0, y: 0 };
    this.quarter = 0;
    this.isMirrored = false;
  }

  // Draws the picture in shades, at the size that the screen needs.
  #paint() {
    if (!this.shown) return;
    const { picture } = this;
    const { image } = this.shown;
    const size = picture.atLeast(Math.min(image.width * this.scale * devicePixelRatio, picture.width));
    if (this.canvas.width !== size.width || this.canvas.height !== size.height) {
      [this.canvas.width, this.canvas.height] = [size.width, size.height];
    }
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    const drawn = context.createImageData(size.width, size.height);
    const shades = picture.shades(this.window, this.options.invert);
    const to = new Uint32Array(drawn.data.buffer);
    const { levels } = size;
    for (let i = 0; i < to.length; i += 1) to[i] = 0xff000000 | (shades[levels[i]] * 0x010101); // opaque grey
    context.putImageData(drawn, 0, 0);
    this.canvas.style.width = `${(100 * size.width * size.factor) / picture.width}%`;
    this.canvas.style.height = `${(100 * size.height * size.factor) / picture.height}%`;
    this.painted = { picture, size };
    this.onChange();
  }

  #showMap() {
    this.map.hidden = !this.shown?.hasMap || !this.options.map;
    this.map.style.opacity = this.options.opacity / 100;
  }

  #mark() {
    if (!this.shown) return;
    const { marks } = this.shown;
    const contours = this.options.contours ? (marks.contours ?? []) : [];
    const outlines = ["halo", "line"].flatMap((look) => contours.map((polygon) => draw("polygon", { class: `contour ${look}`, points: pointsText(polygon) })));
    this.marks.replaceChildren(...outlines);
    if (this.options.peak && marks.peak) this.marks.append(this.#peakMark(marks.peak));
  }

  #peakMark([row, column]) {
    const cross = "M-14 0H-5M5 0H14M0 -14V-5M0 5V14";
    return draw(
      "g",
      { class: "peak", transform: `translate(${column} ${row}) scale(${1 / this.scale})` },
      draw("circle", { class: "halo", r: 9 }),
      draw("path", { class: "halo", d: cross }),
      draw("circle", { class: "line", r: 9 }),
      draw("path", { class: "line", d: cross }),
    );
  }

  // Sizes the box to the stage and moves it; no further than its edge.
  #place() {
    const { clientWidth, clientHeight } = this.stage;
    if (!this.shown || !clientWidth || !clientHeight) return; // on paper it has no room
    const { width, height } = this.shown.image;
    const seen = this.quarter % 2 ? [height, width] : [width, height];
    this.scale = Math.min(clientWidth / seen[0], clientHeight / seen[1]) * this.zoom.scale; // px of the page to a stored one
    const limit = (size, room) => Math.max((size * this.scale - room) / 2, 0);
    const within = (value, most) => Math.min(Math.max(value, -most), most);
    this.zoom.x = within(this.zoom.x, limit(seen[0], clientWidth));
    this.zoom.y = within(this.zoom.y, limit(seen[1], clientHeight));
    const [across, down] = [width * this.scale, height * this.scale];
    this.box.style.width = `${across}px`;
    this.box.style.height = `${down}px`;
    this.box.style.left = `${(clientWidth - across) / 2 + this.zoom.x}px`;
    this.box.style.top = `${(clientHeight - down) / 2 + this.zoom.y}px`;
    this.box.style.transform = `${this.isMirrored ? "scaleX(-1) " : ""}rotate(${90 * this.quarter}deg)`;
    this.box.classList.toggle("large", this.scale > 3);
    this.stage.classList.toggle("zoomed", this.zoom.scale > 1);
    const { picture } = this;
    const size = picture.atLeast(Math.min(width * this.scale * devicePixelRatio, picture.width));
    if (this.painted?.picture !== picture || this.painted.size !== size) this.#paint();
    this.#mark();
    this.marking.place();
    this.onChange();
  }

  #drawRamp() {
    const ramp = byId("ramp");
    const context = ramp.getContext("2d");
    for (let x = 0; x < ramp.width; x += 1) {
      const [red, green, blue] = COLOURS[Math.round((x / (ramp.width - 1)) * 255)];
      context.fillStyle = `rgb(${red} ${green} ${blue})`;
      context.fillRect(x, 0, 1, 1);
    }
  }
}

function pointsText(points) {
  return points.map((point) => point.join(",")).join(" ");
}
