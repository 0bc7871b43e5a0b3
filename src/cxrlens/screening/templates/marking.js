"use strict";
// What is drawn on the radiograph by hand: the ruler, and boxes and outlines for who asks for them. Points are [x, y] in
// pixels of the stored picture, the centre of its top-left one at (0, 0), however it is shown.

const LEAST = 4; // px of the screen that a mark must be wide and high, and that lie between two points of an outline

class Marking {
  constructor(viewer) {
    this.viewer = viewer;
    this.drawing = byId("drawn");
    this.label = byId("length");
    this.names = byId("names");
    this.kind = null; // "box" or "outline" while one may be drawn
    this.onWord = () => {}; // is told what the reader must know
    this.onMeasured = () => {}; // is told of a length
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.#escaped());
    this.clear();
  }

  // Takes everything away that belongs to an image.
  clear() {
    this.marks = [];
    this.others = [];
    this.stroke = null; // the points of what is being drawn
    this.ruler = null; // its two ends
    this.place();
  }

  start(kind) {
    this.kind = kind;
    this.stroke = null;
    this.viewer.pointing.show();
    this.place();
  }

  stop() {
    this.start(null);
  }

  // The reader's own, and those of others, [{ name, look, marks }], `look` being a class of the style sheet.
  show(marks, others = []) {
    this.marks = marks;
    this.others = others;
    this.place();
  }

  // A drag that draws, or measures.
  begun(event) {
    const first = this.#place(event);
    const kind = this.kind ?? "ruler";
    this.stroke = [first];
    if (kind === "ruler") this.ruler = null;
    return {
      moved: (x, y, moved) => {
        if (!this.stroke) return;
        const next = this.#place(moved);
        if (kind !== "outline") this.stroke = [first, next];
        else if (this.#apart(this.stroke.at(-1), next) >= LEAST) this.stroke.push(next);
        if (kind === "ruler") this.ruler = this.stroke;
        this.place();
      },
      ended: () => this.#ended(kind),
      dropped: () => this.#drop(),
    };
  }

  // Draws everything anew, and puts the ruler's length beside it.
  place() {
    const { shown } = this.viewer;
    this.label.hidden = !shown || !this.ruler;
    if (!shown) {
      this.drawing.replaceChildren();
      this.names.replaceChildren();
      return;
    }
    this.drawing.setAttribute("viewBox", `-0.5 -0.5 ${shown.image.width} ${shown.image.height}`);
    const others = this.viewer.options.others ? this.others : [];
    const marks = [...others.flatMap(({ look, marks }) => marks.flatMap((mark) => shapesOf(mark, `other ${look}`))), ...this.marks.flatMap((mark) => shapesOf(mark, "mark"))];
    const stroke = this.kind && this.stroke ? shapesOf({ kind: this.kind, points: this.stroke }, "stroke") : [];
    this.drawing.replaceChildren(...marks, ...stroke, ...(this.ruler ? shapesOf({ kind: "ruler", points: this.ruler }, "ruler") : []));
    if (this.ruler) this.#placeLabel();
    this.names.replaceChildren(...others.flatMap((other) => other.marks.flatMap((mark) => this.#nameOf(mark, other))));
  }

  // The reader's name above what they have drawn, or at the edge that it begins beyond; nothing where it is out of sight.
  #nameOf({ points }, { name, look }) {
    const { clientWidth, clientHeight } = this.viewer.stage;
    const [[left, top], [right, bottom]] = cornersOf(points.map((point) => this.viewer.stagePoint(point)));
    if (right < 0 || bottom < 0 || left > clientWidth || top > clientHeight) return [];
    const label = make("span", { class: look }, name);
    label.style.left = `${Math.min(Math.max(left, 0), clientWidth - 30)}px`;
    label.style.top = `${Math.max(top - 18, 28)}px`; // below what is read off
    return [label];
  }

  // The ruler's length in mm where the spacing of the pixels is known, else in pixels.
  get length() {
    const [[x0, y0], [x1, y1]] = this.ruler;
    const spacing = this.viewer.picture.spacing;
    if (!spacing) return `${Math.hypot(x1 - x0, y1 - y0).toFixed(1)} px`;
    return `${Math.hypot((x1 - x0) * spacing.columns, (y1 - y0) * spacing.rows).toFixed(1)} mm`;
  }

  #ended(kind) {
    const points = this.stroke && (kind === "outline" ? withoutOvershoot(this.stroke) : this.stroke);
    this.stroke = null;
    this.place();
    if (!points) return;
    if (kind === "ruler") {
      if (this.ruler) this.onMeasured();
      return;
    }
    const corners = cornersOf(points);
    if (!this.#isLarge(corners)) this.onWord(`That ${kind} is too small: draw it around the object, or zoom in.`);
    else if (kind === "box") this.viewer.onDrawn({ kind, points: corners });
    else if (crossesItself(points)) this.onWord("That outline crosses itself, so that it has no inside: draw it in one round.");
    else this.viewer.onDrawn({ kind, points });
  }

  #drop() {
    this.stroke = null;
    if (!this.kind) this.ruler = null;
    this.place();
  }

  #escaped() {
    const wasDrawing = this.kind !== null;
    this.stroke = null;
    this.ruler = null;
    if (!wasDrawing) return this.place();
    this.stop();
    this.viewer.onStopped();
  }

  // Within the picture, to hundredths of a pixel.
  #place(event) {
    const { width, height } = this.viewer.shown.image;
    const [x, y] = this.viewer.storedPlace(event.clientX, event.clientY);
    const within = (value, size) => Math.round(100 * Math.min(Math.max(value, -0.5), size - 0.5)) / 100;
    return [within(x, width), within(y, height)];
  }

