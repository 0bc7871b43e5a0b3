"use strict";
// The backend of the file: all data is in the page or beside it, and verdicts stay in this browser.

class VerdictStore {
  constructor(name) {
    this.name = name;
    this.memory = {};
    try {
      localStorage.setItem(`${name}-test`, "1");
      localStorage.removeItem(`${name}-test`);
      this.kept = true;
    } catch {
      this.kept = false;
    }
  }

  read() {
    if (!this.kept) return this.memory;
    try {
      return JSON.parse(localStorage.getItem(this.name)) ?? {};
    } catch {
      return {};
    }
  }

  write(value) {
    if (!this.kept) this.memory = value;
    else localStorage.setItem(this.name, JSON.stringify(value));
  }
}

class OfflineBackend {
  constructor() {
    const data = JSON.parse(byId("data").textContent);
    this.info = data.info;
    this.facts = data.facts;
    this.thresholds = [data.info];
    this.images = data.images;
    this.pictures = data.beside ? new PicturesBeside(data.beside) : new EmbeddedPictures();
    this.nothing = "No radiograph is selected.";
    this.store = new VerdictStore(`cxrlens-verdicts-${data.id}`);
    this.storage = this.store.kept
      ? "Verdicts are kept in this browser only; export them to pass them on."
      : "This browser keeps nothing for this page: export the verdicts before you close it.";
    this.name = new VerdictStore("cxrlens-reader");
    byId("reader").value = typeof this.name.read() === "string" ? this.name.read() : "";
    byId("reader").addEventListener("change", () => this.#keepName());
  }

  // Of who sits here, as they say themselves.
  get reader() {
    return byId("reader").value.trim();
  }

  isOwn() {
    return true; // the page has one verdict an image, whoever's it is
  }

  mayImport() {
    return true;
  }

  #keepName() {
    try {
      this.name.write(this.reader);
    } catch {
      // it is asked for again when the page is opened next
    }
  }

  get found() {
    return Object.entries(this.store.read()).flatMap(([key, given]) => (Object.hasOwn(VERDICTS, given?.verdict ?? "") ? [{ key, ...given }] : []));
  }

  // Reads before it writes, since the page may be open twice.
  async keep(changes) {
    const stored = this.store.read();
    for (const { image, verdict, time, reader, ...rest } of changes) {
      if (verdict) stored[image.key] = { verdict, time, reader: reader ?? "", ...groundsOf(rest) };
      else delete stored[image.key];
    }
    try {
      this.store.write(stored);
    } catch {
      throw new Error("This browser has no room for the verdict: export the verdicts, and free its storage.");
    }
  }

  csv(verdicts) {
    return verdicts.toCsv(this.images, this.facts.reasons);
  }

  thresholdsOf() {
    return this.info;
  }

  noVerdict(image) {
    return isRead(image) ? "" : NO_VERDICT_UNREAD;
  }

  get origin() {
    return { folder: this.info.root.split("/").at(-1), model: this.info.model, screened: this.info.created };
  }

  hasPicture(image) {
    return image.shown;
  }

  thumbnail(image) {
    return image.shown ? this.pictures.thumbnail(image) : null;
  }

  picture(image) {
    return image.shown ? this.pictures.picture(image) : null;
  }

  map(image) {
    return image.shown ? this.pictures.map(image) : null;
  }

  noPicture(image) {
    if (image.status !== "ok") return "This file could not be read.";
    return "This report does not carry the picture of this image; it carries those of the first in the list.";
  }
}

window.review = new Review(new OfflineBackend());
window.printing = new Printing(window.review);
addEventListener("storage", ({ key }) => {
  const { backend } = window.review; // the same report in another window
  if (key === backend.store.name) window.review.renew(backend.images, backend.found);
});
if (!window.review.backend.store.kept) {
  window.review.tell(window.review.backend.storage, "error");
  addEventListener("beforeunload", (event) => window.review.verdicts.byKey.size && event.preventDefault());
}
