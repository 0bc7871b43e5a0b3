"use strict";
// The radiograph with its map, contour and peak. All of them share one box with the stored picture's aspect: the map
// covers the whole of it, and the marks are drawn in stored pixels, the centre of the top-left one at (0, 0).

class Viewer {
  constructor() {
    this.stage = byId("stage");
    this.box = byId("picture");
    this.canvas = byId("canvas");
    this.marks = byId("marks");
    this.message = byId("message");
    this.shown = null; // { image, picture, map }
    this.zoom = { scale: 1, x: 0, y: 0 };
    this.options = { map: true, contours: true, peak: true, invert: false, opacity: 75, brightness: 0, contrast: 0 };
    this.#watch();
    new ResizeObserver(() => this.#place()).observe(this.stage);
    this.#drawRamp();
  }

  say(text) {
    this.shown = null;
    this.box.hidden = true;
    this.message.hidden = false;
    this.message.textContent = text;
  }

  // Shows an image; picture and map are loaded <img> elements, the map may be null.
  show(image, picture, map) {
    this.shown = { image, picture, map: map && coloured(map) };
    this.message.hidden = true;
    this.box.hidden = false;
    this.canvas.setAttribute("aria-label", `Radiograph ${image.name}`);
    this.canvas.width = picture.naturalWidth;
    this.canvas.height = picture.naturalHeight;
    this.marks.setAttribute("viewBox", `-0.5 -0.5 ${image.width} ${image.height}`);
    this.fit();
    this.#window();
  }

  set(option, value) {
    this.options[option] = value;
    if (["brightness", "contrast", "invert"].includes(option)) this.#window();
    else this.#paint();
  }

  fit() {
    this.zoom = { scale: 1, x: 0, y: 0 };
    this.#place();
  }

  // Zooms about a point of the stage, by default its centre; (0, 0) is the centre.
  zoomBy(factor, x = 0, y = 0) {
    const scale = Math.min(Math.max(this.zoom.scale * factor, 1), 16);
    const ratio = scale / this.zoom.scale;
    this.zoom = { scale, x: x - ratio * (x - this.zoom.x), y: y - ratio * (y - this.zoom.y) };
    this.#place();
  }

  #window() {
    if (!this.shown) return;
    this.shown.grey = windowed(this.shown.picture, this.options);
    this.#paint();
  }

  #paint() {
    if (!this.shown) return;
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    const { width, height } = this.canvas;
    context.globalAlpha = 1;
    context.drawImage(this.shown.grey, 0, 0);
    if (this.shown.map && this.options.map) {
      context.globalAlpha = this.options.opacity / 100;
      context.imageSmoothingQuality = "high";
      context.drawImage(this.shown.map, 0, 0, width, height);
    }
    this.#mark();
  }

  #mark() {
    const { image } = this.shown;
    const points = (polygon) => polygon.map((point) => point.join(",")).join(" ");
    const contours = this.options.contours ? (image.contours ?? []) : [];
    const outlines = ["halo", "line"].flatMap((look) =>
      contours.map((polygon) => draw("polygon", { class: `contour ${look}`, points: points(polygon) })),
    );
    this.marks.replaceChildren(...outlines);
    if (this.options.peak && image.peak) this.marks.append(this.#peakMark(image.peak));
  }

  #peakMark([row, column]) {
    const unit = this.shown.image.width / this.size.width; // stored pixels to a pixel of the screen
    const cross = "M-14 0H-5M5 0H14M0 -14V-5M0 5V14";
    return draw(
      "g",
      { class: "peak", transform: `translate(${column} ${row}) scale(${unit})` },
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
    const scale = Math.min(clientWidth / width, clientHeight / height) * this.zoom.scale;
    this.size = { width: width * scale, height: height * scale };
    const limit = (size, room) => Math.max((size - room) / 2, 0);
    const within = (value, most) => Math.min(Math.max(value, -most), most);
    this.zoom.x = within(this.zoom.x, limit(this.size.width, clientWidth));
    this.zoom.y = within(this.zoom.y, limit(this.size.height, clientHeight));
    this.box.style.width = `${this.size.width}px`;
    this.box.style.height = `${this.size.height}px`;
    this.box.style.left = `${(clientWidth - this.size.width) / 2 + this.zoom.x}px`;
    this.box.style.top = `${(clientHeight - this.size.height) / 2 + this.zoom.y}px`;
    this.stage.classList.toggle("zoomed", this.zoom.scale > 1);
    this.#mark();
  }

  #watch() {
    const fromCentre = (event) => {
      const stage = this.stage.getBoundingClientRect();
      return [event.clientX - stage.left - stage.width / 2, event.clientY - stage.top - stage.height / 2];
    };
    this.stage.addEventListener("wheel", (event) => {
      if (!this.shown) return;
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 400), ...fromCentre(event));
    }, { passive: false });
    this.stage.addEventListener("dblclick", (event) => {
      if (this.zoom.scale > 1) this.fit();
      else this.zoomBy(2.5, ...fromCentre(event));
    });
    let grip = null;
    this.stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || this.zoom.scale === 1) return;
      grip = { x: event.clientX - this.zoom.x, y: event.clientY - this.zoom.y };
      this.stage.setPointerCapture(event.pointerId);
    });
    this.stage.addEventListener("pointermove", (event) => {
      if (!grip) return;
      this.zoom.x = event.clientX - grip.x;
      this.zoom.y = event.clientY - grip.y;
      this.#place();
    });
    for (const end of ["pointerup", "pointercancel"]) this.stage.addEventListener(end, () => (grip = null));
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