  #apart([x0, y0], [x1, y1]) {
    return this.viewer.scale * Math.hypot(x1 - x0, y1 - y0);
  }

  #isLarge([[left, top], [right, bottom]]) {
    return Math.min(right - left, bottom - top) * this.viewer.scale >= LEAST;
  }

  #placeLabel() {
    const [one, other] = this.ruler.map((point) => this.viewer.stagePoint(point));
    const [x, y] = one[1] > other[1] ? one : other; // the lower end
    const { stage } = this.viewer;
    this.label.textContent = this.length;
    this.label.style.left = `${Math.min(Math.max(x + 10, 4), stage.clientWidth - this.label.offsetWidth - 4)}px`;
    this.label.style.top = `${Math.min(Math.max(y + 6, 4), stage.clientHeight - this.label.offsetHeight - 30)}px`;
  }
}

// A shape and its halo.
function shapesOf({ kind, points }, look) {
  const closed = kind === "box" ? boxOf(points) : points;
  const tag = kind === "ruler" ? "polyline" : "polygon";
  return ["halo", "line"].map((part) => draw(tag, { class: `${look} ${part}`, points: pointsText(closed) }));
}

function boxOf(points) {
  const [[left, top], [right, bottom]] = cornersOf(points);
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

// The top-left and the bottom-right corner of what encloses the points.
function cornersOf(points) {
  const [across, down] = [0, 1].map((axis) => points.map((point) => point[axis]));
  return [[Math.min(...across), Math.min(...down)], [Math.max(...across), Math.max(...down)]];
}

// An outline whose end went a little beyond its beginning, without both of these ends.
function withoutOvershoot(points) {
  const share = Math.floor(points.length / 5);
  for (let first = 0; first < share; first += 1) {
    for (let last = points.length - 1 - share; last < points.length - 1; last += 1) {
      if (last > first + 1 && doMeet(points.slice(first, first + 2), points.slice(last, last + 2))) return points.slice(first + 1, last + 1);
    }
  }
  return points;
}

// Whether any two sides of a closed polygon that are no neighbours meet.
function crossesItself(points) {
  const sides = points.map((point, place) => [point, points[(place + 1) % points.length]]);
  return sides.some((side, place) =>
    sides.slice(place + 2).some((other, later) => !(place === 0 && later + 2 === sides.length - 1) && doMeet(side, other)),
  );
}

function doMeet([a, b], [c, d]) {
  const turn = ([x0, y0], [x1, y1], [x2, y2]) => Math.sign((x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0));
  return turn(a, b, c) !== turn(a, b, d) && turn(c, d, a) !== turn(c, d, b);
}
