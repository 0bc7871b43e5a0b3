"use strict";
// The backend of the served page: everything comes from the HTTP API of the server, and verdicts go there.

const PART = 1000; // images of the worklist in one answer

class OnlineBackend {
  static async open() {
    const [model, methods, worklist] = await Promise.all([
      answerOf("api/model"),
      answerOf("api/methods"),
      wholeWorklist(),
    ]);
    const found = worklist ? await standing() : [];
    return new OnlineBackend(model, methods, worklist, found);
  }

  constructor(model, methods, worklist, found) {
    Object.assign(this, { model, methods, worklist, found });
    this.images = worklist?.images ?? [];
    this.pending = 0;
    this.#noteKeys();
    this.thresholds = worklist ? [worklist, model] : [model];
    this.storage = worklist ? "Verdicts are kept by the server, with every change in its audit log." : "";
    this.nothing = "Drop a radiograph anywhere on this page, or choose a file: DICOM, JPEG, PNG or TIFF. Nothing of it is kept.";
    this.queue = Promise.resolve();
    this.outbox = new Outbox(`cxrlens-waiting-${worklist?.folder ?? ""}`, (text, kind) => window.review.tell(text, kind));
    this.rest = this.outbox.waiting; // from when the page was open before
    this.found = withWaiting(found, this.rest);
  }

  // Sends what waited while the page was closed; fails where the server refuses any of it.
  async resume() {
    await Promise.all(this.rest.map((entry) => this.#send([entry])));
  }

  // One after the other, so that a second thought cannot arrive before the first.
  keep(changes) {
    const verdicts = changes.map(({ image, verdict, seen }) => ({ key: image.key, verdict: verdict ?? "none", seen: seen ?? "none" }));
    return this.#send(this.outbox.add(verdicts));
  }

  #send(entries) {
    this.pending += 1;
    const kept = this.queue.then(() => this.#post(entries));
    this.queue = kept.catch(() => {}).finally(() => (this.pending -= 1));
    return kept;
  }

  // The list with what has been screened since, and the verdicts that stand; null while verdicts are on their way. The
  // whole list is asked for only where its length has changed; images whose record has not stay the same objects.
  async news() {
    if (!this.worklist || this.pending) return null;
    const [brief, found] = await Promise.all([answerOf("api/worklist?limit=1"), standing()]);
    const grown = brief.total !== this.worklist.total || brief.unreadable !== this.worklist.unreadable;
    const worklist = grown ? await wholeWorklist() : this.worklist;
    if (this.pending) return null;
    if (!grown) return { images: this.images, found };
    const known = new Map(this.worklist.images.map((image) => [sameness(image), image]));
    const images = worklist.images.map((image) => known.get(sameness(image)) ?? image);
    this.worklist = { ...worklist, images };
    this.#noteKeys();
    const checked = this.images.filter(({ file }) => file);
    const shown = new Set(checked.filter(isRead).map((image) => sameFile(image, images)));
    return { images: [...checked, ...images.filter((image) => !shown.has(image))], found };
  }

  // The same once all verdicts have arrived.
  async afresh() {
    await this.queue;
    return this.news();
  }

  #noteKeys() {
    this.keys = new Set((this.worklist?.images ?? []).filter(isRead).map((image) => image.key));
  }

  async #post(entries) {
    for (const [kept, entry] of entries.entries()) {
      try {
        await this.outbox.deliver(entry);
      } catch (error) {
        this.outbox.remove(entries);
        throw Object.assign(error, { kept });
      }
    }
  }

  // What the model says of a file, as an image of the list.
  async check(file, method, layers) {
    const limit = this.model.max_upload;
    if (limit && file.size > limit) throw refusal(`The file is larger than the ${Math.floor(limit / 1e6)} MB that this server takes.`);
    const form = new FormData();
    form.append("file", await readable(file), file.name);
    form.append("method", method);
    if (layers) form.append("layers", layers);
    const checked = await answerOf("api/check", { method: "POST", body: form });
    return { ...checked, name: file.name, status: "ok", note: CHECKED, file };
  }

  async csv() {
    if (this.outbox.late) throw new Error("Some verdicts still wait for the server; export them when all have arrived.");
    await this.queue;
    return (await ask("api/verdicts.csv")).text();
  }

  thresholdsOf(image) {
    return image.file ? this.model : this.worklist;
  }

  noVerdict(image) {
    if (!isRead(image)) return NO_VERDICT_UNREAD;
    return this.keys.has(image.key) ? "" : "Verdicts are given on images of a screened folder; of this file nothing is kept.";
  }

  get origin() {
    const { worklist, model } = this;
    return worklist ? { folder: worklist.folder, model: worklist.model, screened: worklist.created } : { folder: "", model: model.name, screened: "" };
  }

  hasPicture(image) {
    return Boolean(image.picture);
  }

  thumbnail(image) {
    return image.picture || null;
  }

  picture(image) {
    return image.picture || null;
  }

  map(image) {
    return image.map || null;
  }

  noPicture(image) {
    return image.status === "ok" ? "There is no picture of this image." : "This file could not be read.";
  }
}

async function standing() {
  return (await answerOf("api/verdicts")).verdicts;
}

// The verdicts that stand, with those that are on their way.
function withWaiting(found, waiting) {
  const byKey = new Map(found.map((given) => [given.key, given]));
  for (const { key, verdict } of waiting) {
    if (verdict === "none") byKey.delete(key);
    else byKey.set(key, { key, verdict, time: "" });
  }
  return [...byKey.values()];
}

// The image of the worklist that a checked one stands for, whose name it takes; undefined where there is none.
function sameFile(checked, images) {
  const same = images.filter(({ key }) => key === checked.key);
  const found = same.find(({ name }) => name === checked.name) ?? same[0];
  if (found) checked.name = found.name;
  return found;
}

// What tells a record from another one: all of it but the verdict.
function sameness(image) {
  return JSON.stringify({ ...image, verdict: "" });
}

const CHECKED = "checked now";

// The whole worklist, null where the server has no screened folder. It may grow while it is read.
async function wholeWorklist() {
  const byName = new Map();
  for (let offset = 0; ; offset += PART) {
    let part;
    try {
      part = await answerOf(`api/worklist?limit=${PART}&offset=${offset}`);
    } catch (error) {
      if (error.status === 404 && offset === 0) return null;
      throw error;
    }
    for (const image of part.images) byName.set(image.name, image);
    if (offset + part.images.length >= part.shown || !part.images.length) return { ...part, images: [...byName.values()] };
  }
}

// The file itself; a folder, or a file that is gone, cannot be sent.
async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return file;
  } catch {
    throw refusal("It is no file that can be read.");
  }
}

// An error that is about the file, as the server's own refusals are.
function refusal(words) {
  return Object.assign(new Error(words), { status: 415 });
}
