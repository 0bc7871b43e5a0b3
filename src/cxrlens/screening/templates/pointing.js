"use strict";
// What the pointer does on the radiograph. Its main button does what the tool says; the others move the picture, two
// fingers zoom and move it, the wheel zooms.

const WHOLE = 400; // px of dragging by which a window moves, or widens, by the whole of the picture's own

class Pointing {
  constructor(viewer) {
    this.viewer = viewer;
    this.stage = viewer.stage;
    this.held = new Map(); // pointers that are down: id to [x, y]
    this.drag = null; // { moved(x, y, event), ended(event), dropped() }, all optional
    this.onTool = () => {}; // is told what the main button does now: a tool, or "draw"
    this.setTool(matchMedia("(pointer: coarse)").matches ? "move" : "window"); // a finger that scrolls changes no greys
    this.#watch();
  }

  // "window", "move" or "ruler".
  setTool(tool) {
    this.tool = tool;
    this.show();
  }

  // The style sheet knows what the pointer does.
  show() {
    this.stage.dataset.tool = this.viewer.marking.kind ? "draw" : this.tool;
    this.onTool(this.stage.dataset.tool);
  }

  #watch() {
    const on = (type, action, options) => this.stage.addEventListener(type, (event) => this.viewer.shown && action(event), options);
    on("wheel", (event) => {
      event.preventDefault();
      this.viewer.zoomBy(Math.exp(-event.deltaY / 400), ...this.viewer.fromCentre(event.clientX, event.clientY));
    }, { passive: false });
    on("dblclick", (event) => {
      if (this.viewer.marking.kind || this.tool === "ruler") return;
      if (this.viewer.zoom.scale > 1) this.viewer.fit();
      else this.viewer.zoomBy(2.5, ...this.viewer.fromCentre(event.clientX, event.clientY));
    });
    on("contextmenu", (event) => event.preventDefault());
    on("touchstart", (event) => event.touches.length > 1 && event.preventDefault(), { passive: false });
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#moved(event));
    for (const end of ["pointerup", "pointercancel"]) on(end, (event) => this.#up(event));
  }

  #down(event) {
    this.held.set(event.pointerId, [event.clientX, event.clientY]);
    this.stage.setPointerCapture(event.pointerId);
    if (this.held.size > 1) {
      this.drag?.dropped?.();
      this.drag = null;
    } else {
      this.drag = this.#begun(event);
    }
  }

  #begun(event) {
    const { viewer } = this;
    const moving = { moved: (x, y) => viewer.moveBy(x, y) };
    if (event.button !== 0) return moving;
    if (viewer.marking.kind || this.tool === "ruler") return viewer.marking.begun(event);
    if (this.tool === "move") return moving;
    return { moved: (x, y) => this.onWindow(-y / WHOLE, x / WHOLE) };
  }

  // Tells of a window that is changed by dragging; so much brighter, so much wider.
  onWindow(brighter, wider) {
    this.viewer.shiftWindow(brighter, wider);
  }

  #moved(event) {
    const before = this.held.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    if (this.held.size > 1) this.#pinched(event.pointerId, before, now);
    else this.drag?.moved?.(now[0] - before[0], now[1] - before[1], event);
    this.held.set(event.pointerId, now);
  }

  // Of two fingers, one of which has moved: about the point between them.
  #pinched(id, before, now) {
    const [, other] = [...this.held].find(([pointer]) => pointer !== id);
    const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]);
    this.viewer.moveBy((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    if (apart(before) < 1) return;
    const middle = this.viewer.fromCentre((now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    this.viewer.zoomBy(apart(now) / apart(before), ...middle);
  }

  #up(event) {
    if (!this.held.delete(event.pointerId)) return;
    if (event.type === "pointercancel") this.drag?.dropped?.();
    else this.drag?.ended?.(event);
    this.drag = null;
  }
}
