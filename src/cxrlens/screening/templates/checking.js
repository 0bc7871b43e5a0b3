"use strict";
// Files dropped on the served page or chosen: each becomes a row of the list, with the map of the method chosen.

const ABOUT_THE_FILE = new Set([400, 413, 415, 422]);

class Checking {
  constructor(review) {
    this.review = review;
    this.backend = review.backend;
    this.waiting = [];
    this.#makeMethods();
    this.#wire();
  }

  // Checks files one after the other; those that cannot be read become rows that say why.
  async add(files) {
    this.waiting.push(...files);
    if (this.running) return;
    this.running = true;
    let last = null;
    for (let number = 1; this.waiting.length; number += 1) {
      const file = this.waiting.shift();
      this.review.tell(`Checking ${file.name}${this.waiting.length ? `; ${counted(this.waiting.length, "more file")} waiting` : ""} …`);
      try {
        last = this.#put(await this.#look(file));
      } catch (error) {
        this.review.tell(`${file.name} was not checked, nor what came after it. ${error.message}`, "error");
        this.waiting = [];
        this.running = false;
        return;
      }
    }
    this.running = false;
    if (last.status === "ok") this.review.hush();
    else this.review.tell(`${last.name}: ${last.reason}`, "error");
  }

  // Asks again for the radiograph shown, with the method chosen now.
  async again() {
    const image = this.review.current;
    if (!image || !isRead(image)) return;
    const asked = (this.asked = {});
    this.review.tell(`Asking for the map of ${image.name} …`);
    try {
      const choice = [byId("method").value, byId("layers").value];
      const checked = await (image.file ? this.backend.check(image.file, ...choice) : this.backend.explain(image, ...choice));
      if (asked !== this.asked) return; // another choice was made meanwhile
      if (checked) this.#put(checked, image);
      else if (this.review.current === image) this.review.show(image);
      this.review.hush();
    } catch (error) {
      if (asked === this.asked) this.review.tell(error.message, "error");
    }
  }

  async #look(file) {
    try {
      return await this.backend.check(file, byId("method").value, byId("layers").value);
    } catch (error) {
      if (!ABOUT_THE_FILE.has(error.status)) throw error;
      return {
        name: file.name, key: "", status: "unreadable", reason: error.message, probability: null, decision: null, triage: null,
        origin: "", height: 0, width: 0, method: "", layers: "", grid: "", interpolation: "", flip: false, flat: false, peak: null, contours: [], refusals: [], note: CHECKED, file,
      };
    }
  }

  // Puts an image on the list, in the place of another one, and selects it. A file that is there already, of the worklist
  // or checked before, is shown once: as it was checked last, under the name that it has there.
  #put(checked, replaced = null) {
    const { backend, review } = this;
    const there = replaced ?? backend.images.find((other) => isRead(checked) && isRead(other) && other.key === checked.key);
    const image = there ? { ...checked, name: there.name } : checked;
    backend.images = [image, ...backend.images.filter((other) => other !== there)];
    review.list.setImages(backend.images);
    if (!replaced) review.filters.showAll();
    review.refresh();
    if (!replaced || review.current === replaced) review.list.select(image);
    return image;
  }

  #makeMethods() {
    const { methods, default_method: first, default_layers: layers } = this.backend.methods;
    byId("method").append(...methods.map((method) => make("option", { value: method.id, title: method.formula }, method.title)));
    byId("method").value = first;
    this.#offerLayers(layers);
  }

  #offerLayers(wanted) {
    const method = this.backend.methods.methods.find(({ id }) => id === byId("method").value);
    const choices = method?.layers ?? [];
    byId("layers").replaceChildren(...choices.map((layers) => make("option", { value: layers }, layers)));
    if (choices.includes(wanted)) byId("layers").value = wanted;
    byId("layers").closest("label").classList.toggle("off", choices.length === 0);
  }

  #wire() {
    byId("method").addEventListener("change", () => {
      this.#offerLayers(byId("layers").value || this.backend.methods.default_layers);
      this.again();
    });
    byId("layers").addEventListener("change", () => this.again());
    byId("method-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.again();
    });
    byId("choose").addEventListener("click", () => byId("chosen").click());
    byId("chosen").addEventListener("change", ({ target }) => {
      this.add([...target.files]);
      target.value = "";
    });

    const drop = byId("drop");
    const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
    document.addEventListener("dragover", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      drop.hidden = false;
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) drop.hidden = true;
    });
    document.addEventListener("drop", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      drop.hidden = true;
      this.add([...event.dataTransfer.files]);
    });
  }
}
